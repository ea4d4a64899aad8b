"""The warm process: a job done by it ends as one done by itself, and nothing outlives a Snakemake."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.project import Project, eventually

from lifelong.runtime.supervision import UNDER_SNAKEMAKE
from lifelong.runtime.warm.client import run_warm

pytestmark = pytest.mark.workflow

LONG = ("learn", "split-digits-sgd", "--seed", "0", "--task", "0")


class Warm:
    """A project, and a process that stands for its Snakemake."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder)
        (folder / ".snakemake").mkdir()
        self.snakemake = subprocess.Popen(["sleep", "600"])
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, threads: int = 1) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "lifelong", *arguments],
            cwd=self.project.folder,
            env={**self.project.environment, UNDER_SNAKEMAKE: str(self.snakemake.pid), "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        self.snakemake.kill()
        self.snakemake.wait()
        for process in self.started:
            if process.stdout and not process.stdout.closed:
                process.communicate(timeout=30)

    def run(self, *arguments: str, threads: int = 1) -> tuple[int, str]:
        process = self.start(*arguments, threads=threads)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def processes(self) -> list[psutil.Process]:
        """The warm process first, then the jobs that it has forked."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd", "status"]):
            here = process.info["cwd"] == str(self.project.folder) and process.info["status"] != psutil.STATUS_ZOMBIE
            if here and "lifelong.runtime.warm.server" in (process.info["cmdline"] or []):
                found.append(process)
        return sorted(found, key=lambda one: one.create_time())

    def learning(self) -> tuple[subprocess.Popen[str], psutil.Process]:
        """A long job: the process that asked for it, and the one that does it, at work."""
        asked = self.start(*LONG)
        eventually(lambda: len(self.processes()) == 2 and list((self.project.folder / "results/.checkpoints").glob("*/*")))
        return asked, self.processes()[1]


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    made = Warm(tmp_path)
    made.project.edit("params.yaml", "epochs: 3", "epochs: 30000")
    yield made
    made.end()
    eventually(lambda: not made.processes(), 20)


def test_without_a_snakemake_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(UNDER_SNAKEMAKE, raising=False)
    assert run_warm(["check"], "lifelong.cli.warm:warm_up") is None


@pytest.mark.parametrize("threads", [1, 2])
def test_where_it_cannot_be_had_the_job_runs_by_itself(warm: Warm, threads: int) -> None:
    if threads == 1:
        (warm.project.folder / ".snakemake").rmdir()
    status, output = warm.run("check", threads=threads)
    assert (status, "params.yaml is well" in output) == (0, True)
    assert not warm.processes()


def test_jobs_share_one_process_and_report_as_by_themselves(warm: Warm) -> None:
    status, output = warm.run("check")
    assert (status, "params.yaml is well" in output) == (0, True)
    (server,) = warm.processes()
    (socket,) = (warm.project.folder / ".snakemake").glob("lifelong.warm.*.[0-9]*")
    assert socket.stat().st_mode & 0o777 == 0o600
    status, output = warm.run("learn", "split-digits-ewc", "--seed", "0", "--task", "0")
    assert status == 2
    assert output.startswith("lifelong: ")
    assert "data/tasks/split-digits.safetensors: no such file" in output
    assert warm.processes() == [server]
    by_hand = warm.project.run("lifelong", "learn", "split-digits-ewc", "--seed", "0", "--task", "0", expect=2)
    assert by_hand == output


def test_after_an_edit_of_the_sources_jobs_run_by_themselves(warm: Warm) -> None:
    warm.run("check")
    warm.project.edit("src/lifelong/cli/people.py", "is well: ", "is edited: ")
    status, output = warm.run("check")
    assert (status, "params.yaml is edited" in output) == (0, True)


def test_signals_and_ends_reach_the_job_and_back(warm: Warm) -> None:
    """Ctrl-C, kill -9 of the process that asked, and kill -9 of the warm process; each job goes on from its checkpoint."""
    warm.run("images", "digits")
    warm.run("tasks", "split-digits")
    asked, job = warm.learning()
    asked.send_signal(signal.SIGINT)
    assert asked.wait(30) == 130
    asked, job = warm.learning()
    asked.kill()
    asked.wait()
    eventually(lambda: not job.is_running())
    asked, job = warm.learning()
    warm.processes()[0].kill()
    output, _ = asked.communicate(timeout=30)
    assert asked.returncode == 1
    assert "lifelong: the process that ran this job was killed" in output.splitlines()  # the job's own line may come later
    eventually(lambda: not warm.processes())
    asked, job = warm.learning()
    warm.snakemake.kill()
    warm.snakemake.wait()
    eventually(lambda: not warm.processes())
    asked.wait(30)
    assert not list((warm.project.folder / ".snakemake").glob("lifelong.warm.*.[0-9]*"))
