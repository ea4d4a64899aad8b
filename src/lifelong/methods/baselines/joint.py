"""Joint training on all tasks at once: the upper reference, and the m_i of ANPyC's FWT (dossier N11)."""

from __future__ import annotations

from functools import partial

import torch

from lifelong.data.tensors import Split
from lifelong.learning.job import Job, State, weights
from lifelong.learning.rehearsal import all_names, rehearsal_objective


def learn(job: Job, state: State | None) -> State:
    """One network on the union of the tasks' training images, the budget's epochs over that union.

    With heads over all classes this is the released code's single softmax (dossier N11).
    """
    network = job.network(state)
    per_task = job.classes_per_task
    union = Split(
        torch.cat([task.train.images for task in job.data]),
        torch.cat([task.train.targets + task.index * per_task for task in job.data]),
    )
    job.fit(network, train=union, objective_of=partial(rehearsal_objective, job), trainable=all_names(network))
    return {"network": weights(network)}
