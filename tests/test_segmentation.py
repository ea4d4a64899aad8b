"""Class-incremental segmentation: reading, PLOP's pieces against explicit statements, and a whole tiny chain of files."""

from __future__ import annotations

import io
import math
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import identical
from elsewhere import elsewhere
from PIL import Image
from test_si import killed_and_resumed

from lifelong import config, layout
from lifelong.artifacts import read_json, read_tensors
from lifelong.config import Settings
from lifelong.config.segmentation import SegmentationData, SegmentationSteps
from lifelong.data import segmentation as data
from lifelong.data.tensors import Split
from lifelong.device import computing_on
from lifelong.errors import UserError
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.run import read_state
from lifelong.methods.segmentation import plop, run, stages
from lifelong.methods.split2meta.null_space import from_tensors
from lifelong.networks.segmentation import SegmentationNetwork
from lifelong.paper import segmentation as report
from lifelong.stages import segmentation_final, segmentation_fingerprint

VOID = data.VOID


def tiny(learners: dict[str, Any] | None = None, path: str = "tiny.tar") -> Settings:
    base = {"steps": "s", "widths": [3, 4, 4], "training": "t", "later_epochs": 2}
    own = learners or {
        "plop": base,
        "finetune": base | {"distillation": "none"},
        "fused": base | {"null_space": {"threshold": 0.01}, "fusion": "linear", "fast_epochs": 1, "seeds": 2},
    }
    return config.settings(
        {
            "scenarios": {},
            "networks": {},
            "experiments": {},
            "training": {"t": {"optimiser": "adam", "learning_rate": 0.01, "batch_size": 4, "epochs": 3}},
            "segmentation": {
                "data": {"d": {"path": path, "layout": "camvid", "classes": 4, "height": 8, "width": 12}},
                "steps": {"s": {"data": "d", "first": 2, "each": 1}},
                "learners": own,
            },
            "reports": {
                "r": {
                    "seg": {
                        "kind": "segmentation",
                        "title": "T",
                        "options": {"learners": {"PLOP": "plop", "Fused": "fused"} if learners is None else {"A": "a"}},
                    }
                }
            },
        }
    )


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour blocks with the class of each; value 4 stands for void."""
    random = np.random.default_rng(seed)
    labels = np.kron(random.integers(0, 5, (2, 3)), np.ones((4, 4), int)).astype(np.uint8)
    return (labels[..., None] * np.array([50, 20, 60]) % 256).astype(np.uint8), labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar in CamVid's layout, read, and the files of a whole chain of each learner."""
    place = tmp_path_factory.mktemp("segmentation")
    with tarfile.open(place / "tiny.tar", "w") as tar:
        for split, count in (("train", 24), ("test", 6)):
            for i in range(count):
                image, labels = picture(100 * (split == "test") + i)
                for pixels, where in ((image, f"{split}/{i}.jpg"), (labels, f"{split}annot/{i}.png")):
                    content = io.BytesIO()
                    Image.fromarray(pixels).save(content, "PNG")
                    member = tarfile.TarInfo(f"tiny/{where}")
                    member.size = len(content.getvalue())
                    tar.addfile(member, io.BytesIO(content.getvalue()))
    found = tiny()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        data.prepare("d", found.segmentation.data["d"], layout.segmentation_images("d"), Path("raw"), [place])
        for name, learner in found.segmentation.learners.items():
            for seed in learner.all_seeds():
                for step in range(3):
                    for stage in learner.stages(step, 3):
                        run.run_stage(found, name, seed, step, stage)
                run.evaluate(found, name, seed)
    return place


def test_how_many_classes_each_step_brings() -> None:
    assert SegmentationSteps(data="d", first=15, each=1).sizes(20) == [15, 1, 1, 1, 1, 1]
    assert SegmentationSteps(data="d", first=15, each=5).sizes(20) == [15, 5]
    assert SegmentationSteps(data="d", first=4, each=3).sizes(9) == [4, 3, 2]


def test_annotations_become_classes() -> None:
    """Without a background classes start at 0 and move up by one; what is no class is void."""
    found = data.as_classes(np.array([0, 1, 10, 11, 255], np.uint8), 11, False)
    assert found.tolist() == [1, 2, 11, VOID, VOID]
    assert data.as_classes(np.array([0, 1, 20, 21, 255], np.uint8), 20, True).tolist() == [0, 1, 20, VOID, VOID]


