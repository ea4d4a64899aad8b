"""ANPyC's stages of one task: learn under the penalty, prune in greedy rounds, consolidate (dossier 3.3, N7).

State after a task: `network`, `importance` (accumulated over the tasks) and `mask` (0 where this task pruned). While a
task is under way `anchor` holds the shared weights as the last task left them.
"""

from __future__ import annotations

import torch

from lifelong.config.methods import AnpycOptions
from lifelong.learning.job import Job, State, weights
from lifelong.learning.penalties import QuadraticPenalty
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.methods.anpyc.pruning import phase_epochs, prune_mask, rounds
from lifelong.networks.base import shared_names
from lifelong.progress import Progress


def learn(job: Job, state: State | None) -> State:
    """Minimise cross-entropy + lambda * sum(importance * (W - W_old)^2) (Eq. 6 as read in dossier N1).

    The weights that the last task pruned start from 0 and learn freely: their importance is 0 (dossier N9).
    """
    network = job.network(state)
    last = job.task.index == job.tasks - 1
    epochs = phase_epochs(_options(job), job.experiment.training.epochs, job.task.index, last)[0]
    if state is None:
        job.fit(network, epochs=epochs)
        return {"network": weights(network), "importance": {}, "mask": {}, "anchor": {}}
    anchor = {name: state["network"][name] for name in state["importance"]}
    job.fit(network, penalty=QuadraticPenalty(_options(job).strength, state["importance"], anchor), epochs=epochs)
    return {"network": weights(network), "importance": state["importance"], "mask": state["mask"], "anchor": anchor}


def prune(job: Job, state: State) -> State:
    """Greedy rounds: measure importance, zero the least important weights, retrain the rest with those frozen.

    The learning-rate counter goes on from the learning stage (dossier 3.1); retraining is held by the same penalty.
    """
    options, budget = _options(job), job.experiment.training
    network = job.network(state)
    penalty = None
    if state["anchor"]:
        penalty = QuadraticPenalty(options.strength, state["importance"], state["anchor"])
    masks = {name: torch.ones_like(state["network"][name]) for name in shared_names(network)}
    percents = rounds(options, job.task.index)
    learning, *retraining = phase_epochs(options, budget.epochs, job.task.index, last=False)
    with Progress(job.label, sum(retraining)) as progress:
        for number, percent in enumerate(percents):
            importance = entropy_importance(network.eval(), job.task.train, job.head, options)
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    if name in masks:
                        masks[name] = prune_mask(importance[name], state["mask"].get(name), percent)
                        parameter.mul_(masks[name])
            job.fit(
                network,
                name=f"prune-{percent}",
                schedule=job.schedule(first_stage=False),
                penalty=penalty,
                masks=masks,
                epochs=retraining[number],
                epoch_offset=learning + sum(retraining[:number]),
                progress=progress,
            )
    return {"network": weights(network), "importance": state["importance"], "mask": masks}


def consolidate(job: Job, state: State) -> State:
    """Add this task's importance to that of the earlier ones, by sum (Eq. 8, released) or elementwise maximum."""
    options = _options(job)
    network = job.network(state).eval()
    found = entropy_importance(network, job.task.train, job.head, options)
    before = state["importance"]
    merge = torch.add if options.accumulation == "sum" else torch.maximum
    total = {name: merge(before[name], tensor) if before else tensor for name, tensor in found.items()}
    return {"network": state["network"], "importance": total, "mask": state["mask"]}


def _options(job: Job) -> AnpycOptions:
    assert isinstance(job.experiment.options, AnpycOptions)
    return job.experiment.options
