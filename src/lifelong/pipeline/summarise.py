"""The summary of an experiment over its seeds, from the scores of each."""

from __future__ import annotations

from typing import Any

from lifelong.evaluation.metrics import all_metrics, over_seeds
from lifelong.params import Experiment
from lifelong.pipeline.choose import apply_choice
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_result


def summarise(experiment: Experiment) -> None:
    """Write summary.json: for each split and protocol, every metric by seed and over the seeds."""
    scores = {seed: read_result(paths.scores(experiment.name, seed)) for seed in experiment.seeds}
    joint = {}
    if experiment.joint is not None:
        joint = {seed: read_result(paths.scores(experiment.joint, seed)) for seed in experiment.seeds}
    chosen = apply_choice(experiment)
    summary: dict[str, Any] = {
        "experiment": experiment.name,
        "method": experiment.method_name,
        "sequence": experiment.sequence_name,
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
                        _initial(scores[seed], protocol) if split == "test" else None,
                        _last_row(joint[seed][split][protocol]) if joint and protocol in joint[seed][split] else None,
                    )
                    for seed in experiment.seeds
                ]
            )
            for protocol in scores[experiment.seeds[0]][split]
        }
    write_result(paths.summary(experiment.name), summary)


def _initial(scores: dict[str, Any], protocol: str) -> list[float] | None:
    """b of fwt_gem: known on the test split, where the task is told or guessed."""
    if protocol == "task_incremental":
        initial: list[float] = scores["initial"]
        return initial
    return scores.get("initial_by_protocol", {}).get(protocol)


def _over_seeds(by_seed: list[dict[str, float | None]]) -> dict[str, Any]:
    """Per metric: mean, deviation, n and the value of each seed."""
    columns = {name: [result[name] for result in by_seed] for name in by_seed[0]}
    return {name: {**over_seeds(values), "by_seed": values} for name, values in columns.items()}


def _last_row(rows: list[list[float | None]]) -> list[float] | None:
    """The accuracies of a joint learner on every task, if it has them all."""
    known = [value for value in rows[-1] if value is not None]
    return known if len(known) == len(rows) else None
