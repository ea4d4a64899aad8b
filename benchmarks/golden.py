"""Do two commits compute the same? Runs both on one machine and compares every tensor that they leave.

    python benchmarks/golden.py BEFORE     # against the working tree

Runs the digits and skill-demo sections, two tasks of dense CamVid and one seed of split MNIST (short budgets) of commit
BEFORE, in a worktree, and of the working tree. Bytes of models differ between kinds of processor, so no digest is kept in
the repository; those of BEFORE are kept in `--folder` and used again. Needs LIFELONG_DATA.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from safetensors import safe_open

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "profiles", "src", "params", "params.yaml")
TARGETS = ("digits", "skill-demo")
MNIST = {
    "network": "mlp-256-128",
    "method": "anpyc",
    "options": {"strength": 1.0, "pruning": "constant", "prune_percent": 20},
}
TRAINING = {
    "golden-mnist": {"learning_rate": 0.05, "batch_size": 256, "epochs": 1},
    "golden-dense": {"optimiser": "adam", "learning_rate": 3e-3, "batch_size": 12, "epochs": 1},
}

# As parameters were written before there was one kind of sequence and of experiment.
BEFORE = {
    "training": TRAINING,
    "experiments": {"golden-mnist": {"scenario": "split-mnist", "training": "golden-mnist", "seeds": 1, **MNIST}},
}
BEFORE_EDITS = (
    ("    camvid-6-1:", "    golden-10-1: {data: camvid, first: 10, each: 1}\n    camvid-6-1:"),
    (
        "  learners:\n    camvid",
        "  learners:\n    golden-dense: {steps: golden-10-1, widths: [8, 16, 16], training: golden-dense, seeds: 1, "
        "distillation: plop, null_space: {threshold: 1e-3}, fusion: linear, fast_epochs: 1}\n    camvid",
    ),
)
BEFORE_FILES = ("results/golden-mnist/seed-0/scores.json", "results/segmentation/golden-dense/seed-0/scores.json")

NOW = {
    "training": TRAINING,
    "sequences": {"golden-10-1": {"kind": "dense", "dataset": "camvid", "sizes": [10, 1]}},
    "networks": {"golden-dense": {"kind": "dense-conv", "widths": [8, 16, 16]}},
    "experiments": {
        "golden-mnist": {"sequence": "split-mnist", "training": "golden-mnist", "seeds": 1, **MNIST},
        "golden-dense": {
            "sequence": "golden-10-1",
            "network": "golden-dense",
            "training": "golden-dense",
            "method": "plop",
            "options": {"null_space": {"threshold": 1e-3}, "fusion": "linear", "fast_epochs": 1},
            "seeds": 1,
        },
    },
}
NOW_EDITS: tuple[tuple[str, str], ...] = ()
NOW_FILES = ("results/golden-mnist/seed-0/scores.json", "results/golden-dense/seed-0/scores.json")

RENAMED = {"results/segmentation/golden-dense/": "results/golden-dense/", "/step-": "/task-"}
"""Parts of paths of files and names of tensors that are called otherwise now."""

EXPECTED = {
    f"results/digits-5-{name}": "baselines of a collective have become experiments"
    for name in ("sgd", "er", "ewc", "psp", "supsup")
}
"""Prefixes of paths whose tensors differ on purpose -> why."""


def build(source: Path, folder: Path, overlay: dict, edits: Sequence[tuple[str, str]]) -> None:
    """A project folder with the code and parameters of `source`, further parameters, and edits of params/split2meta.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        target = folder / part
        if target.is_dir():
            shutil.rmtree(target)
        copy = shutil.copytree if (source / part).is_dir() else shutil.copy
        copy(source / part, target)
    for old, new in edits:
        file = folder / "params/split2meta.yaml"
        assert old in file.read_text(), old
        file.write_text(file.read_text().replace(old, new, 1))
    (folder / "params/golden.yaml").write_text(yaml.safe_dump(overlay))
    main = (folder / "params.yaml").read_text()
    assert "include: [" in main
    (folder / "params.yaml").write_text(main.replace("include: [", "include: [params/golden.yaml, "))


def run(folder: Path, files: tuple[str, ...]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["snakemake", "--cores", "2", "--quiet", "rules", "reason", "host", "--", *TARGETS, *files]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def digests(folder: Path) -> dict[str, str]:
    """`<file> <tensor>` -> digest of dtype, shape and numbers; and of every scores.json its accuracies."""
    found: dict[str, str] = {}
    for path in sorted((folder / "results").rglob("*")):
        name = str(path.relative_to(folder))
        if "/." in name or not path.is_file():
            continue
        if path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                for key in file.keys():  # noqa: SIM118
                    array = file.get_tensor(key)
                    about = f"{array.dtype} {array.shape} ".encode()
                    found[f"{name} {key}"] = hashlib.sha256(about + array.tobytes()).hexdigest()
    return found


def renamed(name: str) -> str:
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="a commit")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/lifelong-golden"), help="where both are run")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", arguments.before], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    kept = arguments.folder / f"{commit}.json"
    if not kept.exists():
        source = arguments.folder / f"source-{commit}"
        if not source.exists():
            subprocess.run(["git", "worktree", "add", "--detach", str(source), commit], cwd=ROOT, check=True)
        build(source, arguments.folder / commit, BEFORE, BEFORE_EDITS)
        run(arguments.folder / commit, BEFORE_FILES)
        kept.write_text(json.dumps(digests(arguments.folder / commit), indent=1))
        subprocess.run(["git", "worktree", "remove", "--force", str(source)], cwd=ROOT, check=True)
    before = {renamed(name): digest for name, digest in json.loads(kept.read_text()).items()}
    shutil.rmtree(arguments.folder / "now", ignore_errors=True)
    build(ROOT, arguments.folder / "now", NOW, NOW_EDITS)
    run(arguments.folder / "now", NOW_FILES)
    now = digests(arguments.folder / "now")
    differing = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    unexpected = [name for name in differing if not any(name.startswith(prefix) for prefix in EXPECTED)]
    print(f"{len(before)} tensors before, {len(now)} now: {len(differing)} differ, {len(unexpected)} of them unexpectedly")
    for prefix, why in EXPECTED.items():
        print(f"  expected: {prefix}: {sum(name.startswith(prefix) for name in differing)} ({why})")
    for name in unexpected[:40]:
        print(f"  {name}: {'absent now' if name not in now else 'new' if name not in before else 'other numbers'}")
    sys.exit(bool(unexpected))


if __name__ == "__main__":
    main()
