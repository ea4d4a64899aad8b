"""Learners that train the whole backbone: the network, its images, the importance of its layers, and all learners."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.collectives import three_sets
from support.elsewhere import elsewhere
from support.resuming import kill_after_saves
from support.tiny import assert_close, call, importances_by_image, until_done
from torch import nn

from lifelong.data import sequences
from lifelong.data.selection import TaskData, validation_split
from lifelong.data.tensors import Split, bring_to_shape
from lifelong.methods.finetune import stages as finetune
from lifelong.networks import backbone
from lifelong.networks.backbones.images import normalise, prepare_images
from lifelong.networks.backbones.load import load_backbone
from lifelong.networks.backbones.padding import with_explicit_padding
from lifelong.params import Experiment
from lifelong.params.backbones import RandomBackbone
from lifelong.params.networks import PretrainedNetwork
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import source_file, stages_of
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.run import run_stage
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors, write_tensors
from lifelong.runtime.device import computing_on
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.importance import fisher_diagonal, output_sensitivity, sum_over_images
from lifelong.training.job import Job

RANDOM = RandomBackbone(kind="random", image_size=8, widths=[4, 6], mean=[0.4, 0.5, 0.6], deviation=[0.2, 0.3, 0.4])
CLASSES = (2, 3, 2)
SIZES = ((10, 12), (7, 9), (12, 8))
TRAINED = {"kind": "backbone", "backbone": "random", "frozen": False}
LEARNERS: dict[str, dict[str, Any]] = {
    "finetune": {},
    "sgd": {"heads": "all-classes"},
    "ewc": {"options": {"fisher_batch": 8, "strength": 1}},
    "ewc-online": {"options": {"strength": 5, "gamma": 0.9, "fisher_batch": 8}},
    "si": {},
    "mas": {"options": {"strength": 0.1, "sensitivity_batch": 8}},
    "lwf": {"options": {"strength": 1}},
    "er": {"options": {"per_class": 10, "selection": "random"}, "heads": "per-task"},
    "agem": {"options": {"memory": 60, "reference_batch": 16}, "heads": "per-task"},
    "joint": {},
}


def images(task: int, seed: int, channels: int = 3, count: int = 48) -> TaskData:
    """Every class has a colour of its own."""
    random = np.random.default_rng([task, seed])
    labels = random.permutation(np.arange(count) % CLASSES[task])
    colours = np.random.default_rng(task).integers(0, 256, (CLASSES[task], channels, 1, 1))
    rows = np.clip(colours[labels] + random.normal(0, 20, (count, channels, *SIZES[task])), 0, 255).astype(np.uint8)
    return TaskData(rows, labels, tuple(f"{task}-{label}" for label in range(CLASSES[task])))


def shaped(found: TaskData) -> Split:
    """The images as the backbone takes them."""
    return Split(bring_to_shape(torch.from_numpy(found.rows), (3, 8, 8)), torch.from_numpy(found.labels))


def network() -> backbone.LearningBackbone:
    settings = PretrainedNetwork(kind="backbone", name="random", backbone=RANDOM, frozen=False, hidden=[])
    made = backbone.build(settings, (3, 8, 8), [2, 3], torch.Generator().manual_seed(0))
    assert isinstance(made, backbone.LearningBackbone)
    return made


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop", [1.0, 0.8])
def test_images_are_what_the_frozen_backbone_sees_but_for_rounding(channels: int, crop: float) -> None:
    data, settings = images(0, 0, channels), RANDOM.model_copy(update={"crop": crop})
    found = bring_to_shape(torch.from_numpy(data.rows), (3, 8, 8), crop)
    assert found.dtype == torch.uint8
    assert found.shape == (len(data), 3, 8, 8)
    chosen = torch.tensor([5, 0, 7])
    batch, targets = Split(found, torch.from_numpy(data.labels)).batch(chosen)
    seen = prepare_images(torch.from_numpy(data.rows[chosen.numpy()]), settings)
    half = torch.tensor([0.5 / 255 / d for d in RANDOM.deviation])[:, None, None]
    assert ((normalise(255 * batch, settings) - seen).abs() <= half + 1e-5).all()
    assert targets.tolist() == data.labels[chosen.numpy()].tolist()


def test_before_learning_it_is_the_published_backbone() -> None:
    """In one pass and in chunks; normalisation is folded in, so nothing depends on the mode."""
    x = torch.rand(70, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    published = load_backbone("random", RANDOM, Path("none"), [])
    expected = published((x - torch.tensor(RANDOM.mean)[:, None, None]) / torch.tensor(RANDOM.deviation)[:, None, None])
    made = network().train()
    torch.testing.assert_close(made.features(x), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(made.eval().features(x), expected, rtol=1e-4, atol=1e-5)
    assert all(parameter.requires_grad for parameter in made.parameters())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in made.modules())
    assert not list(made.buffers())


def test_heads_depend_on_the_generator_alone() -> None:
    one, two = network(), network()
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not one.heads[0].get_parameter("bias").any()


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 2, 8), (3, 2, 9), (5, 2, 8), (3, 1, 7)])
def test_padding_of_its_own_is_tensorflows(kernel: int, stride: int, size: int) -> None:
    """ceil(size / stride) outputs, the odd zero behind; weights are shared, not copied."""
    from timm.layers import Conv2dSame

    torch.manual_seed(0)
    same = Conv2dSame(3, 4, kernel, stride, groups=1)
    x = torch.randn(2, 3, size, size)
    expected = same(x)
    changed = with_explicit_padding(nn.Sequential(same), size)
    torch.testing.assert_close(changed(x), expected)
    out = math.ceil(size / stride)
    assert expected.shape[-2:] == (out, out)
    total = max((out - 1) * stride + kernel - size, 0)
    padding = changed.get_submodule("0.0")
    assert padding.padding == (total // 2, total - total // 2) * 2
    assert changed.get_submodule("0.1").weight is same.weight


def test_importances_of_depthwise_convolutions_are_sums_over_single_images() -> None:
    made, split = network().eval(), shaped(images(0, 0, count=7))
    assert {layer.groups for layer in made.modules() if isinstance(layer, nn.Conv2d)} == {1, 4}
    slow = importances_by_image(made, split, 1)
    for measure, expected in zip((fisher_diagonal, output_sensitivity), slow, strict=True):
        for batch in (3, 100):
            assert_close(measure(made, split, 1, batch), expected, 1e-7)
        assert sum(float(one.sum()) for one in expected.values()) > 0


def test_a_convolution_of_other_groups_has_its_own_gradients() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 4, 3, groups=2), torch.randn(2, 4, 5, 5)
    g = torch.randn(2, 4, 3, 3)
    found = sum_over_images(layer, "0", x, g, torch.abs)
    each = [torch.autograd.grad(layer(x[i : i + 1]), layer.weight, g[i : i + 1])[0].abs() for i in range(2)]
    expected = torch.stack(each).sum(0)
    assert_close(found, {"0.weight": expected, "0.bias": g.sum((2, 3)).abs().sum(0)}, 1e-5)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Images of three data sets as `lifelong images` leaves them; no two of a size, the second one's grey."""
    monkeypatch.chdir(tmp_path)
    for task in range(3):
        arrays: dict[str, np.ndarray] = {}
        for seed, split in enumerate(("train", "test")):
            found = images(task, seed, channels=1 if task == 1 else 3)
            arrays |= {f"{split}_images": found.rows, f"{split}_labels": found.labels}
        info = {"class_names": list(found.names), "content": str(task) * 64}
        write_tensors(paths.images(f"set-{task}"), "images", arrays, info)
    yield tmp_path


