"""From the files of an experiment to MLflow: one run for the experiment and, nested in it, one for each seed.

All experiments of a sequence share one MLflow experiment, so its methods stand side by side; `DESCRIPTION` says what a
run holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lifelong.evaluation.metrics import acc, bwt, matrix
from lifelong.params import Experiment, Settings
from lifelong.pipeline.choose import apply_choice
from lifelong.pipeline.graph import final_state, stages_of
from lifelong.pipeline.states import read_curve
from lifelong.pipeline.tracking.mlflow_runs import (
    NOTE,
    NOTE_CHARACTERS,
    PREFIX,
    Draw,
    Home,
    Point,
    Record,
    flatten_parameters,
    format_json,
    format_matrices,
    list_points,
    write_runs,
)
from lifelong.runtime import paths
from lifelong.runtime.artifacts import file_digest, json_digest, missing_file, read_record, read_result
from lifelong.runtime.errors import UserError
from lifelong.runtime.supervision import count_seconds

DESCRIPTION = f"""\
One run for each experiment (means over its seeds) and, nested in it, one for each seed. The means alone:
`tags.{PREFIX}.level = 'experiment'`

Metrics are shares of 1, of the test images unless they say `validation`:

- `acc/...`, `bwt/...` at step i: of the tasks up to i; the last is the result
- `fwt_gem/...`, `fwt_joint/...`: the result
- `on_task/j_...` at step i: accuracy on task j after learning task i
- `learning/...`: the learning curves of a seed, by epoch over all its tasks
- `std/...`: deviation of each result over the seeds (n - 1), and their number n

Artifacts: the accuracy matrix (a picture, and `accuracy-matrix.json`: [i][j] on task j after task i, `null` where there is
no answer), `experiment.json`, and of each seed `model.json`: where the last model lies and what it must hash to.
"""

Value = Callable[[dict[str, Any]], float | None]
"""Picks from a metric of the summary (mean, deviation, n, by_seed) the value that a run shows."""


def track(settings: Settings, experiment: Experiment, draw: Draw) -> None:
    """Bring the experiment's runs in MLflow in line with its files, and write the receipt.

    Raises:
        UserError: a file is missing or older than params.yaml, or MLflow cannot be reached or refuses.
    """
    home = Home(f"{PREFIX}/{experiment.sequence_name}", DESCRIPTION)
    again = (
        f"The results are safe in {paths.RESULTS / experiment.name}; mend this, then run `lifelong track {experiment.name}`"
    )
    write_runs(
        settings.tracked_at(), home, experiment.name, _records(experiment, draw), paths.tracked(experiment.name), again
    )


def _records(experiment: Experiment, draw: Draw) -> list[Record]:
    """The experiment's own record, then those of its seeds; options chosen from a grid as they were chosen."""
    experiment = apply_choice(experiment)
    summary = _summary(experiment)
    scores = [read_result(paths.scores(experiment.name, seed)) for seed in experiment.seeds]
    own = Record(
        key=experiment.name,
        name=experiment.name,
        parameters=flatten_parameters(
            {**experiment.parameters(), "experiment": experiment.name, "seeds": list(experiment.seeds)}
        ),
        tags={**_tags(experiment, "experiment"), NOTE: _note(summary, scores, lambda values: values["mean"])},
        points=(
            *_results(summary, scores, lambda values: values["mean"]),
            *_deviations(summary),
            Point("std/n", len(scores)),
        ),
        seconds=count_seconds(paths.logs(experiment.name)) or 0,
        files={
            "accuracy-matrix.json": format_matrices(_matrices(summary, scores)),
            "experiment.json": format_json(experiment.parameters()),
        },
        pictures={"accuracy-matrix.png": lambda path: draw(path, experiment.name, _matrices(summary, scores))},
    )
    return [own, *(_seed_record(experiment, summary, scores[k], k) for k in range(len(scores)))]


def _summary(experiment: Experiment) -> dict[str, Any]:
    path = paths.summary(experiment.name)
    summary: dict[str, Any] = read_result(path)
    requested = {"seeds": list(experiment.seeds), "joint": experiment.joint, "parameters": experiment.parameters()}
    for part, value in requested.items():
        if json_digest(summary.get(part)) != json_digest(value):
            raise UserError(
                f"{path}: found {part} {summary.get(part)}; params.yaml has {value}; `snakemake {path}` makes it anew"
            )
    return summary


