"""What methods with an exemplar memory share: choosing the exemplars, and the loss of images of several tasks.

State: `memory` beside the network, see `lifelong.training.exemplars`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.evaluation.answers import features
from lifelong.networks.base import Network
from lifelong.params.methods import RehearsalOptions
from lifelong.runtime.randomness import draw_on_processor, generator
from lifelong.training.exemplars import Memory, herding, keep_exemplars, quota
from lifelong.training.fit import Objective
from lifelong.training.job import Job, State
from lifelong.training.losses import cross_entropy_over_tasks


def remember(job: Job, options: RehearsalOptions, state: State) -> State:
    """Cut the memory to the new quota and add this task's exemplars."""
    return {"network": state["network"], "memory": choose_memory(job, options, state)}


def choose_memory(job: Job, options: RehearsalOptions, state: State) -> Memory:
    """The memory after the job's task, chosen as the options say; herding uses the state's network."""
    train, task = job.task.train, job.task.index
    count = images_a_class(job, options)
    by = features(job.network(state), train) if options.selection == "herding" else None

    def choose(members: Tensor) -> Tensor:
        if by is not None:
            return members[herding(by[members], count)]
        if options.selection == "random":
            label = int(train.targets[members[0]])
            chance = generator(job.seed, task, "memory", label)
            return members[draw_on_processor(torch.randperm, len(members), generator=chance)[:count].sort().values]
        return members

    return keep_exemplars(state["memory"] or None, train, task, job.classes, count, choose)


def images_a_class(job: Job, options: RehearsalOptions) -> int:
    """How many images each class may keep after the job's task."""
    return options.per_class or quota(options.memory, job.classes.offset(job.task.index + 1))


def rehearsal_objective(job: Job, network: Network) -> Objective:
    """Mean cross-entropy of images whose labels number the classes over the tasks, under the experiment's heads."""
    heads, classes = job.experiment.heads, job.classes
    return lambda images, labels: cross_entropy_over_tasks(network.all_logits(images), labels, heads, classes)


def all_parameter_names(network: Network) -> list[str]:
    """Names of all parameters: the heads of earlier tasks go on learning from the memory."""
    return [name for name, _ in network.named_parameters()]


def replay_objective(loss: Objective, memory: Split | None, offset: int) -> Objective:
    """`loss` of a batch and of as many images drawn from the memory, with replacement; one mean over both."""

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        labels = targets + offset
        if memory is not None:
            old_images, old_labels = memory.batch(torch.randint(len(memory), (len(images),)))
            images, labels = torch.cat([images, old_images]), torch.cat([labels, old_labels])
        return loss(images, labels)

    return objective
