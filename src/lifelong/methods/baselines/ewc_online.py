"""Online EWC: one running Fisher diagonal that forgets, lambda/2 * sum(F * (W - W_old)^2).

Schwarz et al. 2018, *Progress & Compress*, section 4 (dossier 5.1, column SKILL): F <- gamma * F + F_t. With gamma = 1 it
is `ewc` here, whose anchor is a single one too.
"""

from __future__ import annotations

from lifelong.config.methods import EwcOnlineOptions
from lifelong.learning.held import learn_held
from lifelong.learning.importance import accumulated, fisher_diagonal
from lifelong.learning.job import Job, State


def learn(job: Job, state: State | None) -> State:
    """Minimise cross-entropy + lambda/2 * sum(F * (W - W_old)^2); the first task has no penalty."""
    return learn_held(job, state, _options(job).strength / 2)


def consolidate(job: Job, state: State) -> State:
    """F <- gamma * F + F_t, with F_t the exact diagonal by this task's head over its training images."""
    options = _options(job)
    network = job.network(state).eval()
    found = fisher_diagonal(network, job.task.train, job.head, options.fisher_batch)
    return {"network": state["network"], "importance": accumulated(state["importance"], found, options.gamma)}


def _options(job: Job) -> EwcOnlineOptions:
    assert isinstance(job.experiment.options, EwcOnlineOptions)
    return job.experiment.options
