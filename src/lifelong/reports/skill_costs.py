"""The cost columns of SKILL's Tables 1 and 2, recomputed for the 102 tasks, and the same account for our own packets."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields, replace
from typing import Any

from lifelong.evaluation.results import Quantity
from lifelong.methods.skill.costs import Learner, Parallel, Prices, Size, packet_bytes, parallel, student_macs, teacher_macs
from lifelong.methods.skill.counted_costs import counted_costs, forward_macs_of
from lifelong.networks.backbones.macs import convolution_channels, forward_macs
from lifelong.params import Report, Settings
from lifelong.params.reports import SkillCostsOptions
from lifelong.params.skill import table_file
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.reports.verdicts import PRINTED, judge_counted
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json, write_text

TASKS, MOST_CLASSES = 102, 500  # reading S23; the table's numbers of images are capped already
LEARNERS = {
    "GMMC": Learner(False, "gmmc"),
    "BB, GMMC": Learner(True, "gmmc"),
    "MAHA": Learner(False, "mahalanobis", "images"),
    "BB, MAHA": Learner(True, "mahalanobis", "images"),
}

TOLERANCE = 0.05
"""Relative difference within which a counted quantity counts as the same."""

PRICES = "prices"
ACCOUNTS = ("corrected", "caption", "charged", "features", "uneven")
UNITS = {
    "teacher": "Teacher, MACs",
    "received": "Received, bytes",
    "student": "Student, MACs",
    "total": "Total, MACs",
    "efficiency": "Efficiency",
}

CORRECTIONS = """\
- S8: a bias behind each of the backbone's convolutions is {channels:,} numbers, {bias_kb:.0f} KB; the text's "22k neurons"
  and 883 KB a task do not fit Table 2, which does fit {channels:,}.
- S9: the caption says N = 51 and 100 tasks received; its numbers are those of N = T = 102 and 101 received tasks. Our N = 51
  column follows the caption.
- S10: the printed efficiencies charge the bytes of one task only. With all received bytes at alpha MACs each they are
  those shown.
- S11: the Mahalanobis packet is 1.74 MB in the text, 66.6 MB in Table 2, which counts raw images; sharing the m samples as
  features is the third account. A receiver of raw images must also compute their features, {forward:.3g} MACs, which no
  printed figure holds: `images charged`.
