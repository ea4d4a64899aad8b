"""The learning stage of methods that hold each shared weight near its old value by its importance."""

from __future__ import annotations

from lifelong.params.methods import PenaltyStep
from lifelong.training.fit import StepHook
from lifelong.training.job import Job, State, weights
from lifelong.training.penalties import QuadraticPenalty


def fit_with_quadratic_penalty(
    job: Job, state: State | None, strength: float, penalty_step: PenaltyStep, hook: StepHook | None = None
) -> State:
    """Minimise cross-entropy + strength * sum(importance * (W - W_old)^2); the first task has no penalty.

    `importance` is accumulated over the tasks, W_old is what the last task left: one anchor, whatever the number of tasks.
    """
    network = job.network(state)
    penalty = None
    if state is not None:
        penalty = QuadraticPenalty(strength, state["importance"], state["network"], penalty_step == "proximal")
    job.fit(network, penalty=penalty, hook=hook)
    return {"network": weights(network), "importance": state["importance"] if state else {}}
