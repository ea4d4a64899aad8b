"""What agents gain from each other's heads (SKILL, Sec. 7): names that mean the same, and heads as a start for new tasks."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lifelong.data.selection import TaskData, task_features
from lifelong.methods.skill import names
from lifelong.methods.skill.bank import head_logits
from lifelong.methods.skill.packing import task_of
from lifelong.methods.skill.share import open_bank
from lifelong.params.schema import Training
from lifelong.params.skill import Skill
from lifelong.params.skill_reuse import ClassOf, Harvest, Reuse
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors, write_result
from lifelong.runtime.errors import UserError, did_you_mean
from lifelong.runtime.randomness import generator
from lifelong.training.optimisers import Optimiser

THRESHOLDS = (0.95, 0.90)


def reuse(skill: Skill, name: str, seed: int) -> None:
    """Write what names correct, and the learning curves with and without old heads."""
    collective, _ = task_of(skill, name, seed, 0)
    if collective.reuse is None:
        raise UserError(f"skill.collectives.{name}: has no 'reuse', which says what to try")
    tier = skill.sequences[collective.sequence].tier
    entries = {entry.name: entry for entry in skill.tasks(collective.sequence)}
    splits = {
        task: tuple(
            task_features(paths.features(collective.backbone, tier, entry.dataset, split), entry)
            for split in ("train", "test")
        )
        for task, entry in entries.items()
    }
    requested = collective.reuse
    heads = {
        task: _head(splits[task], requested, seed, task) for task in dict.fromkeys([*requested.pairs, *_old(requested)])
    }
    pairs = [_union(splits, heads, requested, seed, *pair) for pair in combinations(requested.pairs, 2)]
    transfers = [_transfer(splits, heads, requested, seed, t.old, t.new) for t in requested.transfers]
    harvests = [_harvest(splits, heads, requested, seed, harvest) for harvest in requested.harvests]
    corrected = correct(skill, name, seed, requested.variant)
    result = {"names": corrected, "pairs": pairs, "transfers": transfers, "harvests": harvests}
    write_result(paths.reused(name, seed), result)


def correct(skill: Skill, name: str, seed: int, variant: str) -> dict[str, Any]:
    """Accuracy by task when an answer of another task counts as right if its name means the true class (Sec. 7.1).

    Within the right task names change nothing: there two classes are two, however near their names.
    """
    collective, _ = task_of(skill, name, seed, 0)
    entries = skill.tasks(collective.sequence)
    tier = skill.sequences[collective.sequence].tier
    tests = [task_features(paths.features(collective.backbone, tier, e.dataset, "test"), e) for e in entries]
    bank = open_bank(skill, name, seed, variant, list(range(len(entries))))
    packets = [bank.packets[entry.name] for entry in entries]
    arrays, _ = read_tensors(paths.collective_predictions(name, seed), "skill-predictions")
    routed = arrays[f"routes/{collective.variants[variant].mapper}"]
    features = np.concatenate([test.rows for test in tests])
    starts = np.cumsum([0, *(len(packet.class_names) for packet in packets)])
    truth = np.concatenate([test.labels for test in tests]) + starts[arrays["owners"]]
    answers = np.zeros(len(features), np.int64)
    for task, packet in enumerate(packets):
        own = routed == task
        answers[own] = head_logits(packet, features[own]).argmax(1) + starts[task]
    every = [label for packet in packets for label in packet.class_names]
    similarity = names.cosines(every, every)
    right = answers == truth
    elsewhere = routed != arrays["owners"]
    rules = {"same name": names.same_name(every, every)} | {f"cosine > {t:g}": similarity > t for t in THRESHOLDS}
    accuracies = {"none": right} | {rule: right | (elsewhere & means[truth, answers]) for rule, means in rules.items()}
    tasks = [entry.name for entry in entries]
    by_task = {
        rule: [float(correct[arrays["owners"] == task].mean()) for task in range(len(tasks))]
        for rule, correct in accuracies.items()
    }
    owner = np.repeat(np.arange(len(packets)), np.diff(starts))
    near = [
        [tasks[owner[a]], every[a], tasks[owner[b]], every[b], round(float(similarity[a, b]), 3)]
        for a, b in zip(*np.nonzero(similarity > THRESHOLDS[-1]), strict=True)
        if owner[a] < owner[b]
    ]
    return {"tasks": tasks, "accuracy": by_task, "near": near}


def normalised(weight: Tensor) -> Tensor:
    """w' = w / max |w| of each row: what a class of the head is in every task (Sec. 7.2, without bias: reading S15)."""
    return weight / weight.abs().amax(1, keepdim=True)


def train_normalised(
    start: Tensor, train: TaskData, test: TaskData, epochs: int, settings: Reuse, source: tuple[int | str, ...]
) -> tuple[Tensor, list[float]]:
    """Adam on the rows of a head that is used as `normalised`; its test accuracy before and after each epoch."""
    weight = start.clone()
    budget = Training(optimiser="adam", learning_rate=settings.learning_rate, batch_size=settings.batch_size, epochs=epochs)
    optimiser = Optimiser(budget, ["weight"], [weight])
    x, y = torch.from_numpy(train.rows), torch.from_numpy(train.labels)
    x_test, y_test = torch.from_numpy(test.rows), torch.from_numpy(test.labels)

    def accuracy() -> float:
        return ((x_test @ normalised(weight).T).argmax(1) == y_test).float().mean().item()

    curve = [accuracy()]
    for epoch in range(epochs):
        for index in torch.randperm(len(y), generator=generator(*source, epoch)).split(settings.batch_size):
            leaf = weight.detach().requires_grad_()
            loss = functional.cross_entropy(x[index] @ normalised(leaf).T, y[index])
            optimiser.step(list(torch.autograd.grad(loss, leaf)), settings.learning_rate)
        curve.append(accuracy())
    return normalised(weight), curve


