"""ANPyC's stages of one task: learn under the penalty, prune in greedy rounds, consolidate (dossier 3.3, N7).

State after a task: `network`, `importance` (accumulated over the tasks) and `mask` (0 where this task pruned). While a
task is under way `anchor` holds the shared weights as the last task left them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.config.methods import AnpycOptions
from lifelong.learning.importance import output_sensitivity
from lifelong.learning.job import Job, State, weights
from lifelong.learning.penalties import QuadraticPenalty
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.methods.anpyc.pruning import phase_epochs, prune_mask, rounds
from lifelong.networks.base import Network, shared_names
from lifelong.networks.gates import FixedGate, random_gates
from lifelong.progress import Progress
from lifelong.randomness import generator

SENSITIVITY_BATCH = 1000  # images a pass; the result does not depend on it


def learn(job: Job, state: State | None) -> State:
    """Minimise cross-entropy + lambda * sum(importance * (W - W_old)^2) (Eq. 6 as read in dossier N1).

    The weights that the last task pruned start from 0 and learn freely: their importance is 0 (dossier N9).
    """
    options = _options(job)
    network = job.network(state)
    gates = _gates(job, network)
    last = job.task.index == job.tasks - 1
    epochs = phase_epochs(options, job.experiment.training.epochs, job.task.index, last)[0]
    if state is None:
        job.fit(network, epochs=epochs)
        return {"network": weights(network), "importance": {}, "mask": {}, "anchor": {}, **gates}
    importance, mask = state["importance"], state["mask"]
    anchor = {name: state["network"][name] for name in importance}
    job.fit(network, penalty=QuadraticPenalty(options.strength, importance, anchor), epochs=epochs)
    return {"network": weights(network), "importance": importance, "mask": mask, "anchor": anchor, **gates}


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
            importance = _importance(job, network.eval())
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
    network = job.network(state).eval()
    gates = _gates(job, network)
    found = _importance(job, network)
    before = state["importance"]
    merge = torch.add if _options(job).accumulation == "sum" else torch.maximum
    total = {name: merge(before[name], tensor) if before else tensor for name, tensor in found.items()}
    return {"network": state["network"], "importance": total, "mask": state["mask"], **gates}


def _importance(job: Job, network: Network) -> dict[str, Tensor]:
    """Importance of every shared parameter to this task, by the measure of the options."""
    options = _options(job)
    if options.measure == "sensitivity":
        return output_sensitivity(network, job.task.train, job.head, SENSITIVITY_BATCH)
    return entropy_importance(network, job.task.train, job.head, options)


def _gates(job: Job, network: Network) -> State:
    """With random gates: puts the network behind those of this task and gives the group of all tasks' gates."""
    fraction_off = _options(job).fraction_off
    if fraction_off is None:
        return {}
    drawn = [generator(job.seed, "gates", task) for task in range(job.tasks)]
    gates = random_gates(network.hidden_widths(), fraction_off, drawn)
    network.gate = FixedGate(gates, job.task.index)
    return {"gates": gates}


def _options(job: Job) -> AnpycOptions:
    assert isinstance(job.experiment.options, AnpycOptions)
    return job.experiment.options
