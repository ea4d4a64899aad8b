"""Collects what a section shows into the tables that it keeps, from the files that stages wrote."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lifelong.evaluation.results import Quantity, Row, read_table, write_table
from lifelong.params import Experiment, Report, Settings
from lifelong.params.networks import ResolvedNetwork
from lifelong.pipeline.choose import apply_choice
from lifelong.reports.markdown import machine
from lifelong.reports.provenance import (
    Made,
    collective_fingerprint,
    experiment_fingerprint,
    measure_fingerprint,
    read_provenance,
    versions_of,
)
from lifelong.runtime import paths
from lifelong.runtime.artifacts import json_digest, read_bytes, read_result, read_tensors, write_bytes, write_json
from lifelong.runtime.supervision import count_seconds


def collect(settings: Settings, section: str) -> None:
    """Write results.csv, quantities.csv and provenance.json of a section.

    An experiment whose rows and fingerprint are as they were keeps what is said of how it was made, and a report whose
    fingerprint is keeps the times that it measured, so that collecting the same again changes no file.
    """
    before = read_provenance(section)
    times = {
        _place(one): one for one in read_table(paths.section(section, "quantities.csv"), Quantity) if one.metric in TIMES
    }
    reports = [settings.report(name) for name in settings.sections()[section]]
    rows: list[Row] = []
    made: dict[str, Made] = {}
    for name in shown_experiments(settings, section):
        own = list(experiment_rows(settings.experiment(name)))
        made[name] = _made(settings.experiment(name), own)
        rows += own
    for name in dict.fromkeys(filter(None, (getattr(report.options, "collective", None) for report in reports))):
        own = list(collective_rows(settings, name))
        made[name] = _collective_made(settings, name, own)
        rows += own
    quantities: list[Quantity] = []
    for report in reports:
        if report.kind.measures:
            fingerprint = measure_fingerprint(settings, report.name)
            measured = read_table(paths.measured(report.name, "csv"), Quantity)
            if report.name in before and before[report.name].fingerprint == fingerprint:
                measured = [times.get(_place(one), one) for one in measured]
            digest = json_digest([repr(one) for one in measured])
            made[report.name] = Made(fingerprint=fingerprint, machine=machine(), rows=digest)
            quantities += measured
        if report.kind.evidence:
            write_bytes(paths.evidence(report.name), read_bytes(paths.measured(report.name, "safetensors")))
    for name, one in made.items():
        old = before.get(name)
        if old is not None and (old.rows, old.fingerprint) == (one.rows, one.fingerprint):
            made[name] = old
    write_table(paths.section(section, "results.csv"), rows, Row)
    write_table(paths.section(section, "quantities.csv"), quantities, Quantity)
    write_json(
        paths.section(section, "provenance.json"),
        {name: one.model_dump(exclude_defaults=True) for name, one in made.items()},
    )
    paths.section(section, "imported.csv").unlink(missing_ok=True)


TIMES = ("seconds", "milliseconds")
"""Quantities that differ from run to run."""


def _place(one: Quantity) -> tuple[object, ...]:
    return one.report, one.row, one.experiment, one.seed, one.x, one.y, one.metric


def measure(settings: Settings, report: Report) -> None:
    """Write what a report's kind measures itself, `module.measure(settings, report)`: what no experiment's scores hold."""
    measured: list[Quantity] = importlib.import_module(report.kind.module).measure(settings, report)
    write_table(paths.measured(report.name, "csv"), measured, Quantity)


def shown_experiments(settings: Settings, section: str) -> list[str]:
    """Those whose accuracies a section shows, and the joint learners that they are held against."""
    shown = [
        name
        for report in map(settings.report, settings.sections()[section])
        if report.kind.scores
        for name in report.all_experiments()
    ]
    joint = [settings.experiment(name).joint for name in shown]
    return list(dict.fromkeys([*shown, *filter(None, joint)]))


def experiment_rows(experiment: Experiment) -> Iterator[Row]:
    """The accuracies of an experiment, seed by seed.

    On test images: after each task on it, on those before and on the next, and before any learning; on validation images
    after the last task. A seed that diverged has no rows.
    """
    dense = "sizes" in read_result(paths.scores(experiment.name, experiment.seeds[0]))
    common: dict[str, Any] = {
        "experiment": experiment.name,
        "method": experiment.method_name,
        "sequence": experiment.sequence_name,
        "network": network_label(experiment.network),
        "metric": "iou" if dense else "accuracy",
    }
    count = experiment.count
    for seed in experiment.seeds:
        scores = read_result(paths.scores(experiment.name, seed))
        images = _images(experiment.name, seed)
        for protocol, r in scores["test"].items():
            told = scores["initial"] if protocol == "task_incremental" else scores["initial_by_protocol"].get(protocol)
            table = [(0, told or []), *enumerate(r, 1)]
            for after, accuracies in table:
                for on, value in enumerate(accuracies, 1):
                    if value is not None and (after == 0 or on <= after + 1):
                        place = {"seed": seed, "after_task": after, "on_task": on, "split": "test", "protocol": protocol}
                        yield Row(**common, **place, value=value, images=images.get(on))
        for protocol, r in scores["validation"].items():
            for on, value in enumerate(r[-1], 1):
                if value is not None:
                    place = {"seed": seed, "after_task": count, "on_task": on, "split": "validation", "protocol": protocol}
                    yield Row(**common, **place, value=value)


def _images(name: str, seed: int) -> dict[int, int]:
    """Test images of each task, from 1, as many as there are answers."""
    answers, _ = read_tensors(paths.predictions(name, seed), "predictions")
    return {int(key.split(".on-")[1].split(".")[0]) + 1: len(one) for key, one in answers.items()}


def network_label(network: ResolvedNetwork) -> str:
    """A network's kind and sizes: `mlp-256-128`."""
    sizes = network.model_dump()
    name = sizes.get("name")
    numbers = [value for key in ("hidden", "channels", "width") for value in _listed(sizes.get(key))]
    return "-".join(map(str, [network.kind, *([name] if name else []), *numbers]))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def collective_rows(settings: Settings, name: str) -> Iterator[Row]:
    """What a collective's variants answer: class-incremental by the mapper, the mapper alone, and with the task told."""
    collective = settings.skill.collective(name)
    for seed in range(collective.seeds):
        scores = read_result(paths.collective_scores(name, seed))
        for variant, one in scores["variants"].items():
            common: dict[str, Any] = {
                "experiment": f"{name}/{variant}",
                "method": "skill",
                "sequence": collective.sequence,
                "network": collective.backbone,
                "seed": seed,
                "split": "test",
                "metric": "accuracy",
            }
            count = len(one["oracle"])
            tables = {
                "class_incremental": one["final"],
                "task_prediction_1": one["mapper"],
                "task_incremental": [one["oracle"][: i + 1] for i in range(count)],
            }
            for protocol, table in tables.items():
                for after, accuracies in enumerate(table, 1):
                    for on, value in enumerate(accuracies[:after], 1):
                        yield Row(**common, after_task=after, on_task=on, protocol=protocol, value=value)


def _made(experiment: Experiment, rows: list[Row]) -> Made:
    chosen = apply_choice(experiment)
    return Made(
        method=experiment.method_name,
        sequence=experiment.sequence_name,
        heads=experiment.heads,
        seeds=list(experiment.seeds),
        joint=experiment.joint,
        parameters=chosen.parameters(),
        choice=read_result(paths.chosen(experiment.name)) if experiment.grid else None,
        fingerprint=experiment_fingerprint(experiment),
        versions=versions_of(chosen),
        machine=machine(),
        seconds=count_seconds(paths.logs(experiment.name)),
        rows=_digest(rows),
    )


def _collective_made(settings: Settings, name: str, rows: list[Row]) -> Made:
    collective = settings.skill.collective(name)
    return Made(
        method="skill",
        sequence=collective.sequence,
        seeds=list(range(collective.seeds)),
        parameters=collective.model_dump(),
        fingerprint=collective_fingerprint(settings, name),
        machine=machine(),
        seconds=count_seconds(paths.logs(f"skill/{name}")),
        rows=_digest(rows),
    )


def _digest(rows: list[Row]) -> str:
    """Of values as they are kept."""
    return json_digest([repr(replace(row, value=float(format(row.value, ".8g")))) for row in rows])
