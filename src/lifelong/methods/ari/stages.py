"""ARI's stages of one task: learn, metatrain (optional), remember, adapt (paper section 3.2; readings A10, A20, A21).

iTAML is the same without attack and with plain averaging. State: `network`, the base model; `memory`, the exemplars; and,
for evaluation alone, `adapted`: the base tuned to each seen task's exemplars, `<task>/<parameter>`, O(n) for n tasks.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from lifelong.data.tensors import Split
from lifelong.methods.ari import AriOptions
from lifelong.methods.ari.step import TaskModels
from lifelong.networks.base import Network
from lifelong.params.schema import Training
from lifelong.runtime.randomness import derived_seed
from lifelong.training.exemplars import join_memory, split_of_task
from lifelong.training.fit import Objective
from lifelong.training.job import Job, State, weights
from lifelong.training.losses import slice_cross_entropy
from lifelong.training.optimisers import Optimiser
from lifelong.training.rehearsal import all_parameter_names, choose_memory


def learn(job: Job, options: AriOptions, state: State | None) -> State:
    """Learn the task's images and the memory together, by `TaskModels`."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    update = TaskModels(network, options, job.classes, job.task.index, job.tasks)
    train = join_memory(job.task.train, job.task.index, job.classes, memory or None)
    job.fit(network, train=train, update=update, trainable=all_parameter_names(network))
    return {"network": weights(network), "memory": memory}


def metatrain(job: Job, options: AriOptions, state: State) -> State:
    """Train the base model on the memory of the seen tasks, Algorithm 2's last line as a lasting step (reading A10).

    The task's own exemplars are not chosen yet: they are taken as `remember` will take them.
    """
    network = job.network(state)
    memory = choose_memory(job, options, state)
    split = replace(job.task.train, images=memory["images"], targets=memory["labels"])
    epochs = options.meta_epochs
    job.fit(network, train=split, objective=_objective(job, network), trainable=all_parameter_names(network), epochs=epochs)
    return {"network": weights(network), "memory": state["memory"]}


def adapt(job: Job, options: AriOptions, state: State) -> State:
    """Tune a copy of the base to each seen task's exemplars, as released before testing; the first task's is the base.

    Adam, one epoch by default, batch normalisation in training mode. The base itself does not change.
    """
    budget = Training(
        optimiser="adam", learning_rate=options.adapt_rate, batch_size=options.adapt_batch, epochs=options.adapt_epochs
    )
    adapted: dict[str, torch.Tensor] = {}
    for task in range(job.task.index + 1) if job.task.index else ():
        network = job.network(state)
        _tune(network, split_of_task(state["memory"], task, job.classes, job.task.train), job, budget, task)
        adapted |= {f"{task}/{name}": tensor for name, tensor in weights(network).items()}
    return {"network": state["network"], "memory": state["memory"], "adapted": adapted}


def _tune(network: Network, split: Split, job: Job, budget: Training, task: int) -> None:
    torch.manual_seed(derived_seed(job.seed, job.task.index, job.stage, task))
    named = dict(network.named_parameters())
    optimiser = Optimiser(budget, list(named), list(named.values()))
    objective = _objective(job, network)
    network.train()
    for _ in range(budget.epochs):
        for chosen in torch.randperm(len(split)).split(budget.batch_size):
            gradients = torch.autograd.grad(objective(*split.batch(chosen)), list(named.values()))
            optimiser.step(list(gradients), budget.learning_rate)


def _objective(job: Job, network: Network) -> Objective:
    return lambda images, labels: slice_cross_entropy(network.all_logits(images), labels, job.classes)
