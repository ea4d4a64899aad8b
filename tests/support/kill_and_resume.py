"""Kills a run again and again at random moments, lets it finish, and compares every result with an undisturbed run.

`python tests/kill_and_resume.py --kills 100` does it by hand, on one method's whole chain.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from pathlib import Path

from support.project import Project, kill_group

TARGET = "results/split-digits-anpyc/summary.json"


def disturbed(project: Project, kills: int, seed: int, longest: float) -> int:
    """Start, kill -9 the group after a random time, `kills` times, then let it finish; returns how many were hit."""
    moments = random.Random(seed)
    hit = 0
    for _ in range(kills):
        process = project.start("snakemake", "--cores", "2", TARGET)
        try:
            process.communicate(timeout=moments.uniform(0.5, longest))
        except subprocess.TimeoutExpired:
            kill_group(process)
            hit += 1
    project.snakemake(TARGET)
    return hit


def differences(project: Project, reference: dict[str, str]) -> list[str]:
    """Results that differ from the reference's or are missing on one side, among those of TARGET's experiment."""
    found = project.digests()
    part = str(Path(TARGET).parent)
    names = {name for name in (*found, *reference) if not name.startswith("results/") or name.startswith(part)}
    return sorted(name for name in names if found.get(name) != reference.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=12.0, help="seconds before a kill, at most")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        undisturbed = Project(Path(one))
        undisturbed.snakemake(TARGET)
        project = Project(Path(two))
        hit = disturbed(project, arguments.kills, arguments.seed, arguments.longest)
        wrong = differences(project, undisturbed.digests())
    print(f"{hit} kills hit a running workflow; {len(wrong)} results differ {wrong}")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
