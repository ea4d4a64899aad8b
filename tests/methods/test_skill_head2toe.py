"""Head2Toe on the channels with the largest biases: which they are, what is read there, and what it adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.collectives import NAME, TASK_NAMES, TASKS, collective_settings, write_collective
from torch import nn

from lifelong.methods.skill.head2toe import Taps, largest
from lifelong.networks.backbones.biases import BiasedBackbone
from lifelong.networks.backbones.images import prepare_images
from lifelong.networks.backbones.load import freeze
from lifelong.networks.backbones.random_network import RandomNetwork
from lifelong.params.backbones import RandomBackbone
from lifelong.reports import head2toe
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_tensors
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import generator

SETTINGS = RandomBackbone(kind="random", image_size=16, widths=[4, 6])


@given(st.integers(1, 300), st.floats(0.01, 0.99), st.integers(0, 1000))
def test_the_largest_biases_of_either_sign_are_chosen(count: int, share: float, seed: int) -> None:
    biases = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    expected = np.sort(np.argsort(-np.abs(biases.numpy()))[: max(round(share * count), 1)])
    assert largest(biases, share).tolist() == expected.tolist()


def network() -> nn.Module:
    """With normalisations that do something."""
    made = RandomNetwork(SETTINGS.widths, 0)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                assert tensor is not None
                tensor.uniform_(0.5, 2, generator=generator(1))
            for tensor in (module.bias.data, module.running_mean):
                assert tensor is not None
                tensor.normal_(generator=generator(2))
    return freeze(made)


def test_the_maps_read_are_those_of_the_plain_network_with_biases() -> None:
    """Conv + B, normalised where a normalisation follows, averaged over 2 x 2 cells; then beside the pooled features."""
    plain = network()
    biases = torch.randn(4 + 4 + 6, generator=generator(3))
    chosen = torch.tensor([1, 3, 5, 8, 13])
    biased = BiasedBackbone(plain, SETTINGS.image_size)
    biased.biases.data.copy_(biases)
    taps = Taps(biased, chosen, 20)
    assert taps.side == 2
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    found = taps.features(images, SETTINGS)
    x = prepare_images(torch.from_numpy(images), SETTINGS)
    maps, start = [], 0
    layers = list(plain.layers)  # type: ignore[arg-type]
    with torch.no_grad():
        for layer, following in zip(layers, [*layers[1:], None], strict=True):
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                size = layer.out_channels
                x = x + biases[start : start + size, None, None]
                maps.append(following(x) if isinstance(following, nn.BatchNorm2d) else x)
                start += size
    every = torch.cat([m.unflatten(3, (2, -1)).unflatten(2, (2, -1)).mean((3, 5)) for m in maps], 1)
    expected = torch.cat([x.mean((2, 3)), every[:, chosen].flatten(1)], 1)
    assert found.shape == (40, 6 + 5 * 4)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_the_report_says_what_is_added_told_and_routed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_collective(seeds=1)
    settings = collective_settings(seeds=1, head2toe={"head": "biases", "mapper": "mahalanobis"})
    owners = np.repeat(np.arange(TASKS), 4)
    routes = owners.copy()
    routes[[0, 4]] = 2  # one image of each of the first two tasks goes astray
    arrays = {"owners": owners, "routes/mahalanobis": routes}
    write_tensors(paths.collective_predictions(NAME, 0), "skill-predictions", arrays, {})
    labels = np.array([0, 1, 0, 1])
    for task in range(TASKS):
        plain, toe = labels.copy(), labels.copy()
        plain[:2] += 1  # half are right
        toe[0] += 1  # three quarters
        for path, kind, answers in (
            (paths.biased_predictions(NAME, 0, task, "biases"), "skill-judged", plain),
            (paths.head2toe(NAME, 0, task), "skill-head2toe", toe),
        ):
            write_tensors(path, kind, {"predictions": answers, "labels": labels}, {})
    collective = settings.skill.collective(NAME)
    found = head2toe.accuracies(NAME, collective, 0, TASKS)
    assert found == [[0.5] * 3, [0.75] * 3, [0.5] * 3, [0.75] * 3]  # the image that goes astray is wrong anyway
    page = "\n".join(head2toe.section(head2toe.measure("r", NAME, collective, TASKS), collective, TASK_NAMES))
    assert "Gain +25.00 when the task is told, +25.00 when mahalanobis names it." in page
    routes[3] = 2
    write_tensors(paths.collective_predictions(NAME, 0), "skill-predictions", arrays | {"routes/mahalanobis": routes}, {})
    assert head2toe.accuracies(NAME, collective, 0, TASKS)[2][0] == 0.25
    assert head2toe.section([], collective_settings(seeds=1).skill.collective(NAME), TASK_NAMES) == []


def test_only_a_head_with_biases_can_choose() -> None:
    with pytest.raises(UserError, match=r"head2toe\.head: 'linear' is unknown"):
        collective_settings(head2toe={"head": "linear", "mapper": "gmmc"})
