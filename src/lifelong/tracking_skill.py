"""From the files of a collective to MLflow: one run for the collective and, nested in it, one for each seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lifelong import layout
from lifelong.artifacts import file_digest, missing, read_json
from lifelong.config import Settings
from lifelong.config.skill import Collective, Skill
from lifelong.mlflow_runs import NOTE, PREFIX, Home, Point, Record, bring, flat, known
from lifelong.paper import skill_baselines
from lifelong.paper.collective import measures
from lifelong.paper.own_costs import own_costs

DESCRIPTION = f"""\
SKILL: one run for each collective of agents (means over its seeds) and, nested in it, one for each seed. The means alone:
`tags.{PREFIX}.level = 'collective'`

Metrics are shares of 1, of the test images, by variant:

- `final/...` at step i: the mean over tasks 0 to i without a task oracle, after task i; the last is the result
- `mapper/...` at step i: of the task mapper alone; `oracle/...`: of the heads when the task is told
- `first/...` at step i: on the first task; `normalised/...`: after the last task over just after each task
- `on_task/..._j` at step i: on task j after task i
- `baseline_told/...`, `baseline_free/...` at step i: of learners of one network, the task told or not
- `packet_bytes/...`: the mean size of a packet; `costs/...`: counted multiply-accumulates of all teachers, efficiencies
- `banks/...`: how many were compared, whether all are the same (1) or not (0), how many packets they refused
- `std/...`: deviation of each result over the seeds (n - 1), and their number n
"""

ONCE = ("oracle", "normalised")
EPOCHS = 30
"""Of training, in the counted costs (dossier S13)."""


def track_collective(settings: Settings, name: str) -> None:
    """Bring the collective's runs in MLflow in line with its files, and write the receipt.

    Raises:
        UserError: a file is missing, or MLflow cannot be reached or refuses.
    """
    collective = settings.skill.collective(name)
    home = Home(f"{PREFIX}/skill-{collective.sequence}", DESCRIPTION)
    again = f"The results are safe in {layout.collective(name, 0).parent}; mend this, then run `lifelong skill track {name}`"
    receipt = layout.tracked_collective(name)
    bring(settings.tracked_at(), home, f"skill/{name}", _records(settings, name), receipt, again)


def _records(settings: Settings, name: str) -> list[Record]:
    """The collective's own record, then those of its seeds."""
    skill = settings.skill
    collective = skill.collective(name)
    scores = [read_json(layout.collective_scores(name, seed)) for seed in range(collective.seeds)]
    by_seed = [_accuracies(name, collective, seed, one) for seed, one in enumerate(scores)]
    means = {key: np.mean([one[key] for one in by_seed], 0) for key in by_seed[0]}
    shared = tuple(_shared(name, collective))
    own = Record(
        key=f"skill/{name}",
        name=name,
        parameters=flat({**_parameters(skill, collective), "collective": name, "seeds": collective.seeds}),
        tags={**_tags(name, "collective"), NOTE: _note(means)},
        points=(*_points(means), *_deviations(by_seed), *shared, *_costs(settings, name)),
    )
    return [own, *(_seed_record(skill, name, seed, one) for seed, one in enumerate(by_seed))]


def _seed_record(skill: Skill, name: str, seed: int, accuracies: dict[str, np.ndarray]) -> Record:
    collective = skill.collective(name)
    tasks = range(len(skill.tasks(collective.sequence)))
    files = [layout.collective_scores(name, seed), layout.collective_predictions(name, seed)]
    files += [layout.packet(name, seed, task, variant) for task in tasks for variant in collective.variants]
    for path in files:
        if not path.is_file():
            raise missing(path)
    digests = {f"sha256/{path.relative_to(files[0].parent)}": file_digest(path) for path in files}
    return Record(
        key=f"skill/{name}/seed-{seed}",
        name=f"{name} seed {seed}",
        parameters=flat({**_parameters(skill, collective), "collective": name, "seed": seed}),
        tags={**_tags(name, "seed"), **digests, NOTE: _note(accuracies)},
        points=tuple(_points(accuracies)),
    )


def _accuracies(name: str, collective: Collective, seed: int, scores: dict[str, Any]) -> dict[str, np.ndarray]:
    """Metric -> its values at steps 0..T-1 (nan: none), shares of 1. What has one value has one step."""
    found: dict[str, np.ndarray] = {}
    for variant in collective.variants:
        one = measures(scores["variants"][variant])
        for metric in ("final", "mapper", "first"):
            found[f"{metric}/{variant}"] = np.asarray(one[f"{metric}_curve"])
        for metric in ONCE:
            found[f"{metric}/{variant}"] = np.array([one[metric] / 100])
        r = skill_baselines.square(scores["variants"][variant]["final"], len(scores["tasks"]))
        found |= {f"on_task/{variant}_{j:0{len(str(len(r) - 1))}}": r[:, j] for j in range(len(r))}
    for label in collective.baselines.learners if collective.baselines else ():
        learnt = read_json(layout.baseline(name, seed, label))
        for how in ("told", "free"):
            if learnt[how]:
                r = skill_baselines.square(learnt[how], len(scores["tasks"]))
                found[f"baseline_{how}/{label}"] = _means_so_far(r)
    return found


def _means_so_far(r: np.ndarray) -> np.ndarray:
    """[T, T] -> [T]: the mean over the tasks learnt, nan where there is no row."""
    return np.where(np.tri(len(r), dtype=bool), r, 0).sum(1) / np.arange(1, len(r) + 1)


def _points(accuracies: dict[str, np.ndarray]) -> Iterator[Point]:
    for key, values in accuracies.items():
        for step, value in enumerate(values):
            yield from known(key, float(value), step)


def _deviations(by_seed: list[dict[str, np.ndarray]]) -> Iterator[Point]:
    if len(by_seed) > 1:
        for key in by_seed[0]:
            if not key.startswith("on_task/"):
                last = [float(one[key][-1]) for one in by_seed]
                yield from known("std/" + key.replace("/", "_"), float(np.std(last, ddof=1)))
    yield Point("std/n", len(by_seed))


def _shared(name: str, collective: Collective) -> Iterator[Point]:
    """Sizes of packets, and whether all banks of a seed are the same."""
    compared, refused, same = 0, 0, True
    for seed in range(collective.seeds):
        banks = [read_json(layout.bank(name, seed, n, agent))["variants"] for n in collective.agents for agent in range(n)]
        for bank in banks:
            same &= all(held["sha256"] == banks[0][variant]["sha256"] for variant, held in bank.items())
            refused += sum(len(held["refused"]) for held in bank.values())
            compared += len(bank)
        if seed == 0:
            for variant, held in banks[0].items():
                yield Point(f"packet_bytes/{variant}", float(np.mean(list(held["bytes"].values()))))
    yield from (Point("banks/compared", compared), Point("banks/same", float(same)), Point("banks/refused", refused))


def _costs(settings: Settings, name: str) -> Iterator[Point]:
    for cost in own_costs(settings.skill, name, EPOCHS):
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
        "baseline_told/": "One network, the task told",
        "baseline_free/": "One network, not told",
    }
    return "\n".join(line for line in (last(*pair) for pair in titles.items()) if line)
