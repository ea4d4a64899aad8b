"""ER, experience replay: every mini-batch is joined by as many images drawn from the memory (Chaudhry et al. 2019)."""

from __future__ import annotations

from lifelong.data.tensors import Split
from lifelong.learning.job import Job, State, weights
from lifelong.learning.rehearsal import all_names, rehearsal_objective, remember, replaying

__all__ = ["learn", "remember"]


def learn(job: Job, state: State | None) -> State:
    """Minimise the mean cross-entropy of the task's images and of those replayed."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    loss, offset = rehearsal_objective(job, network), job.task.index * job.classes_per_task
    objective = replaying(loss, Split(memory["images"], memory["labels"]) if memory else None, offset)
    job.fit(network, objective=objective, trainable=all_names(network))
    return {"network": weights(network), "memory": memory}
