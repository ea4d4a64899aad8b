"""What Eq. 7 claims to foresee, measured: single weights of a trained network set to 0, one at a time.

The state of `measure` has by layer the weights drawn, their importances [m, n], rows in the order of `importances`, and the
measured effects [k, n], rows `EFFECTS`; a report makes `rank_correlation` of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.methods.anpyc import AnpycOptions, RemovalOptions
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.networks.base import Network, shared_names
from lifelong.runtime.randomness import generator
from lifelong.training.importance import fisher_diagonal, output_sensitivity
from lifelong.training.job import Job, State, weights

EFFECTS = ("entropy", "|entropy|", "loss", "outputs", "validation loss", "validation accuracy")
"""Mean change of the answers' entropy, its magnitude, mean change of the cross-entropy, mean squared change of the logits,
all on training images; rise of the cross-entropy and fall of the accuracy on validation images."""

PASS = 1000  # images a pass of the importances that do not depend on it


def learn(job: Job, options: RemovalOptions, state: State | None) -> State:
    """Minimise cross-entropy."""
    network = job.network(state)
    job.fit(network)
    return {"network": weights(network)}


def measure(job: Job, options: RemovalOptions, state: State) -> State:
    """Importances of some weights of each layer beside what their removal does.

    Weights are drawn among those whose removal can do something: of `absolute` importance above 0.
    """
    network = job.network(state).eval()
    found = importances(job, options, network)
    chosen, values, effects = {}, {}, {}
    for name in (name for name in shared_names(network) if name.endswith("weight")):
        alive = found["absolute, batch, batch-sum"][name].flatten().nonzero().flatten()
        order = torch.randperm(len(alive), generator=generator(job.seed, job.stage, name))
        chosen[name] = alive[order[: options.weights_per_layer]]
        values[name] = torch.stack([importance[name].flatten()[chosen[name]] for importance in found.values()])
        effects[name] = remove_weights(network, job.head, name, chosen[name], job.task.train, job.task.validation, options)
    return {"network": state["network"], "weights": chosen, "importance": values, "effect": effects}


def importances(job: Job, options: RemovalOptions, network: Network) -> dict[str, dict[str, Tensor]]:
    """By label, every reading of Eq. 7 and what it competes with, of all shared parameters."""
    train = job.task.train
    result: dict[str, dict[str, Tensor]] = {}
    readings = product(("plus", "minus", "absolute"), ("batch", "total"), ("batch-sum", "per-sample", "fisher"))
    for sign, clamp, curvature in readings:
        reading = {"first_order": sign, "clamp": clamp, "curvature": curvature, "importance_batch": options.importance_batch}
        one = AnpycOptions.model_validate({"strength": 0.0} | reading)
        result[f"{sign}, {clamp}, {curvature}"] = entropy_importance(network, train, job.head, one)
    fisher = fisher_diagonal(network, train, job.head, PASS)
    result["EWC"] = fisher
    # The loss's own second-order change, of Optimal Brain Damage.
    result["EWC * W^2 / 2"] = {name: f * network.get_parameter(name).detach().square() / 2 for name, f in fisher.items()}
    result["MAS"] = output_sensitivity(network, train, job.head, PASS)
    result["|W|"] = {name: network.get_parameter(name).detach().abs() for name in fisher}
    return result


@torch.no_grad()
def remove_weights(
    network: Network, head: int, name: str, places: Tensor, train: Split, validation: Split, options: RemovalOptions
) -> Tensor:
    """Effects [EFFECTS, n] of setting each of n weights of one tensor to 0, all others as they are."""
    first = train.batch(torch.arange(min(options.images, len(train))))
    held_out = validation.batch(torch.arange(len(validation)))
    before = [_answers(network, head, *first), _answers(network, head, *held_out)]
    weight = network.get_parameter(name).view(-1)
    columns = []
    for place in places.tolist():
        kept = weight[place].clone()
        weight[place] = 0
        after = [_answers(network, head, *first), _answers(network, head, *held_out)]
        weight[place] = kept
        columns.append(torch.stack(list(_effects(before, after))))
    return torch.stack(columns, dim=1)


Answers = tuple[Tensor, Tensor, Tensor, Tensor]
"""Logits [n, c], mean entropy, mean cross-entropy, accuracy."""


def _answers(network: Network, head: int, images: Tensor, targets: Tensor) -> Answers:
    z = network(images, head).double()  # single weights change the seventh digit
    log_q = F.log_softmax(z, dim=1)
    entropy = -(log_q.exp() * log_q).sum(1).mean()
    return z, entropy, F.nll_loss(log_q, targets), (z.argmax(1) == targets).double().mean()


def _effects(before: list[Answers], after: list[Answers]) -> Iterator[Tensor]:
    (z, entropy, loss, _), (new_z, new_entropy, new_loss, _) = before[0], after[0]
    yield new_entropy - entropy
    yield (new_entropy - entropy).abs()
    yield new_loss - loss
    yield (new_z - z).square().mean()
    yield after[1][2] - before[1][2]
    yield before[1][3] - after[1][3]


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's coefficient of every row of a [m, n] with every row of b [k, n], equals sharing their mean rank: [m, k].

    Not a number where a row is constant.
    """
    x, y = (torch.stack([_ranks(row) for row in rows.double()]) for rows in (a, b))
    x, y = (rows - rows.mean(1, keepdim=True) for rows in (x, y))
    return (x @ y.T) / (x.norm(dim=1)[:, None] * y.norm(dim=1))


def _ranks(values: Tensor) -> Tensor:
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    return (count.cumsum(0) - (count.double() - 1) / 2)[place]
