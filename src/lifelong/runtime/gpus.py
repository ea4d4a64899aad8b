"""One GPU a job, or a share of one: each is leased, by locks that the kernel drops when the job is over."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

GPUS = "LIFELONG_GPUS"
"""How many GPUs the jobs of a Snakemake share."""

JOBS_PER_GPU = "LIFELONG_JOBS_PER_GPU"
"""How many of them may have the same GPU at a time; a job that wants one for itself waits for those that share it."""

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 0.2  # between two looks at leases


def count_gpus() -> int:
    """How many GPUs this machine offers this process."""
    if _VISIBLE in os.environ:
        return len(_named_devices())
    import torch  # slow, and asked for by `gpu=auto` alone

    return int(torch.cuda.device_count())


def lease_gpu(arguments: list[str]) -> tuple[int, ...]:
    """For a job that computes on a GPU: wait until one is free, and make it the only one that the job sees.

    Returns the lease, open files: the GPU is free again once every process that has them open has ended, however that came.
    Empty: the job computes on the processor, or nobody shares GPUs here. What a scheduler or a user has made visible is
    what is shared; within a SLURM job only with the same job's others, since SLURM has parted them already.
    """
    if GPUS not in os.environ or _device(arguments) in (None, "cpu"):
        return ()
    devices = _named_devices() if _VISIBLE in os.environ else [str(number) for number in range(int(os.environ[GPUS]))]
    if not devices:
        return ()  # PyTorch will say what it misses
    folder, shares = _lease_folder(), int(os.environ.get(JOBS_PER_GPU, "1"))
    while True:
        for share in range(shares):  # so that all GPUs have one job before any has two
            for device in devices:
                lease = _take(folder / f"gpu-{device}", share if shares > 1 else None)
                if lease:
                    os.environ[_VISIBLE] = device
                    return lease
        time.sleep(_SECONDS)  # one cannot wait for the first of several locks


def _take(gpu: Path, share: int | None) -> tuple[int, ...]:
    """A GPU whole, or a share of it; empty where that is taken."""
    wanted = [(gpu, fcntl.LOCK_EX)] if share is None else [(gpu, fcntl.LOCK_SH), (Path(f"{gpu}.{share}"), fcntl.LOCK_EX)]
    held: list[int] = []
    for path, kind in wanted:
        held.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            fcntl.flock(held[-1], kind | fcntl.LOCK_NB)
        except BlockingIOError:
            for one in held:
                os.close(one)
            return ()
    return tuple(held)


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
