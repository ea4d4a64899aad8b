"""Chunk protocols beside a plain loop over chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lifelong.data.classes import Classes
from lifelong.evaluation.protocols import chunk_answers, chunk_scores, guess_tasks

TWOS = Classes((2, 2, 2))


@given(st.integers(0, 10**6), st.integers(1, 23), st.sampled_from([1, 2, 5, 20]), st.integers(1, 3))
def test_guesses_are_those_of_a_loop(seed: int, n: int, chunk: int, candidates: int) -> None:
    random = np.random.default_rng(seed)
    logits, order = random.normal(size=(n, 6)), random.permutation(n)
    expected = np.full(n, -1)
    for start in range(0, n, chunk):
        members = order[start : start + chunk]
        scores = [np.mean([max(logits[i][2 * t : 2 * t + 2]) for i in members]) for t in range(candidates)]
        expected[members] = int(np.argmax(scores))
    found = guess_tasks(torch.from_numpy(logits), torch.from_numpy(order), candidates, TWOS, chunk)
    assert found.tolist() == expected.tolist()


def test_one_image_a_chunk_guesses_the_task_of_the_largest_logit() -> None:
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    found = guess_tasks(logits, torch.randperm(50), 3, TWOS, 1)
    assert torch.equal(found, logits.argmax(1) // 2)


def test_scores_are_means_of_the_largest_logit_and_the_last_chunk_may_be_small() -> None:
    logits = torch.tensor([[1.0, 3.0, 0.0, 0.0], [5.0, 1.0, 0.0, 4.0], [0.0, 0.0, 9.0, 0.0]])
    torch.testing.assert_close(chunk_scores(logits, 2, Classes((2, 2)), 2), torch.tensor([[4.0, 2.0], [0.0, 9.0]]).double())


@pytest.mark.parametrize("chunk", [2, 4])
def test_larger_chunks_mend_what_is_right_on_average_only(chunk: int) -> None:
    """Three of four images favour the right task: all are right in chunks of four, and none where most favour another."""
    right, wrong = [2.0, 0.0], [0.0, 1.0]
    logits = torch.tensor([right, wrong, right, right])
    assert guess_tasks(logits, torch.arange(4), 2, Classes((1, 1)), chunk).tolist() == [0] * 4
    assert guess_tasks(-logits, torch.arange(4), 2, Classes((1, 1)), chunk).tolist() == [1] * 4


def test_a_wrong_guess_is_an_error_whatever_the_adapted_model_says() -> None:
    guessed, told = torch.tensor([1, 0, 2, 1]), torch.tensor([0, 1, 1, 1])
    assert chunk_answers(guessed, 1, told, TWOS).tolist() == [2, -1, -1, 3]
