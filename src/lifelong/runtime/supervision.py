"""Processes that die: a job ends with its parent, a dead Snakemake's lock is cleared, a failed job's log is shown."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

UNDER_SNAKEMAKE = "LIFELONG_UNDER_SNAKEMAKE"
_SPENT = "s of processor time, peak memory"
_PR_SET_PDEATHSIG = 1
_owner: int | None = None


def end_with_parent() -> None:
    """Under Snakemake on Linux: be killed when the process that started this one ends.

    A killed Snakemake leaves its children running; an orphan would go on computing beside the next run.
    """
    parent = os.environ.get(UNDER_SNAKEMAKE)
    if parent is None or sys.platform != "linux":
        return
    _be_killed_with_parent()
    if not Path(f"/proc/{parent}").exists():  # it had ended before the call above
        os.kill(os.getpid(), signal.SIGKILL)


def die_with(parent: int) -> None:
    """In a forked child on Linux: be killed when the parent, whose process id is given, ends."""
    _be_killed_with_parent()
    if os.getppid() != parent:  # it had ended before the call above
        os.kill(os.getpid(), signal.SIGKILL)


def _be_killed_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def clear_dead_lock(folder: Path = Path(".snakemake")) -> bool:
    """Called while the Snakefile is read: remove the working directory's lock if no living Snakemake holds it.

    Returns whether this Snakemake is the only one here.

    Snakemake's lock names no process. So every Snakemake here holds a shared file lock, which the kernel drops when the
    process ends in whatever way; whoever gets it exclusively is alone, and any lock it finds is a dead one's.
    """
    global _owner
    if _owner is not None:
        return False
    folder.mkdir(exist_ok=True)
    _owner = os.open(folder / "lifelong.alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(_owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        alone = False
    else:
        alone = True
        shutil.rmtree(folder / "locks", ignore_errors=True)
        for socket in folder.glob("lifelong.warm.*"):
            socket.unlink()
    fcntl.flock(_owner, fcntl.LOCK_SH)
    return alone


def describe_usage() -> str:
    """What this process has used so far: the last line of a log, if its job ended well."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return f"{used.ru_utime + used.ru_stime:.1f} {_SPENT} {used.ru_maxrss / 1024:.0f} MiB"


def failures(since: float, folder: Path = Path("logs")) -> str:
    """The ends of the logs written since then whose jobs did not end well.

    Snakemake's own way of showing them is silent under `--quiet rules`.
    """
    result = []
    for path in sorted(folder.rglob("*.log")):
        lines = path.read_text(errors="replace").splitlines() if path.stat().st_mtime >= since else []
        if lines and _SPENT not in lines[-1]:
            result.append("\n".join([f"{path}:", *(f"    {line}" for line in lines[-20:])]))
    return "\n".join(result)
