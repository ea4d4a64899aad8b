"""The directions of a layer's inputs that earlier tasks do not use, and the projection of updates onto them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 1e-12
"""Of the largest eigenvalue: below it an eigenvalue is rounding (reading M3)."""


@dataclass(frozen=True)
class Subspace:
    """Kept directions of a layer's input space, by the smaller of two orthonormal bases.

    Attributes:
        basis: [rows, k]: of what is kept, or of what is taken out.
        kept: which of the two.
    """

    basis: Tensor
    kept: bool

    @property
    def dimensions(self) -> int:
        """How many directions are kept."""
        count, columns = self.basis.shape
        return columns if self.kept else count - columns

    def project(self, update: Tensor) -> Tensor:
        """update [out, rows] times P = U U^T, U the kept directions (paper Eq. 6): U U^T or I - V V^T, V the others."""
        within = (update @ self.basis) @ self.basis.T
        return within if self.kept else update - within

    def taken_out(self) -> Tensor:
        """V V^T, [rows, rows]: the projection onto what is not kept, float64."""
        basis = self.basis.double()
        within = basis @ basis.T
        return torch.eye(len(basis), dtype=torch.float64) - within if self.kept else within


def find_subspace(moment: Tensor, rule: str, threshold: float, before: Subspace | None = None) -> Subspace:
    """The kept directions of a second moment [rows, rows] (float64, positive semi-definite), float32.

    With `before`, only directions kept there can be kept: what is taken out stays out, so the dimensions never grow.
    """
    if before is not None:
        out = before.taken_out()
        inside = torch.eye(len(out), dtype=out.dtype) - out
        # Beyond every eigenvalue of the moment, so that these come last.
        lifted = inside @ moment @ inside + 2 * moment.trace().clamp_min(1) * out
    else:
        lifted = moment
    values, vectors = torch.linalg.eigh(lifted)
    available = len(moment) if before is None else before.dimensions
    count = kept_count(values[:available], rule, threshold, moment.trace().item())
    basis = vectors.float()
    kept = 2 * count <= len(moment)
    return Subspace((basis[:, :count] if kept else basis[:, count:]).contiguous(), kept)


def kept_count(values: Tensor, rule: str, threshold: float, total: float) -> int:
    """How many of the ascending eigenvalues count as unused.

    `ratio` (NSP's a, released): those at most `threshold` times the smallest, itself at least 1e-12 of the largest, as
    exact zeros occur (reading M3). `energy`: as many of the smallest as together hold at most `threshold` of `total`,
    the moment's trace.
    """
    values = values.clamp_min(0)
    if not len(values):
        return 0
    if rule == "ratio":
        smallest = torch.maximum(values[0], FLOOR * values[-1])
        return int((values <= threshold * smallest).sum())
    return int((values.cumsum(0) <= threshold * total).sum())


def to_tensors(subspaces: Mapping[str, Subspace]) -> dict[str, Tensor]:
    """Named for a state: `kept/<layer>` or `out/<layer>`."""
    return {f"{'kept' if space.kept else 'out'}/{name}": space.basis for name, space in subspaces.items()}


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Subspace]:
    """The reverse of `to_tensors`."""
    result = {}
    for key, basis in tensors.items():
        side, _, name = key.partition("/")
        result[name] = Subspace(basis, side == "kept")
    return result
