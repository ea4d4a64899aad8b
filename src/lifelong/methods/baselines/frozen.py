"""SGD-F: the features of the first task are frozen, later tasks learn their head alone (dossier N12)."""

from __future__ import annotations

from lifelong.learning.job import Job, State, weights


def learn(job: Job, state: State | None) -> State:
    """The first task trains everything, every later one its head only.

    Behind frozen features no earlier answer can change while heads are separate, so BWT is 0: the printed -13.20 on
    split MNIST is not what this method can give (dossier N12).
    """
    network = job.network(state)
    job.fit(network, trainable=job.trainable(network, shared=state is None))
    return {"network": weights(network)}
