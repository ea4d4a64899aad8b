"""What a process that computes sets up, once, before its stage begins."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lifelong.runtime.allocator import keep_freed_memory
from lifelong.runtime.device import computing_on


@contextmanager
def computing(device: str = "cpu") -> Iterator[None]:
    """In the block a stage computes: on that device, with memory and garbage kept as suits it.

    On one thread, since the bytes of some methods depend on how many there are.

    Raises:
        UserError: PyTorch knows or sees no such device.
    """
    gc.freeze()  # what has been imported stays
    gc.enable()
    keep_freed_memory()
    torch.set_num_threads(1)
    with computing_on(device):
        yield
