"""Per-task gates: what the outputs of each hidden unit are multiplied by while a task is learnt or asked about.

As tensors, in the group `gates` of a state, they are [tasks, width] for each hidden layer, `hidden.<number>`; a network
applies one task's row of each, its `gate`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lifelong.runtime.randomness import draw_on_processor

GateTable = Mapping[str, Tensor]
"""`hidden.<number>` -> [tasks, width]: a row a task."""


class Gate(nn.Module):
    """Gives the gates [width] of hidden layer `number` for the task at hand."""

    def forward(self, number: int) -> Tensor:
        raise NotImplementedError


class FixedGate(Gate):
    """One task's rows of a table, which do not learn."""

    def __init__(self, table: GateTable, task: int) -> None:
        super().__init__()
        self._rows = [table[f"hidden.{number}"][task] for number in range(len(table))]

    def forward(self, number: int) -> Tensor:
        return self._rows[number]


def draw_gates(widths: list[int], fraction_off: float, generators: list[torch.Generator]) -> dict[str, Tensor]:
    """A table of 0 and 1: each task, with its own generator, closes round(fraction_off * width) units of every layer."""
    table = {f"hidden.{number}": torch.ones(len(generators), width) for number, width in enumerate(widths)}
    for task, generator in enumerate(generators):
        for number, width in enumerate(widths):
            closed = draw_on_processor(torch.randperm, width, generator=generator)[: round(fraction_off * width)]
            table[f"hidden.{number}"][task, closed] = 0
    return table
