"""ER, experience replay with a memory that grows: ten images of every class are kept for good (dossier 2.4).

The paper's words: the agent learns from all the data of a task and rehearses old tasks from the memory. Every mini-batch
is joined by as many images drawn from it (Chaudhry et al. 2019); L = mean over both of the cross-entropy.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from lifelong.config.skill_baselines import ReplayOptions
from lifelong.learning.job import Job, State, weights
from lifelong.learning.rehearsal import all_names, rehearsal_objective, replaying
from lifelong.randomness import drawn, generator


def learn(job: Job, state: State | None) -> State:
    """Minimise the mean cross-entropy of the task's images and of those replayed; all heads learn."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    replayed = replace(job.task.train, images=memory["images"], targets=memory["labels"]) if memory else None
    objective = replaying(rehearsal_objective(job, network), replayed, job.task.index * job.classes_per_task)
    job.fit(network, objective=objective, trainable=all_names(network))
    return {"network": weights(network), "memory": memory}


def remember(job: Job, state: State) -> State:
    """Add images of each of the task's classes, drawn by seed, to the memory; none of it ever goes."""
    options = job.experiment.options
    assert isinstance(options, ReplayOptions)
    train = job.task.train
    chosen = []
    for label in train.targets.unique().tolist():
        own = (train.targets == label).nonzero().flatten()
        order = drawn(torch.randperm, len(own), generator=generator(job.seed, job.task.index, "memory", label))
        chosen.append(own[order[: options.per_class]].sort().values)
    index = torch.cat(chosen)
    found = {"images": train.images[index], "labels": train.targets[index] + job.task.index * job.classes_per_task}
    before = state["memory"]
    memory = {name: torch.cat([before[name], tensor]) if before else tensor for name, tensor in found.items()}
    return {"network": state["network"], "memory": memory}
