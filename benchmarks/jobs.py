"""What a training job costs beside its training: the start of its process and its peak memory.

python benchmarks/jobs.py [--quick] [--output FILE]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import yaml
from common import (
    INPUTS,
    OUTPUTS,
    PARAMS,
    Row,
    Times,
    machine,
    mnist_at_hand,
    output_option,
    quick_option,
    report,
    use_one_thread,
)

from lifelong.params import load
from lifelong.params.files import Written
from lifelong.runtime.supervision import UNDER_SNAKEMAKE

ROUNDS = 6

# A process says when it got there and how much memory it had used. Its parent cannot ask the kernel in its stead: there
# the high-water mark of a child begins with its parent's own.
_REPORT = """
def report():
    import json, pathlib, re, time
    now = time.time()
    status = pathlib.Path("/proc/self/status").read_text()
    print(json.dumps([now, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024]))
"""
_FIRST_STEP = """
from lifelong import cli
from lifelong.data.tensors import Split
def first_batch(*_):
    report()
    raise SystemExit
Split.batch = first_batch
cli.main()
"""
_WHOLE_JOB = """
import torch
report()
from lifelong import cli
cli.main()
report()
"""
_CARELESS = f"""
import torch, torchvision, mlflow
torch.use_deterministic_algorithms(True)
network = torch.nn.Sequential(torch.nn.Linear({INPUTS}, 64), torch.nn.ReLU(), torch.nn.Linear(64, {OUTPUTS}))
optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
report()
"""


@dataclass(frozen=True)
class Folder:
    """A working directory of the pipeline with every training cut to two epochs."""

    path: Path

    def __post_init__(self) -> None:
        values = Written(PARAMS).values
        for budget in values["training"].values():
            budget["epochs"] = 2
        (self.path / "params.yaml").write_text(yaml.safe_dump(values))

    def prepare(self, sequence: str) -> None:
        (dataset,) = load(PARAMS).sequence(sequence).datasets
        for job in (["images", dataset], ["tasks", sequence]):
            subprocess.run([sys.executable, "-m", "lifelong", *job], cwd=self.path, check=True)

    def reports(self, code: str, *arguments: str) -> list[tuple[float, float]]:
        """Seconds from the process's start to each of its reports, and its peak memory by then in MiB."""
        command = [sys.executable, "-c", _REPORT + code, *arguments]
        start = time.time()
        said = subprocess.run(command, cwd=self.path, stdout=subprocess.PIPE, check=True, text=True).stdout
        return [(then - start, peak) for then, peak in map(json.loads, said.splitlines())]


def learn(experiment: str) -> tuple[str, ...]:
    return ("learn", experiment, "--seed", "0", "--task", "0")


def starts(rounds: int) -> list[Row]:
    """What a training job costs before its first step, beside a job that imports whatever it may want."""
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.prepare("split-digits")
        times = Times(
            {
                "ours": lambda: folder.reports(_FIRST_STEP, *learn("split-digits-sgd"))[0][0],
                "careless": lambda: folder.reports(_CARELESS)[0][0],
            },
            rounds,
        )
    part = "from a process's start to its first step"
    return [
        Row(part, "lifelong learn", times.seconds("ours"), "s"),
        Row(part, "torchvision, MLflow, torch.optim, deterministic algorithms", times.seconds("careless"), "s"),
        Row(part, "careless by ours", times.ratio("careless", "ours"), "x"),
    ]


def warm_jobs(rounds: int) -> list[Row]:
    """A whole job that does little, by a process of its own and by the warm one of its Snakemake."""
    with tempfile.TemporaryDirectory() as path, subprocess.Popen(["sleep", "600"]) as snakemake:
        folder = Folder(Path(path))
        folder.prepare("split-digits")
        (folder.path / ".snakemake").mkdir()
        alone = {name: value for name, value in os.environ.items() if name != UNDER_SNAKEMAKE} | {"OMP_NUM_THREADS": "1"}
        warm = alone | {UNDER_SNAKEMAKE: str(snakemake.pid)}

        def job(environment: dict[str, str]) -> float:
            start = time.time()
            subprocess.run(
                [sys.executable, "-m", "lifelong", *learn("split-digits-sgd")], cwd=path, env=environment, check=True
            )
            return time.time() - start

        try:
            job(warm)  # starts the warm process
            times = Times({"alone": lambda: job(alone), "warm": lambda: job(warm)}, rounds)
        finally:
            snakemake.kill()
    part = "two epochs of a task of digits, from start to end"
    return [
        Row(part, "by a process of its own", times.seconds("alone"), "s"),
        Row(part, "forked by a Snakemake's warm process", times.seconds("warm"), "s"),
        Row(part, "alone by warm", times.ratio("alone", "warm"), "x"),
    ]


def memory() -> list[Row]:
    """The peak of one real job; nothing without MNIST."""
    if not mnist_at_hand():
        return []
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.prepare("split-mnist")
        (_, library), (_, job) = folder.reports(_WHOLE_JOB, *learn("split-mnist-sgd-released"))
    part = "peak memory"
    return [Row(part, "lifelong learn, split MNIST", job, "MiB"), Row(part, "of which import torch", library, "MiB")]


@click.command()
@quick_option
@output_option
def main(quick: bool, output: Path | None) -> None:
    """Measure a job's start and memory on this machine."""
    use_one_thread()
    where = machine()
    rounds = 1 if quick else ROUNDS
    report(output, quick, where, starts(rounds) + warm_jobs(rounds) + ([] if quick else memory()))


if __name__ == "__main__":
    main()
