"""How every picture of the project looks: one frame, one palette, colours by method.

A picture has its title and what it is of (data, seeds, protocol) on top, then the key, then the panels, then remarks.
Labels stand beside lines or in the key, never over data. An axis of values that leaves out 0 wears the mark of a break.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from lifelong.reports.cells import Cell
from lifelong.runtime.artifacts import write_bytes

BLUE, VERMILION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#888888"
PALETTE = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, BLACK, GREY)
"""Okabe and Ito's; the yellow, too pale on white, gives way to grey."""

INK, MUTED = "#222222", "#5A5A5A"
MARKERS = "osD^vP*X"
MAP = "viridis"


class Look(NamedTuple):
    """Of one method, wherever it is drawn."""

    colour: str
    marker: str = "o"
    dash: str = "-"


METHODS = {
    "ANPyC": Look(GREEN),
    "ARI": Look(VERMILION),
    "ARI, paper": Look(VERMILION),
    "ARI, literal": Look(ORANGE, "s"),
    "ARI, literal, slower": Look(ORANGE, "v", "--"),
    "ARI, intent": Look(PINK, "D"),
    "Split2MetaFusion": Look(PINK, "P"),
    "Meta": Look(PINK, "P"),
    "TPNSP + meta": Look(PINK, "P"),
    "TPNSP + linear": Look(SKY, "X"),
    "NSP + linear": Look(GREY, "X"),
    "TPNSP": Look(VERMILION, "s"),
    "NSP": Look(BLUE),
    "Connector": Look(GREEN, "^"),
    "GMMC": Look(BLUE),
    "MAHA": Look(VERMILION, "s"),
    "MAHA-shrunk": Look(GREEN, "D"),
    "BB-GMMC": Look(SKY, "^", "--"),
    "BB-MAHA": Look(ORANGE, "v", "--"),
    "BB-MAHA-shrunk": Look(PINK, "P", "--"),
    "SGD": Look(GREY, "X"),
    "SGD-F": Look(GREY, "s", "--"),
    "Fine-tuning": Look(BLACK, "v"),
    "Joint": Look(BLACK, "*", "--"),
    "EWC": Look(BLUE, "s"),
    "EWC-online": Look(BLUE, "^", ":"),
    "SI": Look(SKY, "D"),
    "MAS": Look(ORANGE, "^"),
    "MAS importance": Look(ORANGE, "^"),
    "LwF": Look(PINK, "v"),
    "HAT": Look(VERMILION, "P"),
    "XdG": Look(VERMILION, "X", ":"),
    "ER": Look(GREEN, "s"),
    "DER++": Look(GREEN, "D", "--"),
    "GEM": Look(SKY, "v"),
    "A-GEM": Look(SKY, "P", "--"),
    "iCaRL": Look(BLUE, "*"),
    "iTAML": Look(BLACK, "D"),
    "PSP": Look(ORANGE, "X"),
    "SupSup": Look(PINK, "*", "--"),
    "PLOP": Look(ORANGE, "D"),
    "RWalk": Look(ORANGE, "v", ":"),
}
"""Every method looks the same in all pictures; what has no entry takes what is left of the palette."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.6,
}

WIDTH, HEIGHT = 3.6, 2.9  # of a panel, inches
DPI = 130


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """The look of each label of one picture, no two alike."""
    known = {label: METHODS[_method(label)] for label in labels if _method(label) in METHODS}
    used = list(known.values())
    free = [colour for colour in PALETTE if colour not in {look.colour for look in used}]
    left = [Look(colour, MARKERS[number]) for number, colour in enumerate(free)]
    left += [Look(colour, marker, "--") for marker in MARKERS for colour in PALETTE]
    unused = (look for look in left if look not in used)
    known |= {label: next(unused) for label in labels if label not in known}
    return {label: known[label] for label in labels}


def _method(label: str) -> str:
    return label.removeprefix("SKILL ")


@contextmanager
def panels(
    path: Path,
    count: int,
    title: str,
    subtitle: str,
    *,
    note: str = "",
    columns: int | None = None,
    width: float = WIDTH,
    height: float = HEIGHT,
    values: Literal["x", "y", ""] = "y",
    share: Literal["x", "y", ""] = "",
) -> Iterator[list[Axes]]:
    """Panels side by side (in `columns` of them) in the project's frame; the picture is written to `path` in the end.

    `values` is the axis whose start away from 0 is marked; `share` one that all panels have in common.
    """
    across = columns or count
    down = -(-count // across)
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(max(width * across, 5.2), height * down), layout="constrained")
        found = figure.subplots(down, across, squeeze=False, sharex=share == "x", sharey=share == "y").flatten().tolist()
        for spare in found[count:]:
            spare.remove()
        yield found[:count]
        _frame(figure, title, subtitle, note)
        for axes in found[:count]:
            if values and axes.axison:
                _mark_break(axes, values)
        write_figure(path, figure)


def write_figure(path: Path, figure: Figure) -> None:
    """Save a figure as PNG: the same figure gives the same bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, drawn.getvalue())


