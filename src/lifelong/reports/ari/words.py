"""Names of the protocols and what a reader must know of them."""

from __future__ import annotations

from lifelong.evaluation.protocols import CHUNKS

PROTOCOLS = {
    "class_incremental": "class-incremental",
    **{f"chunk_{p}": f"chunks of {p}" for p in CHUNKS},
    "task_incremental": "task told",
    **{f"task_prediction_{p}": f"task guessed, chunks of {p}" for p in CHUNKS},
}
"""Name in the scores -> name in the reports, in the order of the columns."""

ANSWERS = {name: title for name, title in PROTOCOLS.items() if not name.startswith("task_prediction")}
"""Those that give an accuracy: tasks guessed right are none."""

SHOWN = ("class-incremental", "chunks of 1", "chunks of 20", "task told")
"""Protocols drawn where each has a panel of its own."""

NOTES = """\
Percent on the test split: mean ± sample deviation over the seeds. **Class-incremental**: the best of all classes seen,
image by image, by the base model. **Chunks of p**: p consecutive test images are known to come from one task; the task with
the largest mean of best logits is guessed for all of them, and the model adapted to it answers; p = 1 is fair.
**Task told**: the task is told and its adapted model answers. **Task guessed**: share of images whose task is guessed
right. Methods without adapted models answer by the base model throughout; iCaRL by the nearest mean of exemplars. All
methods have one head over all classes. The last epoch's weights are taken (the released code takes the best epoch on
the test split); nothing is chosen on the test split.
"""

OTHERS = "and its values are of the other seeds"
"""What a report of these protocols makes of a seed that diverged."""