- S12: the receiver's covariance alone is samples x d^2 = {covariance:.3g} MACs, not 5e9.
- S13: 1.73e16 is one forward pass over all images, 1.56e18 about {passes:.1f} of them: 30 epochs of forward and backward.
"""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Costs of every variant under each account, and of a collective's own packets; counted, so without seeds."""
    options = report.options
    assert isinstance(options, SkillCostsOptions)
    tasks = skill_102(options.table)
    prices = _xception(settings.skill.mac_per_byte, options.epochs)
    images, classes = sum(task.images for task in tasks), sum(task.classes for task in tasks)
    shown: dict[str, dict[str, float]] = {
        PRICES: {
            "tasks": len(tasks),
            "classes": classes,
            "images": images,
            "forward": prices.forward,
            "channels": prices.channels,
            "features": prices.features,
            "samples": prices.samples * classes,
            "mac_per_byte": prices.mac_per_byte,
        }
    }
    for name, learner in LEARNERS.items():
        row = _row(name, learner, tasks, prices)
        accounts = {f"{a}/{f.name}": getattr(row[a], f.name) for a in ACCOUNTS for f in fields(Parallel)}
        shown[name] = {"single": row["single"], **accounts, **_bytes(learner, tasks, prices)}
    collective = settings.skill.collective(options.collective)
    ours = {"tasks": len(settings.skill.tasks(collective.sequence)), "forward": forward_macs_of(settings.skill, collective)}
    shown[f"ours/{PRICES}"] = ours
    for cost in counted_costs(settings.skill, options.collective, options.epochs):
        shown[f"ours/{cost.variant}"] = {k: v for k, v in asdict(cost).items() if k != "variant"}
    return [
        Quantity(report.name, row, options.collective, None, None, None, metric, float(value), n=0)
        for row, values in shown.items()
        for metric, value in values.items()
    ]


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write reports/<name>.md, .csv and .json: recomputed costs beside the printed ones."""
    options = report.options
    assert isinstance(options, SkillCostsOptions)
    counted: dict[str, dict[str, float]] = {}
    for one in results.quantities(report):
        counted.setdefault(one.row, {})[one.metric] = one.value or 0.0
    rows = [_read_row(name, counted[name]) for name in LEARNERS]
    prices = counted[PRICES]
    corrections = CORRECTIONS.format(
        channels=int(prices["channels"]),
        bias_kb=4 * prices["channels"] / 1e3,
        covariance=prices["samples"] * prices["features"] ** 2,
        forward=prices["samples"] * prices["forward"],
        passes=1.56e18 / (prices["forward"] * prices["images"]),
    )
    parts = [
        f"# {report.title}\n",
        f"{prices['tasks']:.0f} tasks, {prices['classes']:,.0f} classes, {prices['images']:,.0f} training images; Xception "
        f"at 299 px: {prices['forward'] / 1e9:.2f} GMAC an image, {prices['channels']:,.0f} convolution channels; alpha = "
        f"{prices['mac_per_byte']:g} MACs a byte; {options.epochs} epochs.\n",
        "## Table 1: training, one agent\n",
        _table_1(rows),
        "## Table 2: N agents\n",
        _table_2(rows),
        "## Bytes a task, mean\n",
        _bytes_table(counted),
        f"Corrections:\n\n{corrections}",
        "## Our own packets\n",
        *_ours(options, counted),
        f"## How these were made\n\nCounted, not measured: see `methods/skill/costs.py`. {results.made_by(report)}",
    ]
    write_page(report, results, "\n".join(parts))
    write_text(paths.report(report.name, "csv"), _csv(rows))
    write_json(paths.report(report.name, "json"), {row["row"]: row["corrected"].efficiency for row in rows})


def _read_row(name: str, counted: dict[str, float]) -> dict[str, Any]:
    accounts: dict[str, dict[str, Any]] = {a: {f.name: counted[f"{a}/{f.name}"] for f in fields(Parallel)} for a in ACCOUNTS}
    return {"row": name, "single": counted["single"], **{a: Parallel(**values) for a, values in accounts.items()}}


def skill_102(file: str) -> list[Size]:
    """Classes and training images of the 102 tasks, capped."""
    with open(table_file(file), newline="") as handle:
        rows = list(csv.DictReader(handle))[:TASKS]
    return [Size(min(int(row["num_classes"]), MOST_CLASSES), int(row["train_size"])) for row in rows]


def _xception(mac_per_byte: float, epochs: int) -> Prices:
    import timm
    import torch

    with torch.device("meta"):
        network = timm.create_model("legacy_xception", num_classes=0)
    forward, channels = forward_macs(network, 299), convolution_channels(network)
    return Prices(forward, 2048, channels, 3 * 299 * 299, epochs, mac_per_byte=mac_per_byte)


def _row(name: str, learner: Learner, tasks: list[Size], prices: Prices) -> dict[str, Any]:
    shared = replace(learner, shared="features")
    return {
        "row": name,
        "single": sum(teacher_macs(task, learner, prices) for task in tasks) + student_macs(tasks, shared, prices),
        "corrected": parallel(tasks, learner, prices, len(tasks)),
        "caption": parallel(tasks, learner, prices, 51),
        "charged": parallel(tasks, learner, prices, len(tasks), charged=True),
        "features": parallel(tasks, shared, prices, len(tasks)),
        "uneven": parallel(tasks, shared, prices, len(tasks), even=False),
    }


def _printed(name: str) -> dict[str, dict[str, float]]:
    with open(PRINTED / f"{name}.csv", newline="") as handle:
        return {row.pop("row"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(handle)}


def _table_1(rows: list[dict[str, Any]]) -> str:
    printed = _printed("skill-table-1")
    reference = next(row["single"] for row in rows if row["row"] == "MAHA")
    body = []
    for row in rows:
        target = printed[row["row"]]
        verdict = judge_counted(row["single"], target["macs"], TOLERANCE)
        ratios = f"{target['ratio']:g}", f"{row['single'] / reference:.2f}"
        body.append([row["row"], f"{target['macs']:.3g}", f"{row['single']:.3g}", *ratios, verdict])
    header = ["Variant", "MACs, printed", "MACs, ours", "Ratio, printed", "Ratio, ours", "Verdict"]
    return table(header, body)


def _table_2(rows: list[dict[str, Any]]) -> str:
    printed = _printed("skill-table-2")
    parts = []
    for row in rows:
        target, ours = printed[row["row"]], row["corrected"]
        body = []
        for quantity in ("teacher", "received", "student", "total", "efficiency"):
            requested = target["bytes" if quantity == "received" else quantity]
            result = getattr(ours, quantity)
            others = [_number(quantity, getattr(row[key], quantity)) for key in ACCOUNTS[1:]]
            verdict = _verdict(quantity, result, requested)
            body.append([UNITS[quantity], f"{requested:.9g}", _number(quantity, result), *others, verdict])
        header = ["Quantity", "Printed", "N = 102", "N = 51", "images charged", "features", "longest agent", "Verdict"]
        parts.append(f"{row['row']}\n\n{table(header, body)}")
    note = (
        "The verdict is on the column N = 102. `images charged`: receivers compute the features of the images they get. "
        "`features`: the samples go as features. `longest agent`: besides, the time of N agents is that of the one with the "
        "largest task instead of the mean. The last three are for N = 102.\n"
    )
    return "\n".join([*parts, note])


def _number(quantity: str, value: float) -> str:
    return f"{value:.6f}" if quantity == "efficiency" else f"{value:.3g}"


def _verdict(quantity: str, found: float, printed: float) -> str:
    return judge_counted(found, printed, 1e-5 if quantity == "efficiency" else TOLERANCE)


BYTES = {"as_table": "As Table 2, KB", "features": "Samples as features, KB", "fewer": "and 27,264 biases, KB"}
TEXT = {"GMMC": 813e3, "BB, GMMC": 883e3, "MAHA": 1.74e6, "BB, MAHA": 1.81e6}
"""Bytes a task that the paper's text names."""


