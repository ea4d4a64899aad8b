"""HAT: gates, masks, regulariser and the embeddings' gradients, beside loops and closed forms in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.gates import WIDTHS, gated
from support.resuming import killed_and_resumed
from support.tiny import IMAGES, PIXELS, assert_close, call, earlier, identical, pixels, run_chain, tiny_experiment, tiny_job
from torch import Tensor

from lifelong.methods.hat import stages as hat
from lifelong.runtime.errors import UserError
from lifelong.training import fit
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import State

STRENGTH, S_MAX, BOUND, RATE = 2.0, 5.0, 1.5, 0.8
EPOCHS, BATCH = 2, IMAGES // 3


def hat_job(task: int, dropout: float = 0.0, **options: Any) -> Any:
    usual: dict[str, Any] = {"strength": STRENGTH, "scale_max": S_MAX, "embedding_bound": BOUND}
    budget: dict[str, Any] = {"learning_rate": RATE, "epochs": EPOCHS, "batch_size": BATCH}
    return tiny_job(tiny_experiment("hat", options=usual | options, dropout=dropout, **budget), task)


def before_of(job: Any) -> State:
    """A network away from its start, and gates of all tasks."""
    gates = {layer: torch.rand(3, width, generator=torch.Generator().manual_seed(width)) for layer, width in WIDTHS.items()}
    return {"network": earlier(job)["network"], "gates": gates}


def in_use(before: State, task: int, layer: str, unit: int) -> float:
    return max(before["gates"][layer][k, unit].item() for k in range(task))


def slow(job: Any, before: State, embeddings: list[Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Step by step in float64; e's gradient as (dloss/da) * s_max * sigmoid'(e), which the compensation comes to."""
    task = job.task.index
    now = {name: tensor.double() for name, tensor in before["network"].items()}
    e = {layer: tensor.double() for layer, tensor in zip(WIDTHS, embeddings, strict=True)}
    names = [f"{layer}.{part}" for layer in (*WIDTHS, f"heads.{task}") for part in ("weight", "bias")]
    images, labels = torch.from_numpy(pixels(job.task.train)), job.task.train.targets
    for step in range(3 * EPOCHS):
        s = [1 / S_MAX, (S_MAX + 1 / S_MAX) / 2, S_MAX][step % 3]
        part = slice(step % 3 * BATCH, (step % 3 + 1) * BATCH)
        a = {layer: (1 / (1 + torch.exp(-s * tensor))).requires_grad_() for layer, tensor in e.items()}
        leaves = {name: now[name].clone().requires_grad_() for name in names}
        z = gated(now | leaves, {layer: {task: gate} for layer, gate in a.items()}, images[part], task, task)
        loss = (torch.logsumexp(z, 1) - z[torch.arange(BATCH), labels[part]]).mean()
        free = {layer: [1 - in_use(before, task, layer, i) for i in range(width)] for layer, width in WIDTHS.items()}
        for layer, width in WIDTHS.items():
            for i in range(width):
                loss = loss + STRENGTH * a[layer][i] * free[layer][i] / sum(free["hidden.0"] + free["hidden.1"])
        found = torch.autograd.grad(loss, [*leaves.values(), *a.values()])
        by_weight = dict(zip(names, found, strict=False))
        for i in range(WIDTHS["hidden.0"]):
            by_weight["hidden.0.weight"][i] *= free["hidden.0"][i]
            for k in range(WIDTHS["hidden.1"]):
                by_weight["hidden.1.weight"][k, i] *= max(free["hidden.0"][i], free["hidden.1"][k])
        for layer in WIDTHS:
            by_weight[f"{layer}.bias"] *= torch.tensor(free[layer])
        now |= {name: now[name] - RATE * gradient for name, gradient in by_weight.items()}
        for layer, by_gate in zip(WIDTHS, found[len(names) :], strict=True):
            slope = torch.exp(-e[layer]) / (1 + torch.exp(-e[layer])) ** 2
            e[layer] = torch.clip(e[layer] - RATE * by_gate * S_MAX * slope, -BOUND, BOUND)
    return now, list(e.values())


