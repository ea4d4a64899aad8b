"""Fusion: its ends, its loss against a restatement, its gradients by finite differences, and what learning A gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.nets import conv_net, mlp
from torch import Tensor

from lifelong.methods.split2meta import MetaFusion
from lifelong.methods.split2meta.fusion import (
    Dreamt,
    Shares,
    dream_loss,
    estimate_norm_statistics,
    fold_norms,
    fuse_weights,
    learn_fusion,
    slow_share,
)
from lifelong.networks.base import Network
from lifelong.training.job import weights

PER = ["channel", "layer", "element"]
SHAPES = {"conv": (1, 4, 4), "mlp": (1, 2, 3)}
HEAD = 1


def network_of(which: str) -> Network:
    return conv_net() if which == "conv" else mlp()


def moved(named: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """All but the head of the other task changed."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor * (0.5 + torch.rand(tensor.shape, generator=generator))
        if tensor.is_floating_point() and not name.startswith("heads.0")
        else tensor
        for name, tensor in named.items()
    }


def pair(which: str) -> tuple[Network, dict[str, Tensor], dict[str, Tensor]]:
    network = network_of(which)
    start = weights(network)
    return network, moved(start, 1), moved(start, 2)


def bank(which: str, count: int = 6) -> list[Dreamt]:
    """Dreams of two tasks, with the logits of some other network."""
    generator = torch.Generator().manual_seed(9)
    images = [torch.rand(count + i, *SHAPES[which], generator=generator) for i in range(2)]
    return [Dreamt(i, x, 2 * torch.randn(len(x), 2, generator=generator)) for i, x in enumerate(images)]


def options(**changes: Any) -> MetaFusion:
    return MetaFusion.model_validate({"kind": "meta", "steps": 30, **changes})


def constant(network: Network, per: str, value: float) -> dict[str, Tensor]:
    return {name: torch.full_like(share, value) for name, share in Shares(network, HEAD, per, 0.5)().items()}


@pytest.mark.parametrize("which", list(SHAPES))
@pytest.mark.parametrize("per", PER)
def test_ends_and_equals_are_exact(which: str, per: str) -> None:
    """A = 1 is the slow model and A = 0 the fast one, bit for bit; equal models fuse to themselves whatever A."""
    network, slow, fast = pair(which)
    for share, expected in ((1.0, slow), (0.0, fast)):
        found, linear = fuse_weights(slow, fast, constant(network, per, share)), fuse_weights(slow, fast, share)
        for name in slow:
            assert torch.equal(found[name], expected[name]), name
            assert torch.equal(linear[name], expected[name]), name
    same = fuse_weights(slow, slow, {name: torch.rand_like(share) for name, share in constant(network, per, 0).items()})
    assert all(torch.equal(same[name], slow[name]) for name in slow)


@given(share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_both_forms_of_the_paper_are_one(share: float, seed: int) -> None:
    """W_old + A (W_slow - W_old) + (1 - A) (W_fast - W_old), as Eq. 10 has it (reading M9)."""
    generator = torch.Generator().manual_seed(seed)
    old, slow, fast = (torch.randn(5, generator=generator) for _ in range(3))
    expected = old + share * (slow - old) + (1 - share) * (fast - old)
    torch.testing.assert_close(fuse_weights({"w": slow}, {"w": fast}, share)["w"], expected, rtol=1e-4, atol=1e-5)


def test_slow_share_is_connectors() -> None:
    assert [slow_share(task) for task in range(4)] == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])


def test_a_channel_weighs_all_that_makes_its_output() -> None:
    """Convolution, scale, shift and running statistics of output channel 1 from the slow model, all else from the fast."""
    network, slow, fast = pair("conv")
    shares = Shares(network, HEAD, "channel", 0.5)
    assert {name.rpartition(".")[0] for name in shares()} == {"convs.0", "norms.0", "convs.1", "norms.1", "heads.1"}
    assert sorted(shares.logits) == ["convs/0", "convs/1", "heads/1"]  # a normalisation has its convolution's
    with torch.no_grad():
        for logit in shares.logits.values():
            logit.fill_(-1e9)
        shares.logits["convs/1"][1] = 1e9
        found = fuse_weights(slow, fast, shares())
    for part in ("convs.1.weight", "norms.1.weight", "norms.1.bias", "norms.1.running_mean", "norms.1.running_var"):
        assert torch.equal(found[part][1], slow[part][1])
        assert torch.equal(found[part][0], fast[part][0])
        assert torch.equal(found[part][2:], fast[part][2:])
    assert torch.equal(found["convs.0.weight"], fast["convs.0.weight"])
    assert torch.equal(found["heads.0.weight"], slow["heads.0.weight"])


