"""Wall-clock speed-up of N agents that teach the tasks of a sequence as processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from common import Row

from lifelong.data.selection import TaskData
from lifelong.methods.skill.gmmc import fit_clusters
from lifelong.methods.skill.heads import train_linear
from lifelong.methods.skill.mahalanobis import draw_samples
from lifelong.methods.skill.share import tasks_of_agent
from lifelong.params.skill import LinearHead


@dataclass(frozen=True)
class Work:
    """What every task is made of: random features of some classes."""

    tasks: int
    classes: int
    images: int
    features: int
    clusters: int
    epochs: int


def task_data(work: Work, task: int) -> TaskData:
    random = np.random.default_rng(task)
    labels = random.permutation(np.arange(work.images) % work.classes)
    centres = random.standard_normal((work.classes, work.features))
    rows = (centres[labels] + 4 * random.standard_normal((work.images, work.features))).astype(np.float32)
    return TaskData(rows, labels, tuple(map(str, range(work.classes))))


def teach(work: Work, data: TaskData, task: int) -> None:
    """The head and both anchors, as a job of the pipeline learns them."""
    half = len(data) // 5
    settings = LinearHead(kind="linear", epochs=work.epochs, patience=work.epochs)
    train_linear(data.at(np.arange(half, len(data))), data.at(np.arange(half)), settings, 0, str(task))
    fit_clusters(data.rows, work.clusters, 1e-6, 0)
    draw_samples(data.rows, data.labels, 5, 0)


def agent(work: Work, agents: int, number: int, ready: Barrier, ends: Any) -> None:
    """One agent: everything is imported and at hand before the clock starts."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch.set_num_threads(1)
    with threadpool_limits(1):
        own = {task: task_data(work, task) for task in tasks_of_agent(work.tasks, agents, number)}
        teach(Work(1, 2, 20, 4, 2, 1), task_data(Work(1, 2, 20, 4, 2, 1), 0), 0)
        ready.wait()
        for task, data in own.items():
            teach(work, data, task)
        ends[number] = time.monotonic()


def seconds(work: Work, agents: int) -> float:
    """From the common start to the end of the last agent."""
    context = multiprocessing.get_context("spawn")
    ready, ends = context.Barrier(agents + 1), context.Array("d", agents)
    processes = [context.Process(target=agent, args=(work, agents, n, ready, ends)) for n in range(agents)]
    for process in processes:
        process.start()
    ready.wait()
    start = time.monotonic()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("an agent failed")
    return max(ends[:]) - start


def rows(work: Work, rounds: int) -> list[Row]:
    """Numbers of agents up to the number of cores, in turn; each ratio is one round's, of which the median counts."""
    counts = [n for n in (1, 2, 4, 8, 16) if n <= min(os.cpu_count() or 1, work.tasks)]
    found = [{n: seconds(work, n) for n in counts} for _ in range(rounds)]
    what = f"{work.tasks} tasks of {work.images} x {work.features} features"
    made = [Row("agents", f"N = 1, {what}", float(np.median([one[1] for one in found])), "s")]
    for n in counts[1:]:
        speed = float(np.median([one[1] / one[n] for one in found]))
        made += [Row("agents", f"N = {n}, speed-up", speed, "times"), Row("agents", f"N = {n}, of N", speed / n, "")]
    return made
