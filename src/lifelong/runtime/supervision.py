"""Processes that die: a job ends with its parent, a dead Snakemake's lock is cleared, a failed job's log is shown."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

UNDER_SNAKEMAKE = "LIFELONG_UNDER_SNAKEMAKE"
ONE_JOB = "LIFELONG_ONE_JOB"
"""Set where the Snakemake has one job to run, so that a process to fork jobs from would gain nothing."""

_SPENT = "s of processor time, peak memory"
_PR_SET_PDEATHSIG = 1
_PATIENCE = 3.0  # seconds
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


def claim_folder(folder: Path = Path(".snakemake")) -> str | None:
    """Called while the Snakefile is read: remove the working directory's lock if no living Snakemake holds it.

    Returns who is at work here (a process and its machine); none if nobody is.

    Snakemake's lock names no process. So every Snakemake that runs jobs holds a file lock, which the kernel drops when the
    process ends in whatever way; whoever gets it is alone, and any lock of Snakemake's it finds is a dead one's.
    """
    global _owner
    if _owner is not None:
        return None
    folder.mkdir(exist_ok=True)
    _owner = os.open(folder / "lifelong.alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + _PATIENCE
    while not _is_locked(_owner):
        if time.monotonic() > until:
            return os.read(_owner, 1000).decode() or "another process"
        time.sleep(0.1)  # one that only looks is done soon
    os.truncate(_owner, 0)
    os.write(_owner, f"process {os.getpid()} on {socket.gethostname()}".encode())
    shutil.rmtree(folder / "locks", ignore_errors=True)
    for left in folder.glob("lifelong.warm.*"):
        left.unlink()
    return None


def release_folder() -> None:
    """Others may run jobs here from now on."""
    if _owner is not None:
        fcntl.flock(_owner, fcntl.LOCK_UN)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


LOOKING = {
    *("-n", "--dry-run", "--dryrun", "--unlock", "-l", "--list", "--list-rules", "--lt", "--list-target-rules", "--lint"),
    *("--dag", "--rulegraph", "--filegraph", "--d3dag", "-S", "--summary", "-D", "--detailed-summary", "--report"),
}
"""Options of Snakemake with which it runs nothing, so that another may be running."""


def describe_kill(number: int) -> str:
    """What to make of a job that a signal ended."""
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    more = "; memory may have run out: run fewer jobs at once, or give its rule more mem_mb" if name == "SIGKILL" else ""
    return f"lifelong: the job was killed by {name}{more}"


def describe_usage() -> str:
    """What this process has used so far: the last line of a log, if its job ended well."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return f"{used.ru_utime + used.ru_stime:.1f} {_SPENT} {used.ru_maxrss / 1024:.0f} MiB"


def count_seconds(folder: Path) -> float | None:
    """Processor time that the jobs' logs below a folder tell of; none where there is no such log."""
    told = [
        float(number)
        for log in sorted(folder.rglob("*.log"))
        for number in re.findall(rf"^([\d.]+) {_SPENT}", log.read_text(errors="replace"), re.MULTILINE)
    ]
    return round(sum(told), 1) if told else None


def failures(since: float, folder: Path = Path("logs")) -> str:
    """The ends of the logs written since then whose jobs did not end well.

    Snakemake's own way of showing them is silent under `--quiet rules`.
    """
    fresh = [path for path in sorted(folder.rglob("*.log")) if path.stat().st_mtime >= since]
    return "\n".join(filter(None, map(describe_failure, fresh)))


def describe_failure(log: str | Path, lines: int = 20) -> str:
    """The end of a job's log; nothing where the job ended well."""
    path = Path(log)
    said = path.read_text(errors="replace").splitlines() if path.exists() else []
    said = said or [describe_kill(signal.SIGKILL)]  # it said nothing
    if _SPENT in said[-1]:
        return ""
    return "\n".join([f"{path}:", *(f"    {line}" for line in said[-lines:])])
