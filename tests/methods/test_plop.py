"""Class-incremental segmentation: reading, PLOP's pieces against explicit statements, a whole tiny chain, its scores."""

from __future__ import annotations

import io
import json
import math
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.elsewhere import elsewhere
from support.reports import draw_report
from support.resuming import killed_and_resumed
from support.tiny import identical
from support.tracked_files import client, track

from lifelong import params
from lifelong.data import dense, sequences
from lifelong.data.tensors import Split
from lifelong.evaluation.dense import confusion, intersection_over_union
from lifelong.methods.plop import PlopOptions, distillation, stages
from lifelong.methods.split2meta.null_space import from_tensors
from lifelong.networks.dense_conv import DenseConv
from lifelong.params import Experiment, Settings
from lifelong.params.datasets import DenseFolder
from lifelong.params.sequences import Dense
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.fingerprints import fingerprint
from lifelong.pipeline.graph import final_state, stages_of
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.run import run_stage
from lifelong.pipeline.stages import scores_parts, stage_fingerprint
from lifelong.pipeline.states import read_state
from lifelong.pipeline.summarise import summarise
from lifelong.reports import segmentation as report
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors
from lifelong.runtime.device import computing_on
from lifelong.runtime.errors import UserError
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import Job

VOID = dense.VOID
SIZES = [2, 1, 1]
LATER = {"later_epochs": 2}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "plop": {"options": LATER},
    "finetune": {"options": LATER | {"distillation": "none"}},
    "fused": {"options": LATER | {"null_space": {"threshold": 0.01}, "fusion": "linear", "fast_epochs": 1}, "seeds": 2},
}
SEQUENCE = {"kind": "dense", "dataset": "d", "tasks": 3, "first": 2, "each": 1}


def written(experiments: dict[str, dict[str, Any]], shown: dict[str, str], **changed: Any) -> dict[str, Any]:
    """params.yaml; `changed` are its sections."""
    usual = {"sequence": "s", "network": "conv", "training": "t", "method": "plop", "seeds": 1}
    return {
        "datasets": {"d": {"path": "tiny.tar", "layout": "camvid", "classes": 4, "height": 8, "width": 12}},
        "sequences": {"s": SEQUENCE},
        "networks": {"conv": {"kind": "dense-conv", "widths": [3, 4, 4]}},
        "training": {"t": {"optimiser": "adam", "learning_rate": 0.01, "batch_size": 4, "epochs": 3}},
        "experiments": {name: usual | entry for name, entry in experiments.items()},
        "reports": {"r": {"seg": {"kind": "segmentation", "title": "T", "experiments": shown}}} if shown else {},
    } | changed


def tiny() -> Settings:
    return params.settings(written(EXPERIMENTS, {"PLOP": "plop", "Fused": "fused"}))


def one(entry: dict[str, Any] | None = None, **changed: Any) -> Experiment:
    return params.settings(written({"a": entry or {}}, {}, **changed)).experiment("a")


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour blocks with the class of each; value 4 stands for void."""
    random = np.random.default_rng(seed)
    labels = np.kron(random.integers(0, 5, (2, 3)), np.ones((4, 4), int)).astype(np.uint8)
    return (labels[..., None] * np.array([50, 20, 60]) % 256).astype(np.uint8), labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar in CamVid's layout, read and cut, and the files of a whole chain of each experiment."""
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
        folder = found.datasets["d"]
        assert isinstance(folder, DenseFolder)
        dense.prepare("d", folder, paths.images("d"), Path("raw"), [place])
        sequences.build(found.sequence("s"), {"d": paths.images("d")}, paths.tasks("s"))
        for experiment in found.experiments.values():
            for seed in experiment.seeds:
                for task in experiment.tasks:
                    for stage in stages_of(experiment, task):
                        run_stage(experiment, seed, task, stage)
                evaluate(experiment, seed)
            summarise(experiment)
    return place


