"""Where an attentive network looks: ARI's Table 4 and the supplement's heat maps, on validation images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lifelong.evaluation.results import Quantity
from lifelong.params import Experiment, Report, Settings
from lifelong.params.reports import AttentionOptions
from lifelong.pipeline.graph import final_state
from lifelong.reports.cells import write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_tensors

KINDS = ("images", "attention", "mask")
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


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """The share of pixels by attention of each image (x); the evidence is the images and their heat maps A and B."""
    assert isinstance(report.options, AttentionOptions)
    arrays: dict[str, np.ndarray] = {}
    result = []
    for label, name in report.single().items():
        experiment = settings.experiment(name)
        found = find_attention(experiment, report.options.images)
        arrays |= {f"{label}/{kind}": array for kind, array in zip(KINDS, found, strict=True)}
        for i, one in enumerate(found[1], 1):
            place = (report.name, label, name, experiment.seeds[0], i, None)
            result += [Quantity(*place, part, value) for part, value in shares(one).items()]
    write_tensors(paths.measured(report.name, "safetensors"), "evidence", arrays, {"report": report.name})
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write the share of pixels by attention for some images, and heat maps of A and B, a network after the other."""
    assert isinstance(report.options, AttentionOptions)
    count = report.options.images
    if not results.keeps_picture(report):
        _draw(report, results, count, results.evidence(report)[0])
    at: dict[tuple[str, str], dict[int, float]] = {}
    for one in results.quantities(report):
        at.setdefault((one.row, one.metric), {})[int(one.x or 0)] = one.value or 0.0
    rows = [
        {"row": label, "image": i, "part": part, "percent": value}
        for (label, part), values in at.items()
        for i, value in sorted(values.items())
    ]
    body = [[label, part, *(f"{value:.2f}" for _, value in sorted(values.items()))] for (label, part), values in at.items()]
    write_csv(paths.report(report.name, "csv"), ["row", "image", "part", "percent"], rows, ".4f")
    if count == len(PRINTED["std"]):
        body += [["Printed", part, *(f"{value:.2f}" for value in values)] for part, values in PRINTED.items()]
    header = ["Network", "Attention", *(f"Image {i + 1}" for i in range(count))]
    text = f"# {report.title}\n\n{table(header, body)}\n{NOTES}{results.made_by(report)}"
    write_page(report, results, text)


def _draw(report: Report, results: Results, count: int, arrays: dict[str, np.ndarray]) -> None:
    picture, down = paths.report(report.name, "png"), 3 * len(report.experiments)
    setting = describe_setting(report, results, "first seed; A and B from 0 (dark) to 1 (bright)")
    with style.panels(
        picture,
        down * count,
        report.title,
        setting,
        columns=count,
        width=1.4,
        height=1.4,
        values="",
    ) as several:
        for number, label in enumerate(report.experiments):
            images, attention, mask = (arrays[f"{label}/{kind}"] for kind in KINDS)
            for column in range(count):
                top, middle, bottom = (several[(3 * number + line) * count + column] for line in range(3))
                image = images[column].transpose(1, 2, 0)
                style.picture(top, image if image.shape[2] == 3 else image[:, :, 0], cmap="gray")
                style.picture(middle, attention[column, 0], cmap=style.MAP, vmin=0, vmax=1)
                style.picture(bottom, mask[column, 0], cmap=style.MAP, vmin=0, vmax=1)
            for line, title in enumerate((label, "A", "B = 1 - A∘A")):
                several[(3 * number + line) * count].set_ylabel(title)


def shares(attention: np.ndarray) -> dict[str, float]:
    """Percent of the values in each part of [0, 1], the last one closed, and 100 times their deviation."""
    counts, _ = np.histogram(attention, EDGES)
    parts = [f"[{a}, {b}{']' if b == EDGES[-1] else ')'}" for a, b in pairwise(EDGES)]
    result = {part: 100 * float(count) / attention.size for part, count in zip(parts, counts, strict=True)}
    return result | {"std": 100 * float(attention.std(ddof=1))}


def find_attention(experiment: Experiment, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Validation images [n, C, H, W], one a task in turn, their attention A [n, 1, h, w] and the mask 1 - A*A."""
    import torch

    from lifelong.methods.ari.attack import background_mask
    from lifelong.networks.attention import AttentiveNetwork
    from lifelong.pipeline.inputs import Inputs
    from lifelong.pipeline.states import read_state

    seed, inputs = experiment.seeds[0], Inputs(experiment)
    network = inputs.network(seed)
    assert isinstance(network, AttentiveNetwork)
    network.load_state_dict(read_state(final_state(experiment, seed, experiment.tasks[-1]))["network"])
    splits = [inputs.task(task).validation for task in experiment.tasks]
    picked = torch.cat([splits[i % len(splits)].batch(torch.tensor([i // len(splits)]))[0] for i in range(count)])
    with torch.no_grad():
        attention = network.eval().attended(picked)[1]
    return picked.numpy(), attention.numpy(), background_mask(attention, "one-minus-square").numpy()
