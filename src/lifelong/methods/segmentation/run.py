"""Runs one stage of a segmentation learner, and evaluates one seed."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lifelong import layout
from lifelong.artifacts import file_digest, json_digest, write_json, write_text
from lifelong.config import Settings
from lifelong.data.segmentation import VOID, load_step, load_test
from lifelong.errors import UserError
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.run import read_state, versions, write_state
from lifelong.memory import keep_freed_memory
from lifelong.methods.segmentation import stages
from lifelong.stages import segmentation_earlier, segmentation_final, segmentation_fingerprint, segmentation_input


def run_stage(settings: Settings, name: str, seed: int, step: int, stage: str, threads: int = 1) -> Path:
    """Run one stage and write its state and, where it trains, its curve; returns the state's path.

    Raises:
        UserError: the seed, step or stage is not the learner's, or an input is missing. Nothing has started then.
    """
    learner, sizes = settings.segmentation_learner(name), settings.segmentation_sizes(name)
    known = learner.stages(step, len(sizes)) if 0 <= step < len(sizes) else ()
    if seed not in learner.all_seeds() or stage not in known:
        raise UserError(
            f"{name}: has seeds {list(learner.all_seeds())}, steps 0 to {len(sizes) - 1} and at step {step} the stages "
            f"{', '.join(known) or '(none)'}; found seed {seed}, stage {stage!r}"
        )
    file = layout.segmentation_images(settings.segmentation.steps[learner.steps].data)
    source, earlier = (
        segmentation_input(settings, name, seed, step, stage),
        segmentation_earlier(settings, name, seed, step, stage),
    )
    info: dict[str, Any] = {
        "learner": name,
        "seed": seed,
        "step": step,
        "stage": stage,
        "fingerprint": segmentation_fingerprint(settings, name),
        "images": file_digest(file) if file.is_file() else None,
        "from": [file_digest(path) if path and path.is_file() else None for path in (source, earlier)],
        "versions": versions(),
    }
    state = read_state(source) if source else None
    gc.freeze()
    gc.enable()
    keep_freed_memory()
    torch.set_num_threads(threads)
    job = stages.Job(
        learner=learner,
        budget=settings.training[learner.training],
        sizes=sizes,
        seed=seed,
        step=step,
        stage=stage,
        data=load_step(file, sizes, step),
        checkpoints=Checkpoints(layout.CHECKPOINTS / json_digest(info)),
        label=f"{name} seed {seed} step {step} {stage}",
        earlier=read_state(earlier) if earlier else None,
    )
    outcome = getattr(stages, stage)(job, state)
    output = layout.segmentation_state(name, seed, step, stage)
    if stage in ("slow", "fast"):
        write_text(layout.curve(output), "".join(json.dumps(row, sort_keys=True) + "\n" for row in job.curve))
    write_state(output, outcome, info)
    job.checkpoints.remove()
    return output


@torch.no_grad()
def evaluate(settings: Settings, name: str, seed: int, threads: int = 1) -> None:
    """Write scores.json: after every step the confusion matrix over all classes on the test images.

    `confusion[step][true][answer]` counts pixels, void ones left out; rows of classes still to come are there too.
    """
    torch.set_num_threads(threads)
    learner, sizes = settings.segmentation_learner(name), settings.segmentation_sizes(name)
    test = load_test(layout.segmentation_images(settings.segmentation.steps[learner.steps].data))
    found = []
    for step in range(len(sizes)):
        named = read_state(segmentation_final(settings, name, seed, step))["network"]
        network = stages.network_of(learner, sizes, seed, named).eval()
        total = torch.zeros(sum(sizes) + 1, sum(sizes) + 1, dtype=torch.int64)
        for chosen in torch.arange(len(test)).split(stages.BATCH):
            images, labels = test.batch(chosen)
            total += confusion(labels.long(), network(images, step).argmax(1), len(total))
        found.append(total.tolist())
    write_json(layout.segmentation_scores(name, seed), {"sizes": sizes, "confusion": found})


def confusion(labels: Tensor, answers: Tensor, classes: int) -> Tensor:
    """Counts [true, answer] of all pixels but void ones."""
    known = labels != VOID
    flat = labels[known] * classes + answers[known]
    return torch.bincount(flat, minlength=classes * classes).view(classes, classes)
