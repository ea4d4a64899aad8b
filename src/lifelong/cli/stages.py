"""The stages as commands, one thin command a stage: the same by hand as under Snakemake."""

from __future__ import annotations

import click

from lifelong.cli.options import device_option, seed_option, task_option
from lifelong.cli.planned import makes_option, plan_option, planned, run_job
from lifelong.params import Settings
from lifelong.params.datasets import DenseFolder
from lifelong.params.methods import Stage
from lifelong.params.sequences import DataSets
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError, did_you_mean
from lifelong.runtime.places import RAW, search_directories


def stage_command(stage: Stage) -> click.Command:
    """The command that runs a method's stage of one task."""

    @click.command(stage.name, help=stage.help)
    @click.argument("experiment")
    @click.option("--seed", type=int, required=True, multiple=True, help="One of the experiment's seeds, or several.")
    @task_option
    @device_option
    @click.pass_obj
    @planned("stage", "experiment", stage.name)
    def command(settings: Settings, experiment: str, seed: tuple[int, ...], task: int, device: str) -> None:
        chosen = settings.experiment(experiment)
        from lifelong.pipeline.run import run_seeds
        from lifelong.runtime.computing import computing

        with computing(device):
            run_seeds(chosen, sorted(set(seed)), task, stage.name)

    return command


@click.command()
@click.argument("dataset")
@click.pass_obj
@planned("images", "dataset")
def images(settings: Settings, dataset: str) -> None:
    """Find, verify and decode a data set."""
    from lifelong.data import catalog, dense

    known = {*catalog.BUILT_IN, *settings.datasets}
    if dataset not in known:
        raise UserError(f"data set {dataset!r} is unknown; {did_you_mean(dataset, known)}")
    folder = settings.datasets.get(dataset)
    places = paths.images(dataset), RAW, search_directories()
    if isinstance(folder, DenseFolder):
        dense.prepare(dataset, folder, *places, settings.limits)
    else:
        source = catalog.FolderSource(**folder.model_dump()) if folder else None
        catalog.prepare(dataset, source, *places, settings.limits)


@click.command()
@click.argument("sequence")
@click.pass_obj
@planned("tasks", "sequence")
def tasks(settings: Settings, sequence: str) -> None:
    """Cut data sets into the tasks of a sequence."""
    from lifelong.data.sequences import build

    chosen = settings.sequence(sequence)
    images = {name: paths.images(name) for name in settings.sequence_datasets(sequence)}
    if isinstance(chosen, DataSets):
        build(chosen, images, paths.tasks(sequence), settings.tiers[chosen.tier], settings.skill.tasks(sequence))
    else:
        build(chosen, images, paths.tasks(sequence))


@click.command()
@click.argument("experiment")
@seed_option
@device_option
@click.pass_obj
@planned("evaluate", "experiment")
def evaluate(settings: Settings, experiment: str, seed: int, device: str) -> None:
    """Accuracy matrix and predictions of one seed."""
    requested = settings.experiment(experiment)
    from lifelong.pipeline.evaluate import evaluate as evaluate_seed
    from lifelong.runtime.computing import computing

    with computing(device):
        evaluate_seed(requested, seed)


@click.command()
@click.argument("experiment")
@click.pass_obj
@planned("choose", "experiment")
def choose(settings: Settings, experiment: str) -> None:
    """Choose an experiment's options from its grid, by validation accuracy."""
    from lifelong.pipeline.choose import choose

    requested = settings.experiment(experiment)
    if requested.grid is None:
        raise UserError(f"experiment {experiment!r} has no grid to choose from")
    choose(settings, requested)


@click.command()
@click.argument("experiment")
@click.pass_obj
@planned("summarise", "experiment")
def summarise(settings: Settings, experiment: str) -> None:
    """Metrics of an experiment over its seeds."""
    from lifelong.pipeline.summarise import summarise

    summarise(settings.experiment(experiment))


@click.command()
@click.argument("report")
@click.pass_obj
@planned("measure", "report")
def measure(settings: Settings, report: str) -> None:
    """What one report shows beside the scores of experiments."""
    requested = settings.report(report)
    if not requested.kind.measures:
        raise UserError(f"report {report!r} is a {requested.kind_name}, which measures nothing itself")
    from lifelong.reports.collect import measure as measure_report

    measure_report(settings, requested)


@click.command()
@click.argument("section")
@click.pass_obj
@planned("collect", "section")
def collect(settings: Settings, section: str) -> None:
    """Keep what a section shows in reports/SECTION: results.csv, quantities.csv, provenance.json."""
    from lifelong.reports.collect import collect as collect_section

    collect_section(settings, section)


@click.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Every section.")
@plan_option
@makes_option
@click.pass_obj
def report(settings: Settings, name: str | None, every: bool, plan: str | None, makes: str) -> None:
    """Draw a report, or all of a section, from what is kept in reports/; needs neither data nor models."""
    if (name is None) != every:
        raise UserError("report: name a section or one of its reports, or give --all")
    from lifelong.reports.draw import draw

    if name in settings.reports:
        run_job(settings, "report", [name], lambda: draw(settings, name), plan, makes)
    else:
        draw(settings, name)


@click.command()
@click.argument("experiment")
@click.pass_obj
@planned("track", "experiment")
def track(settings: Settings, experiment: str) -> None:
    """Write an experiment's runs to MLflow; repeating it updates them."""
    from lifelong.pipeline.tracking.experiments import track
    from lifelong.reports.figures.matrices import draw_matrices

    track(settings, settings.experiment(experiment), draw_matrices)


STAGES = (images, tasks, evaluate, choose, summarise, measure, collect, report, track)
