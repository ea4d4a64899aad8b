"""Networks with batch normalisation: size, forward pass by hand, initial weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.methods.split2meta.normalisation import norm_layers
from lifelong.networks import preact_resnet, small_conv
from lifelong.networks.base import Network
from lifelong.params.networks import PreActResNetNetwork, SmallConvNetwork
from lifelong.runtime.randomness import generator


def resnet(width: int, classes: int = 10) -> Network:
    settings = PreActResNetNetwork(kind="preact-resnet", width=width)
    return preact_resnet.build(settings, (3, 32, 32), [classes], generator(0)).eval()


def unsettle(network: Network) -> None:
    """Normalisation away from doing nothing."""
    source = generator(1)
    with torch.no_grad():
        for layer in norm_layers(network).values():
            for tensor in layer.state_dict().values():
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 1.5, generator=source)


def test_parameters_of_the_released_network() -> None:
    """11,172,170 with one head of ten (reading M25), 4,800 output channels of convolutions."""
    network = resnet(64)
    assert sum(p.numel() for p in network.parameters()) == 11_172_170
    assert sum(len(p) for p in network.parameters() if p.ndim == 4) == 4_800


def normed(x: Tensor, named: dict[str, Tensor], name: str) -> Tensor:
    w, b, m, v = (named[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var"))
    return ((x - m) / (v + 1e-5).sqrt() * w + b).clamp_min(0)


def test_residual_forward() -> None:
    """Stages at 8, 4, 2 and 1 pixels; the 1x1 shortcut takes what is normalised already."""
    network = resnet(2)
    unsettle(network)
    named = network.state_dict()
    images = torch.rand(3, 3, 8, 8)
    x = F.conv2d(images, named["stem.weight"], padding=1)
    for block in range(8):
        name = f"blocks.{block}"
        stride = 2 if block in (2, 4, 6) else 1
        y = normed(x, named, f"{name}.norm1")
        around = F.conv2d(y, named[f"{name}.shortcut.weight"], stride=stride) if stride == 2 else x
        y = F.conv2d(y, named[f"{name}.conv1.weight"], stride=stride, padding=1)
        x = around + F.conv2d(normed(y, named, f"{name}.norm2"), named[f"{name}.conv2.weight"], padding=1)
    features = normed(x, named, "norm").mean((2, 3))
    assert features.shape == (3, 16)
    torch.testing.assert_close(network.features(images), features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(images, 0), features @ named["heads.0.weight"].T + named["heads.0.bias"])


def test_small_forward() -> None:
    settings = SmallConvNetwork(kind="small-conv", widths=[3, 4])
    network = small_conv.build(settings, (1, 6, 6), [2, 3], generator(0)).eval()
    unsettle(network)
    named = network.state_dict()
    images = torch.rand(3, 1, 6, 6)
    x = normed(F.conv2d(images, named["convs.0.weight"], padding=1), named, "norms.0")
    x = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
    x = normed(F.conv2d(x, named["convs.1.weight"], padding=1), named, "norms.1").mean((2, 3))
    torch.testing.assert_close(network.features(images), x, rtol=1e-4, atol=1e-6)
    assert network.all_logits(images).shape == (3, 5)


def test_followed_normalisations_take_one_convolutions_outputs() -> None:
    """Every other normalisation takes a sum: the first of each later block, and the last."""
    network = resnet(2)
    assert isinstance(network, preact_resnet.PreActResNet)
    alone = set(norm_layers(network)) - set(network.followed)
    assert alone == {"norm", *(f"blocks.{block}.norm1" for block in range(1, 8))}


def test_initial_weights_are_torchs() -> None:
    network = resnet(8)
    for name, parameter in network.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all()
        else:
            fan_in = network.get_parameter(name.replace("bias", "weight"))[0].numel()
            assert parameter.abs().max() <= 1 / math.sqrt(fan_in)
            assert parameter.abs().max() > 0.7 / math.sqrt(fan_in)
    again = resnet(8).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in network.state_dict().items())
