"""From the files of a collective to MLflow: one run for the collective and, nested in it, one for each seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lifelong.evaluation.metrics import square
from lifelong.methods.skill.counted_costs import counted_costs
from lifelong.methods.skill.measures import measures
from lifelong.params import Settings
from lifelong.params.skill import Collective, Skill
from lifelong.pipeline.tracking.mlflow_runs import (
    NOTE,
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
from lifelong.runtime.artifacts import file_digest, missing_file, read_result

DESCRIPTION = f"""\
SKILL: one run for each collective of agents (means over its seeds) and, nested in it, one for each seed. The means alone:
`tags.{PREFIX}.level = 'collective'`

Metrics are shares of 1, of the test images, by variant:

- `final/...` at step i: the mean over tasks 0 to i without a task oracle, after task i; the last is the result
- `mapper/...` at step i: of the task mapper alone; `oracle/...`: of the heads when the task is told
- `first/...` at step i: on the first task; `normalised/...`: after the last task over just after each task
- `on_task/..._j` at step i: on task j after task i
- `packet_bytes/...`: the mean size of a packet; `costs/...`: counted multiply-accumulates of all teachers, efficiencies
- `banks/...`: how many were compared, whether all are the same (1) or not (0), how many packets they refused
- `std/...`: deviation of each result over the seeds (n - 1), and their number n

Artifacts: the accuracy matrix of each variant (a picture, and `accuracy-matrix.json`) and `collective.json`.
"""

ONCE = ("oracle", "normalised")
EPOCHS = 30
"""Of training, in the counted costs (reading S13)."""


def track_collective(settings: Settings, name: str, draw: Draw) -> None:
    """Bring the collective's runs in MLflow in line with its files, and write the receipt.

    Raises:
        UserError: a file is missing, or MLflow cannot be reached or refuses.
    """
    collective = settings.skill.collective(name)
    home = Home(f"{PREFIX}/skill-{collective.sequence}", DESCRIPTION)
    again = f"The results are safe in {paths.collective(name, 0).parent}; mend this, then run `lifelong skill track {name}`"
    receipt = paths.tracked_collective(name)
    write_runs(settings.tracked_at(), home, f"skill/{name}", _records(settings, name, draw), receipt, again)


def _records(settings: Settings, name: str, draw: Draw) -> list[Record]:
    """The collective's own record, then those of its seeds."""
    skill = settings.skill
    collective = skill.collective(name)
    scores = [read_result(paths.collective_scores(name, seed)) for seed in range(collective.seeds)]
    by_seed = [_accuracies(name, collective, seed, one) for seed, one in enumerate(scores)]
    means = {key: np.mean([one[key] for one in by_seed], 0) for key in by_seed[0]}
    shared = tuple(_shared(name, collective))
    matrices = _matrices(collective, scores)
    own = Record(
        key=f"skill/{name}",
        name=name,
        parameters=flatten_parameters({**_parameters(skill, collective), "collective": name, "seeds": collective.seeds}),
        tags={**_tags(name, "collective"), NOTE: _note(means)},
        points=(*_points(means), *_deviations(by_seed), *shared, *_costs(settings, name)),
        files={
            "accuracy-matrix.json": format_matrices(matrices),
            "collective.json": format_json(_parameters(skill, collective)),
        },
        pictures={"accuracy-matrix.png": lambda path: draw(path, name, matrices)},
    )
    seeds = (_seed_record(skill, name, seed, one, scores[seed]) for seed, one in enumerate(by_seed))
    return [own, *seeds]


def _seed_record(skill: Skill, name: str, seed: int, accuracies: dict[str, np.ndarray], scores: dict[str, Any]) -> Record:
    collective = skill.collective(name)
    tasks = range(len(skill.tasks(collective.sequence)))
    files = [paths.collective_scores(name, seed), paths.collective_predictions(name, seed)]
    files += [paths.packet(name, seed, task, variant) for task in tasks for variant in collective.variants]
    for path in files:
        if not path.is_file():
            raise missing_file(path)
    digests = {f"sha256/{path.relative_to(files[0].parent)}": file_digest(path) for path in files}
    return Record(
        key=f"skill/{name}/seed-{seed}",
        name=f"{name} seed {seed}",
        parameters=flatten_parameters({**_parameters(skill, collective), "collective": name, "seed": seed}),
        tags={**_tags(name, "seed"), **digests, NOTE: _note(accuracies)},
        points=tuple(_points(accuracies)),
        files={"accuracy-matrix.json": format_matrices(_matrices(collective, [scores]))},
    )


