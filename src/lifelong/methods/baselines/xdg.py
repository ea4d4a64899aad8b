"""XdG, context-dependent gating: each task closes a random share of the hidden units, for good (Masse et al. 2018).

The gating of ANPyC's Fig. 8a (dossier 3.4, 5.1), alone: without the synaptic stabilisation its authors add to it.
"""

from __future__ import annotations

from lifelong.config.methods import XdgOptions
from lifelong.learning.job import Job, State, weights
from lifelong.networks.gates import FixedGate, random_gates
from lifelong.randomness import generator


def learn(job: Job, state: State | None) -> State:
    """Minimise the task's cross-entropy behind the task's gates; those of all tasks depend on (seed, task) alone."""
    options = job.experiment.options
    assert isinstance(options, XdgOptions)
    network = job.network(state)
    drawn = [generator(job.seed, "gates", task) for task in range(job.tasks)]
    gates = random_gates(network.hidden_widths(), options.fraction_off, drawn)
    network.gate = FixedGate(gates, job.task.index)
    job.fit(network)
    return {"network": weights(network), "gates": gates}
