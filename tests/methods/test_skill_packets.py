"""Packets and banks: what is refused, and that order of arrival and number of agents leave no trace."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.packets import BACKBONE, CHANNELS, FEATURES, tiny_packet

from lifelong.methods.skill import packet as wire
from lifelong.methods.skill.bank import Bank, collect
from lifelong.methods.skill.packet import KIND, Packet, PacketRefused, read_packet, write_packet
from lifelong.methods.skill.share import arrival, tasks_of_agent
from lifelong.runtime.artifacts import write_tensors


def read(path: Path) -> Packet:
    return read_packet(path, BACKBONE, FEATURES, CHANNELS)


@pytest.mark.parametrize("mapper", ["gmmc", "mahalanobis"])
@pytest.mark.parametrize("biases", [False, True])
def test_a_packet_survives_the_way(tmp_path: Path, mapper: str, biases: bool) -> None:
    sent = tiny_packet("flowers", mapper, biases=biases)
    write_packet(tmp_path / "p", sent)
    found = read(tmp_path / "p")
    assert found.info() == sent.info()
    assert all(np.array_equal(found.tensors[name], sent.tensors[name]) for name in sent.tensors)
    assert found.digest == sent.digest


def changed(**tensors: np.ndarray) -> Packet:
    sent = tiny_packet("evil", "gmmc", biases=True)
    return replace(sent, tensors=sent.tensors | {name.replace("_", "."): value for name, value in tensors.items()})


F32 = np.float32
HOSTILE: dict[str, tuple[Packet, str]] = {
    "shape": (changed(head_weight=np.zeros((2, FEATURES + 1), F32)), r"head.weight of shape \(2, 7\)"),
    "nan": (changed(head_bias=np.array([0, np.nan], F32)), "head.bias that are not finite"),
    "infinite": (changed(biases=np.full(CHANNELS, np.inf, F32)), "biases that are not finite"),
    "biases": (changed(biases=np.zeros(CHANNELS + 1, F32)), "biases of shape"),
    "type": (changed(head_weight=np.zeros((2, FEATURES))), "float64"),
    "extra": (changed(more=np.zeros(2, F32)), "too much or too little"),
    "variance": (changed(anchor_variances=np.zeros((3, FEATURES), F32)), "variances that are not positive"),
    "weights": (changed(anchor_weights=np.array([0.9, 0.9, 0.9], F32)), "no distribution"),
    "rows": (changed(anchor_means=np.zeros((0, FEATURES), F32)), "an anchor of 0 rows"),
    "backbone": (replace(tiny_packet("evil"), backbone="0" * 64), "another backbone"),
    "mapper": (replace(tiny_packet("evil"), mapper="oracle"), "unknown mapper"),
    "classes": (replace(tiny_packet("evil"), class_names=("one",)), "names no classes"),
    "images": (replace(tiny_packet("evil"), images=0), "sensible number of images"),
    "task": (replace(tiny_packet("evil"), task=""), "proper 'task'"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_packet_that_lies_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    """Each is signed rightly, so the content itself is what is refused."""
    packet, reason = HOSTILE[fault]
    write_packet(tmp_path / "evil.safetensors", packet)
    with pytest.raises(PacketRefused, match=rf"^evil\.safetensors: .*{reason}"):
        read(tmp_path / "evil.safetensors")


def test_owners_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    sent = tiny_packet("evil", "mahalanobis")
    sent.tensors["anchor.owners"][0] = -1
    write_packet(tmp_path / "p", sent)
    with pytest.raises(PacketRefused, match="classes it does not name"):
        read(tmp_path / "p")


def test_a_packet_changed_under_way_is_refused(tmp_path: Path) -> None:
    sent = tiny_packet("a")
    info = {**sent.info(), "sha256": sent.digest}
    write_tensors(tmp_path / "p", KIND, sent.tensors | {"head.bias": sent.tensors["head.bias"] + 1}, info)
    with pytest.raises(PacketRefused, match="changed under way"):
        read(tmp_path / "p")
    write_tensors(tmp_path / "p", KIND, sent.tensors, {**info, "class_names": ["x", "y"]})
    with pytest.raises(PacketRefused, match="changed under way"):
        read(tmp_path / "p")


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"head.weight": [1.0]}))


def _zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", b"cos\nsystem\n(S'true'\ntR.")


def _header(length: int, header: bytes) -> Callable[[Path], int]:
    return lambda path: path.write_bytes(struct.pack("<Q", length) + header)


_NESTED = b'{"__metadata__": ' + b"[" * 100_000
JUNK: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "pickle": _pickled,
    "zip of a pickle": _zipped,
    "endless header": _header(2**63, b"{}"),
    "no metadata": _header(2, b"{}"),
    "nested header": _header(len(_NESTED), _NESTED),
    "header of a list": _header(2, b"[]"),
    "info of a list": _header(34, b'{"__metadata__":{"lifelong":"[]"}}'),
}


@pytest.mark.parametrize("kind", JUNK)
def test_what_is_no_packet_is_refused(tmp_path: Path, kind: str) -> None:
    JUNK[kind](tmp_path / "junk")
    with pytest.raises(PacketRefused, match=r"^junk: "):
        read(tmp_path / "junk")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "p", "state", {"x": np.zeros(3)}, {})
    with pytest.raises(PacketRefused, match="kind 'state'"):
        read(tmp_path / "p")


@given(st.data())
def test_no_cut_and_no_flipped_byte_gets_through(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("packet") / "p"
    write_packet(path, tiny_packet("a", "mahalanobis"))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] if data.draw(st.booleans()) else whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    path.write_bytes(damaged)
    try:
        found = read(path)
    except PacketRefused:
        return
    assert found.digest == tiny_packet("a", "mahalanobis").digest  # a byte that says nothing, such as padding


def test_absurd_sizes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packet(tmp_path / "p", tiny_packet("a"))
    monkeypatch.setattr(wire, "MOST_BYTES", 100)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(PacketRefused, match="at most 100"):
        read(tmp_path / "p")


def write_all(folder: Path, tasks: int, mapper: str = "gmmc") -> list[Path]:
    for task in range(tasks):
        write_packet(folder / str(task), tiny_packet(f"task {task}", mapper))
    return [folder / str(task) for task in range(tasks)]


def test_banks_are_the_same_for_every_agent_and_number_of_agents(tmp_path: Path) -> None:
    tasks = 7
    paths = write_all(tmp_path, tasks)
    digests = {
        collect([paths[t] for t in arrival(tasks, agents, agent)], BACKBONE, FEATURES, CHANNELS).digest
        for agents in (1, 2, tasks)
        for agent in range(agents)
    }
    assert len(digests) == 1
    assert collect(paths[:-1], BACKBONE, FEATURES, CHANNELS).digest not in digests


@given(st.integers(1, 12), st.integers(1, 12))
def test_every_task_is_learnt_once_and_arrives_everywhere(tasks: int, agents: int) -> None:
    learnt = sorted(task for agent in range(agents) for task in tasks_of_agent(tasks, agents, agent))
    assert learnt == list(range(tasks))
    for agent in range(agents):
        order = arrival(tasks, agents, agent)
        assert sorted(order) == list(range(tasks))
        own = tasks_of_agent(tasks, agents, agent)
        assert order[: len(own)] == own


def test_a_hostile_packet_harms_nothing(tmp_path: Path) -> None:
    paths = write_all(tmp_path, 3)
    clean = collect(paths, BACKBONE, FEATURES, CHANNELS)
    _pickled(tmp_path / "junk")
    write_packet(tmp_path / "forged", replace(tiny_packet("task 1", seed=5)))
    write_packet(tmp_path / "other", tiny_packet("task 9", "mahalanobis"))
    bank = collect(
        [paths[0], tmp_path / "junk", *paths, tmp_path / "forged", tmp_path / "other"], BACKBONE, FEATURES, CHANNELS
    )
    assert bank.digest == clean.digest
    assert [text.split(":")[0] for text in bank.refused] == ["junk", "forged", "other"]
    assert "another packet of task 'task 1' is held already" in bank.refused[1]


def test_a_missing_packet_is_refused_not_fatal(tmp_path: Path) -> None:
    bank = Bank(BACKBONE, FEATURES, CHANNELS)
    assert not bank.receive(tmp_path / "absent")
    assert "cannot be read" in bank.refused[0]


def test_header_is_json_with_the_names(tmp_path: Path) -> None:
    """What a reader without our code finds in a packet."""
    write_packet(tmp_path / "p", tiny_packet("a"))
    content = (tmp_path / "p").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    info = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["lifelong"])
    assert info["class_names"] == ["a 0", "a 1"]
    assert info["sizes"]["head.weight"] == 2 * FEATURES * 4
