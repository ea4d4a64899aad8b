"""Accuracy without a task oracle: the mapper names the task, that task's head names the class.

For every variant, after 1..T tasks: `mapper[i][j]` is the share of task j's test images that the mapper over tasks 0..i
gives to task j; `final[i][j]` the share that is also classified rightly by j's head. An image of a wrong task is an error
whatever its head says (reading S21). `oracle[j]` is the accuracy when the task is told.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.data.selection import task_features
from lifelong.methods.skill.bank import Router, head_logits
from lifelong.methods.skill.packet import Packet
from lifelong.methods.skill.packing import task_of
from lifelong.methods.skill.share import open_bank
from lifelong.params.skill import BiasHead, Skill
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors, write_result, write_tensors
from lifelong.runtime.errors import UserError


def evaluate(skill: Skill, name: str, seed: int) -> None:
    """Write scores.json (see above) and what every image was taken for in the end."""
    collective, _ = task_of(skill, name, seed, 0)
    tasks = skill.tasks(collective.sequence)
    tier = skill.sequences[collective.sequence].tier
    tests = [task_features(paths.features(collective.backbone, tier, e.dataset, "test"), e) for e in tasks]
    features = np.concatenate([test.rows for test in tests])
    owners = np.repeat(np.arange(len(tasks)), [len(test) for test in tests])
    labels = np.concatenate([test.labels for test in tests])
    guesses: dict[str, np.ndarray] = {}  # by mapper: [T, n], shared by the variants with one mapper
    scores: dict[str, Any] = {}
    arrays = {"owners": owners, "labels": labels}
    for variant, parts in collective.variants.items():
        bank = open_bank(skill, name, seed, variant, list(range(len(tasks))))
        if bank.refused:
            raise UserError(f"{name}: {bank.refused[0]}; `snakemake` makes the packet anew once it is deleted")
        packets = [bank.packets[entry.name] for entry in tasks]
        if parts.mapper not in guesses:
            guesses[parts.mapper] = routes(packets, collective.mappers[parts.mapper], features)
        head = collective.heads[parts.head]
        if isinstance(head, BiasHead):
            judged = [_judged(name, seed, task, parts.head) for task in range(len(tasks))]
            right = np.concatenate(judged)
        else:
            answers = [head_logits(p, test.rows).argmax(1) for p, test in zip(packets, tests, strict=True)]
            right = np.concatenate(answers) == labels
        scores[variant] = _scores(guesses[parts.mapper], owners, right)
        arrays[f"routes/{parts.mapper}"] = guesses[parts.mapper][-1]
        arrays[f"right/{variant}"] = right
    info = {"tasks": [entry.name for entry in tasks]}
    write_tensors(paths.collective_predictions(name, seed), "skill-predictions", arrays, info)
    write_result(paths.collective_scores(name, seed), {"variants": scores, **info})


def routes(packets: list[Packet], settings: Any, features: np.ndarray) -> np.ndarray:
    """Which task the mapper over the first i + 1 packets gives each image to: int64 [T, n]."""
    if settings.kind == "gmmc":  # what a task scores does not depend on the others, but for the share of its images
        scores = Router(packets, settings).scores(features)
        return np.stack([scores[:, : count + 1].argmax(1) for count in range(len(packets))])
    return np.stack([Router(packets[: count + 1], settings).scores(features).argmax(1) for count in range(len(packets))])


def _judged(name: str, seed: int, task: int, head: str) -> np.ndarray:
    arrays, _ = read_tensors(paths.biased_predictions(name, seed, task, head), "skill-judged")
    return arrays["predictions"] == arrays["labels"]


def _scores(guessed: np.ndarray, owners: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    count = len(guessed)
    mapped = guessed == owners
    mapper = [[float(mapped[i, owners == j].mean()) for j in range(i + 1)] for i in range(count)]
    final = [[float((mapped[i] & right)[owners == j].mean()) for j in range(i + 1)] for i in range(count)]
    return {
        "mapper": mapper,
        "mapper_pooled": [float(mapped[i, owners <= i].mean()) for i in range(count)],
        "final": final,
        "oracle": [float(right[owners == j].mean()) for j in range(count)],
    }
