"""MAS, memory aware synapses: lambda * sum(Omega * (W - W_old)^2) (Aljundi et al. 2018; dossier 5.1).

Omega sums, over the tasks so far, how strongly the shared parameters move the squared norm of the outputs; no label is
used. The code released with ANPyC writes lambda/2 * sum(...): its lambda = 0.1 (dossier 3.1) is `strength: 0.05` here.
"""

from __future__ import annotations

from lifelong.config.methods import MasOptions
from lifelong.learning.held import learn_held
from lifelong.learning.importance import accumulated, batch_sensitivity, output_sensitivity
from lifelong.learning.job import Job, State


def learn(job: Job, state: State | None) -> State:
    """Minimise cross-entropy + lambda * sum(Omega * (W - W_old)^2); the first task has no penalty."""
    return learn_held(job, state, _options(job).strength)


def consolidate(job: Job, state: State) -> State:
    """Omega_1..t = Omega_1..t-1 + Omega_t, with Omega_t taken by this task's head over its training images."""
    options = _options(job)
    network = job.network(state).eval()
    measure = output_sensitivity if options.sensitivity == "exact" else batch_sensitivity
    found = measure(network, job.task.train, job.head, options.sensitivity_batch)
    return {"network": state["network"], "importance": accumulated(state["importance"], found)}


def _options(job: Job) -> MasOptions:
    assert isinstance(job.experiment.options, MasOptions)
    return job.experiment.options
