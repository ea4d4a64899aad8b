"""DER++: cross-entropy, plus alpha * squared distance to kept logits, plus beta * cross-entropy of kept labels.

Buzzega et al. 2020 (reading B17). State: the memory has `logits` [m, outputs] beside its images and labels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.evaluation.answers import logits
from lifelong.methods.der import DerOptions
from lifelong.training.exemplars import cut_memory
from lifelong.training.job import Job, State, weights
from lifelong.training.rehearsal import all_parameter_names, choose_memory, images_a_class, rehearsal_objective


def learn(job: Job, options: DerOptions, state: State | None) -> State:
    """Minimise the loss of the task's images and of two draws from the memory, each as large as the mini-batch."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    loss, offset = rehearsal_objective(job, network), job.classes.offset(job.task.index)
    kept = replace(job.task.train, images=memory["images"], targets=memory["labels"]) if memory else None

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        own = loss(images, targets + offset)
        if kept is None:
            return own
        chosen, others = torch.randint(len(kept), (2, len(images)))
        distance = F.mse_loss(network.all_logits(kept.batch(chosen)[0]), memory["logits"][chosen])
        return own + options.alpha * distance + options.beta * loss(*kept.batch(others))

    job.fit(network, objective=objective, trainable=all_parameter_names(network))
    return {"network": weights(network), "memory": memory}


def remember(job: Job, options: DerOptions, state: State) -> State:
    """Cut the memory to the new quota and add this task's exemplars, with the logits that the network gives them now."""
    chosen = choose_memory(job, options, state)
    before = [cut_memory(state["memory"], images_a_class(job, options))["logits"]] if state["memory"] else []
    old = sum(map(len, before))
    new = replace(job.task.train, images=chosen["images"][old:], targets=chosen["labels"][old:])
    return {
        "network": state["network"],
        "memory": {**chosen, "logits": torch.cat([*before, logits(job.network(state), new)])},
    }
