"""Joint training on all tasks at once: the upper reference, and the m_i of ANPyC's FWT (reading N11)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from lifelong.params.methods import MethodOptions
from lifelong.training.job import Job, State, weights
from lifelong.training.rehearsal import all_parameter_names, rehearsal_objective


def learn(job: Job, options: MethodOptions, state: State | None) -> State:
    """One network on the union of the tasks' training images, the budget's epochs over that union.

    With heads over all classes this is the released code's single softmax (reading N11).
    """
    network = job.network(state)
    union = replace(
        job.task.train,
        images=torch.cat([task.train.images for task in job.data]),
        targets=torch.cat([task.train.targets + job.classes.offset(task.index) for task in job.data]),
    )
    job.fit(network, train=union, objective_of=partial(rehearsal_objective, job), trainable=all_parameter_names(network))
    return {"network": weights(network)}
