"""Where every file of the pipeline lies, relative to the working directory. Wildcards of Snakemake fit in as names."""

from __future__ import annotations

from pathlib import Path

RAW = Path("data/raw")
RESULTS = Path("results")
CHECKPOINTS = RESULTS / ".checkpoints"


def images(dataset: str) -> Path:
    return Path(f"data/images/{dataset}.safetensors")


def tasks(scenario: str) -> Path:
    return Path(f"data/tasks/{scenario}.safetensors")


def state(experiment: str, seed: int | str, task: int | str, stage: str) -> Path:
    """What a stage leaves: the named tensors the next stage needs."""
    return RESULTS / experiment / f"seed-{seed}" / f"task-{task}" / f"{stage}.safetensors"


def curve(state_path: Path) -> Path:
    """The learning curve beside a state: one JSON object a line."""
    return state_path.with_suffix(".curve.jsonl")


def scores(experiment: str, seed: int | str) -> Path:
    return RESULTS / experiment / f"seed-{seed}" / "scores.json"


def predictions(experiment: str, seed: int | str) -> Path:
    return RESULTS / experiment / f"seed-{seed}" / "predictions.safetensors"


def summary(experiment: str) -> Path:
    return RESULTS / experiment / "summary.json"


def chosen(experiment: str) -> Path:
    """The options chosen from an experiment's grid."""
    return RESULTS / experiment / "chosen.json"


def tracked(experiment: str) -> Path:
    """The receipt of a tracker's run: which runs were written for which content."""
    return RESULTS / ".tracked" / f"{experiment}.json"


def report(name: str, suffix: str) -> Path:
    """A file of a report; its name is `<section>/<report>`."""
    return Path(f"reports/{name}.{suffix}")
