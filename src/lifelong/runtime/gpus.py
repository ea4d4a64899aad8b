"""One GPU a job on a machine with several: each is leased, by a lock that the kernel drops when the job is over."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

GPUS = "LIFELONG_GPUS"
"""How many GPUs the jobs of a Snakemake share."""

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 0.2  # between two looks at leases


def count_gpus() -> int:
    """How many GPUs this machine offers this process."""
    if _VISIBLE in os.environ:
        return len(_named_devices())
    import torch  # slow, and asked for by `gpu=auto` alone

    return int(torch.cuda.device_count())


def lease_gpu(arguments: list[str]) -> int | None:
    """For a job that computes on a GPU: wait until one is free, and make it the only one that the job sees.

    Returns the lease, an open file: the GPU is free again once every process that has it open has ended, however that came.
    None: the job computes on the processor, or nobody shares GPUs here. What a scheduler or a user has made visible is
    what is shared; within a SLURM job only with the same job's others, since SLURM has parted them already.
    """
    if GPUS not in os.environ or _device(arguments) in (None, "cpu"):
        return None
    devices = _named_devices() if _VISIBLE in os.environ else [str(number) for number in range(int(os.environ[GPUS]))]
    if not devices:
        return None  # PyTorch will say what it misses
    folder = _lease_folder()
    while True:
        for device in devices:
            lease = os.open(folder / f"gpu-{device}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lease)
                continue
            os.environ[_VISIBLE] = device
            return lease
        time.sleep(_SECONDS)  # one cannot wait for the first of several locks


def _named_devices() -> list[str]:
    return [one.strip() for one in os.environ[_VISIBLE].split(",") if one.strip()]


def _device(arguments: list[str]) -> str | None:
    if "--device" not in arguments[:-1]:
        return None
    return arguments[arguments.index("--device") + 1]


def _lease_folder() -> Path:
    """Shared by all of a user's jobs on this machine."""
    job = os.environ.get("SLURM_JOB_ID", "")
    folder = Path(f"/tmp/lifelong-gpus-{os.getuid()}{job and f'-{job}'}")  # whatever TMPDIR is, all must meet there
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder
