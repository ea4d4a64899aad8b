"""Where an attentive network looks: ARI's Table 4 and the supplement's heat maps, on validation images."""

from __future__ import annotations

from typing import Any

from lifelong import layout
from lifelong.artifacts import read_info, read_tensors, write_text
from lifelong.config import Report, Settings
from lifelong.config.reports import AttentionOptions
from lifelong.paper.markdown import csv_text, machine, table, write_figure
from lifelong.stages import final_state

BINS = (0.0, 0.3, 0.5, 0.7, 1.0)
PRINTED = {
    "[0.5, 0.7)": (75.03, 29.42, 59.59, 55.43, 81.93),
    "[0.7, 1.0]": (15.32, 63.54, 18.76, 29.33, 11.70),
    "std": (14.35, 13.72, 17.48, 15.14, 14.52),
}


def write(settings: Settings, report: Report) -> None:
    """Write the share of pixels by attention for some images of the first seed's last model, and heat maps of A and B."""
    import torch
    from matplotlib.figure import Figure

    from lifelong.data.tensors import load_task
    from lifelong.methods.ari.attack import background
    from lifelong.networks.attention import AttentiveNetwork
    from lifelong.networks.create import new_network

    assert isinstance(report.options, AttentionOptions)
    count = report.options.images
    rows: list[dict[str, Any]] = []
    body = []
    figure = Figure(figsize=(2 * count, 6 * len(report.experiments)), layout="constrained")
    panels = figure.subplots(3 * len(report.experiments), count, squeeze=False)
    for number, (label, name) in enumerate(report.experiments.items()):
        experiment = settings.experiment(name)
        seed = experiment.seeds[0]
        images, tasks = layout.images(experiment.scenario.dataset), layout.tasks(experiment.scenario_name)
        shape = read_info(tasks, "tasks")
        network = new_network(experiment, shape["image_shape"], shape["tasks"], shape["classes_per_task"], seed)
        assert isinstance(network, AttentiveNetwork)
        arrays, _ = read_tensors(final_state(experiment, seed, experiment.tasks[-1]), "state")
        weights = {key.removeprefix("network/"): array for key, array in arrays.items() if key.startswith("network/")}
        network.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
        # One image of each of the first tasks, over and over.
        splits = [load_task(images, tasks, task).validation for task in experiment.tasks]
        picked = torch.cat([splits[i % len(splits)].batch(torch.tensor([i // len(splits)]))[0] for i in range(count)])
        with torch.no_grad():
            attention = network.eval().attended(picked)[1]
        mask = background(attention, "one-minus-square")
        for column in range(count):
            values = attention[column].flatten()
            shares = torch.histc(values, 1000, 0, 1)
            edges = [round(1000 * edge) for edge in BINS]
            shown = {
                f"[{a}, {b}{']' if b == 1 else ')'}": 100 * float(shares[i:j].sum()) / len(values)
                for a, b, i, j in zip(BINS, BINS[1:], edges, edges[1:], strict=True)
            } | {"std": 100 * float(values.std())}
            rows += [{"row": label, "image": column + 1, "part": part, "percent": value} for part, value in shown.items()]
            picture = picked[column].permute(1, 2, 0).squeeze(-1).numpy()
            panels[3 * number, column].imshow(picture, cmap="gray")
            for line, heat in ((1, attention), (2, mask)):
                panels[3 * number + line, column].imshow(heat[column, 0].numpy(), cmap="jet", vmin=0, vmax=1)
        for line, title in enumerate((label, "A", "B = 1 - A∘A")):
            panels[3 * number + line, 0].set_ylabel(title)
        for part in dict.fromkeys(row["part"] for row in rows):
            own = [row["percent"] for row in rows if row["row"] == label and row["part"] == part]
            body.append([label, part, *(f"{value:.2f}" for value in own)])
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    write_figure(layout.report(report.name, "png"), figure)
    write_text(layout.report(report.name, "csv"), csv_text(["row", "image", "part", "percent"], rows))
    body += [["Printed", part, *(f"{value:.2f}" for value in values)] for part, values in PRINTED.items() if count == 5]
    header = ["Network", "Attention", *(f"Image {i + 1}" for i in range(count))]
    text = (
        f"# {report.title}\n\n{table(header, body)}\nPercent of the pixels whose attention lies in each part, and 100 times "
        "the deviation over the pixels; the first seed's model after the last task, one validation image a task in turn. "
        f"The printed rows are of CIFAR-100's network; its first two are not legible. Machine: {machine()}.\n"
    )
    write_text(layout.report(report.name, "md"), text)
