"""A small copy of the project to run whole graphs in: the real Snakefile, rules and package, tiny params."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
POLL = 0.05  # seconds: far shorter than what is waited for, and no load

TINY = """
sequences:
  split-digits: {dataset: digits, kind: split, tasks: 2, classes_per_task: 2, validation: {fraction: 0.15, seed: 0}}
networks:
  mlp-256-128: {kind: mlp, hidden: [16, 8], dropout: 0.5, initialisation: truncated-normal}
  ari-mlp-100-100: {kind: attention-mlp, hidden: [8, 8]}
training:
  digits: {learning_rate: 0.05, batch_size: 32, epochs: 3, decay_factor: 0.9, decay_every: 2}
  ari-digits: {learning_rate: 0.05, batch_size: 64, epochs: 2}
experiments:
  split-digits-sgd:
    {sequence: split-digits, network: mlp-256-128, training: digits, method: sgd, seeds: 1, joint: split-digits-joint}
  split-digits-finetune: {sequence: split-digits, network: mlp-256-128, training: digits, method: finetune, seeds: 1}
  split-digits-sgd-f: {sequence: split-digits, network: mlp-256-128, training: digits, method: sgd-f, seeds: 1}
  split-digits-ewc:
    {sequence: split-digits, network: mlp-256-128, training: digits, method: ewc, options: {strength: 5}, seeds: 1}
  split-digits-anpyc:
    {sequence: split-digits, network: mlp-256-128, training: digits, method: anpyc, options: {strength: 0.01}, seeds: 1}
  split-digits-split2meta:
    sequence: split-digits
    network: mlp-256-128
    training: digits
    method: split2meta
    options:
      null_space: {kind: tpnsp, threshold: 0.01}
      fast_epochs: 1
      dreams: {images: 4, iterations: 2}
      fusion: {kind: meta, steps: 2}
    seeds: 1
  split-digits-joint: {sequence: split-digits, network: mlp-256-128, training: digits, method: joint, seeds: 1}
  split-digits-sgd-all:
    {sequence: split-digits, network: mlp-256-128, training: digits, method: sgd, heads: all-classes, seeds: 1}
  split-digits-er:
    {sequence: split-digits, network: mlp-256-128, training: digits, method: er, options: {memory: 20}, seeds: 1}
  split-digits-itaml:
    {sequence: split-digits, network: ari-mlp-100-100, training: ari-digits, method: itaml, options: {memory: 20}, seeds: 1}
  split-digits-ari-literal:
    sequence: split-digits
    network: ari-mlp-100-100
    training: ari-digits
    method: ari
    options: {memory: 20, fusion: literal, rate: exponential}
    seeds: 1
  split-digits-ari:
    {sequence: split-digits, network: ari-mlp-100-100, training: ari-digits, method: ari, options: {memory: 20}, seeds: 1}
reports:
  digits:
    ari:
      kind: ari-protocols
      title: Tiny
      experiments:
        SGD: split-digits-sgd-all
        ER: split-digits-er
        iTAML: split-digits-itaml
        ARI, literal: split-digits-ari-literal
        ARI, paper: split-digits-ari
    comparison:
      title: Tiny
      experiments:
        SGD: split-digits-sgd
        Fine-tuning: split-digits-finetune
        SGD-F: split-digits-sgd-f
        EWC: split-digits-ewc
        ANPyC: split-digits-anpyc
        Split2MetaFusion: split-digits-split2meta
        Joint: split-digits-joint
"""


class Project:
    """A working directory with its own copy of the package, which the jobs import."""

    def __init__(self, folder: Path, params: str = TINY) -> None:
        self.folder = folder
        for name in ("workflow", "profiles", "src"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name in ("Snakefile", "dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, folder / name)
        self.write("params.yaml", params)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text, f"{name} holds no {old!r}"
        self.write(name, text.replace(old, new))

    @property
    def environment(self) -> dict[str, str]:
        modules = [str(self.folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"PYTHONPATH": os.pathsep.join(modules), "LIFELONG_CHECKPOINT_SECONDS": "0", "GIT_CONFIG_GLOBAL": os.devnull}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, "PATH": path, **own}

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, expect: int | None = 0) -> str:
        process = self.start(*command)
        output, _ = process.communicate()
        assert expect is None or process.returncode == expect, f"{command} gave {process.returncode}:\n{output}"
        return output

    def snakemake(self, *arguments: str, expect: int | None = 0, cores: int = 2) -> str:
        return self.run("snakemake", "--cores", str(cores), *arguments, expect=expect)

    def planned(self, *targets: str) -> list[str]:
        """Outputs of the jobs that a dry run would do, sorted."""
        output = self.snakemake("--dry-run", *targets)
        lines = [line.strip() for line in output.splitlines()]
        outputs = [line.removeprefix("output: ").split(", ") for line in lines if line.startswith("output: ")]
        return sorted(part.removesuffix(" (update)") for parts in outputs for part in parts)

    def clone(self, folder: Path) -> Project:
        """A clone of the project, which is a git repository."""
        self.run("git", "clone", "--quiet", str(self.folder), str(folder))
        clone = Project.__new__(Project)
        clone.folder = folder
        return clone

    def digests(self) -> dict[str, str]:
        """sha256 of every result, by path; logs, checkpoints and receipts of the tracker are not results."""
        files = [
            path
            for part in ("data/images", "data/tasks", "data/features", "results")
            for path in (self.folder / part).rglob("*")
        ]
        kept = [
            path
            for path in files
            if path.is_file() and not any(p.startswith(".") for p in path.relative_to(self.folder).parts)
        ]
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(kept)}


def kill_group(process: subprocess.Popen[str]) -> None:
    """kill -9 of the whole process group."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def eventually(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what other processes do and tell nobody of: files they write, their own end. Asked often, bounded once."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(POLL)  # nothing announces another process's files, nor the end of one that is not a child
