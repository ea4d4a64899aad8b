"""What a step of class-incremental segmentation does: slow, fast, fuse and project, each from the state before it.

State: `network`; `old` the network that the last step left, between the stages of a step; `slow` the slow model; `moments`
and `subspaces` are left by `project` alone, which adds to the last step's. Fusion is a plug: without it `slow` is all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from lifelong.config.schema import Training
from lifelong.config.segmentation import SegmentationLearner
from lifelong.data.segmentation import VOID, Step
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.fit import Fit, Objective, Schedule, StepHook
from lifelong.learning.job import State, weights
from lifelong.methods.segmentation.plop import cross_entropy, median_entropies, plop_objective
from lifelong.methods.split2meta.fusion import fused, slow_share
from lifelong.methods.split2meta.moments import feature_moments
from lifelong.methods.split2meta.null_space import from_tensors, kept_subspace, to_tensors
from lifelong.methods.split2meta.projection import ProjectedUpdates
from lifelong.networks.segmentation import SegmentationNetwork
from lifelong.progress import Progress
from lifelong.randomness import generator

BATCH = 20
"""Images a pass without training."""


@dataclass
class Job:
    """One stage of one step of one seed; `sizes` are the classes that each step brings."""

    learner: SegmentationLearner
    budget: Training
    sizes: list[int]
    seed: int
    step: int
    stage: str
    data: Step
    checkpoints: Checkpoints
    label: str
    earlier: State | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)

    def network(self, named: dict[str, torch.Tensor] | None = None) -> SegmentationNetwork:
        """A network with these weights, or a new one that depends on the seed alone."""
        return network_of(self.learner, self.sizes, self.seed, named)

    def fit(self, network: SegmentationNetwork, objective: Objective, epochs: int | None, hook: StepHook) -> None:
        """Train all that the steps so far use."""
        heads = tuple(f"heads.{step}." for step in range(self.step + 1))
        names = [name for name, _ in network.named_parameters() if not name.startswith("heads.") or name.startswith(heads)]
        later = self.learner.later_rate if self.step else 1.0
        budget = self.budget
        rate = Schedule(
            later * budget.learning_rate, budget.decay_factor, budget.decay_every, tuple(budget.milestones or ())
        )
        run = Fit(
            name=self.stage,
            network=network,
            train=self.data.train,
            objective=objective,
            budget=budget,
            schedule=rate,
            seed=(self.seed, self.step, self.stage),
            trainable=names,
            validation=lambda: pixel_accuracy(network, self.data, self.step),
            checkpoints=self.checkpoints,
            hook=hook,
            epochs=epochs,
        )
        with Progress(self.label, budget.epochs if epochs is None else epochs) as progress:
            self.curve += run.run(progress)

    def objective(self, network: SegmentationNetwork, old: dict[str, torch.Tensor]) -> Objective:
        """Cross-entropy of the step's own labels, or PLOP's loss beside the old network."""
        if not self.step or self.learner.distillation == "none":
            return lambda images, labels: cross_entropy(network(images, self.step), labels.long()).mean()
        before = self.network(old).eval().requires_grad_(False)
        least = median_entropies(before, self.data.train, self.step, BATCH, self.learner.certainty)
        return plop_objective(network, before, self.sizes, self.step, least, self.learner)


def network_of(
    learner: SegmentationLearner, sizes: list[int], seed: int, named: dict[str, torch.Tensor] | None = None
) -> SegmentationNetwork:
    with torch.device("cpu"):
        network = SegmentationNetwork(learner.widths, [sizes[0] + 1, *sizes[1:]], generator(seed, "network"))
    network.to(torch.get_default_device())
    if named is not None:
        network.load_state_dict(named)
    return network


def slow(job: Job, state: State | None) -> State:
    """Learn the step, projected where there is a null space; new classes start as parts of the background."""
    old = state["network"] if state else {}
    network = job.network(old or None)
    if job.step and job.learner.distillation == "plop":
        network.share_background(job.step)
    subspaces = from_tensors(state["subspaces"]) if state and "subspaces" in state else {}
    epochs = job.learner.later_epochs if job.step else None
    job.fit(network, job.objective(network, old), epochs, ProjectedUpdates(subspaces, {}))
    return {"network": weights(network), "old": old}


def fast(job: Job, state: State) -> State:
    """Go on from the slow model for a few epochs without projection, under the same loss."""
    network = job.network(state["network"])
    job.fit(network, job.objective(network, state["old"]), job.learner.fast_epochs, StepHook())
    return {"network": weights(network), "slow": state["network"]}


def fuse(job: Job, state: State) -> State:
    """(1 - 1/t) slow + 1/t fast."""
    return {"network": fused(state["slow"], state["network"], slow_share(job.step))}


def project(job: Job, state: State) -> State:
    """Add the step's second moments (NSP's) to the earlier ones and find the directions that none of them uses."""
    space = job.learner.null_space
    assert space is not None
    network = job.network(state["network"]).eval()
    found = feature_moments(network, job.data.train, space.moment_batch, space)
    earlier = job.earlier or {"moments": {}, "subspaces": {}}
    moments = {name: earlier["moments"].get(name, 0) + moment for name, moment in found.items()}
    before = from_tensors(earlier["subspaces"]) if space.across_tasks == "nested" else {}
    subspaces = {n: kept_subspace(m, space.keep, space.threshold, before.get(n)) for n, m in moments.items()}
    return {"network": state["network"], "moments": moments, "subspaces": to_tensors(subspaces)}


@torch.no_grad()
def pixel_accuracy(network: SegmentationNetwork, data: Step, head: int) -> float:
    """Share of the step's own pixels, of the images kept apart, that are answered rightly."""
    network.eval()
    right = total = 0
    for chosen in torch.arange(len(data.validation)).split(BATCH):
        images, labels = data.validation.batch(chosen)
        own = (labels > 0) & (labels != VOID)
        right += int((network(images, head).argmax(1) == labels)[own].sum())
        total += int(own.sum())
    return right / max(total, 1)