def test_read_data_are_the_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arrays, info = read_tensors(layout.segmentation_images("d"), "segmentation")
    assert arrays["train_images"].shape == (24, 3, 8, 12)
    names = sorted(f"{i}.jpg" for i in range(24))
    for place, name in enumerate(names[:5]):
        image, labels = picture(int(name[:-4]))
        assert (arrays["train_images"][place] == image.transpose(2, 0, 1)).all()
        assert (arrays["train_labels"][place] == np.where(labels == 4, VOID, labels + 1)).all()
    assert not info["background"]


def test_a_step_sees_images_of_its_classes_and_labels_of_no_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arrays, _ = read_tensors(layout.segmentation_images("d"), "segmentation")
    step = data.load_step(layout.segmentation_images("d"), [2, 1, 1], 1)
    pairs = zip(arrays["train_images"], arrays["train_labels"], strict=True)
    expected = [(image, labels) for image, labels in pairs if (labels == 3).any()]
    assert len(step.train) + len(step.validation) == len(expected)
    assert (step.train.images[0].numpy() == expected[1][0]).all()
    labels = expected[1][1]
    assert (step.train.targets[0].numpy() == np.where((labels == 3) | (labels == VOID), labels, 0)).all()


def test_voc_directory(tmp_path: Path) -> None:
    """train_aug and its annotations are taken where they are there; 0 is the background."""
    for name in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (tmp_path / "VOC" / name).mkdir(parents=True)
    for i in range(3):
        image, labels = picture(i)
        Image.fromarray(image).save(tmp_path / f"VOC/JPEGImages/{i}.jpg", "PNG")
        Image.fromarray(labels).save(tmp_path / f"VOC/SegmentationClassAug/{i}.png")
    lists = tmp_path / "VOC/ImageSets/Segmentation"
    (lists / "train_aug.txt").write_text("/JPEGImages/0.jpg /SegmentationClassAug/0.png\n/JPEGImages/2.jpg x\n")
    (lists / "val.txt").write_text("1\n")
    source = SegmentationData(path="VOC", layout="voc", classes=3, height=8, width=12)
    data.prepare("v", source, tmp_path / "v.safetensors", tmp_path, [])
    arrays, info = read_tensors(tmp_path / "v.safetensors", "segmentation")
    assert info["background"]
    assert (arrays["train_labels"][1] == np.where(picture(2)[1] == 4, VOID, picture(2)[1])).all()
    assert len(arrays["test_images"]) == 1
    (tmp_path / "VOC/JPEGImages/1.jpg").unlink()
    with pytest.raises(UserError, match=r"found no JPEGImages/1\.jpg"):
        data.prepare("v", source, tmp_path / "v.safetensors", tmp_path, [])


def test_pseudo_labels() -> None:
    """Sure background pixels take the old answer, unsure ones are void; annotated and void pixels stay."""
    labels = torch.tensor([[[0, 0, 0, 3, VOID]], [[3, 3, 3, 3, 3]]])
    entropy = torch.tensor([[[0.1, 0.5, 0.1, 0.1, 0.1]]]).expand(2, 1, 5)
    answers = torch.tensor([[[1, 1, 0, 1, 1]]]).expand(2, 1, 5)
    found, share = plop.pseudo_labelled(labels, entropy, answers, torch.tensor([0.05, 0.3]))
    assert found.tolist() == [[[1, VOID, VOID, 3, VOID]], [[3, 3, 3, 3, 3]]]
    assert share.tolist() == pytest.approx([1 / 3, 1])


def test_uncertainty_is_entropy_over_its_largest_value() -> None:
    logits = torch.randn(2, 3, 2, 2)
    entropy, answers = plop.uncertainty(logits)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    np.testing.assert_allclose(entropy.numpy(), -(p * np.log(p)).sum(1) / math.log(3), rtol=1e-5)
    assert (answers.numpy() == p.argmax(1)).all()
    assert plop.uncertainty(torch.zeros(1, 5, 1, 1))[0].item() == pytest.approx(1)


