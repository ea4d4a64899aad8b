"""Features of a data set: in shards that a killed job does not compute twice, and of the part that a tier takes."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.collectives import SMALLEST
from support.elsewhere import elsewhere

from lifelong import params
from lifelong.data.catalog import prepare
from lifelong.data.folder import FolderSource
from lifelong.data.selection import TaskData, task_features, task_images, validation_split
from lifelong.data.sequences import build
from lifelong.data.tensors import Features, Split
from lifelong.methods.skill import features
from lifelong.networks.backbones.images import prepare_images
from lifelong.networks.backbones.load import load_backbone
from lifelong.params.backbones import RandomBackbone
from lifelong.params.sequences import DataSets, TaskEntry, Tier
from lifelong.pipeline.inputs import Inputs
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.device import computing_on
from lifelong.runtime.errors import UserError

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
    pooled = features.pool_features

    def dying(network: object, settings: object, images: np.ndarray) -> np.ndarray:
        if len(computed) in (1, 3) and computed[-1] != b"killed":
            computed.append(b"killed")
            raise KeyboardInterrupt
        computed.append(images.tobytes())
        return pooled(network, settings, images)  # type: ignore[arg-type]

    kills = 0
    with monkeypatch.context() as patch:
        patch.setattr(features, "pool_features", dying)
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
    np.testing.assert_allclose(features.pool_features(network, RANDOM, images.rows), rows.rows, rtol=1e-4, atol=1e-5)
    assert np.array_equal(rows.labels, images.labels)
    assert rows.names == images.names == ("7", "2")


TASKS = [
    {"name": "a", "dataset": "digits", "classes": [7, 2]},
    {"name": "b", "dataset": "digits", "classes": ["1", "3", "5"]},
]


@pytest.mark.parametrize("frozen", [True, False])
def test_learners_of_one_network_have_the_images_of_the_agents(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    """A sequence's file cuts training, validation and test images as `task_features` and `validation_split` do."""
    monkeypatch.chdir(tmp_path)
    settings = params.settings(
        {
            "backbones": {"random": RANDOM.model_dump()},
            "tiers": {"small": {"train_per_class": 12, "test_per_class": 5, "seed": 3}},
            "sequences": {
                "two": {"kind": "data-sets", "tier": "small", "validation": 0.3, "validation_seed": 1, "tasks": TASKS}
            },
            "networks": {"net": {"kind": "backbone", "backbone": "random", "frozen": frozen}},
            "training": {"t": {"learning_rate": 0.1, "batch_size": 8, "epochs": 1}},
            "experiments": {"x": {"sequence": "two", "network": "net", "training": "t", "method": "finetune", "seeds": 1}},
            "reports": {},
        }
    )
    experiment = settings.experiment("x")
    tier, files = settings.tiers["small"], {s: paths.features("random", "small", "digits", s) for s in features.SPLITS}
    paths.images("digits").parent.mkdir(parents=True)
    shutil.copy(digits, paths.images("digits"))
    features.extract("random", RANDOM, tier, paths.images("digits"), files, tmp_path / "checkpoints", NOWHERE)
    build(experiment.sequence, {"digits": paths.images("digits")}, paths.tasks("two"), experiment.tier, experiment.entries)
    inputs = Inputs(experiment)
    assert inputs.classes.sizes == (2, 3)
    assert inputs.image_shape == ((6,) if frozen else (3, 8, 8))
    for number, entry in enumerate(experiment.entries):
        found, test = inputs.task(number), inputs.test(number)
        expected: dict[str, TaskData] = {
            split: task_features(files[split], entry) if frozen else task_images(paths.images("digits"), entry, split, tier)
            for split in features.SPLITS
        }
        train, held = validation_split(expected["train"].labels, 0.3, 1)
        for own, rows in ((found.train, expected["train"].at(train)), (found.validation, expected["train"].at(held))):
            assert_same_images(own, rows)
        assert_same_images(test, expected["test"])
        assert found.classes.tolist() == ([7, 2], [1, 3, 5])[number]
    assert [len(inputs.task(number).validation) for number in range(2)] == [2 * 4, 3 * 4]


def assert_same_images(found: Split, expected: TaskData) -> None:
    assert found.targets.tolist() == expected.labels.tolist()
    if isinstance(found, Features):
        assert np.array_equal(found.images.numpy(), expected.rows)
        return
    assert expected.rows.shape[1:] == (1, 8, 8)  # digits are as large as the backbone wants them
    assert np.array_equal(found.images.numpy(), expected.rows.repeat(3, 1))


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
    "backbones": {"random": RANDOM.model_dump()},
    "tiers": {"capped": {"classes": 3, "train": 12, "test": 5, "seed": 27}},
    "sequences": {
        "table": {"kind": "data-sets", "tier": "capped", "table": "pictures/tasks.csv", "rows": 2, "image_size": 8}
    },
    "collectives": {"tabled": {**SMALLEST, "sequence": "table"}},
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
    settings = params.settings(TABLE)
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


def test_a_table_that_experiments_alone_learn_is_a_sequence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folders are data sets, and what follows from its rows is told with every number of classes."""
    picture_folders(tmp_path, {"Many Classes": (5, 6, 4), "few": (2, 9, 2)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_DATA", str(tmp_path))
    entry = {"sequence": "table", "network": "net", "training": "t", "method": "finetune", "seeds": 1}
    learnt = {
        "collectives": {},
        "networks": {"net": {"kind": "backbone", "backbone": "random"}},
        "training": {"t": {"learning_rate": 0.1, "batch_size": 8, "epochs": 1}},
        "experiments": {"x": entry},
    }
    settings = params.settings(TABLE | learnt)
    assert settings.sequence_datasets("table") == list(settings.experiment("x").datasets) == ["Many_Classes", "few"]
    for name in settings.sequence_datasets("table"):
        prepare(name, FolderSource(**settings.datasets[name].model_dump()), paths.images(name), Path("none"), [tmp_path])
    experiment = settings.experiment("x")
    images = {name: paths.images(name) for name in experiment.datasets}
    build(experiment.sequence, images, paths.tasks("table"), experiment.tier, experiment.entries)
    assert read_tensors(paths.tasks("table"), "tasks")[1]["sizes"] == [3, 2]


def test_skill_102_is_written_as_reading_s23_says() -> None:
    """0.2 item 9: the first 102 rows, at most 500 classes, 54,000 training and 6,000 test images, drawn by seed 27."""
    shipped = params.load(Path(__file__).parents[2] / "params.yaml")
    assert shipped.tiers["skill-102"] == Tier(classes=500, train=54_000, test=6_000, seed=27)
    sequence = shipped.sequence("skill-102")
    assert isinstance(sequence, DataSets)
    assert (sequence.rows, sequence.tier, sequence.count) == (102, "skill-102", 102)


def test_a_table_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_DATA", str(tmp_path))
    gone = {**TABLE["sequences"]["table"], "table": "gone/tasks.csv"}
    with pytest.raises(UserError, match=r"no table 'gone/tasks\.csv'"):
        params.settings({**TABLE, "sequences": {"table": gone}})
