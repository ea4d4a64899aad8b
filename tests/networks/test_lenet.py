"""LeNet: sizes, forward pass, and importance through its convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.networks.lenet import LeNet, build
from lifelong.params.networks import LeNetNetwork
from lifelong.runtime.randomness import generator
from lifelong.training.importance import fisher_diagonal, output_sensitivity, shared_layers, sum_over_images

SHAPE = (1, 8, 8)


def lenet(image_shape: tuple[int, ...] = SHAPE) -> LeNet:
    settings = LeNetNetwork(kind="lenet", initialisation="uniform-fan-in")
    return build(settings, image_shape, [3, 2], generator(0)).eval()


def split(count: int = 5) -> Split:
    source = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=source)
    return Split(images, torch.zeros(count, dtype=torch.int64))


def test_weights_of_the_printed_network() -> None:
    """Table IV's shapes (N23): 5x5x1x32, 5x5x32x64, 3136x512, 512x256."""
    named = dict(lenet((1, 28, 28)).named_parameters())
    sizes = [p.numel() for name, p in named.items() if name.endswith("weight") and not name.startswith("heads.")]
    assert sizes == [5 * 5 * 1 * 32, 5 * 5 * 32 * 64, 3136 * 512, 512 * 256]


def test_forward() -> None:
    network = lenet()
    images, _ = split().batch(torch.arange(5))
    x = images
    for convolution in network.convolutions:
        assert isinstance(convolution, nn.Conv2d)
        x = F.conv2d(x, convolution.weight, convolution.bias, padding=2).clamp_min(0)
        x = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
    x = x.flatten(1)
    for layer in network.hidden:
        assert isinstance(layer, nn.Linear)
        x = (x @ layer.weight.T + layer.bias).clamp_min(0)
    for head, layer in enumerate(network.heads):
        assert isinstance(layer, nn.Linear)
        torch.testing.assert_close(network(images, head), x @ layer.weight.T + layer.bias)


def image_by_image(network: nn.Module, data: Split, head: int, what: str) -> dict[str, Tensor]:
    """Means over the images: of sum_c p_c (d log p_c / dW)^2, or of |d ||f||^2 / dW|."""
    names = [name for name, _ in network.named_parameters() if not name.startswith("heads.")]
    parameters = [dict(network.named_parameters())[name] for name in names]
    total = {name: torch.zeros_like(parameter) for name, parameter in zip(names, parameters, strict=True)}
    for i in range(len(data)):
        image, _ = data.batch(torch.tensor([i]))
        logits = network(image, head)[0]
        if what == "fisher":
            terms = [(p.item(), log_p) for p, log_p in zip(logits.softmax(0), logits.log_softmax(0), strict=True)]
        else:
            terms = [(1.0, logits.square().sum())]
        for weight, value in terms:
            for name, gradient in zip(names, torch.autograd.grad(value, parameters, retain_graph=True), strict=True):
                each = gradient.square() if what == "fisher" else gradient.abs()
                total[name] += weight * each / len(data)
    return total


@pytest.mark.parametrize("what", ["fisher", "sensitivity"])
def test_importance_through_convolutions(what: str) -> None:
    network = lenet()
    function = fisher_diagonal if what == "fisher" else output_sensitivity
    found = function(network, split(), 0, 2)
    expected = image_by_image(network, split(), 0, what)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensor.any()
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_own_gradients_of_convolution_and_batch_normalisation(stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, stride=stride, padding=1, bias=bias), nn.BatchNorm2d(3)).eval()
    with torch.no_grad():
        for tensor in network[1].state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    images = torch.randn(4, 2, 6, 6)
    layers = shared_layers(network)
    assert list(layers) == ["0", "1"]
    between = network[0](images)
    outputs = network[1](between)
    wanted = torch.randn(outputs.shape)
    by_between, by_output = torch.autograd.grad((outputs * wanted).sum(), [between, outputs])
    found = sum_over_images(layers["0"], "0", images, by_between, torch.square)
    found |= sum_over_images(layers["1"], "1", between.detach(), by_output, torch.square)
    named = dict(network.named_parameters())
    assert found.keys() == named.keys()
    expected = {name: torch.zeros_like(p) for name, p in named.items()}
    for i in range(len(images)):
        value = (network(images[i : i + 1]) * wanted[i : i + 1]).sum()
        for name, gradient in zip(named, torch.autograd.grad(value, list(named.values())), strict=True):
            expected[name] += gradient.square()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
