"""EWC, elastic weight consolidation: lambda/2 * sum(F * (W - W_old)^2) (dossier 5.1).

F sums the Fisher diagonals of the tasks so far over the shared parameters; W_old are the weights after the last task, as
in the released ANPyC baseline (lambda = 15 there). `fisher` chooses the exact diagonal or the released estimate.
"""

from __future__ import annotations

from lifelong.config.methods import EwcOptions
from lifelong.learning.held import learn_held
from lifelong.learning.importance import accumulated, first_sample_fisher, fisher_diagonal
from lifelong.learning.job import Job, State
from lifelong.randomness import generator


def learn(job: Job, state: State | None) -> State:
    """Minimise cross-entropy + lambda/2 * sum(F * (W - W_old)^2); the first task has no penalty."""
    return learn_held(job, state, _options(job).strength / 2)


def consolidate(job: Job, state: State) -> State:
    """F_1..t = F_1..t-1 + F_t, with F_t taken by this task's head over its training images."""
    options = _options(job)
    network = job.network(state).eval()
    if options.sample_batch is None:
        found = fisher_diagonal(network, job.task.train, job.head, options.fisher_batch)
    else:
        drawn = generator(job.seed, job.task.index, job.stage, "labels")
        found = first_sample_fisher(network, job.task.train, job.head, options.sample_batch, drawn)
    return {"network": state["network"], "importance": accumulated(state["importance"], found)}


def _options(job: Job) -> EwcOptions:
    assert isinstance(job.experiment.options, EwcOptions)
    return job.experiment.options
