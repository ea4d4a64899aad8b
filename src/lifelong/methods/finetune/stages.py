"""Plain SGD on one task after the other: `finetune` with a head a task, `sgd` with one head (reading B12)."""

from __future__ import annotations

from lifelong.params.methods import MethodOptions
from lifelong.training.job import Job, State, weights


def learn(job: Job, options: MethodOptions, state: State | None) -> State:
    """Minimise the task's cross-entropy from where the last task ended."""
    network = job.network(state)
    job.fit(network)
    return {"network": weights(network)}


def learn_behind_frozen_features(job: Job, options: MethodOptions, state: State | None) -> State:
    """The first task trains everything, every later one its head only.

    Behind frozen features no earlier answer can change while heads are separate, so BWT is 0: the printed -13.20 on
    split MNIST is not what this method can give (reading N12).
    """
    network = job.network(state)
    job.fit(network, trainable=job.trainable(network, shared=state is None))
    return {"network": weights(network)}
