"""Inference protocols that guess the task of a chunk of consecutive images, from logits (reading P1).

The published ARI and iTAML numbers are of `chunk`: all images of a chunk are known to come from one task, which is more than
per-image class-incremental methods are told; one image a chunk is the fair case.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.data.classes import Classes
from lifelong.params.methods import Heads

CHUNKS = (1, 5, 20, 100)


def chunk_scores(all_logits: Tensor, candidates: int, classes: Classes, chunk: int) -> Tensor:
    """Mean over each chunk of the largest logit within each candidate task: [chunks, candidates].

    all_logits [n, total] of images in the order they are asked; the last chunk may be smaller.
    """
    best = classes.by_task(all_logits, candidates).amax(2).double()
    number = torch.arange(len(best)) // chunk
    chunks = int(number[-1]) + 1
    sums = torch.zeros(chunks, candidates, dtype=best.dtype).index_add_(0, number, best)
    return sums / torch.bincount(number)[:, None]


def guess_tasks(all_logits: Tensor, order: Tensor, candidates: int, classes: Classes, chunk: int) -> Tensor:
    """The task guessed for each image [n]: that of the chunk it lies in when the images are asked in `order` [n]."""
    by_chunk = chunk_scores(all_logits[order], candidates, classes, chunk).argmax(1)
    guessed = torch.empty_like(order)
    guessed[order] = by_chunk[torch.arange(len(order)) // chunk]
    return guessed


def chunk_answers(guessed: Tensor, task: int, within_task: Tensor, classes: Classes) -> Tensor:
    """Answers numbered over the tasks [n]: within the guessed task; -1 where the guess is wrong.

    `within_task` [n] are the answers of the model adapted to `task`: they count where the guess is right; where it is wrong
    no answer can be.
    """
    return torch.where(guessed == task, within_task + classes.offset(task), -1)


def protocols(heads: Heads) -> list[str]:
    """Names of the protocols whose accuracies are kept: with one head over all classes the guessing ones too."""
    guessing = [f"{what}_{p}" for p in CHUNKS for what in ("chunk", "task_prediction")] if heads == "all-classes" else []
    return ["task_incremental", "class_incremental", *guessing]


def answer_by_guess(
    all_logits: Tensor, within_task: Tensor, targets: Tensor, order: Tensor, candidates: int, task: int, classes: Classes
) -> dict[str, tuple[Tensor, Tensor]]:
    """`chunk_p` and `task_prediction_p` -> (predicted, expected) for images [n] of one task, asked in `order`.

    `within_task` are the answers once the task is told, `targets` the labels, both within the task. The first `candidates`
    tasks compete: those seen, and the task asked about where it is still to come (which GEM's forward transfer asks for).
    """
    result: dict[str, tuple[Tensor, Tensor]] = {}
    for chunk in CHUNKS:
        guessed = guess_tasks(all_logits, order, candidates, classes, chunk)
        answers = chunk_answers(guessed, task, within_task, classes)
        result[f"chunk_{chunk}"] = (answers, targets + classes.offset(task))
        result[f"task_prediction_{chunk}"] = (guessed, torch.full_like(guessed, task))
    return result
