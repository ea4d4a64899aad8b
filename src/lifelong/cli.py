"""`lifelong`: one thin sub-command a stage, the same by hand as under Snakemake.

Paths follow from names (`lifelong.layout`), relative to the working directory.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import click

from lifelong import layout
from lifelong.artifacts import missing
from lifelong.cli_options import device_option, threads_option
from lifelong.cli_segmentation import segmentation
from lifelong.cli_skill import predict, skill
from lifelong.config import Settings, load
from lifelong.config.methods import STAGES
from lifelong.errors import UserError, did_you_mean
from lifelong.mlflow_runs import public_uri
from lifelong.supervision import UNDER_SNAKEMAKE, spent


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--params", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.pass_context
def cli(context: click.Context, params: Path) -> None:
    """Stages of the lifelong-learning pipeline. `snakemake TARGET` runs them in order; each also works by hand."""
    context.obj = load(params)


seed_option = click.option("--seed", type=int, required=True, help="One of the experiment's seeds.")
task_option = click.option("--task", type=int, required=True, help="The task, from 0.")


@cli.command()
@click.pass_obj
def check(settings: Settings) -> None:
    """Check params.yaml and name its experiments."""
    for name, experiment in settings.experiments.items():
        click.echo(f"{name}: {experiment.method_name} on {experiment.scenario_name}, seeds {list(experiment.seeds)}")


@cli.command()
@click.argument("dataset")
@click.pass_obj
def images(settings: Settings, dataset: str) -> None:
    """Find, verify and decode a data set."""
    from lifelong.data import catalog

    known = {*catalog.BUILT_IN, *settings.datasets}
    if dataset not in known:
        raise UserError(f"data set {dataset!r} is unknown; {did_you_mean(dataset, known)}")
    folder = settings.datasets.get(dataset)
    source = catalog.FolderSource(**folder.model_dump()) if folder else None
    catalog.prepare(dataset, source, layout.images(dataset), layout.RAW, catalog.search_directories())


@cli.command()
@click.argument("scenario")
@click.pass_obj
def tasks(settings: Settings, scenario: str) -> None:
    """Cut a data set into the tasks of a scenario."""
    from lifelong.data.scenarios import build

    wanted = settings.scenario(scenario)
    build(wanted, layout.images(wanted.dataset), layout.tasks(scenario))


def _stage(name: str, text: str) -> None:
    @cli.command(name, help=text)
    @click.argument("experiment")
    @click.option("--seed", type=int, required=True, multiple=True, help="One of the experiment's seeds, or several.")
    @task_option
    @threads_option
    @device_option
    @click.pass_obj
    def command(settings: Settings, experiment: str, seed: tuple[int, ...], task: int, threads: int, device: str) -> None:
        wanted = settings.experiment(experiment)
        from lifelong.device import computing_on
        from lifelong.learning.run import run_seeds

        with computing_on(device):
            run_seeds(wanted, sorted(set(seed)), task, name, threads)


for name, kind in STAGES.items():
    _stage(name, kind.text)


@cli.command()
@click.argument("experiment")
@seed_option
@threads_option
@device_option
@click.pass_obj
def evaluate(settings: Settings, experiment: str, seed: int, threads: int, device: str) -> None:
    """Accuracy matrix and predictions of one seed."""
    wanted = settings.experiment(experiment)
    from lifelong.device import computing_on
    from lifelong.learning import scores

    with computing_on(device):
        scores.evaluate(wanted, seed, threads)


@cli.command()
@click.argument("experiment")
@click.pass_obj
def choose(settings: Settings, experiment: str) -> None:
    """Choose an experiment's options from its grid, by validation accuracy."""
    from lifelong.choice import choose

    wanted = settings.experiment(experiment)
    if wanted.grid is None:
        raise UserError(f"experiment {experiment!r} has no grid to choose from")
    choose(settings, wanted)


@cli.command()
@click.argument("experiment")
@click.pass_obj
def summarise(settings: Settings, experiment: str) -> None:
    """Metrics of an experiment over its seeds."""
    from lifelong.summary import summarise

    summarise(settings.experiment(experiment))


@cli.command()
@click.argument("report")
@click.pass_obj
def report(settings: Settings, report: str) -> None:
    """Write one report from the results it is made of."""
    import importlib

    wanted = settings.report(report)
    importlib.import_module(wanted.kind.module).write(settings, wanted)


@cli.command()
@click.argument("experiment")
@click.pass_obj
def track(settings: Settings, experiment: str) -> None:
    """Write an experiment's runs to MLflow; repeating it updates them."""
    from lifelong.tracking import track

    track(settings, settings.experiment(experiment))


@cli.command()
@click.argument("report")
@click.pass_obj
def show(settings: Settings, report: str) -> None:
    """Print a report, and where the models and the MLflow page are."""
    settings.report(report)
    text = layout.report(report, "md")
    if not text.exists():
        raise missing(text)
    click.echo(text.read_text().partition("## How these were made")[0])
    click.echo(f"Report   {text} (how the numbers were made; .csv and .json beside it)")
    click.echo(f"Models   {layout.RESULTS}/<experiment>/seed-<s>/task-<t>/")
    click.echo(f"MLflow   `make mlflow` opens the page over {public_uri(settings.tracked_at())}")


cli.add_command(segmentation)
cli.add_command(skill)
cli.add_command(predict)


@cli.command()
@click.option("--port", type=int, default=5000, show_default=True)
@click.pass_obj
def ui(settings: Settings, port: int) -> None:
    """Serve MLflow's page over the runs on 127.0.0.1."""
    uri = settings.tracked_at()
    if uri.startswith(("http://", "https://")):
        raise UserError(f"the runs are at {public_uri(uri)}, which has a page of its own: open it in a browser")
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise UserError(f"{public_uri(uri)}: no run is written yet; `snakemake demo` writes the first")
    click.echo(f"http://127.0.0.1:{port} (Ctrl-C ends it)", err=True)
    # One worker and no job service: a page for one person starts in seconds. The address goes by the environment,
    # since it may hold a password and arguments are visible to all.
    os.environ |= {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


def main() -> None:
    """Entry point: the user's own errors are one message without a traceback, and exit status 2."""
    gc.disable()  # imports alone make garbage collection cost 0.4 s; run_stage turns it on again
    try:
        cli.main(standalone_mode=False)
        if UNDER_SNAKEMAKE in os.environ:
            print(spent(), file=sys.stderr)
    except UserError as error:
        print(f"lifelong: {error}", file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
