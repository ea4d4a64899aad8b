"""Dreams: each term of what they minimise against loops, and what comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.nets import conv_net, mlp, split_for

from lifelong.methods.split2meta import Dreams
from lifelong.methods.split2meta.dreams import (
    balanced_targets,
    dream,
    record_statistics,
    running_statistics,
    statistics_distance,
    total_variation,
)
from lifelong.methods.split2meta.fusion import estimate_norm_statistics
from lifelong.networks.base import Network


def test_total_variation_against_loops() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    sums = dict.fromkeys(((0, 1), (1, 0), (1, 1), (1, -1)), 0.0)
    for n in range(2):
        for c in range(3):
            for y in range(4):
                for x in range(5):
                    for dy, dx in sums:
                        if y + dy < 4 and 0 <= x + dx < 5:
                            sums[dy, dx] += (images[n, c, y + dy, x + dx] - images[n, c, y, x]) ** 2
    expected = sum(np.sqrt(total) for total in sums.values())
    assert total_variation(torch.from_numpy(images)).item() == pytest.approx(expected)


def test_statistics_distance_by_hand() -> None:
    """One layer, two channels over two images of two positions."""
    seen = {"l": torch.tensor([[[1.0, 3.0], [0.0, 0.0]], [[5.0, 7.0], [0.0, 4.0]]])}
    wanted = {"l": (torch.tensor([1.0, 1.0]), torch.tensor([2.0, 7.0]))}
    # Means 4 and 1, variances 5 and 3.
    assert statistics_distance(wanted, seen, "mean").item() == pytest.approx(9)
    assert statistics_distance(wanted, seen, "mean-variance").item() == pytest.approx(3 + 5)


def test_recorded_statistics_are_those_of_what_leaves_the_layers() -> None:
    network, split = mlp(), split_for((1, 2, 3))
    found = record_statistics(network, split, 4)
    x = split.images.flatten(1).double().numpy() / 255
    for number in range(2):
        weight, bias = (network.get_parameter(f"hidden.{number}.{p}").detach().double().numpy() for p in ("weight", "bias"))
        z = x @ weight.T + bias
        mean, variance = found[f"hidden.{number}"]
        np.testing.assert_allclose(mean, z.mean(0), atol=1e-5)
        np.testing.assert_allclose(variance, z.var(0), atol=1e-5)
        x = np.maximum(z, 0)


def test_targets_are_balanced() -> None:
    assert balanced_targets(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]


def net_of(which: str) -> tuple[Network, tuple[int, ...]]:
    """A network that tells images apart; the convolutional one knows the statistics of some."""
    net, shape = (conv_net(), (1, 4, 4)) if which == "conv" else (mlp(), (1, 2, 3))
    estimate_norm_statistics(net, split_for(shape).batch(torch.arange(13))[0])
    with torch.no_grad():
        net.get_parameter("heads.1.weight").mul_(5)
    return net, shape


def dreamt(network: str, **changes: object) -> torch.Tensor:
    net, shape = net_of(network)
    statistics = running_statistics(net) or record_statistics(net, split_for(shape), 5)
    settings = {"iterations": 60, "jitter": 0, "statistics_weight": 0.0, "smoothness_weight": 0.0}
    options = Dreams.model_validate({"images": 8, **settings, **changes})
    return dream(net, 1, balanced_targets(8, 2), shape, statistics, options, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_dreams_are_answered_as_asked(network: str) -> None:
    images = dreamt(network)
    net, _ = net_of(network)
    log_p = net(images, 1).log_softmax(1)
    start = net(dreamt(network, iterations=1, learning_rate=1e-9), 1).log_softmax(1)
    asked = balanced_targets(8, 2)[:, None]
    assert log_p.gather(1, asked).mean() > start.gather(1, asked).mean() + 0.05
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, dreamt(network))


@pytest.mark.parametrize("which", ["mean-variance", "mean"])
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_statistics_come_near(network: str, which: str) -> None:
    net, shape = net_of(network)
    statistics = running_statistics(net) or record_statistics(net, split_for(shape), 5)

    def distance(images: torch.Tensor) -> float:
        seen: dict[str, torch.Tensor] = {}
        for name in statistics:
            layer = net.get_submodule(name)
            place = 0 if network == "conv" else 1  # what enters the normalisation, what leaves the linear layer
            layer.register_forward_hook(
                lambda _, inputs, output, name=name, place=place: seen.__setitem__(name, (inputs[0], output)[place])
            )
        net(images, 0)
        return statistics_distance(statistics, seen, which).item()

    with_it = distance(dreamt(network, statistics=which, statistics_weight=10.0))
    assert with_it < 0.8 * distance(dreamt(network, statistics=which))


@pytest.mark.parametrize(("weight", "less"), [("smoothness_weight", total_variation), ("square_weight", torch.norm)])
def test_priors_act(weight: str, less) -> None:  # type: ignore[no-untyped-def]
    assert less(dreamt("conv", **{weight: 1.0})) < 0.8 * less(dreamt("conv"))


def test_jitter_rolls() -> None:
    assert not torch.equal(dreamt("conv", jitter=1), dreamt("conv"))
