"""Metrics of an accuracy matrix R [T, T]: R[i, j] is the accuracy on task j after learning task i (reading P2).

Two papers call two different things FWT; they have two names here. A metric is None where the matrix cannot give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def matrix(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    """float64 [T, T] with NaN where there is no accuracy."""
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)


def square(rows: Sequence[Sequence[float]], count: int) -> np.ndarray:
    """R [T, T] of triangular rows; tasks not yet learnt are NaN. The one row of a joint learner is the last."""
    r = np.full((count, count), np.nan)
    for i, row in enumerate(rows, count - len(rows)):
        r[i, : len(row)] = row
    return r


def acc(r: np.ndarray) -> float | None:
    """Mean over tasks j of R[T, j] (ANPyC Eq. 10 as in reading N10)."""
    return _value(r[-1].mean())


def bwt(r: np.ndarray) -> float | None:
    """Mean over j < T of R[T, j] - R[j, j] (ANPyC Eq. 12)."""
    if len(r) < 2:
        return None
    return _value((r[-1] - np.diag(r))[:-1].mean())


def smt(r: np.ndarray) -> float | None:
    """Mean over j < T of the variance of R[j, j], R[j+1, j], ..., R[T, j], in squared shares (ANPyC Eq. 13, reading N19)."""
    if len(r) < 2:
        return None
    return _value(np.mean([np.var(r[j:, j]) for j in range(len(r) - 1)]))


def forgetting(r: np.ndarray) -> float | None:
    """Mean over j < T of max over j <= i < T of R[i, j] - R[T, j] (Chaudhry et al. 2018, Riemannian Walk)."""
    if len(r) < 2:
        return None
    return _value(np.mean([np.max(r[j:-1, j]) - r[-1, j] for j in range(len(r) - 1)]))


def fwt_gem(r: np.ndarray, initial: Sequence[float]) -> float | None:
    """Mean over j > 1 of R[j-1, j] - b[j], with b the accuracies before any learning (GEM's forward transfer)."""
    if len(r) < 2:
        return None
    return _value((np.diag(r, 1) - np.asarray(initial, dtype=float)[1:]).mean())


def fwt_joint(r: np.ndarray, joint: Sequence[float]) -> float | None:
    """Mean over j > 1 of R[j, j] - m[j], with m the accuracies of joint training (ANPyC Eq. 11)."""
    if len(r) < 2:
        return None
    return _value((np.diag(r) - np.asarray(joint, dtype=float))[1:].mean())


def all_metrics(
    rows: Sequence[Sequence[float | None]], initial: Sequence[float] | None, joint: Sequence[float] | None
) -> dict[str, float | None]:
    """Every metric of one seed, as shares (not percent)."""
    r = matrix(rows)
    return {
        "acc": acc(r),
        "bwt": bwt(r),
        "smt": smt(r),
        "fwt_gem": fwt_gem(r, initial) if initial is not None else None,
        "fwt_joint": fwt_joint(r, joint) if joint is not None else None,
    }


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, sample deviation (n - 1; none for one seed) and n."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return {"mean": None, "deviation": None, "n": len(known)}
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {"mean": float(np.mean(known)), "deviation": deviation, "n": len(known)}


def _value(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
