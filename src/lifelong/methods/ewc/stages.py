"""EWC, elastic weight consolidation: lambda/2 * sum(F * (W - W_old)^2) (reading B1).

F sums the Fisher diagonals of the tasks so far over the shared parameters; W_old are the weights after the last task, as
in the released ANPyC baseline (lambda = 15 there). `fisher` chooses the exact diagonal or the released estimate.
"""

from __future__ import annotations

from lifelong.methods.ewc import EwcOnlineOptions, EwcOptions
from lifelong.runtime.randomness import generator
from lifelong.training.importance import accumulate, first_sample_fisher, fisher_diagonal
from lifelong.training.job import Job, State
from lifelong.training.quadratic_fit import fit_with_quadratic_penalty


def learn(job: Job, options: EwcOptions | EwcOnlineOptions, state: State | None) -> State:
    """Minimise cross-entropy + lambda/2 * sum(F * (W - W_old)^2); the first task has no penalty."""
    return fit_with_quadratic_penalty(job, state, options.strength / 2, options.penalty_step)


def consolidate(job: Job, options: EwcOptions, state: State) -> State:
    """F_1..t = F_1..t-1 + F_t, with F_t taken by this task's head over its training images."""
    network = job.network(state).eval()
    if options.sample_batch is None:
        result = fisher_diagonal(network, job.task.train, job.head, options.fisher_batch)
    else:
        drawn = generator(job.seed, job.task.index, job.stage, "labels")
        result = first_sample_fisher(network, job.task.train, job.head, options.sample_batch, drawn)
    return {"network": state["network"], "importance": accumulate(state["importance"], result)}


def consolidate_online(job: Job, options: EwcOnlineOptions, state: State) -> State:
    """F <- gamma * F + F_t, with F_t the exact diagonal by this task's head over its training images."""
    network = job.network(state).eval()
    result = fisher_diagonal(network, job.task.train, job.head, options.fisher_batch)
    return {"network": state["network"], "importance": accumulate(state["importance"], result, options.gamma)}
