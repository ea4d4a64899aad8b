"""Where an attentive network looks: ARI's Table 4 and the supplement's heat maps, on validation images."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from lifelong import layout
from lifelong.artifacts import read_info, write_text
from lifelong.config import Experiment, Report, Settings
from lifelong.config.reports import AttentionOptions
from lifelong.paper.cells import write_csv
from lifelong.paper.drawing import write_figure
from lifelong.paper.markdown import machine, table
from lifelong.stages import final_state

EDGES = (0.0, 0.3, 0.5, 0.7, 1.0)
PRINTED = {
    "[0.5, 0.7)": (75.03, 29.42, 59.59, 55.43, 81.93),
    "[0.7, 1.0]": (15.32, 63.54, 18.76, 29.33, 11.70),
    "std": (14.35, 13.72, 17.48, 15.14, 14.52),
}
"""Table 4; its first two rows are not legible."""

NOTES = """\
Percent of the pixels whose attention lies in each part, and 100 times the deviation over the pixels: the first seed's model
after the last task, one validation image a task in turn. The printed rows are of CIFAR-100's network.
"""


def write(settings: Settings, report: Report) -> None:
    """Write the share of pixels by attention for some images, and heat maps of A and B, a network after the other."""
    from matplotlib.figure import Figure

    assert isinstance(report.options, AttentionOptions)
    count = report.options.images
    rows: list[dict[str, Any]] = []
    body = []
    figure = Figure(figsize=(2 * count, 6 * len(report.experiments)), layout="constrained")
    panels = figure.subplots(3 * len(report.experiments), count, squeeze=False)
    for number, (label, name) in enumerate(report.single().items()):
        images, attention, mask = looked_at(settings.experiment(name), count)
        found = [shares(one) for one in attention]
        for part in found[0]:
            body.append([label, part, *(f"{one[part]:.2f}" for one in found)])
            rows += [{"row": label, "image": i + 1, "part": part, "percent": one[part]} for i, one in enumerate(found)]
        for column in range(count):
            top, middle, bottom = panels[3 * number : 3 * number + 3, column]
            picture = images[column].transpose(1, 2, 0)
            top.imshow(picture if picture.shape[2] == 3 else picture[:, :, 0], cmap="gray")
            middle.imshow(attention[column, 0], cmap="jet", vmin=0, vmax=1)
            bottom.imshow(mask[column, 0], cmap="jet", vmin=0, vmax=1)
        for line, title in enumerate((label, "A", "B = 1 - A∘A")):
            panels[3 * number + line, 0].set_ylabel(title)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    write_figure(layout.report(report.name, "png"), figure)
    write_csv(layout.report(report.name, "csv"), ["row", "image", "part", "percent"], rows, ".4f")
    if count == len(PRINTED["std"]):
        body += [["Printed", part, *(f"{value:.2f}" for value in values)] for part, values in PRINTED.items()]
    header = ["Network", "Attention", *(f"Image {i + 1}" for i in range(count))]
    text = f"# {report.title}\n\n{table(header, body)}\n{NOTES}Machine: {machine()}.\n"
    write_text(layout.report(report.name, "md"), text)


def shares(attention: np.ndarray) -> dict[str, float]:
    """Percent of the values in each part of [0, 1], the last one closed, and 100 times their deviation."""
    counts, _ = np.histogram(attention, EDGES)
    parts = [f"[{a}, {b}{']' if b == EDGES[-1] else ')'}" for a, b in pairwise(EDGES)]
    found = {part: 100 * float(count) / attention.size for part, count in zip(parts, counts, strict=True)}
    return found | {"std": 100 * float(attention.std(ddof=1))}


def looked_at(experiment: Experiment, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Validation images [n, C, H, W], one a task in turn, their attention A [n, 1, h, w] and the mask 1 - A*A."""
    import torch

    from lifelong.data.tensors import load_task
    from lifelong.learning.run import read_state
    from lifelong.methods.ari.attack import background
    from lifelong.networks.attention import AttentiveNetwork
    from lifelong.networks.create import new_network

    seed, tasks = experiment.seeds[0], layout.tasks(experiment.scenario_name)
    shape = read_info(tasks, "tasks")
    network = new_network(experiment, shape["image_shape"], shape["tasks"], shape["classes_per_task"], seed)
    assert isinstance(network, AttentiveNetwork)
    network.load_state_dict(read_state(final_state(experiment, seed, experiment.tasks[-1]))["network"])
    source = layout.images(experiment.scenario.dataset)
    splits = [load_task(source, tasks, task).validation for task in experiment.tasks]
    picked = torch.cat([splits[i % len(splits)].batch(torch.tensor([i // len(splits)]))[0] for i in range(count)])
    with torch.no_grad():
        attention = network.eval().attended(picked)[1]
    return picked.numpy(), attention.numpy(), background(attention, "one-minus-square").numpy()
