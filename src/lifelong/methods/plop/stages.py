"""What a task of class-incremental segmentation does: slow, fast, fuse and project, each from the state before it.

State: `network`; `old` the network that the last task left, between the stages of a task; `slow` the slow model; `moments`
and `subspaces` are left by `project` alone, which adds to the last task's. Without fusion `slow` is all.
"""

from __future__ import annotations

from dataclasses import replace

from lifelong.methods.plop import PlopOptions
from lifelong.methods.plop.distillation import cross_entropy, median_entropies, plop_objective
from lifelong.methods.split2meta.fusion import fuse_weights, slow_share
from lifelong.methods.split2meta.moments import feature_moments
from lifelong.methods.split2meta.null_space import find_subspace, from_tensors, to_tensors
from lifelong.methods.split2meta.projection import ProjectedUpdates
from lifelong.networks.dense_conv import DenseConv
from lifelong.training.fit import Objective, StepHook
from lifelong.training.job import Job, State, Weights, weights

BATCH = 20
"""Images a pass without training."""


def slow(job: Job, options: PlopOptions, state: State | None) -> State:
    """Learn the task, projected where there is a null space; new classes start as parts of the background."""
    old = state["network"] if state else {}
    network = dense_network(job, state)
    if job.task.index and options.distillation == "plop":
        network.share_background(job.task.index)
    subspaces = from_tensors(state["subspaces"]) if state and "subspaces" in state else {}
    epochs = options.later_epochs if job.task.index else None
    _fit(job, options, network, old, epochs, ProjectedUpdates(subspaces, {}))
    return {"network": weights(network), "old": old}


def fast(job: Job, options: PlopOptions, state: State) -> State:
    """Go on from the slow model for a few epochs without projection, under the same loss."""
    network = dense_network(job, state)
    _fit(job, options, network, state["old"], options.fast_epochs, StepHook())
    return {"network": weights(network), "slow": state["network"]}


def fuse(job: Job, options: PlopOptions, state: State) -> State:
    """(1 - 1/t) slow + 1/t fast."""
    return {"network": fuse_weights(state["slow"], state["network"], slow_share(job.task.index))}


def project(job: Job, options: PlopOptions, state: State) -> State:
    """Add the task's second moments (NSP's) to the earlier ones and find the directions that none of them uses."""
    space = options.null_space
    assert space is not None
    network = dense_network(job, state).eval()
    result = feature_moments(network, job.task.train, space.moment_batch, space)
    earlier = job.earlier or {"moments": {}, "subspaces": {}}
    moments = {name: earlier["moments"].get(name, 0) + moment for name, moment in result.items()}
    before = from_tensors(earlier["subspaces"]) if space.across_tasks == "nested" else {}
    subspaces = {n: find_subspace(m, space.keep, space.threshold, before.get(n)) for n, m in moments.items()}
    return {"network": state["network"], "moments": moments, "subspaces": to_tensors(subspaces)}


def dense_network(job: Job, state: State | None) -> DenseConv:
    network = job.network(state)
    assert isinstance(network, DenseConv)
    return network


def _fit(job: Job, options: PlopOptions, network: DenseConv, old: Weights, epochs: int | None, hook: StepHook) -> None:
    """Train all that the tasks so far use."""
    heads = tuple(f"heads.{task}." for task in range(job.task.index + 1))
    names = [name for name, _ in network.named_parameters() if not name.startswith("heads.") or name.startswith(heads)]
    rate = job.schedule(first_stage=False)
    if job.task.index:
        rate = replace(rate, initial=options.later_rate * rate.initial)
    objective = _objective(job, options, network, old)
    job.fit(network, objective=objective, trainable=names, schedule=rate, hook=hook, epochs=epochs)


def _objective(job: Job, options: PlopOptions, network: DenseConv, old: Weights) -> Objective:
    """Cross-entropy of the task's own labels, or PLOP's loss beside the old network."""
    task = job.task.index
    if not task or options.distillation == "none":
        return lambda images, labels: cross_entropy(network(images, task), labels.long()).mean()
    before = dense_network(job, {"network": old}).eval().requires_grad_(False)
    least = median_entropies(before, job.task.train, task, BATCH, options.certainty)
    return plop_objective(network, before, job.classes.sizes, task, least, options)
