"""Options chosen from an experiment's grid, by the validation split alone."""

from __future__ import annotations

from lifelong.params import Experiment, Settings
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_result
from lifelong.runtime.errors import UserError


def choose(settings: Settings, experiment: Experiment) -> None:
    """Write chosen.json: the options of the candidate of best mean validation ACC (the first of equals), and all ACCs.

    A candidate whose training diverged has no ACC and is not taken.
    """
    assert experiment.grid is not None
    rows = []
    for name in experiment.candidates:
        result = read_result(paths.summary(name))["validation"][experiment.grid.protocol]["acc"]
        options = settings.experiment(name).options.model_dump()
        rows.append({"experiment": name, "options": options, "acc": result["mean"], "deviation": result["deviation"]})
    known = [row for row in rows if row["acc"] is not None]
    if not known:
        raise UserError(f"experiments.{experiment.name}.grid: training diverged with every candidate; try smaller values")
    best = max(known, key=lambda row: row["acc"])
    varied = list(experiment.grid.options)
    write_result(paths.chosen(experiment.name), {"options": best["options"], "varied": varied, "candidates": rows})


def find_chosen(experiment: Experiment) -> str | None:
    """The candidate whose options were chosen; none where there was no choice."""
    if experiment.grid is None:
        return None
    chosen = read_result(paths.chosen(experiment.name))
    names = [row["experiment"] for row in chosen["candidates"] if row["options"] == chosen["options"]]
    return names[0] if names else None


def apply_choice(experiment: Experiment) -> Experiment:
    """The experiment with its options chosen; itself when it has no grid."""
    if experiment.grid is None:
        return experiment
    return experiment.with_options(read_result(paths.chosen(experiment.name))["options"])
