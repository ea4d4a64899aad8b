"""ANPyC's stages of one task: learn under the penalty, prune in greedy rounds, consolidate (reading N7).

State after a task: `network`, `importance` (accumulated over the tasks) and `mask` (0 where this task pruned). While a
task is under way `anchor` holds the shared weights as the last task left them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.methods.anpyc import AnpycOptions
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.methods.anpyc.pruning import list_rounds, may_go, phase_epochs, prune_mask
from lifelong.networks.base import Network, shared_names
from lifelong.networks.gates import FixedGate, draw_gates
from lifelong.runtime.progress import Progress
from lifelong.runtime.randomness import generator
from lifelong.training.importance import output_sensitivity
from lifelong.training.job import Job, State, weights
from lifelong.training.penalties import QuadraticPenalty

SENSITIVITY_BATCH = 1000  # images a pass; the result does not depend on it


def learn(job: Job, options: AnpycOptions, state: State | None) -> State:
    """Minimise cross-entropy + lambda * sum(importance * (W - W_old)^2) (Eq. 6 as in reading N1).

    The weights that the last task pruned start from 0 and learn freely: their importance is 0 (reading N9).
    """
    network = job.network(state)
    gates = _gates(job, options, network)
    last = job.task.index == job.tasks - 1
    epochs = phase_epochs(options, job.experiment.training.epochs, job.task.index, last)[0]
    if state is None:
        job.fit(network, epochs=epochs)
        return {"network": weights(network), "importance": {}, "mask": {}, "anchor": {}, **gates}
    importance, mask = state["importance"], state["mask"]
    anchor = {name: state["network"][name] for name in importance}
    job.fit(network, penalty=_penalty(options, importance, anchor), epochs=epochs)
    return {"network": weights(network), "importance": importance, "mask": mask, "anchor": anchor, **gates}


def prune(job: Job, options: AnpycOptions, state: State) -> State:
    """Greedy rounds: measure importance, zero the least important weights, retrain the rest with those frozen.

    The learning-rate counter goes on from the learning stage (reading N29); retraining is held by the same penalty.
    """
    budget = job.experiment.training
    network = job.network(state)
    before = state["importance"]
    penalty = _penalty(options, before, state["anchor"]) if state["anchor"] else None
    masks = {name: torch.ones_like(state["network"][name]) for name in shared_names(network)}
    percents = list_rounds(options, job.task.index)
    learning, *retraining = phase_epochs(options, budget.epochs, job.task.index, last=False)
    with Progress(job.label, sum(retraining)) as progress:
        for number, percent in enumerate(percents):
            importance = _importance(job, options, network.eval())
            if options.prune_from == "all" and before:
                importance = {name: before[name] + own for name, own in importance.items()}
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    if name in masks:
                        free = may_go(options, state["mask"].get(name), before.get(name))
                        masks[name] = prune_mask(importance[name], parameter, free, percent, options.zero_importance)
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
    # Only with `prune_from: all` may a pruned weight have had importance.
    kept = {name: tensor * masks[name] for name, tensor in before.items()}
    return {"network": weights(network), "importance": kept, "mask": masks}


def consolidate(job: Job, options: AnpycOptions, state: State) -> State:
    """Add this task's importance to that of the earlier ones, by sum (Eq. 8, released) or elementwise maximum."""
    network = job.network(state).eval()
    gates = _gates(job, options, network)
    result = _importance(job, options, network)
    before = state["importance"]
    merge = torch.add if options.accumulation == "sum" else torch.maximum
    total = {name: merge(before[name], tensor) if before else tensor for name, tensor in result.items()}
    return {"network": state["network"], "importance": total, "mask": state["mask"], **gates}


def _penalty(options: AnpycOptions, importance: dict[str, Tensor], anchor: dict[str, Tensor]) -> QuadraticPenalty:
    return QuadraticPenalty(options.strength, importance, anchor, options.penalty_step == "proximal")


def _importance(job: Job, options: AnpycOptions, network: Network) -> dict[str, Tensor]:
    """Importance of every shared parameter to this task, by the measure of the options."""
    if options.measure == "sensitivity":
        return output_sensitivity(network, job.task.train, job.head, SENSITIVITY_BATCH)
    return entropy_importance(network, job.task.train, job.head, options)


def _gates(job: Job, options: AnpycOptions, network: Network) -> State:
    """With random gates: puts the network behind those of this task and gives the group of all tasks' gates."""
    fraction_off = options.fraction_off
    if fraction_off is None:
        return {}
    drawn = [generator(job.seed, "gates", task) for task in range(job.tasks)]
    gates = draw_gates(network.hidden_widths(), fraction_off, drawn)
    network.gate = FixedGate(gates, job.task.index)
    return {"gates": gates}
