"""NSP and TPNSP: `slow` learns a task by projected updates, `project` finds what it uses (readings M1-M8, M26).

The first task is learnt without projection. State: `norm_importance` and `norm_anchor` hold batch normalisation's scale
and shift; `moments` (summed over the tasks) and `subspaces` are left by `project` alone, which adds to the last task's.
"""

from __future__ import annotations

import sys

from lifelong.methods.split2meta import NspSpace, SlowOptions
from lifelong.methods.split2meta.moments import Moments, feature_moments, preference_moments
from lifelong.methods.split2meta.normalisation import add_anchor, norm_fisher, norm_names
from lifelong.methods.split2meta.null_space import Subspace, find_subspace, from_tensors, to_tensors
from lifelong.methods.split2meta.projection import ProjectedUpdates
from lifelong.networks.base import Network, shared_names
from lifelong.runtime.randomness import generator
from lifelong.training.job import Job, State, weights
from lifelong.training.penalties import QuadraticPenalty


def slow(job: Job, options: SlowOptions, state: State | None) -> State:
    """Minimise cross-entropy with every update projected on what earlier tasks do not use (paper Eq. 6)."""
    network = job.network(state)
    subspaces = from_tensors(state["subspaces"]) if state else {}
    job.fit(network, penalty=norm_penalty(options, state), hook=update_rule(job, options, network, subspaces))
    return {"network": weights(network), **keep_groups(state)}


def project(job: Job, options: SlowOptions, state: State) -> State:
    """Add the task's second moments to those of the earlier tasks and find the directions that none of them uses.

    Also adds the task to the anchor of batch normalisation's scale and shift.
    """
    space = options.null_space
    network = job.network(state).eval()
    images, batch = job.task.train, space.moment_batch
    if isinstance(space, NspSpace):
        result = feature_moments(network, images, batch, space)
    else:
        drawn = generator(job.seed, job.task.index, "labels")
        result = preference_moments(network, images, job.head, batch, space, drawn)
    earlier = job.earlier or {"moments": {}, "subspaces": {}}
    moments: Moments = {name: earlier["moments"].get(name, 0) + moment for name, moment in result.items()}
    before = from_tensors(earlier["subspaces"]) if space.across_tasks == "nested" else {}
    subspaces = {n: find_subspace(m, space.keep, space.threshold, before.get(n)) for n, m in moments.items()}
    for name, kept in subspaces.items():
        print(f"{job.label}: {name} keeps {kept.dimensions} of {len(kept.basis)} directions", file=sys.stderr)
    importance, anchor = add_anchor(
        state["norm_importance"],
        state["norm_anchor"],
        norm_fisher(network, images, job.head, batch),
        state["network"],
    )
    groups = keep_groups(state) | {"norm_importance": importance, "norm_anchor": anchor}
    return {"network": state["network"], **groups, "moments": moments, "subspaces": to_tensors(subspaces)}


def keep_groups(state: State | None) -> State:
    """What stages hand on beside the network: the hold on batch normalisation, and dreams."""
    return {group: state[group] if state else {} for group in ("norm_importance", "norm_anchor", "dreams")}


def norm_penalty(options: SlowOptions, state: State | None) -> QuadraticPenalty | None:
    """EWC on batch normalisation's scale and shift; none before the second task or without such layers."""
    if state is None or not state["norm_importance"]:
        return None
    return QuadraticPenalty(options.norm_strength, state["norm_importance"], state["norm_anchor"])


def update_rule(job: Job, options: SlowOptions, network: Network, subspaces: dict[str, Subspace]) -> ProjectedUpdates:
    """The learning rates of the kinds of parameters, and the projection where there are subspaces."""
    norms = set(norm_names(network))
    rates: dict[str, float] = {}
    for name in job.trainable(network):
        if name in norms:
            rates[name] = options.norm_rate
        elif name in shared_names(network):
            rates[name] = options.later_rate if job.task.index else 1.0
        else:
            rates[name] = options.head_rate
    return ProjectedUpdates(subspaces, rates, options.null_space.step == "normalised")
