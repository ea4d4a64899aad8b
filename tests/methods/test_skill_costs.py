"""Costs against the paper's own arithmetic and small sums by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.packets import tiny_packet
from torch import nn

from lifelong.methods.skill.costs import Learner, Prices, Size, packet_bytes, parallel, student_macs, teacher_macs
from lifelong.networks.backbones.macs import convolution_channels, forward_macs
from lifelong.reports.skill_costs import skill_102

PAPER = Prices(forward=8.36e9, features=2048, channels=50_312, pixels=3 * 299 * 299)
GMMC, MAHA = Learner(False, "gmmc"), Learner(False, "mahalanobis", "images")


def test_macs_of_a_convolution_and_a_linear_layer() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Flatten(), nn.Linear(128, 10))
    expected = 8 * 16 * 27 + 8 * 16 * 9 + 1280
    assert forward_macs(network, 8) == expected
    assert convolution_channels(network) == 16
    assert not any(p.is_meta for p in network.parameters())
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 10)


def test_packets_of_the_mean_task_are_the_printed_bytes() -> None:
    """Table 2: 8.22e7, 1.03e8, 6.72e9 bytes received from 101 tasks of 49.34 classes (readings S8, S9, S11)."""
    classes = 5033 / 102

    def mean(learner: Learner) -> float:  # sizes are linear in the number of classes
        low, high = (packet_bytes(Size(c, 1), learner, PAPER) for c in (49, 50))
        return low + (classes - 49) * (high - low)

    assert 101 * mean(GMMC) == pytest.approx(8.22e7, rel=1e-3)
    assert 101 * mean(replace(GMMC, biases=True)) == pytest.approx(1.03e8, rel=6e-3)
    assert 101 * mean(MAHA) == pytest.approx(6.72e9, rel=7e-3)


def test_bytes_are_those_of_a_real_packet() -> None:
    prices = replace(PAPER, features=6, channels=9, clusters=3, samples=4)
    for mapper in ("gmmc", "mahalanobis"):
        for biases in (False, True):
            packet = tiny_packet("a", mapper, biases=biases)
            real = sum(tensor.nbytes for name, tensor in packet.tensors.items() if name != "anchor.owners")
            assert packet_bytes(Size(2, 20), Learner(biases, mapper), prices) == real


def test_teaching_by_hand() -> None:
    prices = Prices(forward=100, features=3, channels=5, pixels=7, epochs=2, clusters=2, iterations=4)
    task = Size(classes=5, images=10)
    head = 3 * 3 * 5 * 10 * 2
    assert teacher_macs(task, Learner(False, "mahalanobis"), prices) == 100 * 10 + head
    assert teacher_macs(task, Learner(True, "mahalanobis"), prices) == 3 * 100 * 10 * 2 + head
    assert teacher_macs(task, Learner(False, "gmmc"), prices) == 100 * 10 + head + 2 * 2 * 3 * 10 * 4


def test_the_printed_efficiency_charges_one_packet_alone() -> None:
    """0.99999519: 1 - alpha * 815.8 KB / 1.696e14 (reading S10)."""
    teacher = 1.73e16 / 102
    assert teacher / (teacher + 1000 * 815.8e3) == pytest.approx(0.99999519, abs=1e-8)
    tasks = [Size(49, 20_000)] * 102
    assert parallel(tasks, GMMC, PAPER, 102).efficiency < 0.9996


def test_efficiency_by_hand_and_for_one_agent() -> None:
    prices = Prices(forward=100, features=3, channels=5, pixels=7, epochs=1, samples=2, mac_per_byte=10)
    tasks = [Size(2, 10), Size(2, 30)]
    one = parallel(tasks, MAHA, prices, 1)
    assert one.efficiency == 1 and one.received == 0
    work = [100 * n + 3 * 3 * 2 * n for n in (10, 30)]
    sent = 4 * 2 * 4 + 4 * 2 * 3 + 2 * 2 * 7
    student = 8 * 9 + 9 * 27
    two = parallel(tasks, MAHA, prices, 2)
    assert two.total == sum(work) / 2 + 10 * sent + student
    assert two.efficiency == pytest.approx((sum(work) + student) / (2 * two.total))
    uneven = parallel(tasks, MAHA, prices, 2, even=False)
    assert uneven.total == work[1] + 10 * sent + student
    assert student_macs(tasks, MAHA, prices, charged=True) == student + 8 * 100
    assert student_macs(tasks, GMMC, prices) == 0


def test_more_agents_are_never_slower_than_even_shares_allow() -> None:
    random = np.random.default_rng(0)
    tasks = [Size(int(c), int(n)) for c, n in random.integers(2, 500, (20, 2))]
    for agents in (1, 2, 7, 20):
        even, uneven = (parallel(tasks, GMMC, PAPER, agents, even=kind) for kind in (True, False))
        assert uneven.teacher >= even.teacher * (1 - 1e-12)


@pytest.mark.skipif(
    not any((Path(p) / "skill-102-tasks.csv").is_file() for p in os.environ.get("LIFELONG_DATA", "").split(os.pathsep)),
    reason="LIFELONG_DATA holds no skill-102-tasks.csv",
)
def test_the_102_tasks_are_those_of_the_paper() -> None:
    tasks = skill_102("skill-102-tasks.csv")
    assert (len(tasks), sum(t.classes for t in tasks), sum(t.images for t in tasks)) == (102, 5033, 2_041_219)
