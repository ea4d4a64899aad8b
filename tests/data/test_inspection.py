"""Own data: all that is wrong is told at once, labels may lie in a table, and what is proposed is sound and learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from data.test_folder import folder, png, read, refusal, with_splits
from support.project import TINY

from lifelong.cli import cli
from lifelong.cli.new import propose
from lifelong.data.inspection import describe_inspection, inspect_folder, list_faults
from lifelong.params import load
from lifelong.params.datasets import Folder
from lifelong.runtime.errors import UserError

FOUR = {
    f"{split}/{name}/{n}.png": png(10 * n + place, (20, 20))
    for split in ("train", "test")
    for place, name in enumerate("abcd")
    for n in (range(3) if split == "train" else range(3, 5))
}


def test_what_is_found_is_told(tmp_path: Path) -> None:
    files = FOUR | {"test/a/again.png": FOUR["train/a/0.png"], "train/a/Thumbs.db": b"x", "__MACOSX/a.txt": b"x"}
    found = inspect_folder(folder(tmp_path, files))
    assert {split: counts.total() for split, counts in found.counts.items()} == {"train": 12, "test": 9}
    assert found.twins == [("train/a/0.png", "test/a/again.png")]
    assert sorted(found.junk) == ["__MACOSX/a.txt", "train/a/Thumbs.db"]
    assert list_faults(found) == []
    assert "byte for byte (train/a/0.png = test/a/again.png)" in describe_inspection(found)[-1]


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    files = {"a/1.png": b"no", "a/2.png": b"no", "b/1.png": png(1), "c/1.png": png(2), "c/2.png": png(3)}
    assert list_faults(inspect_folder(folder(tmp_path, files))) == [
        "a/1.png: cannot be read (in no image format that is known); mend or remove it",
        "a/2.png: cannot be read (in no image format that is known); mend or remove it",
        "the class 'b' has one image; give it more or take it away",
        "found 3 classes; two tasks of two classes need four",
    ]


def test_junk_is_not_read(tmp_path: Path) -> None:
    plain = read(folder(tmp_path / "plain", with_splits()))
    junk = read(folder(tmp_path / "junk", with_splits() | {"train/ant/Thumbs.db": b"x", "desktop.ini": b"x"}))
    np.testing.assert_array_equal(plain.train_images, junk.train_images)


def by_table(header: str, *rows: str) -> dict[str, bytes]:
    files = {f"images/{path.replace('/', '-')}": content for path, content in with_splits().items()}
    return files | {"labels.csv": "\n".join([header, *rows]).encode()}


ROWS = [f"images/{path.replace('/', '-')},{path.split('/')[1]},{path.split('/')[0]}" for path in with_splits()]


def test_labels_of_a_table_are_as_good_as_folders(tmp_path: Path) -> None:
    by_folder = read(folder(tmp_path / "folder", with_splits()))
    table = read(folder(tmp_path / "table", by_table("file,label,split", *ROWS)))
    np.testing.assert_array_equal(by_folder.train_images, table.train_images)
    np.testing.assert_array_equal(by_folder.test_labels, table.test_labels)


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("name,label", ROWS, "labels.csv: found the columns name, label"),
        ("file,label,split", [*ROWS, "images/none.png,ant,train"], f"labels.csv, line {len(ROWS) + 2}: found"),
        ("file,label,split", [*ROWS, ROWS[0]], "is in line 2 already; keep one"),
        ("file,label,split", ROWS[1:], "labels.csv: says nothing of 'images/"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(header: str, rows: list[str], said: str, tmp_path: Path) -> None:
    assert said in refusal(folder(tmp_path, by_table(header, *rows)))


@pytest.mark.parametrize(
    ("classes", "cut"), [(4, "tasks: 2, classes_per_task: 2"), (5, "sizes: [3, 2]"), (100, "classes_per_task: 10")]
)
def test_tasks_share_all_classes(classes: int, cut: str) -> None:
    assert cut in propose("x", "{path: x, image_size: 8}", classes)


def test_a_folder_becomes_an_own_file_that_is_read(untracked: Path) -> None:
    Path("params.yaml").write_text(TINY)
    folder(untracked / "mine", FOUR)
    result = CliRunner().invoke(cli, ["new", "dataset", "mine"], catch_exceptions=False)
    assert "Next: edit it" in result.output
    settings = load()
    mine = settings.datasets["mine"]
    assert isinstance(mine, Folder)
    assert mine.image_size == 16
    assert set(settings.report("own/mine").all_experiments()) == {
        f"mine-{m}" for m in ("finetune", "ewc", "lwf", "er", "joint")
    }
    with pytest.raises(UserError, match=r"params/own/mine\.yaml: is there already"):
        CliRunner().invoke(cli, ["new", "dataset", "mine"], catch_exceptions=False)