def written(
    method: str, network: dict[str, Any] | None = None, sequence: dict[str, Any] | None = None, **entry: Any
) -> Experiment:
    """The experiment, whose sequence is cut."""
    learner = {"x": {"method": method} | entry}
    budget = {"epochs": 12, "learning_rate": 0.01 if network else 0.003}
    found = three_sets(learner, network or TRAINED, RANDOM.model_dump(), sequence, **budget).experiment("x")
    files = {name: paths.images(name) for name in found.datasets}
    sequences.build(found.sequence, files, paths.tasks("three"), found.tier, found.entries)
    return found


def learn(experiment: Experiment) -> dict[str, Any]:
    for task in experiment.tasks:
        for stage in stages_of(experiment, task):
            run_stage(experiment, 0, task, stage)
    evaluate(experiment, 0)
    scores: dict[str, Any] = read_result(paths.scores("x", 0))
    return scores


@pytest.mark.parametrize("method", LEARNERS)
def test_every_learner_learns_here_and_elsewhere(place: Path, method: str) -> None:
    experiment = written(method, **LEARNERS[method])
    told = learn(experiment)["test"]["task_incremental"]
    assert [row[0] is None for row in told] == ([True, True, False] if method == "joint" else [False] * 3)
    assert told[2][2] > 0.6  # chance is a half
    whole = paths.scores("x", 0).read_bytes()
    with elsewhere() as device, computing_on(device):
        learn(experiment)
    assert paths.scores("x", 0).read_bytes() == whole


