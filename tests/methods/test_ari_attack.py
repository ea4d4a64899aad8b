"""The background attack beside finite differences and elementwise statements; batch normalisation under it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lifelong.methods.ari.attack import background_mask, keep_statistics, perturb, resize_attention

MASKS = ("one-minus", "one-minus-square", "reciprocal")


@pytest.mark.parametrize("mask", MASKS)
def test_background_is_equation_1(mask: str) -> None:
    a = torch.tensor([0.1, 0.5, 0.9])
    expected = {"one-minus": [0.9, 0.5, 0.1], "one-minus-square": [0.99, 0.75, 0.19], "reciprocal": [10, 2, 1 / 0.9]}
    torch.testing.assert_close(background_mask(a, mask), torch.tensor(expected[mask]))  # type: ignore[arg-type]


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.3]))
def test_attack_is_bounded_by_the_background_and_stays_an_image(seed: int, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 2, 4, 4, generator=generator)
    gradient = torch.randn(3, 2, 4, 4, generator=generator)
    mask = torch.rand(3, 1, 4, 4, generator=generator) * torch.randint(0, 2, (3, 1, 4, 4), generator=generator)
    found = perturb(images, gradient, mask, epsilon)
    assert ((found - images).abs() <= epsilon * mask + 1e-6).all()
    assert torch.equal(found[(mask == 0).expand_as(found)], images[(mask == 0).expand_as(images)])
    assert found.min() >= 0 and found.max() <= 1
    inside = (images > 0.3) & (images < 0.7)  # nothing is clipped there
    moved = epsilon * mask * gradient.sign()
    torch.testing.assert_close((found - images)[inside], moved[inside], atol=1e-6, rtol=0)


def test_released_variant_weighs_start_and_step_and_bounds_the_sum() -> None:
    images = torch.full((1, 1, 1, 4), 0.5)
    start, gradient = torch.tensor([[[[0.05, -0.05, 0.1, 0.1]]]]), torch.tensor([[[[1.0, 1.0, 1.0, -1.0]]]])
    mask = torch.tensor([[[[0.5, 0.5, 3.0, 0.0]]]])
    found = perturb(images, gradient, mask, 0.1, start=start, bound=0.1) - images
    torch.testing.assert_close(found, torch.tensor([[[[0.075, 0.025, 0.1, 0.0]]]]))
    unbounded = perturb(images, gradient, mask, 0.1) - images
    torch.testing.assert_close(unbounded, torch.tensor([[[[0.05, 0.05, 0.3, 0.0]]]]))


def test_batch_statistics_are_kept_and_the_answers_those_of_training() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)).train()
    x = torch.rand(5, 1, 6, 6) + 3
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with keep_statistics(network):
        found = network(x)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    torch.testing.assert_close(network(x), found)
    assert not torch.equal(before["1.running_mean"], network.state_dict()["1.running_mean"])


def test_attention_grows_to_the_size_of_the_images() -> None:
    images = torch.zeros(2, 3, 8, 8)
    same = torch.rand(2, 1, 8, 8)
    assert resize_attention(same, images) is same
    small = torch.tensor([[[[0.2, 0.8]]]]).expand(2, 1, 2, 2)
    grown = resize_attention(small, images)
    assert grown.shape == (2, 1, 8, 8)
    torch.testing.assert_close(grown[0, 0, 0], torch.tensor([0.2, 0.2, 0.275, 0.425, 0.575, 0.725, 0.8, 0.8]))