def test_how_many_classes_each_task_brings() -> None:
    assert Dense(kind="dense", dataset="d", tasks=6, first=15, each=1).task_sizes() == [15, 1, 1, 1, 1, 1]
    assert Dense(kind="dense", dataset="d", tasks=2, first=15, each=5).task_sizes() == [15, 5]
    assert Dense(kind="dense", dataset="d", sizes=[4, 3, 2]).task_sizes() == [4, 3, 2]


def test_annotations_become_classes() -> None:
    """Without a background classes start at 0 and move up by one; what is no class is void."""
    found = dense.as_classes(np.array([0, 1, 10, 11, 255], np.uint8), 11, False)
    assert found.tolist() == [1, 2, 11, VOID, VOID]
    assert dense.as_classes(np.array([0, 1, 20, 21, 255], np.uint8), 20, True).tolist() == [0, 1, 20, VOID, VOID]


def test_read_data_are_the_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arrays, info = read_tensors(paths.images("d"), "dense")
    assert arrays["train_images"].shape == (24, 3, 8, 12)
    names = sorted(f"{i}.jpg" for i in range(24))
    for place, name in enumerate(names[:5]):
        image, labels = picture(int(name[:-4]))
        assert (arrays["train_images"][place] == image.transpose(2, 0, 1)).all()
        assert (arrays["train_labels"][place] == np.where(labels == 4, VOID, labels + 1)).all()
    assert not info["background"]


def test_a_task_sees_images_of_its_classes_and_labels_of_no_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arrays, _ = read_tensors(paths.images("d"), "dense")
    task = Inputs(tiny().experiment("plop")).task(1)
    pairs = zip(arrays["train_images"], arrays["train_labels"], strict=True)
    expected = [(image, labels) for image, labels in pairs if (labels == 3).any()]
    for split, own in (
        (task.train, [i for i in range(len(expected)) if i % 10]),
        (task.validation, range(0, len(expected), 10)),
    ):
        assert len(split) == len(own)
        for image, targets, i in zip(split.images.numpy(), split.targets.numpy(), own, strict=True):
            labels = expected[i][1]
            assert (image == expected[i][0]).all()
            assert (targets == np.where((labels == 3) | (labels == VOID), labels, 0)).all()
    test = Inputs(tiny().experiment("plop")).test(1)
    assert (test.targets.numpy() == arrays["test_labels"]).all()


def test_tasks_keep_the_order_of_the_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    cut, info = read_tensors(paths.tasks("s"), "tasks")
    assert [cut[f"task-{task:02d}.classes"].tolist() for task in range(3)] == [[1, 2], [3], [4]]
    assert (info["sizes"], info["datasets"], info["image_shape"]) == (SIZES, ["d"] * 3, [3, 8, 12])


def test_a_class_that_no_image_shows_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arrays, _ = read_tensors(paths.images("d"), "dense")
    with pytest.raises(UserError, match=r"0 images show a class of \[9\]"):
        dense.dense_arrays(arrays["train_labels"], arrays["test_labels"], range(9, 10), "here")


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
    source = DenseFolder(path="VOC", layout="voc", classes=3, height=8, width=12)
    dense.prepare("v", source, tmp_path / "v.safetensors", tmp_path, [])
    arrays, info = read_tensors(tmp_path / "v.safetensors", "dense")
    assert info["background"]
    assert (arrays["train_labels"][1] == np.where(picture(2)[1] == 4, VOID, picture(2)[1])).all()
    assert len(arrays["test_images"]) == 1
    (tmp_path / "VOC/JPEGImages/1.jpg").unlink()
    with pytest.raises(UserError, match=r"found no JPEGImages/1\.jpg"):
        dense.prepare("v", source, tmp_path / "v.safetensors", tmp_path, [])


