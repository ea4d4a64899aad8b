"""The perceptron: its forward pass, dropout, heads and initialisations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from support.tiny import PIXELS, SHAPE, forward, pixels, shared_of, tiny_experiment, tiny_split

from lifelong.data.classes import Classes
from lifelong.networks.base import head_sizes
from lifelong.networks.create import new_network
from lifelong.networks.mlp import Mlp, build
from lifelong.params.methods import Heads
from lifelong.params.networks import MlpNetwork
from lifelong.runtime.randomness import generator


def built(rule: str, hidden: list[int], sizes: list[int], inputs: int = PIXELS, dropout: float = 0.0) -> Mlp:
    settings = MlpNetwork.model_validate({"kind": "mlp", "hidden": hidden, "dropout": dropout, "initialisation": rule})
    return build(settings, (1, 1, inputs), sizes, generator(0))


@pytest.mark.parametrize("hidden", [[4], [6, 5], [3, 7, 2]])
@pytest.mark.parametrize("sizes", [[2, 2, 2], [4], [1, 3]])
def test_forward_is_numpy_s(hidden: list[int], sizes: list[int]) -> None:
    network = built("truncated-normal", hidden, sizes, dropout=0.5).double().eval()
    split = tiny_split(0)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    expected = [forward(weights, pixels(split), head) for head in range(len(sizes))]
    images = split.batch(torch.arange(len(split)))[0].double()
    with torch.no_grad():
        for head, logits in enumerate(expected):
            assert logits.shape == (len(split), sizes[head])
            np.testing.assert_allclose(network(images, head), logits, atol=1e-7)
        np.testing.assert_allclose(network.all_logits(images), np.concatenate(expected, axis=1), atol=1e-7)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.5])
def test_dropout_behind_every_hidden_layer_while_training_alone(layers: int, dropout: float) -> None:
    """Identity layers on positive pixels: a feature survives all layers with (1-p)^layers and grows by its inverse."""
    network = Mlp(PIXELS, [PIXELS] * layers, [1], dropout)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("hidden."):
                parameter.copy_(torch.zeros(PIXELS) if name.endswith("bias") else torch.eye(PIXELS))
    images = torch.full((4000, 1, 1, PIXELS), 0.5)
    torch.manual_seed(0)
    with torch.no_grad():
        trained = network.train().features(images)
        tested = network.eval().features(images)
    assert torch.equal(tested, images.flatten(1))
    keep = (1 - dropout) ** layers
    survived = trained != 0
    torch.testing.assert_close(trained[survived], torch.full((int(survived.sum()),), 0.5 / keep))
    deviation = (keep * (1 - keep) / survived.numel()) ** 0.5
    assert abs(float(survived.double().mean()) - keep) <= 5 * deviation


@pytest.mark.parametrize(
    ("rule", "bias", "distribution"),
    [
        ("truncated-normal", 0.1, lambda fan_in: scipy.stats.truncnorm(-2, 2, scale=0.1)),
        ("uniform-fan-in", 0.0, lambda fan_in: scipy.stats.uniform(-(fan_in**-0.5), 2 * fan_in**-0.5)),
    ],
)
def test_initial_weights_follow_their_distribution(rule: str, bias: float, distribution: Any) -> None:
    for name, parameter in built(rule, [300, 100], [200, 50], inputs=64).named_parameters():
        values = parameter.detach().double().numpy().ravel()
        if name.endswith("bias"):
            np.testing.assert_array_equal(values, np.full(len(values), bias, np.float32))
            continue
        drawn_from = distribution(parameter.shape[1])
        low, high = drawn_from.support()
        assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6
        assert values.std() == pytest.approx(drawn_from.std(), rel=0.03)
        assert scipy.stats.kstest(values, drawn_from.cdf).pvalue > 1e-3


@pytest.mark.parametrize("rule", ["truncated-normal", "uniform-fan-in"])
def test_heads_are_drawn_apart(rule: str) -> None:
    named = built(rule, [50], [40, 40, 40]).state_dict()
    heads = [named[f"heads.{head}.weight"].numpy().ravel() for head in range(3)]
    correlations = np.corrcoef(heads)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.1


@pytest.mark.parametrize(("heads", "sizes"), [("per-task", [2, 2, 2]), ("shared", [2]), ("all-classes", [6])])
def test_head_sizes(heads: Heads, sizes: list[int]) -> None:
    assert head_sizes(heads, Classes((2, 2, 2))) == sizes
    network = new_network(tiny_experiment("joint", heads=heads), SHAPE, Classes((2, 2, 2)), 0)
    biases = [len(p) for name, p in network.named_parameters() if name.startswith("heads.") and name.endswith("bias")]
    assert biases == sizes


@pytest.mark.parametrize("rule", ["truncated-normal", "uniform-fan-in"])
def test_a_new_network_depends_on_seed_and_shape_alone(rule: str) -> None:
    def state(seed: int, method: str, **changes: Any) -> dict[str, torch.Tensor]:
        experiment = tiny_experiment(method, initialisation=rule, **changes)
        return new_network(experiment, SHAPE, Classes((2, 2, 2)), seed).state_dict()

    torch.manual_seed(1)
    first = state(5, "finetune")
    before = torch.get_rng_state()
    again = state(5, "ewc", options={"strength": 3}, learning_rate=0.7, dropout=0.5, seeds=9)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    one_head = state(5, "sgd")
    assert all(torch.equal(first[name], one_head[name]) for name in shared_of(first))
    other = state(6, "finetune")
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))
