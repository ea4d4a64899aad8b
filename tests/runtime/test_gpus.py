"""Leases of GPUs, with devices that are but names: jobs wait, hold, are killed, and no device has two or is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import eventually

from lifelong.runtime import gpus
from lifelong.runtime.gpus import GPUS, JOBS_PER_GPU, count_gpus, lease_gpu

GPU_JOB = ["learn", "x", "--device", "cuda"]

# Holds its device alone, or says that it does not; lives until its input ends.
JOB = """
import os, sys
from pathlib import Path
from lifelong.runtime.gpus import lease_gpu
folder = Path(sys.argv[1])
lease_gpu(["learn", "x", "--device", "cuda"])
mine = folder / f"device-{os.environ['CUDA_VISIBLE_DEVICES']}"
try:
    mine.touch(exist_ok=False)
except FileExistsError:
    (folder / "two-on-one").touch()
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
mine.unlink()
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No scheduler, and leases of this test's own."""
    for name in ("CUDA_VISIBLE_DEVICES", GPUS, JOBS_PER_GPU):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", f"test-{os.getpid()}-{tmp_path.name}")
    folder = gpus._lease_folder()
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def start(folder: Path, gpus: int = 2) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder)],
        env={**os.environ, GPUS: str(gpus)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_eight_jobs_on_two_devices_with_kills(tmp_path: Path) -> None:
    """Every second job is killed while it holds its device; the others end well. All eight get one."""
    jobs = [start(tmp_path) for _ in range(8)]
    done: list[subprocess.Popen[str]] = []
    while len(done) < len(jobs):
        eventually(lambda: len(list(tmp_path.glob("device-*"))) == min(2, len(jobs) - len(done)))
        job = next(one for one in jobs if one not in done and holds_a_device(one))
        assert job.stdout is not None
        device = job.stdout.readline().strip()
        if len(done) % 2:
            (tmp_path / f"device-{device}").unlink()  # a killed job cannot
            job.send_signal(signal.SIGKILL)
        job.communicate()
        done.append(job)
        assert not (tmp_path / "two-on-one").exists()
    assert [job.returncode for job in done] == [0, -signal.SIGKILL] * 4


def holds_a_device(job: subprocess.Popen[str]) -> bool:
    """The kernel says who has a lease open and locked: a job that waits closes it again."""
    folder = gpus._lease_folder()
    locks = Path("/proc/locks").read_text().splitlines()
    holders = {line.split()[4] for line in locks if line.split()[1] == "FLOCK"}
    return str(job.pid) in holders and any(folder.iterdir())


def test_what_forks_from_a_job_holds_its_lease_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that asked may be killed while the one that computes still ends."""
    monkeypatch.setenv(GPUS, "1")
    (lease,) = lease_gpu(GPU_JOB)
    inherited = os.dup(lease)
    os.close(lease)
    waits = start(tmp_path, gpus=1)
    with pytest.raises(subprocess.TimeoutExpired):
        waits.wait(1)  # the lease is held before it starts, so however slow it is it cannot be done
    assert not list(tmp_path.glob("device-*"))
    os.close(inherited)
    eventually(lambda: list(tmp_path.glob("device-*")))
    waits.communicate()
    assert waits.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "shared"), [(GPU_JOB, None), (["learn", "x", "--device", "cpu"], "2"), (["summarise", "x"], "2")]
)
def test_jobs_of_the_processor_lease_none(arguments: list[str], shared: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if shared is not None:
        monkeypatch.setenv(GPUS, shared)
    assert lease_gpu(arguments) == ()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def release(leases: tuple[int, ...]) -> None:
    for lease in leases:
        os.close(lease)


def test_jobs_share_a_device_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread first; the fifth of two times two waits; who wants a device alone waits for all that share it."""
    monkeypatch.setenv(GPUS, "2")
    monkeypatch.setenv(JOBS_PER_GPU, "2")
    leases, seen = [], []
    for _ in range(4):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        leases.append(lease_gpu(GPU_JOB))
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert seen == ["0", "1", "0", "1"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    fifth = start(tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        fifth.wait(1)
    release(leases.pop())
    eventually(lambda: (tmp_path / "device-1").exists())
    monkeypatch.delenv(JOBS_PER_GPU)
    alone = start(tmp_path, gpus=1)
    release(leases.pop())
    with pytest.raises(subprocess.TimeoutExpired):
        alone.wait(1)  # the other share of device 0 is held still
    release(leases.pop(0))
    eventually(lambda: (tmp_path / "device-0").exists())
    for job in (fifth, alone):
        job.communicate()
        assert job.returncode == 0
    release(leases.pop())


def test_what_a_scheduler_made_visible_is_what_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5a")
    assert count_gpus() == 2
    first = lease_gpu(GPU_JOB)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5a")
    second = lease_gpu(GPU_JOB)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-5a"
    release(first + second)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert count_gpus() == 0
    assert lease_gpu(GPU_JOB) == ()  # PyTorch says what it misses