def _frame(figure: Figure, title: str, subtitle: str, note: str) -> None:
    """Title, subtitle and key above the panels, remarks below them; the picture grows by what they need."""
    wide, high = figure.get_size_inches()
    texts = {
        "title": _wrap(title, wide, 11, {"weight": "bold"}),
        "subtitle": _wrap(subtitle, wide, 8.5, {"color": MUTED}),
        "note": _wrap(note, wide, 8, {"color": MUTED}),
    }
    key = _key(figure, wide)
    above = 0.08 + texts["title"][1] + texts["subtitle"][1] + key[1]
    below = 0.05 + texts["note"][1]
    whole = high + above + below
    figure.set_size_inches(wide, whole)
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, below / whole, 1, high / whole))
    top = whole - 0.06
    for name in ("title", "subtitle"):
        text, tall, kept = texts[name]
        figure.text(0.08 / wide, top / whole, text, va="top", in_layout=False, **kept)
        top -= tall
    if key[0]:
        handles, columns = key[0]
        figure.legend(
            handles=list(handles.values()),
            labels=list(handles),
            ncols=columns,
            loc="upper left",
            bbox_to_anchor=(0.02 / wide, top / whole),
            borderaxespad=0,
            columnspacing=1.4,
        ).set_in_layout(False)
    text, tall, kept = texts["note"]
    if text:
        figure.text(0.08 / wide, (tall + 0.02) / whole, text, va="top", in_layout=False, **kept)


def _wrap(text: str, wide: float, size: float, looks: Mapping[str, Any]) -> tuple[str, float, dict[str, Any]]:
    """The text in lines that fit, how many inches they need, and how they are set."""
    if not text:
        return "", 0.0, {}
    letters = int((wide - 0.2) * 72 / (size * (0.62 if looks.get("weight") else 0.55)))
    lines = textwrap.wrap(text, letters)
    return "\n".join(lines), len(lines) * size * 1.4 / 72, {"fontsize": size, "linespacing": 1.2, **looks}


def _key(figure: Figure, wide: float) -> tuple[tuple[dict[str, Any], int] | None, float]:
    """What is drawn by name, in how many columns, and the inches that it needs; lines of one panel are named beside it."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    lines = [one for one in handles.values() if hasattr(one, "get_xdata")]
    if len(figure.axes) == 1 and handles and all(len(one.get_xdata()) > 1 for one in lines) and len(lines) == len(handles):
        _label_lines(figure.axes[0])
        return None, 0.0
    if len(handles) < 2:
        return None, 0.0
    column = 0.55 + max(map(len, handles)) * 8.5 * 0.58 / 72
    columns = max(1, min(len(handles), int((wide - 0.1) / column)))
    rows = -(-len(handles) // columns)
    return (handles, columns), rows * 0.175 + 0.1


def _label_lines(axes: Axes) -> None:
    """Each line's name at its right end, moved apart where ends lie close together."""
    size = 8.5
    named = [one for one in axes.get_lines() if not str(one.get_label()).startswith("_")]
    high = axes.get_figure().get_size_inches()[1] * 72 * 0.8  # type: ignore[union-attr]
    axes.set_ylim(*axes.get_ylim())
    ends = []
    for one in named:
        place = axes.transData.transform((0, np.asarray(one.get_ydata(), float)[-1]))
        ends.append(float(axes.transAxes.inverted().transform(place)[1]))
    gap = 1.35 * size / high
    order = sorted(range(len(named)), key=lambda number: (ends[number], -number))
    places = [ends[number] for number in order]
    for _ in range(200):  # neighbours that are too close push one another away
        for low in range(len(places) - 1):
            missing = gap - (places[low + 1] - places[low])
            if missing > 0:
                places[low], places[low + 1] = places[low] - missing / 2, places[low + 1] + missing / 2
    for number, up in zip(order, places, strict=True):
        one = named[number]
        axes.annotate(
            str(one.get_label()),
            xy=(1, ends[number]),
            xytext=(1.06, up),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=size,
            color=one.get_color(),
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": one.get_color(), "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )


def _mark_break(axes: Axes, which: Literal["x", "y"]) -> None:
    """Two strokes across an axis of values that leaves out 0."""
    limits, scale = (axes.get_xlim(), axes.get_xscale()) if which == "x" else (axes.get_ylim(), axes.get_yscale())
    if scale != "linear" or min(limits) <= 0 <= max(limits):
        return
    near = 0.03 if min(limits) > 0 else 0.97
    strokes = {"transform": axes.transAxes, "color": MUTED, "linewidth": 1.2, "clip_on": False, "in_layout": False}
    for shift in (-0.008, 0.008):
        along, across = [near + shift - 0.006, near + shift + 0.006], [-0.015, 0.015]
        axes.plot(*((along, across) if which == "x" else (across, along)), scalex=False, scaley=False, **strokes)  # type: ignore[arg-type]


def line(axes: Axes, cells: Sequence[Cell], look: Look, label: str) -> None:
    """Means against x with a band of one deviation on either side."""
    x = [cell.x for cell in cells if cell.x is not None]
    mean = [cell.mean for cell in cells]
    axes.plot(x, mean, color=look.colour, label=label, marker=look.marker, linestyle=look.dash)
    if any(cell.deviation for cell in cells):
        low = [cell.mean - (cell.deviation or 0) for cell in cells]
        high = [cell.mean + (cell.deviation or 0) for cell in cells]
        axes.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)


