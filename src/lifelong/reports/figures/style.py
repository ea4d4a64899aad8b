"""How figures look: one style, colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lifelong.reports.cells import Cell
from lifelong.reports.drawing import write_figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's palette; the yellow, too pale on white, gives way to grey."""

MARKERS = "osD^vP*X"

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

WIDTH = 3.6  # of a panel, inches
HEIGHT = 3.0


@contextmanager
def panels(path: Path, count: int, columns: int | None = None, width: float = WIDTH) -> Iterator[list[Axes]]:
    """Axes of `width` inches side by side (in `columns` of them); what the block draws is written to `path` when it ends."""
    across = columns or count
    down = -(-count // across)
    size = (max(width * across, 5.0), HEIGHT * down)
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).flatten().tolist()
        for spare in axes[count:]:
            spare.remove()
        yield axes[:count]
        write_figure(path, figure, dpi=160)


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def line(axes: Axes, cells: Sequence[Cell], number: int, label: str, dashed: bool = False) -> None:
    """Means against x with a band of one deviation on either side."""
    x = [cell.x for cell in cells if cell.x is not None]
    mean = [cell.mean for cell in cells]
    marker, linestyle = MARKERS[number % len(MARKERS)], "--" if dashed else "-"
    axes.plot(x, mean, color=colour(number), label=label, marker=marker, linestyle=linestyle)
    low = [cell.mean - (cell.deviation or 0) for cell in cells]
    high = [cell.mean + (cell.deviation or 0) for cell in cells]
    axes.fill_between(x, low, high, color=colour(number), alpha=0.18, linewidth=0)


def crosses(axes: Axes, places: Sequence[float], number: int) -> None:
    """Crosses on the axis, at what has no value to stand at."""
    on_axis = axes.get_xaxis_transform()
    looks: dict[str, Any] = {"color": colour(number), "markersize": 7, "clip_on": False, "in_layout": False}
    axes.plot(places, [0.0] * len(places), "x", transform=on_axis, **looks)


def ticks_at(axes: Axes, places: Sequence[float]) -> None:
    """Ticks at the values of x that there are, and nowhere else."""
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.xaxis.set_minor_locator(NullLocator())


def steps(axes: Axes, cells: Sequence[Cell], number: int, label: str) -> None:
    """A histogram's outline over the middles of its bins; empty bins leave a gap, since a logarithm has no 0."""
    x = [cell.x for cell in cells if cell.x is not None]
    heights = [cell.mean if cell.mean > 0 else float("nan") for cell in cells]
    axes.step(x, heights, where="mid", color=colour(number), label=label)


def level(axes: Axes, cell: Cell, number: int, label: str) -> None:
    """A value without x: a dashed line across, with its band."""
    axes.axhline(cell.mean, color=colour(number), linestyle="--", label=label)
    if cell.deviation is not None:
        low, high = cell.mean - cell.deviation, cell.mean + cell.deviation
        axes.axhspan(low, high, color=colour(number), alpha=0.12, linewidth=0)


def bars(axes: Axes, groups: Sequence[str], series: Sequence[tuple[str, Sequence[Cell | None]]]) -> None:
    """For each group a bar of every series, with one deviation as error bar; absent cells leave a gap."""
    share = 0.8 / len(series)
    for number, (label, cells) in enumerate(series):
        for place, cell in enumerate(cells):
            if cell is None:
                continue
            axes.bar(
                place + (number - (len(series) - 1) / 2) * share,
                cell.mean,
                share * 0.94,
                color=colour(number if len(series) > 1 else place),
                yerr=cell.deviation,
                error_kw={"elinewidth": 1, "capsize": 3},
            )
        if len(series) > 1:
            axes.bar(0, 0, color=colour(number), label=label)
    tilted = len(groups) > 3 and sum(map(len, groups)) > 30
    axes.set_xticks(range(len(groups)), groups, rotation=25 if tilted else 0, ha="right" if tilted else "center")
    axes.grid(axis="x", visible=False)
    if len(series) > 1:  # above, where no bar can be behind it
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), borderaxespad=0)


def zoom(axes: Axes, cells: Sequence[Cell]) -> None:
    """Cuts an axis of bars that differ by little, and says so."""
    ends = [(cell.mean - (cell.deviation or 0), cell.mean + (cell.deviation or 0)) for cell in cells]
    if not ends:
        return
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    spread = high - low
    if 0 < spread < abs(low) / 3 and low * high > 0:
        bounds = (low - spread, high + 0.2 * spread) if low > 0 else (low - 0.2 * spread, high + spread)
        axes.set_ylim(*bounds)
        axes.set_title("axis does not start at 0", fontsize=7, loc="left", color="#555555")
