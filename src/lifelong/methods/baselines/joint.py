"""Joint training on all tasks at once: the upper reference, and the m_i of ANPyC's FWT (dossier N11)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.learning.fit import Objective
from lifelong.learning.job import Job, State, weights
from lifelong.networks.base import Network


def learn(job: Job, state: State | None) -> State:
    """One network on the union of the tasks' training images, the budget's epochs over that union."""
    network = job.network(state)
    per_task = job.classes_per_task
    union = Split(
        torch.cat([task.train.images for task in job.data]),
        torch.cat([task.train.targets + task.index * per_task for task in job.data]),
    )
    trainable = [name for name, _ in network.named_parameters()]
    job.fit(network, train=union, objective=joint_objective(network, job.experiment.heads, per_task), trainable=trainable)
    return {"network": weights(network)}


def joint_objective(network: Network, heads: str, per_task: int) -> Objective:
    """Cross-entropy over mixed batches; targets [b] number the classes over the tasks.

    `per-task`: each image's softmax runs over the logits of its own task's head; `all-classes`: over all classes (the
    released code's single softmax, dossier N11); `shared`: over the shared head, by the label within the task.
    """

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        logits = network.all_logits(images)
        if heads == "shared":
            return F.cross_entropy(logits, targets % per_task)
        if heads == "per-task":
            of_task = torch.arange(logits.shape[1]) // per_task
            logits = logits.masked_fill(of_task != (targets // per_task)[:, None], -torch.inf)
        return F.cross_entropy(logits, targets)

    return objective
