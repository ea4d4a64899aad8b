"""One network made smaller in rounds by ANPyC's importance (paper Appendix B, Table IV; reading N23).

The rounds are the tasks of a `repeated` sequence, so that each round's network is kept and evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lifelong.methods.anpyc import AnpycOptions, CompressionOptions
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.networks.base import shared_names
from lifelong.runtime.errors import UserError
from lifelong.training.job import Job, State, weights


def learn(job: Job, options: CompressionOptions, state: State | None) -> State:
    """Round 0 trains the whole network; every later one prunes it and trains what is left."""
    if job.tasks != 1 + len(options.thresholds):
        raise UserError(
            f"{job.label}: {len(options.thresholds)} thresholds need a repeated sequence of {1 + len(options.thresholds)} "
            f"tasks, a round each after the first training; found {job.tasks}"
        )
    network = job.network(state)
    if state is None:
        job.fit(network)
        return {"network": weights(network), "mask": {name: torch.ones_like(p) for name, p in _shared(network).items()}}
    measure = AnpycOptions(strength=0.0, importance_batch=options.importance_batch)
    importance = entropy_importance(network.eval(), job.task.train, job.head, measure)
    mask = prune_round(importance, state["mask"], options.thresholds[job.task.index - 1], options.biases)
    with torch.no_grad():
        for name, parameter in _shared(network).items():
            parameter.mul_(mask[name])
    job.fit(network, masks=mask)
    return {"network": weights(network), "mask": mask}


def prune_round(
    importance: Mapping[str, Tensor], before: Mapping[str, Tensor], share: float, biases: str
) -> dict[str, Tensor]:
    """Masks that also close the `share` of least importance: of all tensors together, or, where biases are their `own`, of
    all weights together and of each bias by itself."""
    groups = [list(importance)]
    if biases == "own":
        groups = [[name for name in importance if name.endswith("weight")]]
        groups += [[name] for name in importance if not name.endswith("weight")]
    parts = [prune_globally({name: importance[name] for name in group}, before, share) for group in groups]
    found = {name: mask for part in parts for name, mask in part.items()}
    return {name: found[name] for name in importance}


def prune_globally(importance: Mapping[str, Tensor], before: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks that also close the `share` of least importance among all weights and biases that `before` left open.

    One threshold for all tensors together: that is what the printed totals follow (reading N23). Ties at the threshold go
    in the tensors' order.
    """
    flat = torch.cat([tensor.flatten() for tensor in importance.values()])
    mask = torch.cat([before[name].flatten() for name in importance])
    open_ones = mask.nonzero().flatten()
    count = round(share * len(open_ones))
    order = torch.argsort(flat[open_ones], stable=True)
    mask[open_ones[order[:count]]] = 0
    sizes = [tensor.numel() for tensor in importance.values()]
    parts = zip(importance, mask.split(sizes), strict=True)
    return {name: part.view_as(importance[name]).clone() for name, part in parts}


def _shared(network: torch.nn.Module) -> dict[str, Tensor]:
    named = dict(network.named_parameters())
    return {name: named[name] for name in shared_names(network)}
