"""Baselines that train the whole backbone: the network, its images, the importance of its layers, and all learners."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collectives import three_folders
from conftest import assert_close, importances_by_image, until_done
from elsewhere import elsewhere
from torch import nn

from lifelong import config, layout
from lifelong.artifacts import read_json, write_tensors
from lifelong.backbones.images import prepare_images
from lifelong.backbones.load import load_backbone
from lifelong.backbones.padding import with_explicit_padding
from lifelong.config.skill import RandomBackbone, TrainedBackbone
from lifelong.config.skill_methods import learner
from lifelong.device import computing_on
from lifelong.errors import UserError
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.importance import fisher_diagonal, output_sensitivity, summed
from lifelong.learning.job import Job
from lifelong.methods.baselines import finetune
from lifelong.methods.skill.baselines import run as runner
from lifelong.methods.skill.baselines.data import pictures_of
from lifelong.methods.skill.selection import TaskData
from lifelong.networks import backbone

RANDOM = RandomBackbone(kind="random", image_size=8, widths=[4, 6], mean=[0.4, 0.5, 0.6], deviation=[0.2, 0.3, 0.4])
CLASSES = (2, 3, 2)
LEARNERS: dict[str, dict[str, Any]] = {
    "Fine-tuning": {"method": "finetune"},
    "One": {"method": "sgd", "heads": "all-classes"},
    "EWC": {"method": "ewc", "options": {"fisher_batch": 8}, "grid": {"strength": [1, 100]}},
    "EWC-online": {"method": "ewc-online", "options": {"strength": 5, "gamma": 0.9, "fisher_batch": 8}},
    "SI": {"method": "si"},
    "MAS": {"method": "mas", "options": {"strength": 0.1, "sensitivity_batch": 8}},
    "LwF": {"method": "lwf", "options": {"strength": 1}},
    "ER": {"method": "er"},
    "Joint": {"method": "joint"},
}


def images(task: int, seed: int, channels: int = 3, count: int = 48) -> TaskData:
    """Every class has a colour of its own."""
    random = np.random.default_rng([task, seed])
    labels = random.permutation(np.arange(count) % CLASSES[task])
    colours = np.random.default_rng(task).integers(0, 256, (CLASSES[task], channels, 1, 1))
    rows = np.clip(colours[labels] + random.normal(0, 20, (count, channels, 10, 12)), 0, 255).astype(np.uint8)
    return TaskData(rows, labels, tuple(f"{task}-{label}" for label in range(CLASSES[task])))


def network() -> backbone.BackboneNetwork:
    settings = TrainedBackbone(name="random", backbone=RANDOM)
    return backbone.build(settings, (3, 8, 8), [2, 3], torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_what_the_frozen_backbone_sees_but_for_rounding(channels: int) -> None:
    data = images(0, 0, channels)
    pictures = pictures_of(data, RANDOM)
    assert pictures.images.dtype == torch.uint8
    assert pictures.images.shape == (len(data), 3, 8, 8)
    chosen = torch.tensor([5, 0, 7])
    found, targets = pictures.batch(chosen)
    seen = prepare_images(torch.from_numpy(data.rows[chosen.numpy()]), RANDOM)
    half = torch.tensor([0.5 / 255 / d for d in RANDOM.deviation])[:, None, None]
    assert ((found - seen).abs() <= half + 1e-5).all()
    assert targets.tolist() == data.labels[chosen.numpy()].tolist()


def test_before_learning_it_is_the_published_backbone() -> None:
    """In one pass and in chunks; normalisation is folded in, so nothing depends on the mode."""
    x = torch.randn(70, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    published = load_backbone("random", RANDOM, Path("none"), [])
    expected = published(x)
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
    made, split = network().eval(), pictures_of(images(0, 0, count=7), RANDOM)
    assert {layer.groups for layer in made.modules() if isinstance(layer, nn.Conv2d)} == {1, 4}
    slow = importances_by_image(made, split, 1)
    for measure, expected in zip((fisher_diagonal, output_sensitivity), slow, strict=True):
        for batch in (3, 100):
            assert_close(measure(made, split, 1, batch), expected, 1e-7)
        assert sum(float(one.sum()) for one in expected.values()) > 0


def test_other_groups_are_refused() -> None:
    layer, x = nn.Conv2d(4, 4, 3, groups=2), torch.zeros(1, 4, 5, 5)
    with pytest.raises(ValueError, match="a convolution of 2 groups"):
        summed(layer, "0", x, layer(x), torch.abs)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Images of three data sets as `lifelong images` leaves them; the second one's are grey."""
    monkeypatch.chdir(tmp_path)
    for task in range(3):
        arrays: dict[str, np.ndarray] = {}
        for seed, split in enumerate(("train", "test")):
            found = images(task, seed, channels=1 if task == 1 else 3)
            arrays |= {f"{split}_images": found.rows, f"{split}_labels": found.labels}
        info = {"class_names": list(found.names), "content": str(task) * 64}
        write_tensors(layout.images(f"set-{task}"), "images", arrays, info)
    yield tmp_path


