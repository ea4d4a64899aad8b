"""A-GEM: no step may raise the loss on exemplars drawn from all earlier tasks (Chaudhry et al. 2019; reading B7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.methods.gem import AgemOptions
from lifelong.training.fit import Objective, StepHook
from lifelong.training.flat import flatten_gradients, write_gradients
from lifelong.training.job import Job, State, weights
from lifelong.training.rehearsal import all_parameter_names, rehearsal_objective


def learn(job: Job, options: AgemOptions, state: State | None) -> State:
    """Minimise the task's cross-entropy along projected gradients; one reference gradient whatever the number of tasks."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    split = replace(job.task.train, images=memory["images"], targets=memory["labels"]) if memory else None
    over_tasks, offset = rehearsal_objective(job, network), job.classes.offset(job.task.index)
    job.fit(
        network,
        objective=lambda images, targets: over_tasks(images, targets + offset),
        trainable=all_parameter_names(network),
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
            reference = flatten_gradients(
                torch.autograd.grad(self.objective(*self.memory.batch(chosen)), list(parameters.values()))
            )
        write_gradients(gradients, deflect_gradient(flatten_gradients(list(gradients.values())), reference))


def deflect_gradient(gradient: Tensor, reference: Tensor) -> Tensor:
    """g - (g . r / r . r) r where g . r < 0, else g (its Eq. 11); both [P].

    In float64, where no square of a float32 number is lost: r . r would be 0 once |r| is below 1e-23.
    """
    g, r = gradient.double(), reference.double()
    product = g @ r
    return gradient if product >= 0 else (g - product / (r @ r) * r).to(gradient.dtype)
