"""How planning grows: `snakemake -n` on many experiments of five tasks and three seeds, and on one of a hundred tasks.

python benchmarks/growth.py [--quick] [--output FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import yaml
from common import PARAMS, Cell, machine, output_option, quick_option, report

ROOT = PARAMS.parent

# A dry run that says, as its last line, how long it took and how much memory it had used.
_DRY_RUN = """
import contextlib, json, pathlib, re, sys, time
started = time.time()
from snakemake.cli import main
status = 0
try:
    main(["--dry-run", "--quiet", "all", "--cores", "1", "--", *sys.argv[1:]])
except SystemExit as ended:
    status = ended.code
memory = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print(json.dumps([status, time.time() - started, int(memory) / 1024]))
"""


def write_project(folder: Path, experiments: int, tasks: int, seeds: int) -> list[str]:
    """Params of as many experiments; returns the targets that need them all."""
    for name in ("Snakefile", "workflow", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    common = {"sequence": "digits", "network": "mlp", "training": "short", "method": "ewc", "seeds": seeds}
    names = [f"ewc-{number}" for number in range(experiments)]
    permuted = {"dataset": "digits", "kind": "permuted", "tasks": tasks, "permutation": "numpy", "permutation_seed": 0}
    params = {
        "sequences": {"digits": permuted | {"validation": {"first": 100}}},
        "networks": {"mlp": {"kind": "mlp", "hidden": [16, 8], "initialisation": "truncated-normal"}},
        "training": {"short": {"learning_rate": 0.05, "batch_size": 32, "epochs": 1}},
        "experiments": {name: common | {"options": {"strength": 1 + number}} for number, name in enumerate(names)},
        "reports": {"digits": {"comparison": {"title": "All", "experiments": {name: name for name in names}}}},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return [f"results/{name}/summary.json" for name in names]


def plan(experiments: int, tasks: int, seeds: int) -> dict[str, Cell]:
    with tempfile.TemporaryDirectory() as path:
        targets = write_project(Path(path), experiments, tasks, seeds)
        done = subprocess.run([sys.executable, "-c", _DRY_RUN, *targets], cwd=path, capture_output=True, text=True)
        status, seconds, memory = json.loads(done.stdout.splitlines()[-1])
        if status:
            raise click.ClickException(done.stderr)
    jobs = experiments * (seeds * (2 * tasks + 1) + 1) + 2  # images and tasks
    return {
        "experiments": float(experiments),
        "tasks": float(tasks),
        "seeds": float(seeds),
        "jobs": float(jobs),
        "seconds": seconds,
        "milliseconds a job": 1000 * seconds / jobs,
        "MiB at most": memory,
    }


def plan_all(sizes: Sequence[tuple[int, int, int]]) -> list[dict[str, Cell]]:
    return [plan(*size) for size in sizes]


@click.command()
@quick_option
@output_option
def main(quick: bool, output: Path | None) -> None:
    """Measure what planning costs on this machine."""
    where = machine()
    sizes = [(3, 5, 3), (1, 10, 1)] if quick else [(100, 5, 3), (300, 5, 3), (1000, 5, 3), (1, 100, 1), (1, 100, 3)]
    report(output, quick, where, plan_all(sizes))


if __name__ == "__main__":
    main()
