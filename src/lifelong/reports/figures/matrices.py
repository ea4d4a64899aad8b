"""The picture of one learner's accuracy on each task after each task, a panel a protocol or variant."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lifelong.reports.figures import style


def draw_matrices(path: Path, title: str, matrices: dict[str, np.ndarray]) -> None:
    """Write R [T, T], shares of 1 (nan: no answer), each under its name."""
    subtitle = "Accuracy on the test images, %, mean over seeds"
    with style.panels(path, len(matrices), title, subtitle, columns=min(len(matrices), 4), values="") as several:
        for axes, (name, r) in zip(several, matrices.items(), strict=True):
            shown = style.heat(axes, 100 * r, name.replace("_", "-").capitalize())
        several[0].figure.colorbar(shown, ax=several, shrink=0.6, aspect=40)