def written(**baselines: Any) -> config.Settings:
    budget = {"network": "backbone", "learning_rate": 0.01, "epochs": 12, "batch_size": 8, "tuning_tasks": 2}
    return three_folders(RANDOM.model_dump(), budget | {"learners": LEARNERS} | baselines)


@pytest.mark.parametrize("label", LEARNERS)
def test_every_learner_learns_here_and_elsewhere(place: Path, label: str) -> None:
    settings = written()
    runner.baseline(settings.skill, "tiny", 0, label)
    path = layout.baseline("tiny", 0, label)
    found = read_json(path)
    assert [len(row) for row in found["told"]] == ([3] if label == "Joint" else [1, 2, 3])
    assert found["told"][-1][2] > 0.6  # chance is a half
    whole = path.read_bytes()
    with elsewhere() as device, computing_on(device):
        runner.baseline(settings.skill, "tiny", 0, label)
    assert path.read_bytes() == whole


def test_the_whole_backbone_learns(place: Path) -> None:
    skill = written().skill
    wanted = skill.collective("tiny").baselines
    assert wanted is not None
    chosen = learner(wanted.learners["Fine-tuning"], "here")
    tasks, _ = runner._course(skill, skill.collective("tiny"), wanted)
    settings = TrainedBackbone(name="random", backbone=RANDOM)
    own = runner.experiment("x", wanted, chosen, chosen.candidates[0], tasks, settings)
    job = Job(own, 0, "learn", [tasks.tasks[0]], 3, tasks.outputs, tasks.shape, Checkpoints(place / "none", math.inf))
    before = job.network(None).state_dict()
    after = finetune.learn(job, None)["network"]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith(("body.", "heads.0."))}


@pytest.mark.parametrize("label", ["ER", "EWC"])
def test_killed_within_a_task_it_goes_on_bit_for_bit(place: Path, monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    settings = written()
    runner.baseline(settings.skill, "tiny", 0, label)
    path = layout.baseline("tiny", 0, label)
    whole = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    saved: list[str] = []
    save = Checkpoints.save

    def dying(self: Checkpoints, name: str, tensors: Any, info: Any) -> None:
        save(self, name, tensors, info)
        saved.append(name)
        if len(saved) % 5 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", dying)
    until_done(lambda: runner.baseline(settings.skill, "tiny", 0, label))
    assert path.read_bytes() == whole
    assert {"learn", "course"} <= set(saved)
    assert not list(layout.CHECKPOINTS.iterdir())


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ({"hidden": [4]}, "'hidden' (one width or more) goes with 'network: perceptron'"),
        ({"network": "perceptron"}, "'hidden' (one width or more) goes with 'network: perceptron'"),
        ({"learners": {"P": {"method": "psp"}}}, "learners.P.method: 'psp' is for a perceptron"),
        ({"learners": {"S": {"method": "supsup"}}}, "learners.S.method: 'supsup' is for a perceptron"),
    ],
)
def test_what_does_not_go_with_a_backbone_is_named(baselines: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        written(**baselines)
    assert "skill.collectives.tiny.baselines" in str(caught.value)
    assert message in str(caught.value)
