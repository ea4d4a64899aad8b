"""How many classes each task of a sequence has, and where their outputs lie when all stand side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

ABSENT = -1e9
"""Stands for the logit of a class that a smaller task lacks: its probability is exactly 0 in float32."""


@dataclass(frozen=True)
class Classes:
    """Classes are numbered over the tasks, task by task: label k of task t is number `offset(t) + k`."""

    sizes: tuple[int, ...]

    def __len__(self) -> int:
        """How many tasks there are."""
        return len(self.sizes)

    @property
    def total(self) -> int:
        return sum(self.sizes)

    @property
    def largest(self) -> int:
        return max(self.sizes)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(self.sizes)]

    def offset(self, task: int) -> int:
        """The number of the task's first class; of task T, how many classes the first T tasks have."""
        return self._starts[task]

    def span(self, task: int) -> slice:
        """The task's classes among all."""
        return slice(self._starts[task], self._starts[task + 1])

    def owner(self, labels: Tensor) -> Tensor:
        """The task that each class number belongs to."""
        if self.equal:
            return labels // self.largest
        ends = torch.tensor(self._starts[1:], device=labels.device)
        return torch.bucketize(labels, ends, right=True)

    def within(self, labels: Tensor) -> Tensor:
        """The label within its own task of each class number."""
        if self.equal:
            return labels % self.largest
        return labels - torch.tensor(self._starts, device=labels.device)[self.owner(labels)]

    def by_task(self, all_logits: Tensor, tasks: int | None = None) -> Tensor:
        """Logits [..., total] of all classes as [..., tasks, largest], of the first `tasks`; what is missing is `ABSENT`."""
        count = len(self) if tasks is None else tasks
        known = all_logits[..., : self.offset(count)]
        if self.equal:
            return known.unflatten(-1, (count, self.largest))
        parts = known.split(self.sizes[:count], dim=-1)
        padded = [torch.nn.functional.pad(part, (0, self.largest - part.shape[-1]), value=ABSENT) for part in parts]
        return torch.stack(padded, dim=-2)

    @cached_property
    def equal(self) -> bool:
        """Whether all tasks have as many classes."""
        return len(set(self.sizes)) == 1
