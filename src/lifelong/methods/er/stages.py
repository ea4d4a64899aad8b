"""ER, experience replay: every mini-batch is joined by as many images drawn from the memory (Chaudhry et al. 2019)."""

from __future__ import annotations

from dataclasses import replace

from lifelong.params.methods import RehearsalOptions
from lifelong.training.job import Job, State, weights
from lifelong.training.rehearsal import all_parameter_names, rehearsal_objective, replay_objective


def learn(job: Job, options: RehearsalOptions, state: State | None) -> State:
    """Minimise the mean cross-entropy of the task's images and of those replayed."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    loss, offset = rehearsal_objective(job, network), job.classes.offset(job.task.index)
    objective = replay_objective(
        loss, replace(job.task.train, images=memory["images"], targets=memory["labels"]) if memory else None, offset
    )
    job.fit(network, objective=objective, trainable=all_parameter_names(network))
    return {"network": weights(network), "memory": memory}