def random_start(classes: int, features: int, source: tuple[int | str, ...]) -> Tensor:
    """torch's own start of a linear layer."""
    return torch.empty(classes, features).uniform_(-(features**-0.5), features**-0.5, generator=generator(*source))


def _old(settings: Reuse) -> list[str]:
    harvested = [match.old.task for harvest in settings.harvests for match in harvest.matches]
    return [*(transfer.old for transfer in settings.transfers), *harvested]


def _head(split: tuple[TaskData, ...], settings: Reuse, seed: int, task: str) -> Tensor:
    train, test = split
    start = random_start(len(train.names), train.rows.shape[1], (seed, "reuse", task))
    return train_normalised(start, train, test, settings.epochs, settings, (seed, "reuse", task))[0]


def _union(splits: Any, heads: dict[str, Tensor], settings: Reuse, seed: int, one: str, two: str) -> dict[str, Any]:
    """The task of all classes of two tasks, from their heads together and from a random start (Fig. 11)."""
    train, test = (_joined(splits[one][part], splits[two][part]) for part in (0, 1))
    both = torch.cat([heads[one], heads[two]])
    source = (seed, "union", one, two)
    fresh = random_start(len(train.names), train.rows.shape[1], source)
    curves = [train_normalised(start, train, test, settings.epochs, settings, source)[1] for start in (both, fresh)]
    return {"tasks": [one, two], "reused": curves[0], "random": curves[1]}


def _joined(one: TaskData, two: TaskData) -> TaskData:
    rows, labels = np.concatenate([one.rows, two.rows]), np.concatenate([one.labels, two.labels + len(one.names)])
    return TaskData(rows, labels, one.names + two.names)


def _transfer(splits: Any, heads: dict[str, Tensor], settings: Reuse, seed: int, old: str, new: str) -> dict[str, Any]:
    """A new task from the rows of an old one's most similar names, with few images a class (Tab. 3)."""
    train, test = splits[new]
    similarity = names.cosines(train.names, splits[old][0].names)
    matched = np.flatnonzero(similarity.max(1) > settings.similarity)
    results = {}
    for shots in (None, *settings.shots):
        part = train if shots is None else train.at(_few(train.labels, shots, seed))
        source = (seed, "transfer", old, new, shots or 0)
        fresh = random_start(len(train.names), train.rows.shape[1], source)
        warm = fresh.clone()
        warm[matched] = heads[old][similarity[matched].argmax(1)]
        curves = [train_normalised(start, part, test, settings.epochs, settings, source)[1] for start in (warm, fresh)]
        results["all" if shots is None else str(shots)] = {"reused": curves[0], "random": curves[1]}
    pairs = [[train.names[c], splits[old][0].names[int(similarity[c].argmax())]] for c in matched]
    return {"old": old, "new": new, "matched": pairs, "shots": results}


def _harvest(splits: Any, heads: dict[str, Tensor], settings: Reuse, seed: int, harvest: Harvest) -> dict[str, Any]:
    """A new task of classes of several tasks, each row from a similar class of another task's head (Fig. 12)."""
    chosen = [(match.new.task, place(splits, match.new)) for match in harvest.matches]
    train, test = (_of_classes(splits, chosen, part) for part in (0, 1))
    source = (seed, "harvest", harvest.name)
    warm = torch.stack([heads[match.old.task][place(splits, match.old)] for match in harvest.matches])
    fresh = random_start(len(chosen), train.rows.shape[1], source)
    curves = [train_normalised(start, train, test, settings.epochs, settings, source)[1] for start in (warm, fresh)]
    pairs = [[match.new.label, match.old.label] for match in harvest.matches]
    return {"name": harvest.name, "matched": pairs, "reused": curves[0], "random": curves[1]}


def place(splits: Any, wanted: ClassOf) -> int:
    """The number of a class within its task; UserError where the task has none of that name."""
    names = [name.partition(",")[0] for name in splits[wanted.task][0].names]
    if wanted.label not in names:
        raise UserError(f"skill reuse: {wanted.task} has no class {wanted.label!r}; {did_you_mean(wanted.label, names)}")
    return names.index(wanted.label)


def _of_classes(splits: Any, chosen: list[tuple[str, int]], part: int) -> TaskData:
    """The images of these classes of several tasks, numbered in this order."""
    result = [(splits[task][part].rows, splits[task][part].labels == label) for task, label in chosen]
    rows = np.concatenate([rows[own] for rows, own in result])
    labels = np.repeat(np.arange(len(result)), [own.sum() for _, own in result])
    return TaskData(rows, labels, tuple(splits[task][0].names[label] for task, label in chosen))


def _few(labels: np.ndarray, shots: int, seed: int) -> np.ndarray:
    parts = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        order = torch.randperm(len(own), generator=generator(seed, "shots", int(label))).numpy()
        parts.append(own[order[:shots]])
    return np.sort(np.concatenate(parts))
