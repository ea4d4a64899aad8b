"""What the scores of one variant of a collective come to."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.evaluation.metrics import square


def measures(variant: dict[str, Any]) -> dict[str, Any]:
    """Numbers and curves of one variant of one seed, shares of 1 except where `mean over tasks` is said in percent."""
    count = len(variant["final"])
    final, mapper = square(variant["final"], count), square(variant["mapper"], count)
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = final / np.diag(final)
    return {
        "final": 100 * np.nanmean(final[-1]),
        "oracle": 100 * np.mean(variant["oracle"]),
        "mapper": 100 * np.nanmean(mapper[-1]),
        "normalised": 100 * np.nanmean(normalised[-1]),
        "first": 100 * final[-1, 0],
        "first_curve": final[:, 0],
        "mapper_curve": np.nanmean(mapper, 1),
        "final_curve": np.nanmean(final, 1),
        "normalised_matrix": normalised,
        "mapper_tasks": mapper[-1],
        "oracle_tasks": np.array(variant["oracle"]),
        "final_tasks": final[-1],
    }