def test_pseudo_labels() -> None:
    """Sure background pixels take the old answer, unsure ones are void; annotated and void pixels stay."""
    labels = torch.tensor([[[0, 0, 0, 3, VOID]], [[3, 3, 3, 3, 3]]])
    entropy = torch.tensor([[[0.1, 0.5, 0.1, 0.1, 0.1]]]).expand(2, 1, 5)
    answers = torch.tensor([[[1, 1, 0, 1, 1]]]).expand(2, 1, 5)
    found, share = distillation.pseudo_label(labels, entropy, answers, torch.tensor([0.05, 0.3]))
    assert found.tolist() == [[[1, VOID, VOID, 3, VOID]], [[3, 3, 3, 3, 3]]]
    assert share.tolist() == pytest.approx([1 / 3, 1])


def test_uncertainty_is_entropy_over_its_largest_value() -> None:
    logits = torch.randn(2, 3, 2, 2)
    entropy, answers = distillation.uncertainty(logits)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    np.testing.assert_allclose(entropy.numpy(), -(p * np.log(p)).sum(1) / math.log(3), rtol=1e-5)
    assert (answers.numpy() == p.argmax(1)).all()
    assert distillation.uncertainty(torch.zeros(1, 5, 1, 1))[0].item() == pytest.approx(1)


def test_medians_of_entropies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "EVERY", 1)
    network = DenseConv([3, 4], [3, 1], torch.Generator().manual_seed(0)).eval()
    split = Split(torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8), torch.randint(0, 2, (5, 8, 8)).mul(VOID).byte())
    found = distillation.median_entropies(network, split, 1, 2, 1e-3)
    entropy, answers = distillation.uncertainty(network(split.batch(torch.arange(5))[0], 0))
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
    assert distillation.pooled_distance(x, y, [1, 2]).item() == pytest.approx(expected, rel=1e-5)


def test_new_classes_share_the_background() -> None:
    network = DenseConv([3, 4], [3, 2], torch.Generator().manual_seed(0)).eval()
    images = torch.rand(2, 3, 8, 8)
    before = network.answers(network.features(images), 0).softmax(1)
    network.share_background(1)
    after = network.answers(network.features(images), 1).softmax(1)
    torch.testing.assert_close(after[:, [0, 3, 4]], before[:, :1].expand(-1, 3, -1, -1) / 3)
    torch.testing.assert_close(after[:, 1:3], before[:, 1:3])


def test_plop_objective_is_the_sum_of_its_parts() -> None:
    """With a network that is the old one, distillation is 0; away from it, it is sqrt(4 / 1) times the weighted parts."""
    options = PlopOptions(pod=0.5, pod_logits=0.25)
    old, network = (DenseConv([3, 4], [4, 1], torch.Generator().manual_seed(s)).eval() for s in (0, 1))
    images, labels = torch.rand(3, 3, 8, 8), torch.randint(0, 2, (3, 8, 8)) * 4
    least = torch.full((4,), 0.9)
    targets, share = distillation.pseudo_label(labels, *distillation.uncertainty(old(images, 0)), least)
    for one in (old, network):
        logits = one(images, 1)
        values = torch.nn.functional.cross_entropy(logits, targets, ignore_index=VOID, reduction="none")
        expected = (share * values.flatten(1).mean(1)).mean()
        new, before = one.levels(images), old.levels(images)
        distances = [distillation.pooled_distance(a, b, [1, 2, 4]) for a, b in zip(new, before, strict=True)]
        of_logits = distillation.pooled_distance(one.answers(new[-1], 0), old.answers(before[-1], 0), [1, 2, 4])
        expected = expected + 2 * (0.5 * sum(distances) / 2 + 0.25 * of_logits)
        loss = distillation.plop_objective(one, old, [3, 1], 1, least, options)(images, labels)
        torch.testing.assert_close(loss, expected)


