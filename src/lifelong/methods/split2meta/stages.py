"""Split2MetaFusion's stages of a task (paper Algorithm 1; reading M31): slow, fast, dream, fuse, and project for the next.

State beside that of `slow`: `dreams` holds the tasks' dreams (uint8) and the logits of the models that dreamt them; between
the stages of a task `slow` holds the slow model; `shares` is A of each fused tensor, `losses` the loss on the dreams.
"""

from __future__ import annotations

import torch

from lifelong.data.tensors import as_float
from lifelong.methods.split2meta import LinearFusion, Split2MetaOptions
from lifelong.methods.split2meta.dreams import balanced_targets, record_statistics, running_statistics
from lifelong.methods.split2meta.dreams import dream as dreamt
from lifelong.methods.split2meta.fusion import Dreamt, estimate_norm_statistics, fuse_weights, learn_fusion, slow_share
from lifelong.methods.split2meta.slow import keep_groups, norm_penalty, update_rule
from lifelong.runtime.progress import Progress
from lifelong.runtime.randomness import generator
from lifelong.training.job import Job, State, weights


def fast(job: Job, options: Split2MetaOptions, state: State) -> State:
    """Finetune the slow model for a few epochs without projection (paper Eq. 8; reading M7)."""
    network = job.network(state)
    job.fit(
        network,
        penalty=norm_penalty(options, state),
        hook=update_rule(job, options, network, {}),
        epochs=options.fast_epochs,
    )
    return {"network": weights(network), **keep_groups(state), "slow": state["network"]}


def dream(job: Job, options: Split2MetaOptions, state: State) -> State:
    """Dreams of this task by the model that has just learnt it, added to those of the earlier tasks (M13).

    Statistics are those batch normalisation keeps; a network without it is shown the task's images once more to record them.
    """
    dreams = options.dreams
    network = job.network(state).eval().requires_grad_(False)
    statistics = running_statistics(network) or record_statistics(network, job.task.train, 500)
    targets = balanced_targets(dreams.images, job.classes.sizes[job.task.index])
    drawn = generator(job.seed, job.task.index, "dreams")
    with Progress(job.label, dreams.iterations) as progress:
        images = dreamt(network, job.head, targets, job.image_shape, statistics, dreams, drawn, progress.step)
    kept = images.mul(255).round().to(torch.uint8)
    with torch.no_grad():
        logits = network(as_float(kept), job.head)
    index = f"{job.task.index:03d}"
    return state | {"dreams": state["dreams"] | {f"images/{index}": kept, f"logits/{index}": logits}}


def fuse(job: Job, options: Split2MetaOptions, state: State) -> State:
    """A slow + (1 - A) fast: A = 1 - 1/t, or learnt on the dreams (paper Eq. 10)."""
    fusion = options.fusion
    slow_weights, fast_weights, task = state["slow"], state["network"], job.task.index
    if isinstance(fusion, LinearFusion):
        return {"network": fuse_weights(slow_weights, fast_weights, slow_share(task)), **keep_groups(state)}
    bank = dream_bank(state, task, fusion.bank)
    network = job.network(state).eval().requires_grad_(False)
    drawn = generator(job.seed, task, "fusion")
    with Progress(job.label, fusion.steps) as progress:
        result, shares, losses = learn_fusion(network, slow_weights, fast_weights, bank, task, fusion, drawn, progress.step)
    if fusion.norm_statistics == "dreams":
        network.load_state_dict(result)
        estimate_norm_statistics(network, torch.cat([one.images for one in bank]))
        result = weights(network)
    kept = {name: torch.tensor(loss) for name, loss in losses.items()}
    return {"network": result, **keep_groups(state), "shares": shares, "losses": kept}


def dream_bank(state: State, task: int, which: str) -> list[Dreamt]:
    """The dreams of the tasks up to `task`; with `last`, of the task before it and its own."""
    first = max(0, task - 1) if which == "last" else 0
    kept = state["dreams"]
    return [Dreamt(i, as_float(kept[f"images/{i:03d}"]), kept[f"logits/{i:03d}"]) for i in range(first, task + 1)]
