"""The summary of an experiment over its seeds, from the scores of each."""

from __future__ import annotations

from typing import Any

from lifelong import layout
from lifelong.artifacts import read_json, write_json
from lifelong.choice import with_choice
from lifelong.config import Experiment
from lifelong.metrics import all_metrics, over_seeds


def summarise(experiment: Experiment) -> None:
    """Write summary.json: for each split and protocol, every metric by seed and over the seeds."""
    scores = {seed: read_json(layout.scores(experiment.name, seed)) for seed in experiment.seeds}
    joint = {}
    if experiment.joint is not None:
        joint = {seed: read_json(layout.scores(experiment.joint, seed)) for seed in experiment.seeds}
    chosen = with_choice(experiment)
    summary: dict[str, Any] = {
        "experiment": experiment.name,
        "method": experiment.method_name,
        "scenario": experiment.scenario_name,
        "heads": experiment.heads,
        "seeds": list(experiment.seeds),
        "joint": experiment.joint,
        "parameters": chosen.parameters(),
        "chosen": list(experiment.grid.options) if experiment.grid else [],
    }
    for split in ("test", "validation"):
        summary[split] = {
            protocol: _over_seeds(
                [
                    all_metrics(
                        scores[seed][split][protocol],
                        # b is known on the test split alone, where the task is told.
                        scores[seed]["initial"] if (split, protocol) == ("test", "task_incremental") else None,
                        _last_row(joint[seed][split][protocol]) if joint else None,
                    )
                    for seed in experiment.seeds
                ]
            )
            for protocol in ("task_incremental", "class_incremental")
        }
    write_json(layout.summary(experiment.name), summary)


def _over_seeds(by_seed: list[dict[str, float | None]]) -> dict[str, Any]:
    """Per metric: mean, deviation, n and the value of each seed."""
    columns = {name: [found[name] for found in by_seed] for name in by_seed[0]}
    return {name: {**over_seeds(values), "by_seed": values} for name, values in columns.items()}


def _last_row(rows: list[list[float | None]]) -> list[float] | None:
    """The accuracies of a joint learner on every task, if it has them all."""
    known = [value for value in rows[-1] if value is not None]
    return known if len(known) == len(rows) else None