def test_scores_are_those_of_the_written_weights(place: Path) -> None:
    """The body as the library has it, its weights from the file, on images in [0, 1] less the mean."""
    experiment = written("finetune")
    scores = learn(experiment)["test"]
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (RANDOM.mean, RANDOM.deviation))
    for i in range(3):
        arrays, _ = read_tensors(paths.state("x", 0, i, "learn"), "state")
        weights = {name.removeprefix("network/"): torch.from_numpy(array) for name, array in arrays.items()}
        made = Inputs(experiment).network(0)
        assert isinstance(made, backbone.LearningBackbone)
        made.load_state_dict(weights)
        for j in range(3):
            data = images(j, 1, channels=1 if j == 1 else 3)
            x = bring_to_shape(torch.from_numpy(data.rows), (3, 8, 8)).float() / 255
            with torch.no_grad():
                features = made.body((x - mean) / deviation)
            logits = [features @ weights[f"heads.{t}.weight"].T + weights[f"heads.{t}.bias"] for t in range(3)]
            right = (logits[j].argmax(1).numpy() == data.labels).mean()
            assert scores["task_incremental"][i][j] == pytest.approx(right)
            if j <= i:
                free = torch.cat(logits[: i + 1], 1).argmax(1).numpy() == data.labels + sum(CLASSES[:j])
                assert scores["class_incremental"][i][j] == pytest.approx(free.mean())


def test_the_whole_backbone_learns(place: Path) -> None:
    experiment = written("finetune")
    inputs = Inputs(experiment)
    job = Job(
        experiment=experiment,
        seed=0,
        classes=inputs.classes,
        image_shape=inputs.image_shape,
        stage="learn",
        data=[inputs.task(0)],
        checkpoints=Checkpoints(place / "none", math.inf),
    )
    before = job.network(None).state_dict()
    after = call(finetune.learn, job, None)["network"]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith(("body.", "heads.0."))}


@pytest.mark.parametrize("method", ["er", "ewc"])
def test_killed_within_a_task_it_goes_on_bit_for_bit(place: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    experiment = written(method, **LEARNERS[method])
    learn(experiment)
    files = [paths.state("x", 0, task, stage) for task in range(3) for stage in stages_of(experiment, task)]
    whole = {path: path.read_bytes() for path in files}
    saved = kill_after_saves(monkeypatch, every=5)
    for task in range(3):
        for stage in stages_of(experiment, task):
            until_done(partial(run_stage, experiment, 0, task, stage))
    assert {path: path.read_bytes() for path in files} == whole
    assert "learn" in saved
    assert len(saved) > 5
    assert not list(paths.CHECKPOINTS.iterdir())


# Images of one shape for any network

MLP = {"kind": "mlp", "hidden": [16], "initialisation": "uniform-fan-in"}
SMALL = {"kind": "small-conv", "widths": [4, 6]}


@pytest.mark.parametrize(("network", "shape"), [(MLP, [1, 6, 6]), (MLP, [3, 9, 5]), (SMALL, [3, 8, 8])])
def test_images_are_brought_to_the_sequences_shape(place: Path, network: dict[str, Any], shape: list[int]) -> None:
    """Resized to cover the shape, the middle cut out, within rounding as Pillow does; channels made equal, or their mean."""
    experiment = written("finetune", network, {"shape": shape})
    inputs = Inputs(experiment)
    assert inputs.image_shape == tuple(shape)
    assert source_file(experiment, 1, "train") == paths.images("set-1")
    for task in range(3):
        data = images(task, 0, channels=1 if task == 1 else 3)
        train, _ = validation_split(data.labels, 0.15, 0)
        found = inputs.task(task).train
        assert found.images.shape == (len(train), *shape)
        assert found.targets.tolist() == data.labels[train].tolist()
        for image, rows in zip(found.images[:5].numpy(), data.rows[train[:5]], strict=True):
            off = np.abs(image - by_pillow(rows, shape))
            assert off.mean() < 0.7
            assert off.max() <= 6  # Pillow cuts off at 0 and 255 between rows and columns too
        assert inputs.test(task).images.shape == (48, *shape)
    assert learn(experiment)["test"]["task_incremental"][2][2] > 0.6


def by_pillow(image: np.ndarray, shape: list[int]) -> np.ndarray:
    """uint8 [c, h, w] -> whole numbers of the shape."""
    channels, height, width = shape
    scale = max(height / image.shape[1], width / image.shape[2])
    size = max(height, round(image.shape[1] * scale)), max(width, round(image.shape[2] * scale))
    planes = [np.asarray(Image.fromarray(p).resize(size[::-1], Image.Resampling.BICUBIC)) for p in image]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    cut = np.stack(planes)[:, top : top + height, left : left + width].astype(float)
    if len(cut) != channels:
        cut = np.repeat(cut.mean(0, keepdims=True), channels, 0)
    return cut


def test_images_of_the_shape_stay_as_they_are() -> None:
    pixels = torch.from_numpy(images(0, 0).rows)
    assert torch.equal(bring_to_shape(pixels, (3, 10, 12)), pixels)
    grey = pixels[:, :1]
    assert torch.equal(bring_to_shape(grey, (3, 10, 12)), grey.expand(-1, 3, -1, -1))
    mean = bring_to_shape(pixels, (1, 10, 12)).numpy()[:, 0]
    np.testing.assert_allclose(mean, pixels.numpy().mean(1), atol=0.5 + 1e-4)
