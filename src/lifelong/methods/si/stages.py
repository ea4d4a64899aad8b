"""SI, synaptic intelligence: c * sum(Omega * (W - W_old)^2) (Zenke et al. 2017; reading B4).

omega sums over the steps of a task what each shared parameter gave to the fall of the loss, and at the task's end
Omega <- max(0, Omega + omega / (Delta^2 + xi)), Delta the whole way of the parameter in this task. The sum is clamped, not
each task's part: so the authors' own code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lifelong.methods.si import SiOptions
from lifelong.networks.base import shared_names
from lifelong.training.fit import StepHook
from lifelong.training.importance import accumulate
from lifelong.training.job import Job, State, weights
from lifelong.training.quadratic_fit import fit_with_quadratic_penalty


class PathIntegral(StepHook):
    """omega of the shared parameters, summed step by step. g: the gradient of the task's loss; h: with the penalty's.

    `plain`: -g * (change of W), the authors' own. `regularised`: -h * (change of W), what the whole objective fell.
    `product`: rate * h * g, the literal reading of "regularised gradient x plain gradient" in the released baseline
    (reading B4); without momentum the change of W is -rate * h, and this is `plain` but for rounding.
    """

    def __init__(self, start: Mapping[str, Tensor], path: str) -> None:
        self.path = path
        self.omega = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        self._plain: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}

    def tensors(self) -> Mapping[str, Tensor]:
        return self.omega

    def stacked(self, hooks: Sequence[StepHook]) -> PathIntegral:
        integrals = [hook for hook in hooks if isinstance(hook, PathIntegral)]
        together = PathIntegral({n: torch.stack([one.omega[n] for one in integrals]) for n in self.omega}, self.path)
        for place, one in enumerate(integrals):
            one.omega = {name: omega[place] for name, omega in together.omega.items()}
        return together

    def on_gradients(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        self._plain = {name: gradients[name].clone() for name in self.omega}
        self._before = {name: parameters[name].clone() for name in self.omega}

    def after_step(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float) -> None:
        for name, omega in self.omega.items():
            if self.path == "product":
                omega.addcmul_(gradients[name], self._plain[name], value=rate)
            else:
                gradient = self._plain[name] if self.path == "plain" else gradients[name]
                omega.addcmul_(gradient, parameters[name] - self._before[name], value=-1)


def learn(job: Job, options: SiOptions, state: State | None) -> State:
    """Minimise cross-entropy + c * sum(Omega * (W - W_old)^2), then add this task's part to Omega."""
    network = job.network(state)
    before = weights(network)
    integral = PathIntegral({name: before[name] for name in shared_names(network)}, options.path)
    after = fit_with_quadratic_penalty(job, state, options.strength, options.penalty_step, integral)
    part = {
        name: omega / ((after["network"][name] - before[name]).square() + options.damping)
        for name, omega in integral.omega.items()
    }
    total = accumulate(after["importance"], part)
    return {"network": after["network"], "importance": {name: tensor.clamp_min(0) for name, tensor in total.items()}}
