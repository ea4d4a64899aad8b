"""What the warm process imports before the jobs come."""

from __future__ import annotations

import importlib
from collections.abc import Callable


def warm_up() -> Callable[[], None]:
    """Import what most jobs need, and return the command itself."""
    import torch

    from lifelong import cli
    from lifelong.params.methods import shipped_methods
    from lifelong.pipeline.fingerprints import code_digest

    entries = [stage.entry for method in shipped_methods().values() for stage in method.stages]
    modules = ["lifelong.pipeline.run", "lifelong.pipeline.evaluate", *(entry.partition(":")[0] for entry in entries)]
    for module in modules:
        importlib.import_module(module)
    code_digest(tuple(entries))  # remembers every source it reads
    torch.empty_like(torch.empty(1, device="meta"), device="cpu")  # the first one imports for most of a second
    return cli.main
