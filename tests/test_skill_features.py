"""Features of a data set: in shards that a killed job does not compute twice, and of the part that a tier takes."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collectives import SMALLEST
from elsewhere import elsewhere
from PIL import Image

from lifelong import config
from lifelong.artifacts import read_tensors
from lifelong.backbones.images import prepare_images
from lifelong.backbones.load import load_backbone
from lifelong.config.skill import RandomBackbone, TaskEntry, Tier
from lifelong.data.catalog import FolderSource, prepare
from lifelong.device import computing_on
from lifelong.errors import UserError
from lifelong.methods.skill import features
from lifelong.methods.skill.selection import task_features, task_images

RANDOM = RandomBackbone(kind="random", image_size=8, widths=[4, 6])
NOWHERE: tuple[Path, list[Path]] = (Path("none"), [])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "digits.safetensors"
    prepare("digits", None, path, *NOWHERE)
    return path


def outputs(folder: Path) -> dict[str, Path]:
    return {split: folder / f"{split}.safetensors" for split in features.SPLITS}


def extract(digits: Path, folder: Path, tier: Tier | None = None) -> None:
    features.extract("random", RANDOM, tier or Tier(), digits, outputs(folder), folder / "checkpoints", NOWHERE)


def test_features_are_the_backbones_image_by_image(digits: Path, tmp_path: Path) -> None:
    import torch

    extract(digits, tmp_path, Tier(train_per_class=3, test_per_class=2))
    arrays, info = read_tensors(outputs(tmp_path)["train"], "features")
    images, _ = read_tensors(digits, "images", ["train_images", "train_labels"])
    network = load_backbone("random", RANDOM, *NOWHERE)
    assert arrays["features"].shape == (30, 6)
    assert np.array_equal(arrays["labels"], images["train_labels"][arrays["index"]])
    for row, index in zip(arrays["features"], arrays["index"], strict=True):
        one = prepare_images(torch.from_numpy(images["train_images"][index : index + 1]), RANDOM)
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(row), network(one)[0], rtol=1e-4, atol=1e-5)
    assert info["sha256"] == hashlib.sha256(arrays["features"].tobytes()).hexdigest()
    assert (info["width"], info["channels"]) == (6, 4 + 4 + 6)


def test_elsewhere_the_features_are_the_same(digits: Path, tmp_path: Path) -> None:
    tier = Tier(train_per_class=3, test_per_class=2)
    extract(digits, tmp_path / "here", tier)
    with elsewhere() as device, computing_on(device):
        extract(digits, tmp_path / "there", tier)
    here, there = (read_tensors(outputs(tmp_path / where)["train"], "features") for where in ("here", "there"))
    assert there[1]["backbone"] == here[1]["backbone"]
    assert np.array_equal(there[0]["index"], here[0]["index"])
    np.testing.assert_allclose(there[0]["features"], here[0]["features"], rtol=1e-3, atol=1e-4)


def test_a_killed_extraction_computes_no_shard_twice(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract(digits, tmp_path / "whole")
    sizes = {split: len(read_tensors(path, "features")[0]["labels"]) for split, path in outputs(tmp_path / "whole").items()}
    shards = sum(-(-size // features.SHARD) for size in sizes.values())
    assert shards >= 4
    computed: list[bytes] = []
    pooled = features.pooled

    def dying(network: object, settings: object, images: np.ndarray) -> np.ndarray:
        if len(computed) in (1, 3) and computed[-1] != b"killed":
            computed.append(b"killed")
            raise KeyboardInterrupt
        computed.append(images.tobytes())
        return pooled(network, settings, images)  # type: ignore[arg-type]

    kills = 0
    with monkeypatch.context() as patch:
        patch.setattr(features, "pooled", dying)
        while True:
            try:
                extract(digits, tmp_path / "killed")
                break
            except KeyboardInterrupt:
                kills += 1
                assert kills < 10
    done = [shard for shard in computed if shard != b"killed"]
    assert kills == 2
    assert len(done) == len(set(done)) == shards
    for split in features.SPLITS:
        assert outputs(tmp_path / "killed")[split].read_bytes() == outputs(tmp_path / "whole")[split].read_bytes()
    assert not list((tmp_path / "killed/checkpoints").iterdir())


def test_images_and_features_of_a_task_are_in_the_same_order(digits: Path, tmp_path: Path) -> None:
    tier, entry = Tier(train_per_class=5), TaskEntry(name="t", dataset="digits", classes=[7, 2])
    extract(digits, tmp_path, tier)
    rows = task_features(outputs(tmp_path)["train"], entry)
    images = task_images(digits, entry, "train", tier)
    network = load_backbone("random", RANDOM, *NOWHERE)
    np.testing.assert_allclose(features.pooled(network, RANDOM, images.rows), rows.rows, rtol=1e-4, atol=1e-5)
    assert np.array_equal(rows.labels, images.labels)
    assert rows.names == images.names == ("7", "2")


def picture_folders(root: Path, tasks: dict[str, tuple[int, int, int]]) -> None:
    """`<task>/<split>/<class>/<image>` beside a table of the tasks: (classes, train, test images a class)."""
    random = np.random.default_rng(0)
    for task, (classes, train, test) in tasks.items():
        for split, count in (("train", train), ("test", test)):
            for label in range(classes):
                folder = root / "pictures" / task / split / f"class {label}"
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 256, (9, 11, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
    with open(root / "pictures/tasks.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["task_id", "task_name"])
        writer.writerows(enumerate(tasks))


TABLE: dict[str, Any] = {
    "skill": {
        "backbones": {"random": RANDOM.model_dump()},
        "tiers": {"capped": {"classes": 3, "train": 12, "test": 5, "seed": 27}},
        "sequences": {"table": {"tier": "capped", "table": "pictures/tasks.csv", "rows": 2, "image_size": 8}},
        "collectives": {
            "tabled": {**SMALLEST, "sequence": "table"},
        },
    },
    "scenarios": {},
    "networks": {},
    "training": {},
    "experiments": {},
    "reports": {},
}


def test_a_table_of_folders_is_a_sequence_under_the_tiers_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As skill-102 is written: the table's first rows in order, at most so many classes, round(total / classes) a class."""
    picture_folders(tmp_path, {"Many Classes": (5, 6, 4), "few": (2, 9, 2), "unused": (2, 1, 1)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_DATA", str(tmp_path))
    settings = config.settings(TABLE)
    assert [task.name for task in settings.skill.tasks("table")] == ["Many_Classes", "few"]
    assert set(settings.datasets) == {"Many_Classes", "few"}
    tier = settings.skill.tiers["capped"]
    expected = {"Many_Classes": (3, 4, 2), "few": (2, 6, 2)}  # classes; 12 and 5 images over them, as many as there are
    for name, (classes, train, test) in expected.items():
        folder = FolderSource(**settings.datasets[name].model_dump())
        images = tmp_path / f"{name}.safetensors"
        prepare(name, folder, images, Path("none"), [tmp_path])
        features.extract("random", RANDOM, tier, images, outputs(tmp_path / name), tmp_path / "checkpoints", NOWHERE)
        for split, count in (("train", train), ("test", test)):
            found = task_features(outputs(tmp_path / name)[split], TaskEntry(name=name, dataset=name))
            assert np.bincount(found.labels).tolist() == [count] * classes
            assert set(found.names) <= {f"class {label}" for label in range(5)}
    kept = [read_tensors(outputs(tmp_path / "Many_Classes")[split], "features")[1]["classes"] for split in features.SPLITS]
    assert kept[0] == kept[1]


def test_skill_102_is_written_as_the_dossier_says() -> None:
    """0.2 item 9: the first 102 rows, at most 500 classes, 54,000 training and 6,000 test images, drawn by seed 27."""
    skill = config.load(Path(__file__).parents[1] / "params.yaml").skill
    assert skill.tiers["skill-102"] == Tier(classes=500, train=54_000, test=6_000, seed=27)
    assert skill.sequences["skill-102"].rows == 102
    assert skill.sequences["skill-102"].tier == "skill-102"


def test_a_table_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_DATA", str(tmp_path))
    gone = {"tier": "capped", "table": "gone/tasks.csv", "rows": 2, "image_size": 8}
    changed = {**TABLE, "skill": {**TABLE["skill"], "sequences": {"table": gone}}}
    with pytest.raises(UserError, match=r"no table 'gone/tasks\.csv'"):
        config.settings(changed)
