"""A-GEM: no step may raise the loss on exemplars drawn from all earlier tasks (Chaudhry et al. 2019; dossier 5.1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lifelong.config.methods import AgemOptions
from lifelong.data.tensors import Split
from lifelong.learning.fit import Objective, StepHook
from lifelong.learning.flat import flat, put
from lifelong.learning.job import Job, State, weights
from lifelong.learning.rehearsal import all_names, rehearsal_objective, remember

__all__ = ["learn", "remember"]


def learn(job: Job, state: State | None) -> State:
    """Minimise the task's cross-entropy along projected gradients; one reference gradient whatever the number of tasks."""
    options = job.experiment.options
    assert isinstance(options, AgemOptions)
    network = job.network(state)
    memory = state["memory"] if state else {}
    split = Split(memory["images"], memory["labels"]) if memory else None
    over_tasks, offset = rehearsal_objective(job, network), job.task.index * job.classes_per_task
    job.fit(
        network,
        objective=lambda images, targets: over_tasks(images, targets + offset),
        trainable=all_names(network),
        hook=AveragedProjection(over_tasks, split, options.reference_batch),
    )
    return {"network": weights(network), "memory": memory}


class AveragedProjection(StepHook):
    """Takes from the gradient what opposes that of a random batch of the memory."""

    def __init__(self, objective: Objective, memory: Split | None, batch: int) -> None:
        self.objective = objective
        self.memory = memory
        self.batch = batch

    def on_gradients(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        if self.memory is None:
            return
        chosen = torch.randint(len(self.memory), (self.batch,))
        with torch.enable_grad():
            reference = flat(torch.autograd.grad(self.objective(*self.memory.batch(chosen)), list(parameters.values())))
        put(gradients, deflected(flat(list(gradients.values())), reference))


def deflected(gradient: Tensor, reference: Tensor) -> Tensor:
    """g - (g . r / r . r) r where g . r < 0, else g (its Eq. 11)."""
    product = gradient @ reference
    return gradient if product >= 0 else gradient - product / (reference @ reference) * reference
