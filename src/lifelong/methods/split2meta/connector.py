"""Connector: NSP's slow model, a fast model held by the old features, and their average (reading M28).

Lin et al. 2022. The fast model starts from the network the last task left, as the slow one does. State: between the stages
of a task `old` holds that network, then `slow` the slow model.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lifelong.methods.split2meta import ConnectorOptions
from lifelong.methods.split2meta import slow as nsp
from lifelong.methods.split2meta.fusion import fuse_weights, slow_share
from lifelong.methods.split2meta.slow import keep_groups, norm_penalty, update_rule
from lifelong.networks.base import Network
from lifelong.training.fit import Objective
from lifelong.training.job import Job, State, weights


def slow(job: Job, options: ConnectorOptions, state: State | None) -> State:
    """NSP's slow model; the network it started from is kept for `fast`."""
    return nsp.slow(job, options, state) | {"old": state["network"] if state else {}}


def fast(job: Job, options: ConnectorOptions, state: State) -> State:
    """From the old network: cross-entropy + strength * squared distance of the features to the old ones, unprojected."""
    old = job.network({"network": state["old"]}).eval().requires_grad_(False)
    network = job.network({"network": state["old"]})
    job.fit(
        network,
        objective=close_objective(job.objective(network), network, old, options.feature_distance),
        penalty=norm_penalty(options, state),
        hook=update_rule(job, options, network, {}),
    )
    return {"network": weights(network), **keep_groups(state), "slow": state["network"]}


def close_objective(objective: Objective, network: Network, old: Network, strength: float) -> Objective:
    """objective + strength * mean over images and features of (features - old features)^2."""

    def close(images: Tensor, targets: Tensor) -> Tensor:
        distance = F.mse_loss(network.features(images), old.features(images))
        return objective(images, targets) + strength * distance

    return close


def fuse(job: Job, options: ConnectorOptions, state: State) -> State:
    """(1 - 1/t) slow + 1/t fast, every parameter and buffer."""
    network = fuse_weights(state["slow"], state["network"], slow_share(job.task.index))
    return {"network": network, **keep_groups(state)}
