"""What the operating system refuses is one line: file, cause, remedy."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.project import TINY

from lifelong.runtime.errors import describe_os_error
from lifelong.runtime.supervision import describe_kill, failures


@pytest.mark.parametrize(
    ("number", "cause", "remedy"),
    [
        (errno.ENOSPC, "disk is full", "free some space and give the same command again"),
        (errno.EDQUOT, "quota", "free some space"),
        (errno.EROFS, "read-only", "work elsewhere"),
        (errno.EACCES, "permission denied", "let this user"),
        (errno.EMFILE, "too many open files", "ulimit -n"),
    ],
)
def test_cause_and_remedy_are_said(number: int, cause: str, remedy: str) -> None:
    told = describe_os_error(OSError(number, os.strerror(number), "results/x"))
    assert told.startswith("results/x: ") and cause in told and remedy in told and "\n" not in told


def test_an_error_without_remedy_or_file_is_told_too() -> None:
    assert describe_os_error(OSError(errno.ECONNRESET, "Connection reset by peer")) == "connection reset by peer"
    assert describe_os_error(OSError("strange")) == "strange"


def limit(what: int, soft: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))


@pytest.mark.parametrize(
    ("spoil", "limits", "reason"),
    [
        (lambda folder: (folder / "data").write_text(""), None, "data/images"),
        (lambda folder: None, limit(resource.RLIMIT_FSIZE, 10_000), "larger than this system or its limits allow"),
        (lambda folder: (folder / "data").symlink_to("/proc/nowhere"), None, "data"),
    ],
    ids=["file for folder", "too large", "dangling link"],
)
def test_a_job_that_cannot_write_says_so_in_one_line_and_leaves_nothing(
    tmp_path: Path, spoil: Callable[[Path], object], limits: Callable[[], None] | None, reason: str
) -> None:
    (tmp_path / "params.yaml").write_text(TINY)
    spoil(tmp_path)
    command = [sys.executable, "-m", "lifelong", "images", "digits"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limits)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("lifelong: ") and result.stderr.count("\n") == 1 and reason in result.stderr
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*.safetensors"))


def test_a_killed_job_is_explained_also_where_it_said_nothing(tmp_path: Path) -> None:
    assert "SIGKILL; memory may have run out" in describe_kill(signal.SIGKILL)
    assert describe_kill(signal.SIGTERM) == "lifelong: the job was killed by SIGTERM"
    (tmp_path / "silent.log").write_text("")
    (tmp_path / "well.log").write_text("1.0 s of processor time, peak memory 3 MiB\n")
    told = failures(0, tmp_path)
    assert "silent.log" in told and "give its rule more mem_mb" in told and "well.log" not in told