def test_medians_of_entropies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plop, "EVERY", 1)
    network = SegmentationNetwork([3, 4], [3, 1], torch.Generator().manual_seed(0)).eval()
    split = Split(torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8), torch.randint(0, 2, (5, 8, 8)).mul(VOID).byte())
    found = plop.median_entropies(network, split, 1, 2, 1e-3)
    entropy, answers = plop.uncertainty(network(split.batch(torch.arange(5))[0], 0))
    for one in range(3):
        own = entropy[(answers == one) & (split.targets == 0)].detach().numpy()
        expected = max(1e-3, np.sort(own)[(len(own) - 1) // 2]) if len(own) else 1e-3
        assert found[one].item() == pytest.approx(expected, rel=1e-5)


def test_local_pod_by_loops() -> None:
    x, y = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 4, 8)

    def embedding(one: torch.Tensor) -> np.ndarray:
        parts = []
        for s in (1, 2):
            for i in range(s):
                for j in range(s):
                    block = one[:, 4 // s * i : 4 // s * (i + 1), 8 // s * j : 8 // s * (j + 1)].numpy()
                    parts += [block.mean(2).ravel(), block.mean(1).ravel()]
        return np.concatenate(parts)

    expected = np.mean([np.linalg.norm(embedding(a) - embedding(b)) for a, b in zip(x, y, strict=True)])
    assert plop.pooled_distance(x, y, [1, 2]).item() == pytest.approx(expected, rel=1e-5)


def test_new_classes_share_the_background() -> None:
    network = SegmentationNetwork([3, 4], [3, 2], torch.Generator().manual_seed(0)).eval()
    images = torch.rand(2, 3, 8, 8)
    before = network.answers(network.features(images), 0).softmax(1)
    network.share_background(1)
    after = network.answers(network.features(images), 1).softmax(1)
    torch.testing.assert_close(after[:, [0, 3, 4]], before[:, :1].expand(-1, 3, -1, -1) / 3)
    torch.testing.assert_close(after[:, 1:3], before[:, 1:3])


def test_plop_objective_is_the_sum_of_its_parts() -> None:
    """With a network that is the old one, distillation is 0; away from it, it is sqrt(4 / 1) times the weighted parts."""
    found = tiny().segmentation_learner("plop").model_copy(update={"pod": 0.5, "pod_logits": 0.25})
    old, network = (SegmentationNetwork([3, 4], [4, 1], torch.Generator().manual_seed(s)).eval() for s in (0, 1))
    images, labels = torch.rand(3, 3, 8, 8), torch.randint(0, 2, (3, 8, 8)) * 4
    least = torch.full((4,), 0.9)
    targets, share = plop.pseudo_labelled(labels, *plop.uncertainty(old(images, 0)), least)
    for one in (old, network):
        logits = one(images, 1)
        values = torch.nn.functional.cross_entropy(logits, targets, ignore_index=VOID, reduction="none")
        expected = (share * values.flatten(1).mean(1)).mean()
        new, before = one.levels(images), old.levels(images)
        distances = [plop.pooled_distance(a, b, [1, 2, 4]) for a, b in zip(new, before, strict=True)]
        of_logits = plop.pooled_distance(one.answers(new[-1], 0), old.answers(before[-1], 0), [1, 2, 4])
        expected = expected + 2 * (0.5 * sum(distances) / 2 + 0.25 * of_logits)
        loss = plop.plop_objective(one, old, [3, 1], 1, least, found)(images, labels)
        torch.testing.assert_close(loss, expected)


def test_chain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages as the options say; directions never grow; fusion is the mean with the steps' count; a seed changes all."""
    monkeypatch.chdir(folder)
    found = tiny()
    fused = found.segmentation_learner("fused")
    assert [fused.stages(step, 3) for step in range(3)] == [
        ("slow", "project"),
        ("slow", "fast", "fuse", "project"),
        ("slow", "fast", "fuse"),
    ]
    assert found.segmentation_learner("plop").stages(1, 3) == ("slow",)
    before = read_state(layout.segmentation_state("fused", 0, 2, "fast"))
    after = read_state(layout.segmentation_state("fused", 0, 2, "fuse"))["network"]
    for name, tensor in after.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 2 / 3 * before["slow"][name] + 1 / 3 * before["network"][name])
    spaces = [from_tensors(read_state(layout.segmentation_state("fused", 0, s, "project"))["subspaces"]) for s in (0, 1)]
    assert all(spaces[1][name].dimensions <= spaces[0][name].dimensions for name in spaces[0])
    other = read_state(segmentation_final(found, "fused", 1, 0))["network"]
    assert not identical(other, read_state(segmentation_final(found, "fused", 0, 0))["network"])


def test_projection_keeps_what_the_first_step_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow update has no part in the directions that were taken out."""
    monkeypatch.chdir(folder)
    first = read_state(layout.segmentation_state("fused", 0, 0, "project"))
    second = read_state(layout.segmentation_state("fused", 0, 1, "slow"))["network"]
    for name, space in from_tensors(first["subspaces"]).items():
        update = (second[f"{name}.weight"] - first["network"][f"{name}.weight"]).flatten(1).double()
        assert (update @ space.taken_out()).norm() <= 1e-4 * max(update.norm().item(), 1e-3)


def test_elsewhere_it_learns_what_it_does_here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of both are close: convolutions of a stand-in are computed another way."""
    monkeypatch.chdir(folder)
    expected = {f: read_state(f) for f in (layout.segmentation_state("fused", 0, 0, s) for s in ("slow", "project"))}
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with elsewhere() as device, computing_on(device):
        for stage in ("slow", "project"):
            run.run_stage(tiny(), "fused", 0, 0, stage)
        run.evaluate(tiny(), "fused", 0)
    for file, state in expected.items():
        for group, named in read_state(file).items():
            torch.testing.assert_close(named, state[group], rtol=1e-3, atol=1e-3)


def test_killed_and_resumed_it_is_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = tiny()
    state = read_state(segmentation_final(found, "plop", 0, 0))

    def job() -> stages.Job:
        return stages.Job(
            learner=found.segmentation_learner("plop"),
            budget=found.training["t"],
            sizes=[2, 1, 1],
            seed=0,
            step=1,
            stage="slow",
            data=data.load_step(layout.segmentation_images("d"), [2, 1, 1], 1),
            checkpoints=Checkpoints(Path("none"), seconds=math.inf),
            label="x",
        )

    again = killed_and_resumed(stages.slow, job, state, Checkpoints(tmp_path, seconds=0), 1, "slow")
    assert identical(again["network"], read_state(layout.segmentation_state("plop", 0, 1, "slow"))["network"])


def test_confusion_and_intersection_over_union_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, VOID])
    answers = torch.tensor([0, 1, 1, 1, 0, 2])
    found = run.confusion(labels, answers, 4)
    assert found.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    iou = report.intersection_over_union(found.numpy())
    assert iou[:3].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert np.isnan(iou[3])
    means = report.means(found.numpy(), 1)
    assert means == pytest.approx({"iou_first": 200 / 3, "iou_later": 0, "iou_all": 100 / 3, "iou_all_background": 100 / 3})
    no_background = found.numpy().copy()
    no_background[0] = 0
    assert "iou_all_background" not in report.means(no_background, 1)


