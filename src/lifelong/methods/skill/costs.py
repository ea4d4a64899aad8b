"""What SKILL's agents compute and send, in multiply-accumulates (MACs) and bytes, from the sizes of tasks alone.

Tables 1 and 2 of the paper charge: one forward pass an image for cached features; with beneficial biases, every epoch a
forward and a backward pass at twice its price (reading S13); a price alpha for each byte that an agent receives, one after
the other; the covariance that a receiver computes for the Mahalanobis mapper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FLOAT = 4  # bytes
Shared = Literal["images", "features"]  # what stands for the m samples a class of the Mahalanobis mapper


@dataclass(frozen=True)
class Size:
    """One task."""

    classes: int
    images: int  # for training


@dataclass(frozen=True)
class Prices:
    """Of a backbone and the settings of the learner."""

    forward: float  # MACs an image
    features: int  # d
    channels: int  # of all convolutions
    pixels: int  # bytes of one image as a receiver gets it
    epochs: int = 30
    clusters: int = 25  # k
    iterations: int = 100  # of expectation maximisation, at most
    samples: int = 5  # m
    mac_per_byte: float = 1000.0  # alpha


@dataclass(frozen=True)
class Learner:
    """A variant: with beneficial biases or not, and its mapper; `shared` is what Mahalanobis sends."""

    biases: bool
    mapper: Literal["gmmc", "mahalanobis"]
    shared: Shared = "features"


def teacher_macs(task: Size, learner: Learner, prices: Prices) -> float:
    """To learn one task: features, head, anchor; with biases the passes through the backbone instead of the features."""
    head = 3 * prices.features * task.classes * task.images * prices.epochs
    passes = 3 * prices.epochs if learner.biases else 1
    anchor = 2 * prices.clusters * prices.features * task.images * prices.iterations if learner.mapper == "gmmc" else 0
    return prices.forward * task.images * passes + head + anchor


def packet_bytes(task: Size, learner: Learner, prices: Prices) -> int:
    """Weight and bias of the head, biases, and the anchor: k means, variances and weights, or class means and samples."""
    d, c = prices.features, task.classes
    head = FLOAT * c * (d + 1)
    biases = FLOAT * prices.channels if learner.biases else 0
    if learner.mapper == "gmmc":
        return head + biases + FLOAT * prices.clusters * (2 * d + 1)
    sample = prices.pixels if learner.shared == "images" else FLOAT * d
    return head + biases + FLOAT * c * d + prices.samples * c * sample


def student_macs(tasks: Sequence[Size], learner: Learner, prices: Prices, charged: bool = False) -> float:
    """Covariance of all samples and one eigendecomposition at 9 d^3; `charged`: and features of images that come as such."""
    if learner.mapper == "gmmc":
        return 0
    samples = prices.samples * sum(task.classes for task in tasks)
    forward = prices.forward * samples if charged and learner.shared == "images" else 0
    return samples * prices.features**2 + 9 * prices.features**3 + forward


@dataclass(frozen=True)
class Parallel:
    """The longest of N agents when task t is learnt by agent t mod N and all packets come one after the other."""

    teacher: float  # MACs
    received: int  # bytes
    student: float  # MACs
    total: float  # MACs
    efficiency: float  # of one agent's MACs over N times these


def parallel(
    tasks: Sequence[Size], learner: Learner, prices: Prices, agents: int, *, even: bool = True, charged: bool = False
) -> Parallel:
    """`even` spreads the work evenly over the agents, as the paper does; otherwise the longest agent counts.

    One agent alone has the features of its samples at hand; `charged` makes receivers compute those of others' images.
    """
    work = [teacher_macs(task, learner, prices) for task in tasks]
    sent = [packet_bytes(task, learner, prices) for task in tasks]
    student = student_macs(tasks, learner, prices, charged)
    single = sum(work) + student_macs(tasks, learner, prices)
    if even:
        teacher, received = sum(work) / agents, sum(sent) * (agents - 1) / agents
    else:
        shares = [sum(work[agent::agents]) for agent in range(agents)]
        longest = max(range(agents), key=shares.__getitem__)
        teacher, received = shares[longest], sum(sent) - sum(sent[longest::agents])
    total = teacher + prices.mac_per_byte * received + student
    return Parallel(teacher, round(received), student, total, single / (agents * total))
