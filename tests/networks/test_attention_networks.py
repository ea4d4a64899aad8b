"""ARI's networks: parameter counts, the attention beside numpy, gradients of the few-channel convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lifelong.networks import attention_mlp, attention_resnet18
from lifelong.networks.attention import SpatialAttention
from lifelong.networks.layers import FewChannelConvolution
from lifelong.params.networks import AttentionMlpNetwork, AttentionResNet18Network, Normalisation


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def resnet(shape: str, widths: list[int], outputs: int, **settings: object) -> attention_resnet18.AttentionResNet18:
    made = AttentionResNet18Network.model_validate(
        {"kind": "attention-resnet18", "shape": shape, "widths": widths} | settings
    )
    return attention_resnet18.build(made, (3, 32, 32), [outputs], torch.Generator().manual_seed(0))


def test_parameter_counts_are_the_published_ones() -> None:
    """ResNet-18(1/3) with its attention: reading A19; ResNet-18 with 1000 classes: 11,689,512 and 98 of attention."""
    assert parameters(resnet("narrow", [21, 42, 85, 170], 100)) == 1_401_553
    assert parameters(resnet("usual", [64, 128, 256, 512], 1000)) == 11_689_512 + 98
    mlp = attention_mlp.build(
        AttentionMlpNetwork(kind="attention-mlp", hidden=[400, 400]), (1, 28, 28), [10], torch.Generator().manual_seed(0)
    )
    assert parameters(mlp) == 27 + 98 + 784 * 400 + 400 + 400 * 400 + 400 + 400 * 10


@pytest.mark.parametrize("shape", ["narrow", "usual"])
def test_shapes_and_that_attention_is_a_share(shape: str) -> None:
    network = resnet(shape, [2, 3, 4, 5], 7)
    features, attention = network.attended(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 5)
    assert attention.shape == (2, 1, 32, 32) if shape == "narrow" else (2, 1, 16, 16)
    assert attention.min() > 0
    assert attention.max() < 1
    assert network.all_logits(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    shrunk = resnet("narrow", [2, 3, 4, 5], 7, shrink=2)
    assert shrunk.attended(torch.rand(2, 3, 32, 32))[1].shape == (2, 1, 16, 16)


def test_attention_is_the_sigmoid_of_a_convolution_of_mean_and_maximum() -> None:
    torch.manual_seed(0)
    layer, x = SpatialAttention(), torch.randn(2, 3, 8, 8)
    weight, values = layer.convolution.weight.detach().numpy()[0], x.numpy()
    pooled = np.pad(np.stack([values.mean(1), values.max(1)], 1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    for n, i, j in [(0, 0, 0), (1, 3, 5), (1, 7, 7)]:
        z = (pooled[n, :, i : i + 7, j : j + 7] * weight).sum()
        assert layer(x)[n, 0, i, j].item() == pytest.approx(1 / (1 + np.exp(-z)), rel=1e-4)
    double = SpatialAttention(double=True).train()
    double.convolution.load_state_dict(layer.convolution.state_dict())
    single = layer(x).detach()
    normal = (single - single.mean()) / torch.sqrt(single.var(unbiased=False) + 1e-5)
    torch.testing.assert_close(double(x), torch.sigmoid(normal))


def test_the_mlp_weighs_its_input_by_attention_and_normalises_inside() -> None:
    settings = AttentionMlpNetwork(kind="attention-mlp", hidden=[4], normalise=Normalisation(mean=[0.4], deviation=[0.5]))
    network = attention_mlp.build(settings, (1, 5, 6), [3], torch.Generator().manual_seed(1))
    images = torch.rand(2, 1, 5, 6)
    x = (images - 0.4) / 0.5
    weights = dict(network.named_parameters())
    stem = nn.functional.conv2d(x, weights["stem.weight"], padding=1)
    pooled = torch.stack([stem.mean(1), stem.amax(1)], 1)
    attention = torch.sigmoid(nn.functional.conv2d(pooled, weights["attend.convolution.weight"], padding=3))
    hidden = ((attention * x).flatten(1) @ weights["hidden.0.weight"].T + weights["hidden.0.bias"]).relu()
    torch.testing.assert_close(network.attended(images)[1], attention)
    torch.testing.assert_close(network(images, 0), hidden @ weights["heads.0.weight"].T)
    assert "normalise.mean" not in network.state_dict()


@pytest.mark.parametrize("images", [3, 20], ids="{} images".format)
@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(1, 3, 3), (2, 1, 7), (3, 2, 5)])
def test_few_channel_convolution_has_the_usual_gradients(inputs: int, outputs: int, kernel: int, images: int) -> None:
    torch.manual_seed(0)
    own = FewChannelConvolution(inputs, outputs, kernel)
    x = torch.randn(images, inputs, 9, 8, requires_grad=True)
    g = torch.randn(images, outputs, 9, 8)
    usual = nn.functional.conv2d(x, own.weight, padding=kernel // 2)
    torch.testing.assert_close(own(x), usual)
    expected = torch.autograd.grad(usual, [x, own.weight], g)
    for found, wanted in zip(torch.autograd.grad(own(x), [x, own.weight], g), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_generalised_mean_is_the_power_mean() -> None:
    pool = attention_resnet18.GeneralisedMean()
    x = torch.rand(2, 3, 4, 4)
    expected = (x.double().pow(3).mean((2, 3))) ** (1 / 3)
    torch.testing.assert_close(pool(x).double(), expected, rtol=1e-4, atol=1e-5)
    assert pool(torch.zeros(1, 1, 2, 2)).isfinite().all()