def _matrices(collective: Collective, scores: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """R of each variant without a task oracle, the mean over seeds."""
    return {
        variant: np.mean([square(one["variants"][variant]["final"], len(one["tasks"])) for one in scores], 0)
        for variant in collective.variants
    }


def _accuracies(name: str, collective: Collective, seed: int, scores: dict[str, Any]) -> dict[str, np.ndarray]:
    """Metric -> its values at steps 0..T-1 (nan: none), shares of 1. What has one value has one step."""
    result: dict[str, np.ndarray] = {}
    for variant in collective.variants:
        one = measures(scores["variants"][variant])
        for metric in ("final", "mapper", "first"):
            result[f"{metric}/{variant}"] = np.asarray(one[f"{metric}_curve"])
        for metric in ONCE:
            result[f"{metric}/{variant}"] = np.array([one[metric] / 100])
        r = square(scores["variants"][variant]["final"], len(scores["tasks"]))
        result |= {f"on_task/{variant}_{j:0{len(str(len(r) - 1))}}": r[:, j] for j in range(len(r))}
    return result


def _points(accuracies: dict[str, np.ndarray]) -> Iterator[Point]:
    for key, values in accuracies.items():
        for step, value in enumerate(values):
            yield from list_points(key, float(value), step)


def _deviations(by_seed: list[dict[str, np.ndarray]]) -> Iterator[Point]:
    if len(by_seed) > 1:
        for key in by_seed[0]:
            if not key.startswith("on_task/"):
                last = [float(one[key][-1]) for one in by_seed]
                yield from list_points("std/" + key.replace("/", "_"), float(np.std(last, ddof=1)))
    yield Point("std/n", len(by_seed))


def _shared(name: str, collective: Collective) -> Iterator[Point]:
    """Sizes of packets, and whether all banks of a seed are the same."""
    compared, refused, same = 0, 0, True
    for seed in range(collective.seeds):
        banks = [read_result(paths.bank(name, seed, n, agent))["variants"] for n in collective.agents for agent in range(n)]
        for bank in banks:
            same &= all(held["sha256"] == banks[0][variant]["sha256"] for variant, held in bank.items())
            refused += sum(len(held["refused"]) for held in bank.values())
            compared += len(bank)
        if seed == 0:
            for variant, held in banks[0].items():
                yield Point(f"packet_bytes/{variant}", float(np.mean(list(held["bytes"].values()))))
    yield from (Point("banks/compared", compared), Point("banks/same", float(same)), Point("banks/refused", refused))


def _costs(settings: Settings, name: str) -> Iterator[Point]:
    for cost in counted_costs(settings.skill, name, EPOCHS):
        yield Point(f"costs/teacher_macs_{cost.variant}", cost.teacher)
        yield Point(f"costs/efficiency_2_agents_{cost.variant}", cost.two)
        yield Point(f"costs/efficiency_an_agent_a_task_{cost.variant}", cost.many)


def _parameters(skill: Skill, collective: Collective) -> dict[str, Any]:
    sequence = skill.sequences[collective.sequence]
    return {
        **collective.model_dump(exclude={"seeds"}),
        "tier": skill.tiers[sequence.tier].model_dump(),
        "validation": sequence.validation,
        "tasks": len(skill.tasks(collective.sequence)),
    }


def _tags(name: str, level: str) -> dict[str, str]:
    return {f"{PREFIX}.experiment": f"skill/{name}", f"{PREFIX}.level": level}


def _note(accuracies: dict[str, np.ndarray]) -> str:
    """The results in percent, which MLflow shows as the description of a run."""

    def last(prefix: str, title: str) -> str:
        own = {key.removeprefix(prefix): values[-1] for key, values in accuracies.items() if key.startswith(prefix)}
        values = [f"{label} {100 * value:.1f}" for label, value in own.items()]
        return f"- {title}: {', '.join(values)}" if values else ""

    titles = {
        "final/": "Without a task oracle, in percent",
        "oracle/": "The task told",
        "mapper/": "Task mapper",
    }
    return "\n".join(line for line in (last(*pair) for pair in titles.items()) if line)