def printed_line(axes: Axes, values: Mapping[float, float], look: Look, label: str) -> None:
    """A curve as the paper prints it: dotted, its places hollow."""
    axes.plot(
        list(values),
        list(values.values()),
        color=look.colour,
        linestyle=":",
        marker=look.marker,
        markerfacecolor="white",
        label=f"{label}, printed",
    )


def count_tasks(axes: Axes, label: str = "Tasks learnt") -> None:
    """Whole tasks along x."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def crosses(axes: Axes, places: Sequence[float], look: Look, along: Literal["x", "y"] = "x") -> None:
    """Crosses on an axis, at what has no value to stand at."""
    kept: dict[str, Any] = {"color": look.colour, "markersize": 7, "clip_on": False, "linestyle": "none", "marker": "x"}
    across = [0.0] * len(places)
    if places and along == "x":
        axes.plot(places, across, transform=axes.get_xaxis_transform(), **kept)
    elif places:
        axes.plot(across, places, transform=axes.get_yaxis_transform(), **kept)


def ticks_at(axes: Axes, places: Sequence[float]) -> None:
    """Ticks at the values of x that there are, and nowhere else; where names would meet, every second has none."""
    many = len(places) > 7
    axes.set_xticks(places, ["" if many and number % 2 else f"{place:g}" for number, place in enumerate(places)])
    axes.xaxis.set_minor_locator(NullLocator())


def steps(axes: Axes, cells: Sequence[Cell], look: Look, label: str) -> None:
    """A histogram's outline over the middles of its bins; empty bins leave a gap, since a logarithm has no 0."""
    x = [cell.x for cell in cells if cell.x is not None]
    heights = [cell.mean if cell.mean > 0 else float("nan") for cell in cells]
    axes.step(x, heights, where="mid", color=look.colour, label=label, linestyle=look.dash)


def level(axes: Axes, cell: Cell, look: Look, label: str) -> None:
    """A value without x: a dashed line across, with its band."""
    ends = axes.get_xlim()
    axes.plot(ends, [cell.mean] * 2, color=look.colour, linestyle="--", label=label, scalex=False)
    if cell.deviation is not None:
        low, high = cell.mean - cell.deviation, cell.mean + cell.deviation
        axes.axhspan(low, high, color=look.colour, alpha=0.12, linewidth=0)


Series = tuple[str, Sequence[Cell | None], Look | Sequence[Look]]
"""Name (none in the key where it is empty), a cell a row, and a look for all rows or one for each."""


def dots(axes: Axes, rows: Sequence[str], series: Sequence[Series], printed: Sequence[float | None] = ()) -> None:
    """A row a label: each series a dot with its deviation (or whatever stands for it); printed values as hollow diamonds."""
    share = 0.76 / len(series)
    for number, (name, cells, look) in enumerate(series):
        for place, cell in enumerate(cells):
            if cell is None:
                continue
            one = look if isinstance(look, Look) else look[place]
            axes.errorbar(
                cell.mean,
                place + (number - (len(series) - 1) / 2) * share,
                xerr=cell.deviation,
                fmt=one.marker,
                color=one.colour,
                elinewidth=1.1,
                markersize=4.5,
            )
        if name and isinstance(look, Look):
            axes.plot([], [], look.marker, color=look.colour, label=name)
    shown = {place: value for place, value in enumerate(printed) if value is not None}
    if shown:
        kept: dict[str, Any] = {"markerfacecolor": "white", "color": INK, "markersize": 6, "linestyle": "none"}
        axes.plot(list(shown.values()), list(shown), marker="d", label="printed", **kept)
    for place in range(0, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F5F5F5", zorder=0, linewidth=0)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))


def labels_width(labels: Sequence[str]) -> float:
    """Inches that labels beside a panel take."""
    return 0.068 * max(map(len, labels))


def dots_height(rows: int, series: int = 1) -> float:
    """Inches that a panel of dots needs."""
    return 0.6 + rows * max(0.24, 0.055 * series)


def heat(axes: Axes, matrix: np.ndarray, title: str) -> Any:
    """R [T, T] in percent, a row after each task, blank where there is no answer. Returns what a bar explains."""
    count = len(matrix)
    matrix = np.where(np.tri(count, dtype=bool), matrix, np.nan)
    shown = axes.imshow(matrix, cmap=MAP, vmin=0, vmax=100)
    axes.grid(visible=False)
    axes.set(title=title, xlabel="On task", ylabel="After task")
    kept = [place for place in range(count) if count <= 10 or place % 5 == 4]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(kept, [str(place + 1) for place in kept])
    if count <= 6:
        for (i, j), value in np.ndenumerate(matrix):
            if not np.isnan(value):
                axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=INK if value > 60 else "white")
    return shown


def picture(axes: Axes, image: np.ndarray, **how: Any) -> None:
    """An image without axes."""
    axes.imshow(image, interpolation="nearest", **how)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
