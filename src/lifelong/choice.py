"""Options chosen from an experiment's grid, by the validation split alone."""

from __future__ import annotations

from lifelong import layout
from lifelong.artifacts import read_json, write_json
from lifelong.config import Experiment, Settings


def choose(settings: Settings, experiment: Experiment) -> None:
    """Write chosen.json: the options of the candidate of best mean validation ACC (the first of equals), and all ACCs."""
    assert experiment.grid is not None
    rows = []
    for name in experiment.candidates:
        found = read_json(layout.summary(name))["validation"][experiment.grid.protocol]["acc"]
        options = settings.experiment(name).options.model_dump()
        rows.append({"experiment": name, "options": options, "acc": found["mean"], "deviation": found["deviation"]})
    best = max(rows, key=lambda row: row["acc"])
    varied = list(experiment.grid.options)
    write_json(layout.chosen(experiment.name), {"options": best["options"], "varied": varied, "candidates": rows})


def with_choice(experiment: Experiment) -> Experiment:
    """The experiment with its options chosen; itself when it has no grid."""
    if experiment.grid is None:
        return experiment
    return experiment.with_options(read_json(layout.chosen(experiment.name))["options"])
