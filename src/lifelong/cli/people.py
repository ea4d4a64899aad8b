"""What people use: check the parameters, show a report, serve MLflow's page, predict."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import click

from lifelong.cli.new import new
from lifelong.cli.predict import predict
from lifelong.params import Settings
from lifelong.pipeline.tracking.mlflow_runs import COMPARED, list_homes, public_uri
from lifelong.runtime import paths
from lifelong.runtime.artifacts import missing_file
from lifelong.runtime.errors import UserError, did_you_mean


@click.command()
@click.argument("experiment", required=False)
@click.pass_obj
def check(settings: Settings, experiment: str | None) -> None:
    """Is params.yaml sound? With an experiment: that one in full, what it was made of, and what it costs."""
    if experiment is not None:
        from lifelong.params.explanation import explain_experiment
        from lifelong.pipeline.costs import describe_costs

        click.echo(explain_experiment(settings, experiment), nl=False)
        click.echo(f"# {describe_costs(settings, settings.experiment(experiment))}")
        return
    click.echo(
        f"params.yaml is well: {len(settings.experiments)} experiments, {len(settings.candidates)} candidates of grids, "
        f"{len(settings.reports)} reports in {len(settings.sections())} sections; `lifelong check NAME` prints one in full"
    )


@click.command("list")
@click.argument("section", required=False)
@click.pass_obj
def list_(settings: Settings, section: str | None) -> None:
    """Experiments by paper and section: how many are done, stale, begun, absent; with a section: each by name."""
    from lifelong.pipeline.listing import list_experiments

    for line in list_experiments(settings, section):
        click.echo(line)


@click.command()
@click.argument("report")
@click.pass_obj
def show(settings: Settings, report: str) -> None:
    """Print a report, and where the models and the MLflow page are."""
    settings.report(report)
    text = paths.report(report, "md")
    if not text.exists():
        raise missing_file(text)
    click.echo(text.read_text().partition("## How these were made")[0])
    click.echo(f"Report   {text} (how the numbers were made; .csv and .json beside it)")
    click.echo(f"Models   {paths.RESULTS}/<experiment>/seed-<s>/task-<t>/")
    click.echo(f"MLflow   `make mlflow` opens the page over {public_uri(settings.tracked_at())}")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--picture", type=click.Path(path_type=Path), default=paths.RESULTS / "comparison.png", show_default=True)
@click.pass_obj
def compare(settings: Settings, names: tuple[str, ...], picture: Path) -> None:
    """Experiments and collectives side by side by their scores, by name or 'split-digits-*'; none: those of the demo."""
    from lifelong.pipeline.targets import DEMO
    from lifelong.reports.compare import WORDS, draw_comparison, find_names, format_table
    from lifelong.reports.compare import compare as compare_named

    rows = compare_named(settings, find_names(settings, names) if names else DEMO)
    draw_comparison(rows, picture)
    click.echo(f"{format_table(rows)}\n\n{WORDS}\n\nPicture  {picture}")
    uri = settings.tracked_at()
    for name, number in list_homes(uri):
        click.echo(f"MLflow   `make mlflow`, then http://127.0.0.1:5000/#/experiments/{number}/runs?{COMPARED} ({name})")


@click.command()
@click.argument("sections", nargs=-1, required=True)
@click.option("--against", default="HEAD", show_default=True, help="A revision of git, or a folder of reports.")
@click.option("--rows", type=click.Path(path_type=Path), help="A CSV to write with every number and its verdict.")
@click.pass_obj
def verify(settings: Settings, sections: tuple[str, ...], against: str, rows: Path | None) -> None:
    """Hold results made anew against the kept ones: same, same to rounding, within seed noise, or different."""
    from lifelong.reports.verify import verify_section

    if rows is not None and len(sections) > 1:
        raise UserError(f"--rows: found {len(sections)} sections; expected one")
    verdicts = []
    for section in sections:
        if section not in settings.sections():
            raise UserError(f"section {section!r} is unknown; {did_you_mean(section, settings.sections())}")
        text, reproduced = verify_section(section, against, rows)
        click.echo(text)
        verdicts.append(reproduced)
    sys.exit(0 if all(verdicts) else 1)


@click.command()
@click.pass_obj
def dvc(settings: Settings) -> None:
    """Print dvc.yaml as params.yaml asks for it; `lifelong dvc > dvc.yaml` after experiments or reports change."""
    from lifelong.pipeline.dvc_stages import describe_stages

    click.echo(describe_stages(settings), nl=False)


@click.command()
@click.option("--port", type=int, default=5000, show_default=True)
@click.pass_obj
def ui(settings: Settings, port: int) -> None:
    """Serve MLflow's page over the runs on 127.0.0.1."""
    uri = settings.tracked_at()
    if uri.startswith(("http://", "https://")):
        raise UserError(f"the runs are at {public_uri(uri)}, which has a page of its own: open it in a browser")
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise UserError(f"{public_uri(uri)}: no run is written yet; `snakemake demo` writes the first")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UserError(f"--port: found {port}, where another program answers; `lifelong ui --port {port + 1}`")
    click.echo(f"http://127.0.0.1:{port} (Ctrl-C ends it); runs side by side:", err=True)
    for name, number in list_homes(uri):
        click.echo(f"  {name}: http://127.0.0.1:{port}/#/experiments/{number}/runs?{COMPARED}", err=True)
    # One worker and no job service: a page for one person starts in seconds. The address goes by the environment,
    # since it may hold a password and arguments are visible to all.
    os.environ |= {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


PEOPLE = (check, list_, show, compare, verify, predict, new, dvc, ui)
