"""Second moments against loops over images and positions, and against what they are for: how much outputs change."""

from __future__ import annotations

import pytest
import torch
from support.nets import conv_net, mlp, split_for
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.methods.split2meta import NspSpace, TpnspSpace, moments
from lifelong.methods.split2meta.layers import as_matrix, columns, rows, shared_layers, write_matrix
from lifelong.methods.split2meta.moments import feature_moments, preference_moments
from lifelong.networks.base import Network

BATCH = 5


NETWORKS = {"conv": (conv_net, (1, 4, 4)), "mlp": (mlp, (1, 2, 3))}


def layer_inputs(network: Network, images: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: found.__setitem__(name, inputs[0]))
        for name, layer in shared_layers(network).items()
    ]
    network(images, 0)
    for handle in handles:
        handle.remove()
    return found


def changed_output(layer: nn.Module, inputs: Tensor, update: Tensor) -> Tensor:
    """What the layer's output changes by when its matrix [out, rows] changes by `update`."""
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    before = torch.func.functional_call(layer, parameters, (inputs,))
    moved = {f"x.{name}": torch.zeros_like(parameter) for name, parameter in parameters.items()}
    write_matrix("x", update, moved)
    after = torch.func.functional_call(layer, {n: p + moved[f"x.{n}"] for n, p in parameters.items()}, (inputs,))
    return (after - before).double()


@pytest.mark.parametrize("average", ["per-position", "batch-mean"])
@pytest.mark.parametrize("which", list(NETWORKS))
def test_feature_moment_measures_the_change_of_outputs(which: str, average: str) -> None:
    """trace(D M D^T) = the summed squared change of the outputs, of every image or of each batch's mean image."""
    make, shape = NETWORKS[which]
    network, split = make(), split_for(shape)
    moments = feature_moments(network, split, BATCH, NspSpace.model_validate({"threshold": 0.1, "average": average}))
    assert moments.keys() == shared_layers(network).keys()
    for name, layer in shared_layers(network).items():
        update = torch.randn(layer.weight.shape[0], rows(layer), generator=torch.Generator().manual_seed(5))
        expected = 0.0
        for chosen in torch.arange(len(split)).split(BATCH):
            inputs = layer_inputs(network, split.batch(chosen)[0])[name]
            if average == "batch-mean":
                inputs = inputs.mean(0, keepdim=True)
            expected += changed_output(layer, inputs, update).square().sum().item()
        found = (update.double() @ moments[name] @ update.double().T).trace().item()
        assert found == pytest.approx(expected, rel=1e-4)


def own_gradients(network: Network, split: Split, head: int, targets: Tensor) -> list[dict[str, Tensor]]:
    """Of every image alone: the gradient of its cross-entropy by each layer's matrix, [out, rows], by autograd."""
    found = []
    names = [n for n, _ in network.named_parameters()]
    for i in range(len(split)):
        image = split.batch(torch.tensor([i]))[0]
        loss = F.cross_entropy(network(image, head), targets[i : i + 1])
        gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        by_name = {n: g.double() for n, g in zip(names, gradients, strict=True) if g is not None}
        found.append({layer: as_matrix(layer, by_name) for layer in shared_layers(network)})
    return found


def scaled(matrix: Tensor) -> Tensor:
    return matrix / matrix.trace()


@pytest.mark.parametrize("which", list(NETWORKS))
@pytest.mark.parametrize("reading", ["literal", "per-batch", "per-sample"])
def test_preference_moments_are_those_of_weight_gradients(which: str, reading: str) -> None:
    """X G^T is the transposed weight gradient (reading M1): of all images, of a batch, of one image."""
    make, shape = NETWORKS[which]
    network, split = make(), split_for(shape)
    options = TpnspSpace.model_validate({"threshold": 0.1, "reading": reading, "labels": "true"})
    found = preference_moments(network, split, 1, BATCH, options, torch.Generator())
    own = own_gradients(network, split, 1, split.targets)
    for name in shared_layers(network):
        gradients = [one[name] for one in own]
        if reading == "literal":
            factors = [torch.stack(gradients).sum(0)]
        elif reading == "per-batch":
            factors = [torch.stack(gradients[i : i + BATCH]).sum(0) for i in range(0, len(gradients), BATCH)]
        else:
            factors = gradients
        expected = torch.stack([factor.T @ factor for factor in factors]).sum(0)
        torch.testing.assert_close(found[name], scaled(expected), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("which", list(NETWORKS))
def test_per_position_weighs_each_input_by_its_own_gradient(which: str) -> None:
    make, shape = NETWORKS[which]
    network, split = make(), split_for(shape)
    options = TpnspSpace(threshold=0.1, reading="per-position", labels="true")
    found = preference_moments(network, split, 0, BATCH, options, torch.Generator())
    outputs: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda _, i, output, name=name: outputs.__setitem__(name, output))
        for name, layer in shared_layers(network).items()
    ]
    images, targets = split.batch(torch.arange(len(split)))
    loss = torch.stack([-z.log_softmax(0)[t] for z, t in zip(network(images, 0), targets, strict=True)]).sum()
    layers = shared_layers(network)
    gradients = dict(zip(layers, torch.autograd.grad(loss, [outputs[n] for n in layers]), strict=True))
    for handle in handles:
        handle.remove()
    inputs = layer_inputs(network, images)
    for name, layer in layers.items():
        x, g = columns(layer, inputs[name]), gradients[name].double().reshape(*gradients[name].shape[:2], -1)
        expected = torch.zeros(rows(layer), rows(layer), dtype=torch.float64)
        for n in range(len(split)):
            for p in range(x.shape[2]):
                expected += g[n, :, p].square().sum() * torch.outer(x[n, :, p], x[n, :, p])
        torch.testing.assert_close(found[name], scaled(expected), rtol=1e-4, atol=1e-7)


def test_windows_of_a_convolution_are_those_it_multiplies() -> None:
    """Every window cut by hand out of the padded image, for a stride and a kernel that are not square."""
    layer = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), bias=True)
    images = torch.randn(2, 2, 5, 4)
    padded = F.pad(images, (0, 0, 1, 1))
    windows = [
        torch.cat([padded[:, :, top : top + 3, left : left + 2].flatten(1), torch.ones(2, 1)], dim=1)
        for top in range(0, 5, 2)
        for left in range(3)
    ]
    torch.testing.assert_close(columns(layer, images), torch.stack(windows, dim=2).double())


def test_labels_are_drawn_from_the_answer() -> None:
    """With a sure network, drawn labels are its answers whatever the images' own labels are."""
    network, split = mlp(), split_for((1, 2, 3))
    with torch.no_grad():
        network.get_parameter("heads.0.bias").copy_(torch.tensor([30.0, -30.0]))
    options = TpnspSpace(threshold=0.1, reading="per-sample", labels="model")
    answers = Split(split.images, torch.zeros_like(split.targets))
    true = options.model_copy(update={"labels": "true"})
    found = preference_moments(network, split, 0, BATCH, options, torch.Generator().manual_seed(0))
    expected = preference_moments(network, answers, 0, BATCH, true, torch.Generator())
    for name in found:
        torch.testing.assert_close(found[name], expected[name])


def test_sums_by_blocks_are_the_whole_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "BLOCK", 3)
    factors = [torch.randn(8, n, dtype=torch.float64) for n in (2, 5)]
    total: moments.Moments = {}
    for factor in factors:
        moments._add_square(total, "a", factor)
    torch.testing.assert_close(moments._whole(total["a"]), sum(factor @ factor.T for factor in factors))
