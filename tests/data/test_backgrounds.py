"""Synthetic backgrounds behind training and test images, and the sequences that ask for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.runs import SPLIT
from support.tiny import tiny_experiment

from lifelong.data import sequences
from lifelong.data.backgrounds import BRIGHTEST, put_on_backgrounds, textures
from lifelong.data.tensors import load_task, load_test
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_tensors


def test_textures_are_squares_that_do_not_depend_on_their_number() -> None:
    found = textures(5, (2, 8, 6), 1)
    assert found.shape == (5, 2, 8, 6) and found.max() < BRIGHTEST
    assert (found[:, :, :4, :4] == found[:, :, :1, :1]).all()
    np.testing.assert_array_equal(textures(3, (2, 8, 6), 1), found[:3])
    assert len({texture.tobytes() for texture in found}) == 5


@pytest.mark.parametrize("test", [False, True])
def test_what_is_drawn_stays_in_front(test: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    chosen = np.array([4, 0, 5])
    shared, distinct = (put_on_backgrounds(images, chosen, kind, test) for kind in ("shared", "distinct"))
    for found in (shared, distinct):
        assert (found >= images[chosen]).all()
        bright = images[chosen] >= BRIGHTEST
        np.testing.assert_array_equal(found[bright], images[chosen][bright])
    black = np.zeros_like(images)
    behind = put_on_backgrounds(black, chosen, "shared", test)
    assert len({one.tobytes() for one in behind}) == (3 if test else 1)
    assert test == bool((shared == distinct).all())


def test_a_scenario_puts_its_images_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    black = {f"{part}_images": np.zeros((30, 1, 2, 3), dtype=np.uint8) for part in ("train", "test")}
    labels = {f"{part}_labels": np.arange(30) % 6 for part in ("train", "test")}
    write_tensors(paths.images("digits"), "images", black | labels, {"content": "c" * 64, "class_names": list("abcdef")})
    tests = {}
    for kind in ("shared", "distinct", None):
        sequence = tiny_experiment("sgd", sequence=SPLIT | {"backgrounds": kind}).sequence
        sequences.build(sequence, {"digits": paths.images("digits")}, paths.tasks("three"))
        train = load_task(paths.images("digits"), paths.tasks("three"), 1).train.images
        tests[kind] = load_test(paths.images("digits"), paths.tasks("three"), 1).images
        assert bool(train.any()) == (kind is not None)
        assert bool((train == train[:1]).all()) == (kind != "distinct")
    assert tests["shared"].equal(tests["distinct"])
    assert not tests["shared"].equal(tests[None])