def _bytes(learner: Learner, tasks: list[Size], prices: Prices) -> dict[str, float]:
    """Mean bytes of a task's packet; `fewer`: biases behind convolutions that a normalisation follows alone."""
    features = replace(learner, shared="features")
    kinds = {"as_table": (learner, prices), "features": (features, prices)}
    kinds["fewer"] = (features, replace(prices, channels=27_264))
    return {k: sum(packet_bytes(task, kind, price) for task in tasks) / len(tasks) for k, (kind, price) in kinds.items()}


def _bytes_table(counted: dict[str, dict[str, float]]) -> str:
    body = [[n, *(f"{v / 1e3:,.0f}" for v in (TEXT[n], *(counted[n][kind] for kind in BYTES)))] for n in LEARNERS]
    return table(["Variant", "Printed in the text, KB", *BYTES.values()], body)


def _ours(options: SkillCostsOptions, counted: dict[str, dict[str, float]]) -> list[str]:
    ours = {row.removeprefix("ours/"): values for row, values in counted.items() if row.startswith("ours/")}
    prices = ours.pop(PRICES)
    body = [
        [v, f"{c['real']:,.0f}", f"{c['counted']:,.0f}", f"{c['teacher']:.3g}", f"{c['two']:.4f}", f"{c['many']:.4f}"]
        for v, c in ours.items()
    ]
    header = ["Variant", "Bytes of the packets", "Counted", "Teacher MACs, N = 1", "Efficiency, N = 2"]
    intro = f"`{options.collective}`: {prices['tasks']:.0f} tasks, {prices['forward'] / 1e9:.3f} GMAC an image. "
    intro += "Counted bytes leave out that a task or a class with few images has fewer clusters or samples, and count the "
    intro += "owners of samples as nothing.\n"
    return [intro, table([*header, f"N = {prices['tasks']:.0f}"], body)]


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "account", "teacher", "received", "student", "total", "efficiency"])
    for row in rows:
        for account in ACCOUNTS:
            result: Parallel = row[account]
            numbers = result.teacher, result.received, result.student, result.total, result.efficiency
            writer.writerow([row["row"], account, *(f"{number:.9g}" for number in numbers)])
    return text.getvalue()
