"""The device that a stage computes on: the processor unless another is asked for, and then all its tensors are there.

Files know no device. On another one other random numbers are drawn, and rounding differs: results are comparable, not the
same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from lifelong.runtime.errors import UserError


@contextmanager
def computing_on(name: str) -> Iterator[None]:
    """In the block new tensors are on this device, by the deterministic algorithms where it has them.

    Raises:
        UserError: PyTorch knows or sees no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: PyTorch knows no such device; expected cpu, cuda or cuda:1") from None
    if device.type == "cpu" and device.index is None:
        yield  # no mode of torch's, which would cost time at each call
        return
    if device.type != "cpu":
        _check(device)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    with device:
        yield


def to_device(array: np.ndarray) -> Tensor:
    """The array as a tensor of the device in use."""
    return torch.from_numpy(array).to(torch.get_default_device())


def describe_device() -> str | None:
    """What computes, where that is not the processor."""
    device = torch.get_default_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def _check(device: torch.device) -> None:
    present = torch.accelerator.current_accelerator(check_available=True)
    if present is None:
        raise UserError(f"--device {device}: PyTorch sees no accelerator here; expected cpu")
    count = torch.accelerator.device_count()
    if present.type != device.type or (device.index or 0) >= count:
        raise UserError(f"--device {device}: PyTorch sees {count} of {present.type}; expected cpu or one of these")