def test_chain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages as the options say; directions never grow; fusion is the mean with the steps' count; a seed changes all."""
    monkeypatch.chdir(folder)
    found = tiny()
    fused = found.experiment("fused")
    assert [stages_of(fused, task) for task in range(3)] == [
        ("slow", "project"),
        ("slow", "fast", "fuse", "project"),
        ("slow", "fast", "fuse"),
    ]
    assert stages_of(found.experiment("plop"), 1) == ("slow",)
    before = read_state(paths.state("fused", 0, 2, "fast"))
    after = read_state(paths.state("fused", 0, 2, "fuse"))["network"]
    for name, tensor in after.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 2 / 3 * before["slow"][name] + 1 / 3 * before["network"][name])
    spaces = [from_tensors(read_state(paths.state("fused", 0, s, "project"))["subspaces"]) for s in (0, 1)]
    assert all(spaces[1][name].dimensions <= spaces[0][name].dimensions for name in spaces[0])
    other = read_state(final_state(fused, 1, 0))["network"]
    assert not identical(other, read_state(final_state(fused, 0, 0))["network"])


def test_projection_keeps_what_the_first_step_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow update has no part in the directions that were taken out."""
    monkeypatch.chdir(folder)
    first = read_state(paths.state("fused", 0, 0, "project"))
    second = read_state(paths.state("fused", 0, 1, "slow"))["network"]
    for name, space in from_tensors(first["subspaces"]).items():
        update = (second[f"{name}.weight"] - first["network"][f"{name}.weight"]).flatten(1).double()
        assert (update @ space.taken_out()).norm() <= 1e-4 * max(update.norm().item(), 1e-3)


def test_elsewhere_it_learns_what_it_does_here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of both are close: convolutions of a stand-in are computed another way."""
    monkeypatch.chdir(folder)
    expected = {f: read_state(f) for f in (paths.state("fused", 0, 0, s) for s in ("slow", "project"))}
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with elsewhere() as device, computing_on(device):
        for stage in ("slow", "project"):
            run_stage(tiny().experiment("fused"), 0, 0, stage)
        evaluate(tiny().experiment("fused"), 0)
    for file, state in expected.items():
        for group, named in read_state(file).items():
            torch.testing.assert_close(named, state[group], rtol=1e-3, atol=1e-3)


def test_killed_and_resumed_it_is_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    experiment = tiny().experiment("plop")
    inputs = Inputs(experiment)
    state = read_state(final_state(experiment, 0, 0))

    def job() -> Job:
        return Job(
            experiment=experiment,
            seed=0,
            classes=inputs.classes,
            image_shape=inputs.image_shape,
            stage="slow",
            data=[inputs.task(1)],
            checkpoints=Checkpoints(Path("none"), seconds=math.inf),
        )

    again = killed_and_resumed(stages.slow, job, state, Checkpoints(tmp_path, seconds=0), 1, "slow")
    assert identical(again["network"], read_state(paths.state("plop", 0, 1, "slow"))["network"])


def test_confusion_and_intersection_over_union_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, VOID])
    answers = torch.tensor([0, 1, 1, 1, 0, 2])
    found = confusion(labels, answers, 4)
    assert found.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    iou = intersection_over_union(found.numpy())
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
    scores = read_result(paths.scores("plop", 0))
    arrays, _ = read_tensors(paths.images("d"), "dense", ["test_labels"])
    for matrix in scores["confusion"]:
        assert np.array(matrix).sum(1).tolist() == [(arrays["test_labels"] == c).sum() for c in range(5)]
    assert not np.array(scores["confusion"][0])[:, 3:].any()
    draw_report(found, "r/seg")
    text = paths.report("r/seg", "md").read_text()
    assert "| PLOP " in text
    assert paths.report("r/seg", "png").stat().st_size > 1000


