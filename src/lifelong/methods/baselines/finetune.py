"""Plain SGD on one task after the other: `finetune` with a head a task, `sgd` with one head (dossier 5.1)."""

from __future__ import annotations

from lifelong.learning.job import Job, State, weights


def learn(job: Job, state: State | None) -> State:
    """Minimise the task's cross-entropy from where the last task ended."""
    network = job.network(state)
    job.fit(network)
    return {"network": weights(network)}
