"""Where every file of the pipeline lies, relative to the working directory. Wildcards of Snakemake fit in as names."""

from __future__ import annotations

import os
from pathlib import Path

REPORTS = Path(os.environ.get("LIFELONG_REPORTS", "reports"))
"""Where reports and what they keep are written; elsewhere than `reports`, what git keeps there stays as it is."""

RESULTS = Path("results")
CHECKPOINTS = RESULTS / ".checkpoints"
LOGS = Path("logs")
RECEIPTS = (RESULTS if Path("reports") == REPORTS else REPORTS) / ".receipts"


def images(dataset: str) -> Path:
    return Path(f"data/images/{dataset}.safetensors")


def tasks(sequence: str) -> Path:
    return Path(f"data/tasks/{sequence}.safetensors")


def state(experiment: str, seed: int | str, task: int | str, stage: str) -> Path:
    """What a stage leaves: the named tensors the next stage needs."""
    return RESULTS / experiment / f"seed-{seed}" / f"task-{task}" / f"{stage}.safetensors"


def checkpoints(*names: str | int) -> Path:
    """Where progress of one piece of work is kept while it goes on."""
    return CHECKPOINTS / ".".join(map(str, names))


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


def tracked_collective(name: str) -> Path:
    return RESULTS / ".tracked" / "skill" / f"{name}.json"


def report(name: str, suffix: str) -> Path:
    """A file of a report; its name is `<section>/<report>`."""
    return REPORTS / f"{name}.{suffix}"


def receipt(kind: str, name: str) -> Path:
    """What says how the files of a job were made that hold no record themselves."""
    return RECEIPTS / kind / f"{name}.json"


def features(backbone: str, tier: str, dataset: str, split: str) -> Path:
    return Path(f"data/features/{backbone}/{tier}/{dataset}-{split}.safetensors")


def collective(name: str, seed: int | str) -> Path:
    """The folder of one seed of a collective of SKILL agents."""
    return RESULTS / "skill" / name / f"seed-{seed}"


def taught(name: str, seed: int | str, task: int | str) -> Path:
    """Linear heads and anchors of one task."""
    return collective(name, seed) / f"task-{task}" / "taught.safetensors"


def taught_times(name: str, seed: int | str, task: int | str) -> Path:
    """Seconds that each part of a task took; no result, since it differs from run to run."""
    return LOGS / f"skill/{name}/seed-{seed}/task-{task}/times.json"


def biased(name: str, seed: int | str, task: int | str, head: str) -> Path:
    """A head with beneficial biases of one task."""
    return collective(name, seed) / f"task-{task}" / f"biased-{head}.safetensors"


def biased_times(name: str, seed: int | str, task: int | str, head: str) -> Path:
    return LOGS / f"skill/{name}/seed-{seed}/task-{task}/times-{head}.json"


def biased_predictions(name: str, seed: int | str, task: int | str, head: str) -> Path:
    """What such a head says of the task's own test images."""
    return collective(name, seed) / f"task-{task}" / f"judged-{head}.safetensors"


def packet(name: str, seed: int | str, task: int | str, variant: str) -> Path:
    """What the agent that learnt the task sends to the others."""
    return collective(name, seed) / f"task-{task}" / f"packet-{variant}.safetensors"


def bank(name: str, seed: int | str, agents: int | str, agent: int | str) -> Path:
    """What one of so many agents holds after all packets: a digest of the bank of each variant."""
    return collective(name, seed) / f"agents-{agents}" / f"agent-{agent}.json"


def collective_scores(name: str, seed: int | str) -> Path:
    return collective(name, seed) / "scores.json"


def head2toe(name: str, seed: int | str, task: int | str) -> Path:
    """What a head that sees inner maps too says of the task's own test images."""
    return collective(name, seed) / f"task-{task}" / "head2toe.safetensors"


def reused(name: str, seed: int | str) -> Path:
    """What names correct and heads give to new tasks."""
    return collective(name, seed) / "reuse.json"


def collective_predictions(name: str, seed: int | str) -> Path:
    return collective(name, seed) / "predictions.safetensors"


def section(name: str, file: str) -> Path:
    """A file that a section keeps: results.csv, quantities.csv, imported.csv, provenance.json."""
    return REPORTS / name / file


def evidence(report: str) -> Path:
    """Images that a report shows; its name is `<section>/<report>`."""
    folder, _, name = report.partition("/")
    return REPORTS / folder / "evidence" / f"{name}.safetensors"


def logs(name: str) -> Path:
    """Where the jobs of an experiment say what they took."""
    return Path("logs") / name


def measured(report: str, suffix: str) -> Path:
    """What a report measured itself, before its section collects it."""
    return RESULTS / "measured" / f"{report}.{suffix}"
