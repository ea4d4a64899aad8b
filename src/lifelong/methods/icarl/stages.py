"""iCaRL: distillation over a memory chosen by herding, and the nearest mean of exemplars (Rebuffi et al. 2017).

State: `prototypes` holds `means` [classes, d], by which evaluation answers; classes not seen yet are infinitely far.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.evaluation.answers import features
from lifelong.methods.icarl import IcarlOptions
from lifelong.networks.base import Network
from lifelong.training.exemplars import Memory, join_memory
from lifelong.training.fit import Objective
from lifelong.training.job import Job, State, weights
from lifelong.training.rehearsal import all_parameter_names, choose_memory


def learn(job: Job, options: IcarlOptions, state: State | None) -> State:
    """Train on the task and the memory together, the old classes towards the old network's outputs."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    old = job.network(state).eval().requires_grad_(False) if state else None
    train = join_memory(job.task.train, job.task.index, job.classes, memory or None)
    objective = distilling_objective(
        network, old, job.classes.offset(job.task.index), job.classes.offset(job.task.index + 1)
    )
    job.fit(network, train=train, objective=objective, trainable=all_parameter_names(network))
    return {"network": weights(network), "memory": memory}


def distilling_objective(network: Network, old: Network | None, known: int, seen: int) -> Objective:
    """Binary cross-entropy of sigmoid outputs, summed over the `seen` classes and averaged over the images (Algorithm 3).

    Wanted of the `known` classes are the old network's sigmoid outputs, of the task's own the labels.
    """

    def objective(images: Tensor, labels: Tensor) -> Tensor:
        requested = F.one_hot(labels, seen).to(images.dtype)
        if old is not None:
            with torch.no_grad():
                requested[:, :known] = torch.sigmoid(old.all_logits(images)[:, :known])
        logits = network.all_logits(images)[:, :seen]
        return F.binary_cross_entropy_with_logits(logits, requested, reduction="sum") / len(images)

    return objective


def remember(job: Job, options: IcarlOptions, state: State) -> State:
    """Choose the exemplars and take the means of their features."""
    memory = choose_memory(job, options, state)
    means = compute_prototypes(job.network(state), memory, job.classes.total, job.task.train)
    return {"network": state["network"], "memory": memory, "prototypes": {"means": means}}


def compute_prototypes(network: Network, memory: Memory, classes: int, like: Split) -> Tensor:
    """Mean of each class's exemplar features, those and the mean brought to length 1: [classes, d], infinite if unseen."""
    labels = memory["labels"]
    unit = F.normalize(features(network, replace(like, images=memory["images"], targets=labels)), dim=1)
    sums = torch.zeros(classes, unit.shape[1]).index_add_(0, labels, unit)
    means = F.normalize(sums, dim=1)
    means[labels.bincount(minlength=classes) == 0] = torch.inf
    return means
