"""strength * sum of importance * (W - anchor)^2, and its gradient (reading N1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lifelong.training.penalties import QuadraticPenalty

SHAPES = {"hidden.0.weight": (3, 2), "hidden.0.bias": (3,), "hidden.1.weight": (1, 3)}


@dataclass
class Case:
    strength: float
    importance: dict[str, np.ndarray]
    anchor: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]

    @property
    def penalty(self) -> QuadraticPenalty:
        return QuadraticPenalty(self.strength, tensors(self.importance), tensors(self.anchor))

    def value(self) -> float:
        """The sum, term by term."""
        total = 0.0
        for name in SHAPES:
            for place in np.ndindex(SHAPES[name]):
                distance = self.weights[name][place] - self.anchor[name][place]
                total += self.strength * self.importance[name][place] * distance**2
        return total


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    importance, anchor, weights = ({name: random.normal(size=s) for name, s in SHAPES.items()} for _ in range(3))
    return Case(
        draw(st.floats(0, 100, allow_subnormal=False)),
        {name: abs(array) for name, array in importance.items()},
        anchor,
        weights,
    )


@given(cases())
def test_value_is_the_sum(case: Case) -> None:
    np.testing.assert_allclose(case.penalty.value(tensors(case.weights)), case.value(), rtol=1e-9, atol=1e-300)


@settings(max_examples=15)
@given(cases(), st.permutations([*SHAPES, "heads.0.weight", "heads.1.bias"]))
def test_gradient_is_that_of_the_value(case: Case, names: list[str]) -> None:
    """Beside autograd and finite differences; only the named parameters' gradients change, and no parameter does."""
    weights = tensors(case.weights)
    parameters = [weights.get(name, torch.ones(2, dtype=torch.float64)) for name in names]
    before = [torch.full_like(parameter, 7) for parameter in parameters]
    after = [gradient.clone() for gradient in before]
    case.penalty.add_gradient_(names, parameters, after)

    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    expected = dict(zip(leaves, torch.autograd.grad(case.penalty.value(leaves), list(leaves.values())), strict=True))
    for name, old, new in zip(names, before, after, strict=True):
        torch.testing.assert_close(new - old, expected.get(name, torch.zeros_like(old)), rtol=1e-9, atol=1e-9)
    for name, array in case.weights.items():
        np.testing.assert_array_equal(weights[name], array)
        for place in np.ndindex(array.shape):
            either = []
            for step in (0.5, -0.5):  # exact for a square, whatever the step
                array[place] += step
                either.append(case.value())
                array[place] -= step
            np.testing.assert_allclose(expected[name][place], either[0] - either[1], rtol=1e-6, atol=1e-6)


@given(cases())
def test_nothing_at_the_anchor(case: Case) -> None:
    at_anchor = tensors(case.anchor)
    gradients = [torch.ones_like(tensor) for tensor in at_anchor.values()]
    case.penalty.add_gradient_(list(at_anchor), list(at_anchor.values()), gradients)
    assert case.penalty.value(at_anchor) == 0
    assert all((gradient == 1).all() for gradient in gradients)


@given(cases(), st.floats(1e-3, 10), st.integers(0, 2**32))
def test_a_proximal_step_is_the_minimum_of_its_objective(case: Case, rate: float, seed: int) -> None:
    """(V - W)^2 / (2 rate) + strength * importance * (V - anchor)^2, whose derivative at V is 0; masked weights stay."""
    names = [*SHAPES, "heads.0.weight"]
    before = [torch.from_numpy(case.weights[name].copy()) for name in SHAPES] + [torch.ones(2, dtype=torch.float64)]
    after = [tensor.clone() for tensor in before]
    mask = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, SHAPES["hidden.0.weight"]).astype(float))
    case.penalty.pull_(names, after, case.penalty.shares(rate, {"hidden.0.weight": mask}))
    for name, w, v in zip(SHAPES, before, after, strict=False):
        pull = case.strength * torch.from_numpy(case.importance[name])
        slope = (v - w) / rate + 2 * pull * (v - torch.from_numpy(case.anchor[name]))
        moves = mask.bool() if name == "hidden.0.weight" else torch.ones_like(w, dtype=torch.bool)
        assert (slope.abs() <= 1e-9 * (1 + pull) * (1 + 1 / rate))[moves].all()
        assert torch.equal(v[~moves], w[~moves])
    assert torch.equal(after[-1], before[-1])
