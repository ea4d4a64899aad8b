"""Files of the pipeline: what is written is read, the same content is the same bytes, whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from lifelong.runtime import artifacts
from lifelong.runtime.artifacts import (
    atomic_path,
    file_digest,
    json_digest,
    read_info,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
    write_text,
)
from lifelong.runtime.errors import UserError

DTYPES = ["float32", "float64", "int64", "int16", "uint8", "bool"]
arrays = arrays_of.arrays(st.sampled_from(DTYPES), arrays_of.array_shapes(max_dims=3, min_side=0, max_side=4))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
infos = st.dictionaries(st.text().filter(lambda key: key not in ("kind", "format")), json_values, max_size=4)


@settings(max_examples=20)
@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name != "__metadata__"), arrays, max_size=4), infos)
def test_tensors_round_trip(named: dict[str, np.ndarray], info: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "file.safetensors"
        write_tensors(path, "state", {name: array.T for name, array in named.items()}, info)
        found, header = read_tensors(path, "state")
        assert {key: header[key] for key in info} == info == {k: v for k, v in read_info(path, "state").items() if k in info}
        assert found.keys() == named.keys()
        for name, array in named.items():
            assert found[name].dtype == array.dtype and found[name].shape == array.T.shape
            np.testing.assert_array_equal(found[name], array.T)
            some, _ = read_tensors(path, "state", [name])
            assert list(some) == [name]


def test_a_scalar_stays_one(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", "state", {"count": np.array(3)}, {})
    assert read_tensors(tmp_path / "file", "state")[0]["count"].shape == ()


@given(json_values)
def test_json_round_trip(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "a.json", value)
        assert read_json(Path(folder) / "a.json") == value


def test_not_finite_is_refused(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            write_json(tmp_path / "a.json", {"x": value})
        with pytest.raises(ValueError):
            write_tensors(tmp_path / "a.safetensors", "state", {}, {"x": value})
    assert not list(tmp_path.iterdir())


WRITER = """
import sys
from pathlib import Path
import numpy as np
from lifelong.runtime.artifacts import json_digest, write_result, write_tensors
names = [f"name-{number}" for number in range(20)]
if sys.argv[2] == "backwards":
    names.reverse()
    strange = lambda array: np.asfortranarray(array)
else:
    strange = lambda array: array
info = {name: {"z": 1, "a": sorted({name, "b"})} for name in names}
arrays = {name: strange(np.arange(6.0).reshape(2, 3) + int(name[5:])) for name in names}
folder = Path(sys.argv[1])
write_tensors(folder / "a.safetensors", "state", arrays, info)
write_result(folder / "a.json", info)
print(json_digest(info))
"""


def test_same_content_is_the_same_bytes_in_any_process_and_order(tmp_path: Path) -> None:
    found = []
    for hash_seed, order in (("0", "forwards"), ("1", "backwards"), ("2", "forwards")):
        folder = tmp_path / hash_seed
        command = [sys.executable, "-c", WRITER, str(folder), order]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        digest = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        found.append((digest, *(file_digest(folder / name) for name in ("a.safetensors", "a.json"))))
    assert found[0] == found[1] == found[2]


@given(json_values, json_values)
def test_digests_tell_values_apart(a: Any, b: Any) -> None:
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (json_digest(a) == json_digest(b)) == same


def fail(*_: object) -> None:
    raise OSError("no space left")


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("moment", ["write_bytes", "fsync", "replace"])
def test_a_failing_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None, moment: str
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(Path if moment == "write_bytes" else artifacts.os, moment, fail)
        write_bytes(path, b"new")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == ({} if old is None else {"file": old})


def test_nothing_is_seen_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_path(path) as scratch:
        scratch.write_text("half")
        assert scratch.parent == path.parent and not path.exists()
    assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]


def truncated(path: Path) -> None:
    write_tensors(path, "state", {"a": np.arange(100)}, {})
    path.write_bytes(path.read_bytes()[:-7])


def another_format(path: Path) -> None:
    header = json.dumps({"kind": "state", "format": 1})
    write_bytes(path, safetensors.numpy.save({}, metadata={"lifelong": header}))


REMAKE = r"`rm .*`, then run snakemake again"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, r"no such file; `snakemake \S*file` makes it"),
        (lambda path: path.mkdir(), "not a file"),
        (truncated, rf"not a whole safetensors file .*{REMAKE}"),
        (lambda path: path.write_bytes(b""), rf"not a whole safetensors file .*{REMAKE}"),
        (lambda path: write_text(path, "{}"), rf"not a whole safetensors file .*{REMAKE}"),
        (
            lambda path: write_tensors(path, "tasks", {}, {}),
            rf"found kind 'tasks', format 2; expected kind 'state'.*{REMAKE}",
        ),
        (another_format, rf"found format 1; expected format 2; {REMAKE}"),
        (lambda path: write_bytes(path, safetensors.numpy.save({})), rf"not a whole safetensors file of ours.*{REMAKE}"),
    ],
    ids=["missing", "folder", "truncated", "empty", "json", "other kind", "other format", "foreign"],
)
@pytest.mark.parametrize("read", [read_tensors, read_info])
def test_what_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], None], reason: str, read: Any) -> None:
    path = tmp_path / "file"
    make(path)
    with pytest.raises(UserError, match=reason) as refusal:
        read(path, "state")
    assert str(refusal.value).startswith(f"{path}: ")


def test_an_absent_tensor_is_named(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", "state", {"a": np.zeros(1), "b": np.zeros(1)}, {})
    with pytest.raises(UserError, match="file: holds no tensor 'c'; it holds a, b"):
        read_tensors(tmp_path / "file", "state", ["a", "c"])


@pytest.mark.parametrize(("content", "reason"), [(None, "no such file"), ('{"a": 1', f"not valid JSON .*{REMAKE}")])
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=rf"a\.json: {reason}"):
        read_json(path)
