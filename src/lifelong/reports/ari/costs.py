"""What ARI's step costs: time with and without the attack, and memory for the task models (the paper's +20 % and 100 MB).

Processor time of this thread, on mini-batches of the last task with the memory that is left.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

from lifelong.evaluation.results import Quantity
from lifelong.methods.ari import AriOptions
from lifelong.params import Experiment, Report, Settings
from lifelong.params.reports import CostsOptions
from lifelong.reports.cells import write_csv
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.reports.verdicts import judge_counted
from lifelong.runtime import paths

PRINTED_RATIO = 1.2
"""The paper's section 4.3: the attack makes training 20 % longer."""

PRINTED_MEGABYTES = 100.0
"""The same: what the task models of CIFAR-100's ten tasks take."""

TOLERANCE = 0.1
"""Share of the printed ratio of times within which ours is the same."""

COLUMNS = ["row", "metric", "x", "mean", "deviation", "n", "printed_mean", "verdict"]

NOTES = """\
Median processor time of one thread over {rounds} mini-batches of the last task and the memory, the experiments taken in turn
on the same images. The ratio is to the first row with the same network, tasks and budget. Without the attack a task's images
pass once forwards and once backwards; with it, in the released order, three times, once without gradients of the weights:
eight products of matrices for three. *Attacked alone* (Algorithm 1) has five. So none comes near 1.2 but by other work than
the network's (reading images, for instance), beside which the attack is small. The task models of one mini-batch are kept as
whole copies by the paper's fusion alone, one a task: 4 bytes a parameter; sums need one.
"""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Milliseconds a mini-batch, and megabytes of the task models, of the first seed."""
    assert isinstance(report.options, CostsOptions)
    experiments = {label: settings.experiment(name) for label, name in report.single().items()}
    steps = {label: step_of(experiment) for label, experiment in experiments.items()}
    seconds = medians({label: step for label, (step, _) in steps.items()}, report.options.rounds)
    result = []
    for label, experiment in experiments.items():
        place = (report.name, label, experiment.name, experiment.seeds[0], None, None)
        result.append(Quantity(*place, "milliseconds", 1e3 * seconds[label]))
        result.append(Quantity(*place, "models", steps[label][1] / 1e6))
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write milliseconds a mini-batch, ratios beside the printed one, and megabytes."""
    assert isinstance(report.options, CostsOptions)
    experiments = {label: settings.experiment(name) for label, name in report.single().items()}
    measured = {(one.row, one.metric): one.value or 0.0 for one in results.quantities(report)}
    lines, body = [], []
    first: dict[str, float] = {}
    for label, experiment in experiments.items():
        alike = str((experiment.sequence_name, experiment.network, experiment.training))
        taken, megabytes = measured[label, "milliseconds"], measured[label, "models"]
        ratio = taken / first.setdefault(alike, taken)
        attacked = _options(experiment).attack != "none"
        judged = (
            {"printed_mean": PRINTED_RATIO, "verdict": judge_counted(ratio, PRINTED_RATIO, TOLERANCE)} if attacked else {}
        )
        for metric, value, more in (
            ("milliseconds", taken, {}),
            ("time_ratio", ratio, judged),
            ("models", megabytes, {"printed_mean": PRINTED_MEGABYTES}),
        ):
            lines.append({"row": label, "metric": metric, "mean": value, "n": 0, **more})
        cells = [f"{taken:.1f}", f"{ratio:.2f}", judged.get("verdict", "-"), f"{megabytes:.2f}"]
        body.append([label, experiment.name, *map(str, cells)])
    write_csv(paths.report(report.name, "csv"), COLUMNS, lines, ".4f")
    header = ["Row", "Experiment", "ms a mini-batch", "Ratio", f"Printed {PRINTED_RATIO:g}", "MB of task models"]
    notes = NOTES.format(rounds=report.options.rounds)
    text = f"# {report.title}\n\n{table(header, body)}\n## How these were made\n\n{notes}\n{results.made_by(report)}"
    write_page(report, results, text)


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

    from lifelong.methods.ari.step import TaskModels
    from lifelong.pipeline.graph import final_state
    from lifelong.pipeline.inputs import Inputs
    from lifelong.pipeline.states import read_state
    from lifelong.training.exemplars import join_memory
    from lifelong.training.optimisers import Optimiser

    seed, last, inputs = experiment.seeds[0], experiment.tasks[-1], Inputs(experiment)
    classes, state = inputs.classes, read_state(final_state(experiment, seed, last))
    network = inputs.network(seed)
    network.load_state_dict(state["network"])
    earlier = state["memory"]["labels"] < classes.offset(last)
    memory = {name: tensor[earlier] for name, tensor in state["memory"].items()}
    mixed = join_memory(inputs.task(last).train, last, classes, memory if earlier.any() else None)
    order = torch.randperm(len(mixed), generator=torch.Generator().manual_seed(seed))
    images, labels = mixed.batch(order[: experiment.training.batch_size])
    update = TaskModels(network.train(), _options(experiment), classes, last, len(classes))
    named = dict(network.named_parameters())
    optimiser = Optimiser(experiment.training, list(named), list(named.values()))
    rate = experiment.training.learning_rate
    models = {"paper": len(classes), "literal": 0}.get(_options(experiment).fusion, 1)
    return lambda: (update(images, labels, optimiser, rate), None)[1], models * sum(update.sizes) * 4


def _options(experiment: Experiment) -> AriOptions:
    assert isinstance(experiment.options, AriOptions)
    return experiment.options
