"""A device that is not the processor, for machines that have none: `cpu:1`, whose tensors are kept by the processor's.

Tensors there refuse what those of an accelerator refuse: to be computed with tensors that are here (numbers without
dimensions aside), and to be read as numpy arrays. What they compute is what the processor does, so results can be compared
bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

HERE, ELSEWHERE = torch.device("cpu"), torch.device("cpu:1")
MOVES = ("aten::_to_copy", "aten::copy_")


class Distant(Tensor):
    """A tensor elsewhere; `held` is where its numbers are."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Distant:
        made: Distant = Tensor._make_wrapper_subclass(
            cls, held.size(), held.stride(), held.storage_offset(), dtype=held.dtype, device=ELSEWHERE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _computed(function, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Calls without any distant tensor, which may ask for one."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


class _Python(TorchFunctionMode):
    """What no operation of torch's tells of: lists, which become tensors here and are moved, and `.data`."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if function is torch.tensor and named.get("device") == ELSEWHERE:
            return function(*args, **{**named, "device": HERE}).to(ELSEWHERE)
        if function is Tensor.tolist:
            return args[0].cpu().tolist()
        if function == Tensor.data.__set__ and isinstance(args[0], Distant):  # type: ignore[attr-defined]
            args[0].held = args[1].held
        return function(*args, **named)


@contextmanager
def elsewhere() -> Iterator[str]:
    """In the block the device of the name it gives can be computed on."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a near parameter cannot hold distant data
    try:
        with _Factories(), _Python():
            yield str(ELSEWHERE)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = function._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    distant = [tensor for tensor in tensors if isinstance(tensor, Distant)]
    near = [tensor for tensor in tensors if not isinstance(tensor, Distant) and tensor.dim()]
    if distant and near and name not in MOVES:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device")
    if distant and any(isinstance(leaf, torch.Generator) for leaf in tree_leaves((args, kwargs))):
        raise RuntimeError(f"{name}: expected a generator of the same device")
    wanted = kwargs.get("device")
    found = function(*tree_map(_near, args), **tree_map(_near, kwargs))
    if name == "aten::copy_":
        far = isinstance(args[0], Distant)
    elif wanted is not None:
        far = wanted == ELSEWHERE
    else:
        far = bool(distant)
    if not far:
        return found
    found = tree_map(lambda leaf: Distant(leaf) if isinstance(leaf, Tensor) else leaf, found)
    return return_and_correct_aliasing(function, args, kwargs, found) if distant else found


def _near(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.held if isinstance(leaf, Distant) else leaf
    return HERE if leaf == ELSEWHERE else leaf
