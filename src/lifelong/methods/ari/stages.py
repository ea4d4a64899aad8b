"""ARI's stages of one task: learn, metatrain (optional), remember, adapt (paper section 3.2; dossier 1.2, 1.5, A10).

iTAML is the same without attack and with plain averaging. State: `network`, the base model; `memory`, the exemplars; and,
for evaluation alone, `adapted`: the base tuned to each seen task's exemplars, `<task>/<parameter>`, O(n) for n tasks.
"""

from __future__ import annotations

import torch

from lifelong.config.methods import AriOptions
from lifelong.config.schema import Training
from lifelong.data.tensors import Split
from lifelong.learning.exemplars import of_task, rehearsed
from lifelong.learning.fit import Objective
from lifelong.learning.job import Job, State, weights
from lifelong.learning.losses import slice_cross_entropy
from lifelong.learning.optimisers import Optimiser
from lifelong.learning.rehearsal import all_names, chosen_memory, remember
from lifelong.methods.ari.step import TaskModels
from lifelong.networks.base import Network
from lifelong.randomness import derived_seed

__all__ = ["adapt", "learn", "metatrain", "remember"]


def learn(job: Job, state: State | None) -> State:
    """Learn the task's images and the memory together, by `TaskModels`."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    update = TaskModels(network, _options(job), job.classes_per_task, job.task.index, job.tasks)
    train = rehearsed(job.task.train, job.task.index, job.classes_per_task, memory or None)
    job.fit(network, train=train, update=update, trainable=all_names(network))
    return {"network": weights(network), "memory": memory}


def metatrain(job: Job, state: State) -> State:
    """Train the base model on the memory of the seen tasks, Algorithm 2's last line as a lasting step (dossier A10).

    The task's own exemplars are not chosen yet: they are taken as `remember` will take them.
    """
    network = job.network(state)
    memory = chosen_memory(job, state)
    split = Split(memory["images"], memory["labels"])
    epochs = _options(job).meta_epochs
    job.fit(network, train=split, objective=_objective(job, network), trainable=all_names(network), epochs=epochs)
    return {"network": weights(network), "memory": state["memory"]}


def adapt(job: Job, state: State) -> State:
    """Tune a copy of the base to each seen task's exemplars, as released before testing; the first task's is the base.

    Adam, one epoch by default, batch normalisation in training mode. The base itself does not change.
    """
    options = _options(job)
    budget = Training(
        optimiser="adam", learning_rate=options.adapt_rate, batch_size=options.adapt_batch, epochs=options.adapt_epochs
    )
    adapted: dict[str, torch.Tensor] = {}
    for task in range(job.task.index + 1) if job.task.index else ():
        network = job.network(state)
        _tune(network, of_task(state["memory"], task, job.classes_per_task), job, budget, task)
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
    return lambda images, labels: slice_cross_entropy(network.all_logits(images), labels, job.classes_per_task)


def _options(job: Job) -> AriOptions:
    assert isinstance(job.experiment.options, AriOptions)
    return job.experiment.options
