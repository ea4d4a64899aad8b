"""RWalk: lambda * sum((F + s) * (W - W_old)^2) (Chaudhry et al. 2018; reading B18).

F runs over all steps so far, F <- keep * F + (1 - keep) * g^2. s sums over the intervals of a task the fall of the loss that
a weight gave for what it walked, max(0, -sum of g * dW) / (F * D^2 / 2 + epsilon), D its whole way in the interval, and is
averaged with what earlier tasks left. State: `fisher`, `score`, and `importance`, the sum of both brought to a maximum of 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lifelong.methods.rwalk import RwalkOptions
from lifelong.networks.base import shared_names
from lifelong.training.fit import StepHook
from lifelong.training.job import Job, State, weights
from lifelong.training.quadratic_fit import fit_with_quadratic_penalty

Tensors = dict[str, Tensor]


class Walk(StepHook):
    """F and s of the shared parameters; g is the gradient of the task's loss alone."""

    def __init__(self, options: RwalkOptions, start: Tensors, fisher: Tensors) -> None:
        self.options = options
        self.fisher = {name: tensor.clone() for name, tensor in fisher.items()}
        self.score, self.path = ({name: torch.zeros_like(tensor) for name, tensor in start.items()} for _ in range(2))
        self.since = {name: tensor.clone() for name, tensor in start.items()}
        self.steps = torch.zeros((), dtype=torch.int64)
        self._own: Tensors = {}
        self._before: Tensors = {}

    def tensors(self) -> Mapping[str, Tensor]:
        groups = {"fisher": self.fisher, "score": self.score, "path": self.path, "since": self.since}
        return {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()} | {
            "steps": self.steps
        }

    def on_gradients(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        self._own = {name: gradients[name].clone() for name in self.path}
        self._before = {name: parameters[name].clone() for name in self.path}

    def after_step(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float) -> None:
        keep = self.options.keep
        for name, path in self.path.items():
            own = self._own[name]
            path.addcmul_(own, parameters[name] - self._before[name], value=-1)
            self.fisher[name].mul_(keep).addcmul_(own, own, value=1 - keep)
        self.steps += 1
        if self.steps % self.options.interval == 0:
            self.close_interval(parameters)

    def close_interval(self, parameters: Mapping[str, Tensor]) -> None:
        """Score what was walked since the last interval ended."""
        for name, path in self.path.items():
            walked = self.fisher[name] * (parameters[name] - self.since[name]).square() / 2
            self.score[name] += path.clamp_min(0) / (walked + self.options.damping)
            path.zero_()
            self.since[name].copy_(parameters[name])


def learn(job: Job, options: RwalkOptions, state: State | None) -> State:
    """Minimise cross-entropy + lambda * sum(importance * (W - W_old)^2), then renew the importance."""
    network = job.network(state)
    start = {name: tensor for name, tensor in weights(network).items() if name in shared_names(network)}
    fisher = state["fisher"] if state else {name: torch.zeros_like(tensor) for name, tensor in start.items()}
    walk = Walk(options, start, fisher)
    after = fit_with_quadratic_penalty(job, state, options.strength, options.penalty_step, walk)
    walk.close_interval(after["network"])
    score = walk.score
    if state is not None:
        score = {name: (state["score"][name] + tensor) / 2 for name, tensor in score.items()}
    fisher_part, score_part = _to_one(walk.fisher), _to_one(score)
    importance = {name: fisher_part[name] + score_part[name] for name in score}
    return {"network": after["network"], "importance": importance, "fisher": walk.fisher, "score": score}


def _to_one(tensors: Tensors) -> Tensors:
    """Divided by the largest value of all."""
    largest = torch.stack([tensor.max() for tensor in tensors.values()]).max()
    return {name: tensor / largest if largest > 0 else tensor for name, tensor in tensors.items()}
