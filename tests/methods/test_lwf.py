"""LwF: distillation beside a loop over images and old heads in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny import (
    IMAGES,
    PER_TASK,
    assert_close,
    call,
    cross_entropy,
    descend,
    earlier,
    forward,
    identical,
    pixels,
    random_like,
    shared_of,
    tiny_experiment,
    tiny_job,
)
from torch import Tensor

from lifelong.methods.finetune import stages as finetune
from lifelong.methods.lwf import stages as lwf
from lifelong.training.job import weights

STRENGTH, TEMPERATURE = 1.5, 3.0


def lwf_job(heads: str, task: int, dropout: float = 0.0) -> Any:
    options = {"strength": STRENGTH, "temperature": TEMPERATURE}
    budget: dict[str, Any] = {"epochs": 4, "learning_rate": 0.5, "batch_size": IMAGES}
    return tiny_job(tiny_experiment("lwf", options=options, heads=heads, dropout=dropout, **budget), task)


def old_answers(named: dict[str, Tensor], image: Tensor, heads: str, task: int) -> list[Tensor]:
    if heads == "per-task":
        return [forward(named, image, head) for head in range(task)]
    z = forward(named, image, 0)
    return [z if heads == "shared" else z[: task * PER_TASK]]


def distillation(job: Any, named: dict[str, Tensor], old: dict[str, Tensor]) -> Tensor:
    """lambda T^2 / n * sum over images, old answers and classes of -p log q, both softened."""
    total = torch.zeros((), dtype=torch.float64)
    for image in torch.from_numpy(pixels(job.task.train)):
        heads, task = job.experiment.heads, job.task.index
        for o, z in zip(old_answers(old, image, heads, task), old_answers(named, image, heads, task), strict=True):
            p, q = torch.exp(o / TEMPERATURE), torch.exp(z / TEMPERATURE)
            for c in range(len(o)):
                total = total - p[c] / p.sum() * torch.log(q[c] / q.sum())
    return STRENGTH * TEMPERATURE**2 * total / IMAGES


@pytest.mark.parametrize("task", [1, 2])
@pytest.mark.parametrize("heads", ["per-task", "shared", "all-classes"])
def test_learn_descends_its_loss(heads: str, task: int) -> None:
    job = lwf_job(heads, task)
    before = earlier(job)
    old = {name: 3 * tensor.double() for name, tensor in before["network"].items()}
    before["network"] = {name: tensor.float() for name, tensor in old.items()}
    head, offset = (task, 0) if heads == "per-task" else (0, task * PER_TASK if heads == "all-classes" else 0)
    learning = [f"heads.{k}.{part}" for k in range(head + 1) for part in ("weight", "bias")]
    names = [*shared_of(old), *learning]

    def loss(named: dict[str, Tensor]) -> Tensor:
        return cross_entropy(named, job.task.train, head, offset) + distillation(job, named, old)

    found = call(lwf.learn, job, before)["network"]
    assert_close(found, descend(before["network"], names, loss, [0.5] * 4), 1e-4)
    changed = {name for name, tensor in found.items() if not torch.equal(tensor, before["network"][name])}
    # At the very start the old heads' distillation has no gradient, later it has.
    assert changed == set(names)


@pytest.mark.parametrize("heads", ["per-task", "shared", "all-classes"])
def test_objective_away_from_the_old_network(heads: str) -> None:
    job = lwf_job(heads, 2, dropout=0.5)
    old, network = job.network(earlier(job)).eval(), job.network(None).eval()
    noise = random_like(weights(network), 7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(2 * noise[name])
    offset = 2 * PER_TASK if heads == "all-classes" else 0
    now, then = ({n: t.double() for n, t in weights(each).items()} for each in (network, old))
    expected = cross_entropy(now, job.task.train, job.head, offset) + distillation(job, now, then)
    found = lwf.distilling_objective(job, job.experiment.options, network, old)(*job.task.train.batch(torch.arange(IMAGES)))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_first_task_is_fine_tuning() -> None:
    job = lwf_job("per-task", 0, dropout=0.5)
    assert identical(call(lwf.learn, job, None)["network"], call(finetune.learn, job, None)["network"])


def test_the_old_network_is_as_the_last_task_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the end of training, and without dropout."""
    seen: list[Any] = []
    whole = lwf.distilling_objective

    def watched(job: Any, options: Any, network: Any, old: Any) -> Any:
        seen.append(old)
        return whole(job, options, network, old)

    monkeypatch.setattr(lwf, "distilling_objective", watched)
    job = lwf_job("per-task", 1, dropout=0.5)
    before = earlier(job)
    found = call(lwf.learn, job, before)
    assert not seen[0].training
    assert identical(seen[0].state_dict(), before["network"])
    assert not identical(found["network"], before["network"])
