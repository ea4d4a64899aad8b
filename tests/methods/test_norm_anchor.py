"""EWC on batch normalisation: the Fisher estimate against a loop, and many anchors as one quadratic."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from support.nets import conv_net, mlp, split_for
from torch import Tensor
from torch.nn import functional as F

from lifelong.methods.split2meta.normalisation import add_anchor, norm_fisher, norm_names


def test_fisher_is_the_squared_gradient_of_each_batch_with_its_own_answers() -> None:
    network, split = conv_net(), split_for((1, 4, 4))
    found = norm_fisher(network, split, 1, 5)
    assert sorted(found) == sorted(f"norms.{i}.{part}" for i in range(2) for part in ("weight", "bias"))
    expected = {name: torch.zeros_like(tensor) for name, tensor in found.items()}
    for batch in (range(5), range(5, 10), range(10, 13)):
        logits = network(split.batch(torch.tensor(list(batch)))[0], 1)
        loss = torch.stack([-F.log_softmax(z, 0)[z.argmax()] for z in logits]).mean()
        for name in expected:
            (gradient,) = torch.autograd.grad(loss, network.get_parameter(name), retain_graph=True)
            expected[name] += gradient**2 / 3
    for name in found:
        torch.testing.assert_close(found[name], expected[name])


def test_networks_without_normalisation_have_none() -> None:
    assert norm_names(mlp()) == []
    assert norm_fisher(mlp(), split_for((1, 2, 3)), 0, 5) == {}


@given(seed=st.integers(0, 10**6), tasks=st.integers(1, 4))
def test_one_quadratic_pulls_as_all_of_them(seed: int, tasks: int) -> None:
    """The gradient of F (w - a)^2 is that of sum_t F_t (w - w_t)^2, wherever w is; an F of 0 does no harm."""
    generator = torch.Generator().manual_seed(seed)
    fishers = [torch.rand(4, generator=generator).mul(torch.tensor([1.0, 100.0, 1e-3, 0.0])) for _ in range(tasks)]
    places = [torch.randn(4, generator=generator) for _ in range(tasks)]
    importance: dict[str, Tensor] = {}
    anchor: dict[str, Tensor] = {}
    for fisher, place in zip(fishers, places, strict=True):
        importance, anchor = add_anchor(importance, anchor, {"w": fisher}, {"w": place, "other": place})
    w = torch.randn(4, generator=generator)
    found = importance["w"] * (w - anchor["w"])
    expected = torch.stack([f * (w - p) for f, p in zip(fishers, places, strict=True)]).sum(0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert anchor["w"].isfinite().all()
