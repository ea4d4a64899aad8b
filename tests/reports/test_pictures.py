"""Every picture that git's tables give: its text lies inside the canvas, apart from other text, and it shows something."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from support.project import ROOT

from lifelong.params import load
from lifelong.reports.draw import draw
from lifelong.reports.figures import style
from lifelong.runtime import paths

SETTINGS = load(ROOT / "params.yaml")
PICTURES = sorted(
    name
    for name, report in SETTINGS.reports.items()
    if "png" in report.kind.writes and (ROOT / "reports" / report.section / "provenance.json").exists()
)
IMPORTED = {"ari/table-4-mnist", "ari/table-4-reduced", "ari-digits/attention", "split2meta/figure-3"}
IMPORTED |= {"split2meta/figure-3-digits"}
"""Pictures of images that were not kept: they stay as published."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    """Every figure by its report, drawn anew from a copy of `reports/`."""
    folder, found = tmp_path_factory.mktemp("clone"), dict[str, Figure]()
    shutil.copytree(ROOT / "reports", folder / "reports")

    def keep(path: Path, figure: Figure) -> None:
        found[str(path.relative_to("reports").with_suffix(""))] = figure

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(style, "write_figure", keep)
        for section in dict.fromkeys(name.partition("/")[0] for name in PICTURES):
            draw(SETTINGS, section)
    return found


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """What is written in a figure, and where."""
    written = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        written += [axes.xaxis.label, axes.yaxis.label, *(one for one in axes.get_children() if isinstance(one, Text))]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            written += [label for tick in ticks for label in (tick.label1, tick.label2)] if axes.axison else []
    seen = [one for one in written if isinstance(one, Text) and one.get_visible() and one.get_text().strip()]
    return [(one.get_text(), Text.get_window_extent(one)) for one in dict.fromkeys(seen)]


def find_faults(figure: Figure) -> list[str]:
    """Text that is cut off by the canvas or covers other text."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    written, faults = texts(figure), []
    for number, (text, box) in enumerate(written):
        if box.x0 < -1 or box.y0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y1 > figure.bbox.y1 + 1:
            faults.append(f"{text!r} is cut off")
        for other, place in written[number + 1 :]:
            across, down = min(box.x1, place.x1) - max(box.x0, place.x0), min(box.y1, place.y1) - max(box.y0, place.y0)
            if across > 1 and down > 2:
                faults.append(f"{text!r} covers {other!r}")
    return faults


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_can_be_read(drawn: dict[str, Figure], name: str) -> None:
    if name not in drawn:
        assert name in IMPORTED
        return
    figure = drawn[name]
    assert find_faults(figure) == []
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    assert 0.01 < (pixels < 250).any(2).mean() < 0.9


def test_faults_are_found() -> None:
    figure = Figure(figsize=(2, 1))
    figure.text(0.5, 0.5, "one text")
    assert find_faults(figure) == []
    figure.text(0.55, 0.52, "another")
    figure.text(0.9, 0.1, "too far to the right")
    assert find_faults(figure) == ["'one text' covers 'another'", "'too far to the right' is cut off"]


def test_a_method_looks_the_same_in_all_pictures_and_no_two_alike() -> None:
    first, second = style.looks(["EWC", "ANPyC", "Own"]), style.looks(["Own method", "ANPyC", "HAT", "EWC"])
    assert {name: first[name] for name in ("EWC", "ANPyC")} == {name: second[name] for name in ("EWC", "ANPyC")}
    for name, report in SETTINGS.reports.items():
        looks = list(style.looks(list(report.experiments)).values())
        assert len(set(looks)) == len(looks), name


def test_pages_name_only_pictures_that_there_are() -> None:
    for name in PICTURES:
        assert (ROOT / paths.report(name, "png")).exists(), name
