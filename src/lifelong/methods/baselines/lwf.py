"""LwF, learning without forgetting: the old network's answers to the new images are kept by distillation.

Li and Hoiem 2016 (dossier 5.1). The new head is not warmed up alone first, and all heads so far go on learning.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.config.methods import LwfOptions
from lifelong.config.schema import Heads
from lifelong.learning.fit import Objective
from lifelong.learning.job import Job, State, weights
from lifelong.networks.base import Network, shared_names


def learn(job: Job, state: State | None) -> State:
    """Minimise cross-entropy + lambda * T^2 * distillation; the first task has nothing to distil."""
    network = job.network(state)
    if state is None:
        job.fit(network)
    else:
        old = job.network(state).eval().requires_grad_(False)
        heads = [name for name, _ in network.named_parameters() if name.startswith("heads.")]
        so_far = tuple(f"heads.{k}." for k in range(job.head + 1))
        trainable = [*shared_names(network), *(name for name in heads if name.startswith(so_far))]
        job.fit(network, objective=distilling_objective(job, network, old), trainable=trainable)
    return {"network": weights(network)}


def distilling_objective(job: Job, network: Network, old: Network) -> Objective:
    """Cross-entropy + lambda * T^2 * mean over images of sum_k H(softmax(o_k / T), softmax(z_k / T)).

    o_k and z_k are the logits of the old tasks' answer k by the network as the last task left it (dropout off) and as it
    is now; H(p, q) = -sum p log q. T^2 makes up for the 1 / T^2 that softening takes from the gradient (Hinton et al. 2015,
    section 2). The answers are the old heads, one by one; the shared head; or, with one head over all classes, the outputs
    of all old classes together.
    """
    options = job.experiment.options
    assert isinstance(options, LwfOptions)
    heads, task, per_task = job.experiment.heads, job.task.index, job.classes_per_task
    temperature, weight = options.temperature, options.strength * options.temperature**2

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = F.softmax(_old_answers(old.all_logits(images), heads, task, per_task) / temperature, dim=2)
        logits = network.all_logits(images)
        softened = F.log_softmax(_old_answers(logits, heads, task, per_task) / temperature, dim=2)
        distillation = -(wanted * softened).sum() / len(images)
        own = logits[:, task * per_task : (task + 1) * per_task] if heads == "per-task" else logits
        offset = task * per_task if heads == "all-classes" else 0
        return F.cross_entropy(own, targets + offset) + weight * distillation

    return objective


def _old_answers(all_logits: Tensor, heads: Heads, task: int, per_task: int) -> Tensor:
    """[n, total] -> [n, answers, outputs of each]: what the tasks before `task` answer with."""
    if heads == "shared":
        return all_logits[:, None]
    old = all_logits[:, : task * per_task]
    return old.unflatten(1, (task, per_task)) if heads == "per-task" else old[:, None]