def test_scores_are_those_of_a_loop_over_the_pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On validation images other tasks' answers are the background, for nothing else is labelled there."""
    monkeypatch.chdir(folder)
    experiment = tiny().experiment("finetune")
    scores, inputs = read_result(paths.scores("finetune", 0)), Inputs(experiment)
    own = {0: (1, 2), 1: (3,), 2: (4,)}
    test, _ = read_tensors(paths.images("d"), "dense")
    for i in range(3):
        network = inputs.network(0).eval()
        network.load_state_dict(read_state(final_state(experiment, 0, i))["network"])
        counts = pixel_counts(network, test["test_images"], test["test_labels"], i)
        assert scores["confusion"][i] == [[counts.get((t, a), 0) for a in range(5)] for t in range(5)]
        for j in range(3):
            found = scores["test"]["class_incremental"][i][j]
            assert found == (pytest.approx(mean_of(counts, own[j])) if j <= i else None)
            validation = inputs.task(j).validation
            of_task: dict[tuple[int, int], int] = {}
            for (t, a), count in pixel_counts(network, validation.images.numpy(), validation.targets.numpy(), i).items():
                seen = (t, a if a in own[j] else 0)
                of_task[seen] = of_task.get(seen, 0) + count
            found = scores["validation"]["class_incremental"][i][j]
            assert found == (pytest.approx(mean_of(of_task, own[j])) if j <= i else None)
    assert scores["sizes"] == SIZES
    assert set(scores["test"]) == set(scores["validation"]) == {"class_incremental"}


def pixel_counts(network: torch.nn.Module, images: np.ndarray, labels: np.ndarray, head: int) -> dict[tuple[int, int], int]:
    """(true, answer) -> pixels, without void."""
    counts: dict[tuple[int, int], int] = {}
    for image, annotated in zip(images, labels, strict=True):
        with torch.no_grad():
            logits = network(torch.from_numpy(image)[None].float() / 255, head)[0].numpy()
        for y in range(annotated.shape[0]):
            for x in range(annotated.shape[1]):
                if annotated[y, x] != VOID:
                    pair = int(annotated[y, x]), int(np.argmax(logits[:, y, x]))
                    counts[pair] = counts.get(pair, 0) + 1
    return counts


def mean_of(counts: dict[tuple[int, int], int], classes: tuple[int, ...]) -> float | None:
    """Mean intersection over union of the classes that are or are answered."""
    values = []
    for c in classes:
        either = sum(count for pair, count in counts.items() if c in pair)
        values += [counts.get((c, c), 0) / either] if either else []
    return float(np.mean(values)) if values else None


def test_the_curve_has_the_accuracy_on_the_tasks_own_pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    experiment = tiny().experiment("finetune")
    inputs, found = Inputs(experiment), []
    for task, own in enumerate(((1, 2), (3,), (4,))):
        state = final_state(experiment, 0, task)
        network = inputs.network(0).eval()
        network.load_state_dict(read_state(state)["network"])
        validation = inputs.task(task).validation
        counts = pixel_counts(network, validation.images.numpy(), validation.targets.numpy(), task)
        total = sum(count for (label, _), count in counts.items() if label in own)
        found.append(sum(counts.get((label, label), 0) for label in own) / total)
        last = json.loads(paths.curve(state).read_text().splitlines()[-1])
        assert last["validation_accuracy"] == pytest.approx(found[-1])
    assert max(found) > 0


def test_a_summary_is_of_mean_intersections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    summary = read_result(paths.summary("fused"))["test"]
    r = [read_result(paths.scores("fused", seed))["test"]["class_incremental"] for seed in range(2)]
    assert set(summary) == {"class_incremental"}
    assert summary["class_incremental"]["acc"]["by_seed"] == pytest.approx([np.mean(one[2]) for one in r])
    forgotten = [np.mean([one[2][j] - one[j][j] for j in range(2)]) for one in r]
    assert summary["class_incremental"]["bwt"]["by_seed"] == pytest.approx(forgotten)
    assert summary["class_incremental"]["fwt_gem"]["mean"] is None


def test_runs_in_mlflow_hold_mean_intersections(folder: Path, untracked: Path, empty_database: Path) -> None:
    shutil.copytree(folder, untracked, dirs_exist_ok=True)
    shutil.copy(empty_database, untracked / "mlflow.db")
    found = tiny()
    track(found, found.experiment("fused"))
    home = client().get_experiment_by_name("lifelong/s")
    metrics = {run.info.run_name: run.data.metrics for run in client().search_runs([home.experiment_id])}
    expected = read_result(paths.summary("fused"))["test"]["class_incremental"]["acc"]
    assert metrics["fused"]["acc/class_incremental"] == pytest.approx(expected["mean"])
    for seed, value in enumerate(expected["by_seed"]):
        assert metrics[f"fused seed {seed}"]["acc/class_incremental"] == pytest.approx(value)


