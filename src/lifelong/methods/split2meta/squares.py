"""Sums of F F^T, as second moments are made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Moments = dict[str, Tensor]
"""Layer -> [rows, rows], float64."""


class SummedSquares:
    """The sum of F F^T over factors F [rows, n], by layer, in float64.

    Factors wait until they have as many columns as rows: wide products are faster than many narrow ones, and that is no more
    memory than the sum itself and one more factor. The symmetric product of BLAS does half the work of a general one.
    """

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}  # Fortran order, the upper triangle alone
        self._waiting: dict[str, list[Tensor]] = {}

    def add(self, name: str, factor: Tensor) -> None:
        """Add F F^T of F [rows, n], float64."""
        waiting = self._waiting.setdefault(name, [])
        waiting.append(factor)
        if sum(one.shape[1] for one in waiting) >= len(factor):
            self._multiply(name)

    def moments(self) -> Moments:
        """The sums as whole matrices."""
        for name in self._waiting:
            self._multiply(name)
        return {
            name: torch.from_numpy(np.ascontiguousarray(np.triu(total) + np.triu(total, 1).T))
            for name, total in self._sums.items()
        }

    def _multiply(self, name: str) -> None:
        from scipy.linalg.blas import dsyrk
        from threadpoolctl import threadpool_limits

        waiting, self._waiting[name] = self._waiting[name], []
        if not waiting:
            return
        rows = len(waiting[0])
        factor = torch.cat([one.T for one in waiting]).numpy()  # [n, rows]; its transpose is in Fortran order
        before = self._sums.get(name)
        total = np.zeros((rows, rows), order="F") if before is None else before
        # SciPy has threads of its own, whose number would change the rounding.
        with threadpool_limits(torch.get_num_threads(), user_api="blas"):
            self._sums[name] = dsyrk(1.0, factor.T, beta=1.0, c=total, overwrite_c=True)
