"""The bank of an agent: every packet it accepted, and what it answers with them without being told the task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lifelong.methods.skill import gmmc, mahalanobis
from lifelong.methods.skill.packet import Packet, PacketRefused, read_packet
from lifelong.params.skill import Gmmc, Mahalanobis


@dataclass
class Bank:
    """Packets by task. Its content depends on what was accepted, not on the order of arrival."""

    backbone: str
    features: int
    channels: int
    packets: dict[str, Packet] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def receive(self, path: Path) -> bool:
        """Store a packet that holds what it must, else note why it was refused. A second one of a task must be the same."""
        try:
            self._store(path, read_packet(path, self.backbone, self.features, self.channels))
        except PacketRefused as refusal:
            self.refused.append(str(refusal))
            return False
        return True

    def _store(self, path: Path, packet: Packet) -> None:
        if self.packets:
            known = next(iter(self.packets.values()))
            if (packet.variant, packet.mapper) != (known.variant, known.mapper):
                raise PacketRefused(f"{path.name}: is of variant {packet.variant!r}; this bank holds {known.variant!r}")
        held = self.packets.get(packet.task)
        if held is not None and held.digest != packet.digest:
            raise PacketRefused(f"{path.name}: another packet of task {packet.task!r} is held already")
        self.packets[packet.task] = packet

    @property
    def digest(self) -> str:
        """sha256 over the packets in the order of their tasks' names."""
        digests = [f"{task}:{self.packets[task].digest}" for task in sorted(self.packets)]
        return hashlib.sha256("\n".join([self.backbone, *digests]).encode()).hexdigest()


def collect(paths: Iterable[Path], backbone: str, features: int, channels: int) -> Bank:
    bank = Bank(backbone, features, channels)
    for path in paths:
        bank.receive(path)
    return bank


class Router:
    """The task mapper over some packets, in their order: scores [n, tasks], of which the largest names the task."""

    def __init__(self, packets: Sequence[Packet], settings: Gmmc | Mahalanobis) -> None:
        self.settings = settings
        if isinstance(settings, Gmmc):
            self.clusters = [clusters_of(packet) for packet in packets]
        else:
            self.samples = [samples_of(packet) for packet in packets]
            self.metric = mahalanobis.tied_metric(self.samples, settings.shrinkage)

    def scores(self, features: np.ndarray) -> np.ndarray:
        if isinstance(self.settings, Gmmc):
            return gmmc.task_scores(features, self.clusters, self.settings.decision)
        return mahalanobis.task_scores(features, self.samples, self.metric)


def clusters_of(packet: Packet) -> gmmc.Clusters:
    t = packet.tensors
    return gmmc.Clusters(t["anchor.means"], t["anchor.variances"], t["anchor.weights"], packet.images)


def samples_of(packet: Packet) -> mahalanobis.ClassSamples:
    t = packet.tensors
    return mahalanobis.ClassSamples(t["anchor.means"], t["anchor.samples"], t["anchor.owners"])


def head_logits(packet: Packet, features: np.ndarray) -> np.ndarray:
    """Logits [n, c] of a packet's head on features of the plain backbone."""
    return features @ packet.tensors["head.weight"].T + packet.tensors["head.bias"]