@pytest.mark.parametrize(("per", "count"), [("channel", 3 + 4 + 2), ("layer", 3), ("element", None)])
def test_number_of_weights(per: str, count: int | None) -> None:
    """Per element as many as fused parameters; running statistics go with the scale's."""
    network = conv_net()
    names = [name for name, _ in network.named_parameters() if not name.startswith("heads.0")]
    expected = count or sum(network.get_parameter(name).numel() for name in names)
    assert sum(p.numel() for p in Shares(network, HEAD, per, 0.7).parameters()) == expected
    for share in Shares(network, HEAD, per, 0.7)().values():
        torch.testing.assert_close(share, torch.full_like(share, 0.7))


def slow_loss(network: Network, named: dict[str, Tensor], dreams: list[Dreamt]) -> float:
    """sum over tasks of the mean over dreams of sum p log(p / q), in float64 by numpy."""
    network.load_state_dict(named)
    total = 0.0
    for one in dreams:
        q, p = (np.exp(z.detach().double().numpy()) for z in (network(one.images, one.head), one.logits))
        q, p = q / q.sum(1, keepdims=True), p / p.sum(1, keepdims=True)
        total += (p * np.log(p / q)).sum(1).mean()
    return float(total)


@pytest.mark.parametrize("which", list(SHAPES))
def test_loss_is_the_kullback_leibler_divergence_from_the_dreams_answers(which: str) -> None:
    network, slow, _ = pair(which)
    found = dream_loss(network, slow, bank(which)).item()
    assert found == pytest.approx(slow_loss(network, slow, bank(which)), rel=1e-4)


@pytest.mark.parametrize("per", PER)
def test_gradients_by_finite_differences(per: str) -> None:
    """Of every weight of A, those that act through running statistics alone included."""
    network, slow, fast = pair("conv")
    network.double()
    slow, fast = ({n: t.double() if t.is_floating_point() else t for n, t in w.items()} for w in (slow, fast))
    dreams = [Dreamt(one.head, one.images.double(), one.logits.double()) for one in bank("conv")]
    shares = Shares(network, HEAD, per, 0.4).double()
    gradients = torch.autograd.grad(
        dream_loss(network, fuse_weights(slow, fast, shares()), dreams), list(shares.parameters())
    )
    for logit, gradient in zip(shares.parameters(), gradients, strict=True):
        flat, step = logit.data.view(-1), 1e-5
        for i in range(min(3, len(flat))):
            values = []
            for sign in (1, -1):
                flat[i] += sign * step
                values.append(dream_loss(network, fuse_weights(slow, fast, shares()), dreams).item())
                flat[i] -= sign * step
            assert gradient.reshape(-1)[i].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-8)


def test_folded_normalisation_is_the_same_function() -> None:
    network, slow, _ = pair("conv")
    images = torch.rand(5, 1, 4, 4)
    network.load_state_dict(slow)
    expected = network(images, 0)
    network.load_state_dict(fold_norms(network, slow))
    torch.testing.assert_close(network(images, 0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", list(SHAPES))
@pytest.mark.parametrize(
    "changes", [{"per": per} for per in PER] + [{"batch": 2}, {"learning_rate": 50.0}, {"start": "half"}]
)
def test_never_above_linear_fusion(which: str, changes: dict[str, Any]) -> None:
    network, slow, fast = pair(which)
    found, shares, losses = learn_fusion(
        network, slow, fast, bank(which), 2, options(**changes), torch.Generator().manual_seed(0)
    )
    assert losses["linear"] == pytest.approx(
        dream_loss(network, fuse_weights(slow, fast, 2 / 3), bank(which)).item(), rel=1e-5
    )
    assert losses["meta"] <= losses["linear"]
    assert losses["meta"] == pytest.approx(dream_loss(network, found, bank(which)).item(), rel=1e-6)
    assert all((share >= 0).all() and (share <= 1).all() for share in shares.values())
    if "learning_rate" not in changes and "batch" not in changes:
        assert losses["meta"] < 0.99 * losses["linear"]


def test_statistics_estimated_on_dreams() -> None:
    network, slow, _ = pair("conv")
    network.load_state_dict(slow)
    images = torch.rand(50, 1, 4, 4)
    estimate_norm_statistics(network, images)
    entering = network.convs[0](images).detach()  # type: ignore[operator,index]
    torch.testing.assert_close(network.get_buffer("norms.0.running_mean"), entering.mean((0, 2, 3)))
    torch.testing.assert_close(network.get_buffer("norms.0.running_var"), entering.var((0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert not network.training
    assert network.get_submodule("norms.0").momentum == 0.1
