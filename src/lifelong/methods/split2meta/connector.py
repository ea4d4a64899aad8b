"""Connector: NSP's slow model, a fast model held by the old features, and their average (dossier 4.1).

Lin et al. 2022. The fast model starts from the network the last task left, as the slow one does. State: between the stages
of a task `old` holds that network, then `slow` the slow model.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lifelong.config.split2meta import ConnectorOptions
from lifelong.learning.fit import Objective
from lifelong.learning.job import Job, State, weights
from lifelong.methods.split2meta import slow as nsp
from lifelong.methods.split2meta.fusion import fused, slow_share
from lifelong.methods.split2meta.slow import kept_groups, norm_penalty, project, update_rule
from lifelong.networks.base import Network


def slow(job: Job, state: State | None) -> State:
    """NSP's slow model; the network it started from is kept for `fast`."""
    return nsp.slow(job, state) | {"old": state["network"] if state else {}}


def fast(job: Job, state: State) -> State:
    """From the old network: cross-entropy + strength * squared distance of the features to the old ones, unprojected."""
    old = job.network({"network": state["old"]}).eval().requires_grad_(False)
    network = job.network({"network": state["old"]})
    job.fit(
        network,
        objective=close_objective(job.objective(network), network, old, _options(job).feature_distance),
        penalty=norm_penalty(job, state),
        hook=update_rule(job, network, {}),
    )
    return {"network": weights(network), **kept_groups(state), "slow": state["network"]}


def close_objective(objective: Objective, network: Network, old: Network, strength: float) -> Objective:
    """objective + strength * mean over images and features of (features - old features)^2."""

    def close(images: Tensor, targets: Tensor) -> Tensor:
        distance = F.mse_loss(network.features(images), old.features(images))
        return objective(images, targets) + strength * distance

    return close


def fuse(job: Job, state: State) -> State:
    """(1 - 1/t) slow + 1/t fast, every parameter and buffer."""
    network = fused(state["slow"], state["network"], slow_share(job.task.index))
    return {"network": network, **kept_groups(state)}


def _options(job: Job) -> ConnectorOptions:
    assert isinstance(job.experiment.options, ConnectorOptions)
    return job.experiment.options


__all__ = ["fast", "fuse", "project", "slow"]
