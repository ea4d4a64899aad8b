"""What ARI's step costs: time with and without the attack, and memory for the task models (the paper's +20 % and 100 MB).

Unlike other reports this one measures while it is written: processor time of this thread, on mini-batches of the last task
with the memory that is left. No other file depends on it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from lifelong import layout
from lifelong.artifacts import read_info, write_text
from lifelong.config import Experiment, Report, Settings
from lifelong.config.methods import AriOptions
from lifelong.config.reports import CostsOptions
from lifelong.paper.cells import write_csv
from lifelong.paper.markdown import machine, table

PRINTED_RATIO = 1.2
"""The paper's section 4.3: the attack makes training 20 % longer."""

PRINTED_MEGABYTES = 100.0
"""The same: what the task models of CIFAR-100's ten tasks take."""

TOLERANCE = 0.1
"""How far a ratio of times may be from the printed one and still be it."""

COLUMNS = ["row", "metric", "x", "mean", "deviation", "n", "printed_mean", "verdict"]

NOTES = """\
Median processor time of one thread over {rounds} mini-batches of the last task and the memory, the experiments taken in turn
on the same images. The ratio is to the first row with the same network, tasks and budget. Without the attack a task's images
pass once forwards and once backwards; with it, in the released order, three times, once without gradients of the weights:
eight products of matrices for three. *Attacked alone* (Algorithm 1) has five. So none comes near 1.2 but by other work than
the network's (reading images, for instance), beside which the attack is small. The task models of one mini-batch are kept as
whole copies by the paper's fusion alone, one a task: 4 bytes a parameter; sums need one.
"""


def write(settings: Settings, report: Report) -> None:
    """Write milliseconds a mini-batch, ratios beside the printed one, and megabytes."""
    assert isinstance(report.options, CostsOptions)
    experiments = {label: settings.experiment(name) for label, name in report.single().items()}
    steps = {label: step_of(experiment) for label, experiment in experiments.items()}
    found = medians({label: step for label, (step, _) in steps.items()}, report.options.rounds)
    lines, body = [], []
    first: dict[str, float] = {}
    for label, experiment in experiments.items():
        alike = str((experiment.scenario_name, experiment.network, experiment.training))
        ratio = found[label] / first.setdefault(alike, found[label])
        attacked = _options(experiment).attack != "none"
        judged = {"printed_mean": PRINTED_RATIO, "verdict": verdict(ratio)} if attacked else {}
        megabytes = steps[label][1] / 1e6
        for metric, value, more in (
            ("milliseconds", 1e3 * found[label], {}),
            ("time_ratio", ratio, judged),
            ("models", megabytes, {"printed_mean": PRINTED_MEGABYTES}),
        ):
            lines.append({"row": label, "metric": metric, "mean": value, "n": 0, **more})
        cells = [f"{1e3 * found[label]:.1f}", f"{ratio:.2f}", judged.get("verdict", "-"), f"{megabytes:.2f}"]
        body.append([label, experiment.name, *map(str, cells)])
    write_csv(layout.report(report.name, "csv"), COLUMNS, lines, ".4f")
    header = ["Row", "Experiment", "ms a mini-batch", "Ratio", f"Printed {PRINTED_RATIO:g}", "MB of task models"]
    notes = NOTES.format(rounds=report.options.rounds)
    text = f"# {report.title}\n\n{table(header, body)}\n## How these were made\n\n{notes}\nMachine: {machine()}.\n"
    write_text(layout.report(report.name, "md"), text)


def verdict(ratio: float) -> str:
    return "reproduced" if abs(ratio - PRINTED_RATIO) <= TOLERANCE else "contradicted"


def medians(steps: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turn; the first round does not count."""
    taken: dict[str, list[float]] = {label: [] for label in steps}
    for _ in range(rounds + 1):
        for label, step in steps.items():
            start = time.thread_time()
            step()
            taken[label].append(time.thread_time() - start)
    return {label: statistics.median(values[1:]) for label, values in taken.items()}


def step_of(experiment: Experiment) -> tuple[Callable[[], None], int]:
    """One mini-batch's update of the first seed's last network, and the bytes of the task models that it keeps."""
    import torch

    from lifelong.data.tensors import load_task
    from lifelong.learning.exemplars import rehearsed
    from lifelong.learning.optimisers import Optimiser
    from lifelong.learning.run import read_state
    from lifelong.methods.ari.step import TaskModels
    from lifelong.networks.create import new_network
    from lifelong.stages import final_state

    seed, last, tasks = experiment.seeds[0], experiment.tasks[-1], layout.tasks(experiment.scenario_name)
    shape: dict[str, Any] = read_info(tasks, "tasks")
    state = read_state(final_state(experiment, seed, last))
    network = new_network(experiment, shape["image_shape"], shape["tasks"], shape["classes_per_task"], seed)
    network.load_state_dict(state["network"])
    earlier = state["memory"]["labels"] < last * shape["classes_per_task"]
    memory = {name: tensor[earlier] for name, tensor in state["memory"].items()}
    train = load_task(layout.images(experiment.scenario.dataset), tasks, last).train
    mixed = rehearsed(train, last, shape["classes_per_task"], memory if earlier.any() else None)
    order = torch.randperm(len(mixed), generator=torch.Generator().manual_seed(seed))
    images, labels = mixed.batch(order[: experiment.training.batch_size])
    update = TaskModels(network.train(), _options(experiment), shape["classes_per_task"], last, shape["tasks"])
    named = dict(network.named_parameters())
    optimiser = Optimiser(experiment.training, list(named), list(named.values()))
    rate = experiment.training.learning_rate
    models = {"paper": shape["tasks"], "literal": 0}.get(_options(experiment).fusion, 1)
    return lambda: (update(images, labels, optimiser, rate), None)[1], models * sum(update.sizes) * 4


def _options(experiment: Experiment) -> AriOptions:
    assert isinstance(experiment.options, AriOptions)
    return experiment.options
