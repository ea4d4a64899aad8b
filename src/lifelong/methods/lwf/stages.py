"""LwF, learning without forgetting: the old network's answers to the new images are kept by distillation.

Li and Hoiem 2016 (reading B5). The new head is not warmed up alone first, and all heads so far go on learning.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.classes import Classes
from lifelong.methods.lwf import LwfOptions
from lifelong.networks.base import Network, shared_names
from lifelong.params.methods import Heads
from lifelong.training.fit import Objective
from lifelong.training.job import Job, State, weights


def learn(job: Job, options: LwfOptions, state: State | None) -> State:
    """Minimise cross-entropy + lambda * T^2 * distillation; the first task has nothing to distil."""
    network = job.network(state)
    if state is None:
        job.fit(network)
    else:
        old = job.network(state).eval().requires_grad_(False)
        heads = [name for name, _ in network.named_parameters() if name.startswith("heads.")]
        so_far = tuple(f"heads.{k}." for k in range(job.head + 1))
        trainable = [*shared_names(network), *(name for name in heads if name.startswith(so_far))]
        job.fit(network, objective=distilling_objective(job, options, network, old), trainable=trainable)
    return {"network": weights(network)}


def distilling_objective(job: Job, options: LwfOptions, network: Network, old: Network) -> Objective:
    """Cross-entropy + lambda * T^2 * mean over images of sum_k H(softmax(o_k / T), softmax(z_k / T)).

    o_k and z_k are the logits of the old tasks' answer k by the network as the last task left it (dropout off) and as it
    is now; H(p, q) = -sum p log q. T^2 makes up for the 1 / T^2 that softening takes from the gradient (Hinton et al. 2015,
    section 2). The answers are the old heads, one by one; the shared head; or, with one head over all classes, the outputs
    of all old classes together.
    """
    heads, task, classes = job.experiment.heads, job.task.index, job.classes
    temperature, weight = options.temperature, options.strength * options.temperature**2

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            requested = F.softmax(_old_answers(old.all_logits(images), heads, task, classes) / temperature, dim=2)
        logits = network.all_logits(images)
        softened = F.log_softmax(_old_answers(logits, heads, task, classes) / temperature, dim=2)
        distillation = -(requested * softened).sum() / len(images)
        own = logits[:, classes.span(task)] if heads == "per-task" else logits
        offset = classes.offset(task) if heads == "all-classes" else 0
        return F.cross_entropy(own, targets + offset) + weight * distillation

    return objective


def _old_answers(all_logits: Tensor, heads: Heads, task: int, classes: Classes) -> Tensor:
    """[n, total] -> [n, answers, outputs of each]: what the tasks before `task` answer with."""
    if heads == "shared":
        return all_logits[:, None]
    return classes.by_task(all_logits, task) if heads == "per-task" else all_logits[:, None, : classes.offset(task)]
