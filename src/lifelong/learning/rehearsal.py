"""What methods with an exemplar memory share: choosing the exemplars, and the loss of images of several tasks.

State: `memory` beside the network, see `lifelong.learning.exemplars`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.config.methods import RehearsalOptions
from lifelong.data.tensors import Split
from lifelong.learning.evaluation import features
from lifelong.learning.exemplars import Memory, grown
from lifelong.learning.fit import Objective
from lifelong.learning.job import Job, State
from lifelong.learning.losses import cross_entropy_over_tasks
from lifelong.networks.base import Network


def remember(job: Job, state: State) -> State:
    """Cut the memory to the new quota and add this task's exemplars."""
    return {"network": state["network"], "memory": chosen_memory(job, state)}


def chosen_memory(job: Job, state: State) -> Memory:
    """The memory after the job's task, chosen as the options say; herding uses the state's network."""
    options, train = job.experiment.options, job.task.train
    assert isinstance(options, RehearsalOptions)
    by = features(job.network(state), train) if options.selection == "herding" else None
    return grown(state["memory"] or None, train, job.task.index, job.classes_per_task, options.memory, by)


def rehearsal_objective(job: Job, network: Network) -> Objective:
    """Mean cross-entropy of images whose labels number the classes over the tasks, under the experiment's heads."""
    heads, per_task = job.experiment.heads, job.classes_per_task
    return lambda images, labels: cross_entropy_over_tasks(network.all_logits(images), labels, heads, per_task)


def all_names(network: Network) -> list[str]:
    """Names of all parameters: the heads of earlier tasks go on learning from the memory."""
    return [name for name, _ in network.named_parameters()]


def replaying(loss: Objective, memory: Split | None, offset: int) -> Objective:
    """`loss` of a batch and of as many images drawn from the memory, with replacement; one mean over both."""

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        labels = targets + offset
        if memory is not None:
            old_images, old_labels = memory.batch(torch.randint(len(memory), (len(images),)))
            images, labels = torch.cat([images, old_images]), torch.cat([labels, old_labels])
        return loss(images, labels)

    return objective
