"""Every random number comes from (seed, task, stage, what for): the same whatever ran before, beside or after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on all parts."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A source of random numbers; it is the processor's, so what is drawn from it is the same on every device."""
    return torch.Generator().manual_seed(derived_seed(*parts))


def draw_on_processor(source: Callable[..., Tensor], *arguments: Any, generator: torch.Generator | None) -> Tensor:
    """`torch.randperm(n)` and its like, drawn on the processor and moved to the device in use."""
    return source(*arguments, generator=generator, device="cpu").to(torch.get_default_device())


def draw_choice(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """For each row of probabilities [n, k] one of 0..k-1, [n], drawn on the processor."""
    return torch.multinomial(probabilities.cpu(), 1, generator=generator)[:, 0].to(probabilities.device)