@pytest.mark.parametrize("task", [1, 2])
def test_learn_follows_the_definitions(monkeypatch: pytest.MonkeyPatch, task: int) -> None:
    """With the images in order, so that the batches are known; the gates left are those at s_max."""
    monkeypatch.setattr(fit.torch, "randperm", torch.arange)
    job = hat_job(task)
    before = before_of(job)
    kept = {name: table.clone() for name, table in before["gates"].items()}
    found = call(hat.learn, job, before)
    network, embeddings = slow(job, before, hat._embeddings(job, task, list(WIDTHS.values())))
    assert_close(found["network"], network)
    rows = {layer: 1 / (1 + torch.exp(-S_MAX * e)) for layer, e in zip(WIDTHS, embeddings, strict=True)}
    assert_close({layer: found["gates"][layer][task] for layer in WIDTHS}, rows)
    assert any((e.abs() == BOUND).any() for e in embeddings)  # the bound has been met
    others = [k for k in range(3) if k != task]
    for layer in WIDTHS:
        assert torch.equal(found["gates"][layer][others], kept[layer][others])
    assert identical(before["gates"], kept)


def test_what_earlier_tasks_attend_to_keeps_their_answers() -> None:
    """With gates of 0 and 1 the logits of earlier tasks behind their own gates do not move at all."""
    job = hat_job(2, dropout=0.5)
    before = before_of(job)
    before["gates"] = {layer: (table > 0.5).float() for layer, table in before["gates"].items()}
    found = call(hat.learn, job, before)
    images = torch.from_numpy(pixels(job.task.train)).float()
    assert not identical(found["network"], before["network"])
    for task in (0, 1):
        answers = [gated(state["network"], before["gates"], images, task, task) for state in (before, found)]
        assert torch.equal(answers[0], answers[1])


def test_the_first_task_is_free_and_later_rows_wait() -> None:
    states = run_chain(hat_job(0, dropout=0.5).experiment)
    job = hat_job(0)
    used = [torch.zeros(width) for width in WIDTHS.values()]
    assert all((share == 1).all() for share in hat.free_share(job.network(None), used).values())
    for layer, number in zip(WIDTHS, (0, 1), strict=True):
        tables = [states[task, "learn"]["gates"][layer] for task in range(3)]
        assert torch.equal(tables[0][0], tables[2][0])
        waiting = torch.sigmoid(S_MAX * hat._embeddings(job, 2, list(WIDTHS.values()))[number])
        assert torch.equal(tables[0][2], waiting)
        assert torch.equal(tables[1][2], waiting)
        assert not torch.equal(tables[2][2], waiting)


def test_validation_is_behind_the_hardest_gates() -> None:
    attention = hat.Attention([torch.tensor([0.1, -0.2])], S_MAX)
    hat.Annealing(attention, BOUND).before_step(0, 3)
    torch.testing.assert_close(attention.train()(0), torch.sigmoid(torch.tensor([0.1, -0.2]) / S_MAX))
    torch.testing.assert_close(attention.eval()(0), torch.sigmoid(torch.tensor([0.1, -0.2]) * S_MAX))


def test_compensation_is_finite_where_gates_are_hard() -> None:
    attention = hat.Attention([torch.linspace(-6, 6, PIXELS)], 400.0)
    gradient = torch.full((PIXELS,), 1e-20)
    named = {"gate.embeddings.0": attention.embeddings[0].detach()}
    hat.Annealing(attention, 6.0).on_gradients(named, {"gate.embeddings.0": gradient})
    assert torch.isfinite(gradient).all()


def test_one_batch_an_epoch_is_refused() -> None:
    job = tiny_job(tiny_experiment("hat", batch_size=IMAGES), 0)
    with pytest.raises(UserError, match=r"24 training images are one batch.*make it smaller"):
        call(hat.learn, job, None)


def test_resume_is_bit_for_bit(tmp_path: Path) -> None:
    def job() -> Any:
        return hat_job(1, dropout=0.5)

    before = before_of(job())
    found = killed_and_resumed(hat.learn, job, before, Checkpoints(tmp_path / "here", seconds=0), 1)
    expected = call(hat.learn, job(), before)
    assert identical(found["network"], expected["network"])
    assert identical(found["gates"], expected["gates"])
