"""EWC, elastic weight consolidation: lambda/2 * sum(F * (W - W_old)^2) (dossier 5.1).

F sums the exact Fisher diagonals of the tasks so far over the shared parameters; W_old are the weights after the last
task, as in the released ANPyC baseline (lambda = 15 there).
"""

from __future__ import annotations

from lifelong.config.methods import EwcOptions
from lifelong.learning.importance import fisher_diagonal
from lifelong.learning.job import Job, State, weights
from lifelong.learning.penalties import QuadraticPenalty


def learn(job: Job, state: State | None) -> State:
    """Minimise cross-entropy + lambda/2 * sum(F * (W - W_old)^2); the first task has no penalty."""
    network = job.network(state)
    penalty = None
    if state is not None:
        penalty = QuadraticPenalty(_options(job).strength / 2, state["importance"], state["network"])
    job.fit(network, penalty=penalty)
    return {"network": weights(network), "importance": state["importance"] if state else {}}


def consolidate(job: Job, state: State) -> State:
    """F_1..t = F_1..t-1 + F_t, with F_t taken by this task's head over its training images."""
    network = job.network(state).eval()
    fisher = fisher_diagonal(network, job.task.train, job.head, _options(job).fisher_batch)
    before = state["importance"]
    total = {name: before[name] + tensor if before else tensor for name, tensor in fisher.items()}
    return {"network": state["network"], "importance": total}


def _options(job: Job) -> EwcOptions:
    assert isinstance(job.experiment.options, EwcOptions)
    return job.experiment.options