def _seed_record(experiment: Experiment, summary: dict[str, Any], scores: dict[str, Any], position: int) -> Record:
    seed = experiment.seeds[position]
    states = [final_state(experiment, seed, task) for task in experiment.tasks]
    files = [paths.scores(experiment.name, seed), paths.predictions(experiment.name, seed), *states]
    for path in files:
        if not path.is_file():
            raise missing_file(path)
    made = read_record(states[-1])["made"]

    def own(values: dict[str, Any]) -> float | None:
        value: float | None = values["by_seed"][position]
        return value

    return Record(
        key=f"{experiment.name}/seed-{seed}",
        name=f"{experiment.name} seed {seed}",
        parameters=flatten_parameters({**experiment.parameters(), "experiment": experiment.name, "seed": seed}),
        tags={
            **_tags(experiment, "seed"),
            f"{PREFIX}.fingerprint": made.get("fingerprint", ""),
            **{f"{PREFIX}.version.{library}": version for library, version in made["versions"].items()},
            **{f"sha256/{path.relative_to(files[0].parent)}": file_digest(path) for path in files},
            NOTE: _note(summary, [scores], own),
        },
        points=(*_results(summary, [scores], own), *_learning(experiment, seed)),
        seconds=count_seconds(paths.logs(f"{experiment.name}/seed-{seed}")) or 0,
        files={
            "accuracy-matrix.json": format_matrices(_matrices(summary, [scores])),
            "model.json": format_json({"path": str(states[-1]), "sha256": file_digest(states[-1])}),
        },
        data={path: digest for path, digest in made.get("from", {}).items() if Path(path).parts[0] == "data"},
    )


def _results(summary: dict[str, Any], scores: Sequence[dict[str, Any]], value: Value) -> list[Point]:
    """Every metric of the summary, and R (the mean of the scores given) column by column."""
    points: list[Point] = []
    for split, protocol, metrics in _parts(summary):
        r = _mean_matrix(scores, split, protocol)
        for name, so_far in (("acc", acc), ("bwt", bwt)):
            for step in range(len(r) - 1):
                points += list_points(_key(split, protocol, name), so_far(r[: step + 1, : step + 1]), step)
        for name, values in metrics.items():
            # What has no history stands at step 0: MLflow then shows a bar, not a line of one point.
            step = len(r) - 1 if name in ("acc", "bwt") else 0
            points += list_points(_key(split, protocol, name), value(values), step)
        if split == "test":
            digits = len(str(len(r) - 1))
            cells = np.argwhere(~np.isnan(r)).tolist()
            points += [Point(f"on_task/{j:0{digits}}_{protocol}", float(r[i, j]), i) for i, j in cells]
    return points


def _deviations(summary: dict[str, Any]) -> list[Point]:
    return [
        point
        for split, protocol, metrics in _parts(summary)
        for name, values in metrics.items()
        for point in list_points("std/" + _key(split, protocol, name).replace("/", "_"), values["deviation"])
    ]


def _learning(experiment: Experiment, seed: int) -> list[Point]:
    """The learning curves of all stages that train, epoch after epoch over the whole sequence of tasks."""
    points: list[Point] = []
    epoch = 0
    for task in experiment.tasks:
        for stage in stages_of(experiment, task):
            for row in read_curve(paths.state(experiment.name, seed, task, stage)):
                for name in sorted(row.keys() - {"fit", "epoch"}):
                    points += list_points(f"learning/{name}", row[name], epoch)
                epoch += 1
    return points


def _parts(summary: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(split, protocol, metrics) of a summary."""
    for split in ("test", "validation"):
        for protocol in ("task_incremental", "class_incremental"):
            if protocol in summary[split]:
                yield split, protocol, summary[split][protocol]


def _matrices(summary: dict[str, Any], scores: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """R on the test images, by protocol."""
    return {protocol: _mean_matrix(scores, split, protocol) for split, protocol, _ in _parts(summary) if split == "test"}


def _mean_matrix(scores: Sequence[dict[str, Any]], split: str, protocol: str) -> np.ndarray:
    mean: np.ndarray = np.mean([matrix(one[split][protocol]) for one in scores], axis=0)
    return mean


def _key(split: str, protocol: str, name: str) -> str:
    """What is measured comes first, for MLflow cuts titles short; what stands before the slash is a section there."""
    return f"{name}/{protocol}" if split == "test" else f"{split}/{name}_{protocol}"


def _tags(experiment: Experiment, level: str) -> dict[str, str]:
    """`level` lets a user of the page ask for the means alone."""
    joint = {f"{PREFIX}.joint": experiment.joint} if experiment.joint else {}
    return {f"{PREFIX}.experiment": experiment.name, f"{PREFIX}.level": level, **joint}


def _note(summary: dict[str, Any], scores: Sequence[dict[str, Any]], value: Value) -> str:
    """The results on the test images in percent, which MLflow shows as the description of a run."""
    lines: list[str] = []
    tables: list[str] = []
    for split, protocol, metrics in _parts(summary):
        r = _mean_matrix(scores, split, protocol)
        if split != "test" or np.isnan(r).all():
            continue
        title = protocol.replace("_", "-").capitalize()
        known = {name: share for name, values in metrics.items() if (share := value(values)) is not None}
        results = ", ".join(f"{name} {_percent(share)}" for name, share in known.items())
        lines.append(f"- {title}, in percent: {results}")
        rows = [["after", *(f"on task {j}" for j in range(len(r)))], ["---"] * (len(r) + 1)]
        rows += [[f"task {i}", *map(_percent, row)] for i, row in enumerate(r) if not np.isnan(row).all()]
        tables.append(f"{title} accuracy\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))
    whole = "\n\n".join(["\n".join(lines), *tables])
    return whole if len(whole) <= NOTE_CHARACTERS else lines[0]


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f}"
