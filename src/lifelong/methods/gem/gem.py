"""GEM, gradient episodic memory: no step may raise the loss on an earlier task's exemplars (Lopez-Paz and Ranzato 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.methods.gem import GemOptions
from lifelong.runtime.device import to_device
from lifelong.runtime.errors import Diverged
from lifelong.training.exemplars import split_of_task
from lifelong.training.fit import Objective, StepHook
from lifelong.training.flat import flatten_gradients, write_gradients
from lifelong.training.job import Job, State, weights
from lifelong.training.rehearsal import all_parameter_names, rehearsal_objective

RIDGE = 1e-3
"""Added to the diagonal of G G^T, as released (reading B6)."""


def learn(job: Job, options: GemOptions, state: State | None) -> State:
    """Minimise the task's cross-entropy along projected gradients; O(n) gradients for n earlier tasks."""
    network = job.network(state)
    memory = state["memory"] if state else {}
    tasks = [split_of_task(memory, task, job.classes, job.task.train) for task in range(job.task.index)] if memory else []
    over_tasks, offset = rehearsal_objective(job, network), job.classes.offset(job.task.index)
    job.fit(
        network,
        objective=lambda images, targets: over_tasks(images, targets + offset),
        trainable=all_parameter_names(network),
        hook=Projection(over_tasks, tasks, options.margin),
    )
    return {"network": weights(network), "memory": memory}


class Projection(StepHook):
    """Replaces the gradient by the nearest one that agrees with those of all earlier tasks."""

    def __init__(self, objective: Objective, tasks: Sequence[Split], margin: float) -> None:
        self.objective = objective
        self.batches = [task.batch(torch.arange(len(task))) for task in tasks]
        self.margin = margin

    def on_gradients(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        if not self.batches:
            return
        with torch.enable_grad():
            earlier = [
                flatten_gradients(torch.autograd.grad(self.objective(*batch), list(parameters.values())))
                for batch in self.batches
            ]
        own = flatten_gradients(list(gradients.values()))
        write_gradients(gradients, project_gradient(own, torch.stack(earlier), self.margin))


def project_gradient(gradient: Tensor, earlier: Tensor, margin: float) -> Tensor:
    """g + G^T v of the gradient g [P] and G [n, P]; g itself when no product G g is negative.

    v = argmin over v >= margin of v^T (G G^T + 1e-3 I) v / 2 + (G g)^T v: the dual of the nearest gradient (its Eq. 11); the
    margin is the released code's lower bound on v. With v = margin + u it is a least-squares problem over u >= 0, of the
    matrix's root by eigenvectors: tasks of equal gradients leave it singular once 1e-3 is below its rounding.

    Raises:
        Diverged: a gradient is not finite.
    """
    import numpy as np
    from scipy.optimize import nnls

    g, rows = gradient.double(), earlier.double()
    products = (rows @ g).cpu().numpy()
    if (products >= 0).all():
        return gradient
    gram = (rows @ rows.T).cpu().numpy() + RIDGE * np.eye(len(rows))
    if not (np.isfinite(gram).all() and np.isfinite(products).all()):
        raise Diverged("gem: a gradient is not finite; training diverged: lower the learning rate")
    values, vectors = np.linalg.eigh(gram)
    roots = np.sqrt(np.maximum(values, len(gram) * np.finfo(float).eps * values[-1]))
    linear = products + gram @ np.full(len(gram), margin)
    u, _ = nnls(roots[:, None] * vectors.T, -(vectors.T @ linear) / roots)
    return (g + rows.T @ to_device(u + margin)).to(gradient.dtype)