def test_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = tiny()
    scores = read_json(layout.segmentation_scores("plop", 0))
    arrays, _ = read_tensors(layout.segmentation_images("d"), "segmentation", ["test_labels"])
    for matrix in scores["confusion"]:
        assert np.array(matrix).sum(1).tolist() == [(arrays["test_labels"] == c).sum() for c in range(5)]
    assert not np.array(scores["confusion"][0])[:, 3:].any()
    report.write(found, found.report("r/seg"))
    text = layout.report("r/seg", "md").read_text()
    assert "| PLOP " in text
    assert layout.report("r/seg", "png").stat().st_size > 1000


def test_a_learners_fingerprint_is_of_all_that_decides_its_results() -> None:
    base = {"steps": "s", "widths": [3, 4], "training": "t"}
    first, seeds, pod = (
        segmentation_fingerprint(tiny({"a": base | more}), "a") for more in ({}, {"seeds": 3}, {"pod": 0.5})
    )
    assert first == seeds != pod


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "z"}, "segmentation.learners.a.steps: 'z' is unknown"),
        ({"training": "z"}, "segmentation.learners.a.training: 'z' is unknown"),
        ({"fusion": "linear"}, "'fast_epochs' goes with 'fusion: linear'"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny({"a": {"steps": "s", "widths": [3, 4], "training": "t"} | change})


def test_unknown_stage_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="at step 0 the stages slow; found seed 0, stage 'fast'"):
        run.run_stage(tiny(), "plop", 0, 0, "fast")
