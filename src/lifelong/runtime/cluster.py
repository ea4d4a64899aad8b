"""What is different where SLURM runs the jobs: each is a Snakemake of its own, on a node, for a job or a group."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

JOB_PREFIX = "lifelong"
"""What the names of this project's SLURM jobs begin with (`slurm-jobname-prefix` in profiles/slurm)."""

SLURM_LOGS = Path(".snakemake/slurm_logs")
_JOBSTEP = "slurm-jobstep"


def replace_jobstep() -> None:
    """On a node: let the Snakemake of a SLURM job run its jobs itself. Returns where it does so already.

    The executor that SLURM's plug-in asks for there starts another Snakemake for each job of a group, which costs several
    seconds a stage.
    """
    if _JOBSTEP not in sys.argv or "SLURM_ARRAY_TASK_ID" in os.environ:  # of an array it knows which task is meant
        return
    arguments = _without(_without(sys.argv[1:], "--executor"), "--jobs")
    if "SLURM_CPUS_ON_NODE" in os.environ:  # what was granted of this node, for whatever of a group can run side by side
        arguments = [*_without(arguments, "--cores"), "--cores", os.environ["SLURM_CPUS_ON_NODE"]]
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *arguments])


def count_target_jobs() -> int:
    """How many jobs the Snakemake of a node was given."""
    if "--target-jobs" not in sys.argv:
        return 0
    given = sys.argv[sys.argv.index("--target-jobs") + 1 :]
    return next((place for place, word in enumerate(given) if word.startswith("-")), len(given))


def cancel_left_jobs() -> list[str]:
    """Cancel the SLURM jobs that a killed Snakemake left in this folder, and wait for their end; returns their numbers.

    They would write the same files as the jobs of the next one. What their stages have finished stays.
    """
    if not SLURM_LOGS.exists() or shutil.which("squeue") is None:
        return []
    left = _left_jobs()
    if left:
        subprocess.run(["scancel", *left], check=False)
    while _left_jobs():
        time.sleep(0.5)  # SLURM tells nobody
    return left


def show_reasons() -> None:
    """Print why the cluster refused or ended a job: Snakemake drops that of a group, and that of a job where it is quiet."""
    from snakemake.jobs import GroupJob, Job

    for kind in (Job, GroupJob):

        def log_error(
            self: Any, msg: str | None = None, *args: Any, log: Callable[..., None] = kind.log_error, **more: Any
        ) -> None:
            if msg:
                print(f"{self.name}: {msg.strip()}", file=sys.stderr)
            log(self, msg, *args, **more)

        kind.log_error = log_error


def _left_jobs() -> list[str]:
    """Those of this user that are not over, were started in this folder and have this project's names."""
    listing = ["squeue", "--me", "--noheader", "--format", "%A %j %Z"]
    said = subprocess.run(listing, stdout=subprocess.PIPE, text=True, check=False).stdout
    jobs = [line.split(" ", 2) for line in said.splitlines()]
    here = str(Path.cwd())
    return [number for number, name, folder in jobs if name.startswith(f"{JOB_PREFIX}_") and folder == here]


def _without(arguments: list[str], option: str) -> list[str]:
    """The arguments without an option and its one value."""
    if option not in arguments:
        return arguments
    place = arguments.index(option)
    return arguments[:place] + arguments[place + 2 :]