def test_fingerprints_are_of_all_that_decides_the_results() -> None:
    first, seeds = one(), one({"seeds": 3})
    pod, shape = one({"options": {"pod": 0.5}}), one(datasets={"d": {**written({}, {})["datasets"]["d"], "height": 16}})
    assert stage_fingerprint(first, "slow") == stage_fingerprint(seeds, "slow")
    assert len({stage_fingerprint(each, "slow") for each in (first, pod, shape)}) == 3
    assert fingerprint(*scores_parts(first)) == fingerprint(*scores_parts(pod)) != fingerprint(*scores_parts(shape))


SPLIT = {"kind": "split", "dataset": "digits", "tasks": 2, "classes_per_task": 2, "validation": {"first": 9}}
MLP = {"kind": "mlp", "hidden": [4], "initialisation": "uniform-fan-in"}
BACKBONE = {"kind": "random", "image_size": 8, "widths": [4]}


@pytest.mark.parametrize(
    ("entry", "changed", "message"),
    [
        ({"sequence": "z"}, {}, r"experiments\.a\.sequence: 'z' is unknown"),
        ({"training": "z"}, {}, r"experiments\.a\.training: 'z' is unknown"),
        ({"options": {"fusion": "linear"}}, {}, "'fast_epochs' goes with 'fusion: linear'"),
        ({"heads": "all-classes"}, {}, r"heads: 'all-classes' does not fit method 'plop'"),
        (
            {"method": "ewc", "options": {"strength": 1}},
            {},
            r"sequence: 's' is of kind 'dense'; method 'ewc' learns .*: its loss is of whole images, not of pixels",
        ),
        ({}, {"sequences": {"s": SPLIT}}, r"method 'plop' learns dense: its loss is of pixels, not of whole images"),
        ({}, {"networks": {"conv": MLP}}, r"network: 'conv' is of kind 'mlp'; method 'plop' works with dense-conv"),
        (
            {},
            {"networks": {"conv": {"kind": "backbone", "backbone": "b"}}, "backbones": {"b": BACKBONE}},
            r"network: 'conv' is of kind 'mlp'; method 'plop' works with dense-conv",
        ),
        (
            {"method": "finetune"},
            {"sequences": {"s": SPLIT}},
            "labels of pixels go with a network of kind 'dense-conv', and only with it",
        ),
        (
            {},
            {"sequences": {"s": SEQUENCE | {"tasks": 4}}},
            r"sequences\.s: tasks of \[2, 1, 1, 1\] classes need 5; d has 4",
        ),
        ({}, {"sequences": {"s": SEQUENCE | {"dataset": "e"}}}, r"sequences\.s\.dataset: 'e' is unknown"),
        ({}, {"sequences": {"s": SEQUENCE | {"sizes": [2]}}}, "needs 'tasks', 'first' and 'each', or 'sizes'"),
        (
            {},
            {"sequences": {"s": SEQUENCE, "w": SPLIT | {"dataset": "d"}}},
            r"sequences\.w\.dataset: 'd' labels every pixel, which a sequence of kind 'split' does not cut",
        ),
        (
            {},
            {"sequences": {"s": SEQUENCE | {"dataset": "digits"}}},
            r"sequences\.s\.dataset: 'digits' labels whole images, which a sequence of kind 'dense' does not cut",
        ),
    ],
)
def test_what_does_not_fit_is_refused(entry: dict[str, Any], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        one(entry, **changed)


def test_unknown_stage_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"plop has no stage 'fast' of task 0; .* the stages of this one slow"):
        run_stage(tiny().experiment("plop"), 0, 0, "fast")
