"""XdG, context-dependent gating: each task closes a random share of the hidden units, for good (Masse et al. 2018).

The gating of ANPyC's Fig. 8a (reading B11), alone: without the synaptic stabilisation its authors add to it.
"""

from __future__ import annotations

from lifelong.methods.xdg import XdgOptions
from lifelong.networks.gates import FixedGate, draw_gates
from lifelong.runtime.randomness import generator
from lifelong.training.job import Job, State, weights


def learn(job: Job, options: XdgOptions, state: State | None) -> State:
    """Minimise the task's cross-entropy behind the task's gates; those of all tasks depend on (seed, task) alone."""
    network = job.network(state)
    drawn = [generator(job.seed, "gates", task) for task in range(job.tasks)]
    gates = draw_gates(network.hidden_widths(), options.fraction_off, drawn)
    network.gate = FixedGate(gates, job.task.index)
    job.fit(network)
    return {"network": weights(network), "gates": gates}
