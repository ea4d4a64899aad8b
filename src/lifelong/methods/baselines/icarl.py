"""iCaRL: distillation over a memory chosen by herding, and the nearest mean of exemplars (Rebuffi et al. 2017).

State: `prototypes` holds `means` [classes, d], by which evaluation answers; classes not seen yet are infinitely far.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.learning.evaluation import features
from lifelong.learning.exemplars import Memory, rehearsed
from lifelong.learning.fit import Objective
from lifelong.learning.job import Job, State, weights
from lifelong.learning.rehearsal import all_names, chosen_memory
from lifelong.networks.base import Network


def learn(job: Job, state: State | None) -> State:
    """Train on the task and the memory together, the old classes towards the old network's outputs."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    old = job.network(state).eval().requires_grad_(False) if state else None
    train = rehearsed(job.task.train, job.task.index, job.classes_per_task, memory or None)
    objective = distilling(network, old, job.task.index * job.classes_per_task, job.classes_per_task)
    job.fit(network, train=train, objective=objective, trainable=all_names(network))
    return {"network": weights(network), "memory": memory}


def distilling(network: Network, old: Network | None, known: int, classes_per_task: int) -> Objective:
    """Binary cross-entropy of sigmoid outputs, summed over the classes seen and averaged over the images (Algorithm 3).

    Wanted of the `known` classes are the old network's sigmoid outputs, of the task's own the labels.
    """

    def objective(images: Tensor, labels: Tensor) -> Tensor:
        seen = known + classes_per_task
        wanted = F.one_hot(labels, seen).to(images.dtype)
        if old is not None:
            with torch.no_grad():
                wanted[:, :known] = torch.sigmoid(old.all_logits(images)[:, :known])
        logits = network.all_logits(images)[:, :seen]
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(images)

    return objective


def remember(job: Job, state: State) -> State:
    """Choose the exemplars and take the means of their features."""
    memory = chosen_memory(job, state)
    means = prototypes(job.network(state), memory, job.tasks * job.classes_per_task)
    return {"network": state["network"], "memory": memory, "prototypes": {"means": means}}


def prototypes(network: Network, memory: Memory, classes: int) -> Tensor:
    """Mean of each class's exemplar features, those and the mean brought to length 1: [classes, d], infinite if unseen."""
    labels = memory["labels"]
    unit = F.normalize(features(network, Split(memory["images"], labels)), dim=1)
    sums = torch.zeros(classes, unit.shape[1]).index_add_(0, labels, unit)
    means = F.normalize(sums, dim=1)
    means[labels.bincount(minlength=classes) == 0] = torch.inf
    return means
