"""ER, experience replay: every mini-batch is joined by as many images drawn from the memory (Chaudhry et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.learning.fit import Objective
from lifelong.learning.job import Job, State, weights
from lifelong.learning.rehearsal import all_names, rehearsal_objective, remember

__all__ = ["learn", "remember"]


def learn(job: Job, state: State | None) -> State:
    """Minimise the mean cross-entropy of the task's images and of those replayed."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    loss, offset = rehearsal_objective(job, network), job.task.index * job.classes_per_task
    objective = replaying(loss, Split(memory["images"], memory["labels"]) if memory else None, offset)
    job.fit(network, objective=objective, trainable=all_names(network))
    return {"network": weights(network), "memory": memory}


def replaying(loss: Objective, memory: Split | None, offset: int) -> Objective:
    """`loss` of a batch and of as many images drawn from the memory, with replacement; one mean over both."""

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        labels = targets + offset
        if memory is not None:
            old_images, old_labels = memory.batch(torch.randint(len(memory), (len(images),)))
            images, labels = torch.cat([images, old_images]), torch.cat([labels, old_labels])
        return loss(images, labels)

    return objective
