"""A section on three nodes of SLURM on this machine against a local run of the same graph, and what a job costs there.

    python benchmarks/cluster.py [--quick] [--output FILE]

Needs root, and Debian's slurm-wlm and munge; says so and exits with 2 where they are missing. The nodes share this machine's
cores, so both sides have the same ones.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
from common import PARAMS, Row, machine, output_option, quick_option, report

sys.path.insert(0, str(PARAMS.parent / "tests"))

from support.project import TINY, Project
from support.slurm.nodes import PARTITIONS, Nodes, find_obstacle

from lifelong.runtime.supervision import count_seconds

CHAINS = 8  # of a job of the cluster
PLAIN = ["--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "3"]
ON_NODES = ["snakemake", "--profile", "profiles/slurm", "--slurm-partition-config", str(PARTITIONS), *PLAIN]


def make_project(folder: Path, quick: bool) -> Project:
    folder.mkdir()
    if quick:
        return Project(folder, TINY)
    shutil.copytree(PARAMS.parent / "params", folder / "params")
    return Project(folder, PARAMS.read_text())


def run(project: Project, *command: str) -> float:
    """Wall-clock seconds."""
    start = time.time()
    project.run(*command)
    return time.time() - start


def count_stages(project: Project) -> int:
    """Jobs that left a state or scores."""
    return len([path for path in project.digests() if re.search(r"/task-\d+/[a-z]+\.safetensors$|/scores\.json$", path)])


def compare_section(folder: Path, nodes: Nodes, target: str, quick: bool) -> list[Row]:
    local, spread = make_project(folder / "local", quick), make_project(folder / "spread", quick)
    cores = len(os.sched_getaffinity(0))
    here = run(local, "snakemake", "--cores", str(cores), "--", target)
    there = run(spread, *ON_NODES, "--group-components", f"chain={CHAINS}", "--", target)
    one, other = local.digests(), spread.digests()
    own = count_seconds(local.folder / "logs") or 0.0
    part = f"`snakemake {target}`"
    return [
        Row(part, "stages and evaluations", float(count_stages(local)), ""),
        Row(part, "processor time of all jobs' own processes, local", own, "s"),
        Row(part, f"wall-clock, local, {cores} cores", here, "s"),
        Row(part, f"wall-clock, three nodes on the same cores, {CHAINS} chains a job", there, "s"),
        Row(part, "three nodes by local", there / here, "x"),
        Row(part, "jobs of the cluster", float(len(nodes.jobs("COMPLETED"))), ""),
        Row(part, "result files", float(len(one)), ""),
        Row(part, "of which the same bytes", float(sum(other.get(path) == digest for path, digest in one.items())), ""),
    ]


def weigh_group(folder: Path, nodes: Nodes, experiment: str, quick: bool) -> list[Row]:
    """One chain as the only job of an idle cluster: what its stages compute, and what it takes."""
    project = make_project(folder / "group", quick)
    run(project, *ON_NODES, "--", f"results/{experiment}/seed-0/scores.json")
    job = nodes.jobs("COMPLETED")[-1]
    hours, minutes, seconds = map(
        int, re.findall(r"RunTime=(\d+):(\d+):(\d+)", nodes.call("scontrol", "show", "job", job))[0]
    )
    took = hours * 3600.0 + minutes * 60 + seconds
    stages = count_stages(project)
    own = count_seconds(project.folder / "logs" / experiment) or 0.0
    part = f"a chain of {experiment} as one job"
    return [
        Row(part, "stages and evaluations", float(stages), ""),
        Row(part, "the job, from start to end", took, "s"),
        Row(part, "its stages' own processor time", own, "s"),
        Row(part, "what a stage costs beside", (took - own) / stages, "s"),
    ]


@click.command()
@quick_option
@output_option
def main(quick: bool, output: Path | None) -> None:
    """Measure the cluster profile on this machine."""
    if obstacle := find_obstacle():
        click.echo(f"no cluster here: {obstacle}", err=True)
        sys.exit(2)
    where = machine()
    target, experiment = (
        ("results/split-digits-ewc/summary.json", "split-digits-sgd") if quick else ("digits", "split-digits-ewc")
    )
    with tempfile.TemporaryDirectory() as path:
        nodes = Nodes(Path(path) / "nodes")
        os.environ |= nodes.environment
        try:
            nodes.bring_up()
            rows = [
                *weigh_group(Path(path), nodes, experiment, quick),
                *compare_section(Path(path), nodes, target, quick),
            ]
        finally:
            nodes.take_down()
    report(output, quick, where, rows)


if __name__ == "__main__":
    main()
