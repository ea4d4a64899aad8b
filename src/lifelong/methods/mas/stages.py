"""MAS, memory aware synapses: lambda * sum(Omega * (W - W_old)^2) (Aljundi et al. 2018; reading B3).

Omega sums, over the tasks so far, how strongly the shared parameters move the squared norm of the outputs; no label is
used. The code released with ANPyC writes lambda/2 * sum(...): its lambda = 0.1 (reading B3) is `strength: 0.05` here.
"""

from __future__ import annotations

from lifelong.methods.mas import MasOptions
from lifelong.training.importance import accumulate, batch_sensitivity, output_sensitivity
from lifelong.training.job import Job, State
from lifelong.training.quadratic_fit import fit_with_quadratic_penalty


def learn(job: Job, options: MasOptions, state: State | None) -> State:
    """Minimise cross-entropy + lambda * sum(Omega * (W - W_old)^2); the first task has no penalty."""
    return fit_with_quadratic_penalty(job, state, options.strength, options.penalty_step)


def consolidate(job: Job, options: MasOptions, state: State) -> State:
    """Omega_1..t = Omega_1..t-1 + Omega_t, with Omega_t taken by this task's head over its training images."""
    network = job.network(state).eval()
    measure = output_sensitivity if options.sensitivity == "exact" else batch_sensitivity
    result = measure(network, job.task.train, job.head, options.sensitivity_batch)
    return {"network": state["network"], "importance": accumulate(state["importance"], result)}
