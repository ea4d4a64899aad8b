"""What a report observed, row by row and metric by metric, over seeds: what claims are tested on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lifelong.params import Report
from lifelong.params.reports import CollectiveOptions, PairedOptions, SweepOptions, parameter
from lifelong.reports.ari.words import PROTOCOLS
from lifelong.reports.quantities import METRICS
from lifelong.reports.results import TOLD, Results
from lifelong.reports.verdicts import Sample

Observations = dict[tuple[str, str, float | None], Sample]
"""(row, metric, x) -> what was observed; nothing where no seed has a value."""


def observe(report: Report, results: Results) -> Observations:
    """The observations of a report; of a section that does not keep it, none."""
    measured = report.kind.measures and report.kind_name != "collective"
    collective = getattr(report.options, "collective", None)
    asked = [report.name] if measured else [*report.all_experiments(), *([collective] if collective else [])]
    if any(name not in results.made for name in asked):
        return {}
    if measured:
        return _measured(report, results)
    kinds = {
        "accuracy-over-tasks": _curves,
        "ari-protocols": _protocols,
        "ari-steps": _protocols,
        "paired": _differences,
        "collective": _variants,
        "skill-baselines": _learners,
    }
    found = kinds.get(report.kind_name, _metrics)(report, results)
    return {place: sample for place, sample in found.items() if sample is not None}


Found = dict[tuple[str, str, float | None], Sample | None]


def sample(results: Results, name: str, metric: str, protocol: str = TOLD) -> Sample | None:
    """A metric of an experiment over the seeds that have one."""
    if results.is_imported(name):
        if by_seed := results.by_seed(name, metric, protocol):
            return _of({seed: value for seed, value in by_seed.items() if value is not None})
        kept = results.spread(name, metric, protocol)
        return None if kept["mean"] is None else Sample(kept["mean"], kept["deviation"], kept["n"])
    return _of({seed: value for seed, value in results.by_seed(name, metric, protocol).items() if value is not None})


def _of(values: Mapping[int, float]) -> Sample | None:
    known = {seed: float(value) for seed, value in values.items() if not np.isnan(value)}
    return Sample.of_seeds(known) if known else None


def _measured(report: Report, results: Results) -> Observations:
    groups: dict[tuple[str, str, float | None], dict[int, float]] = {}
    found: Observations = {}
    for one in results.quantities(report):
        place = (one.row, one.metric, one.x)
        if one.value is None or one.y is not None:
            continue
        if one.seed is None:
            found[place] = Sample(one.value, one.deviation, one.n)
        else:
            groups.setdefault(place, {})[one.seed] = one.value
    return found | {place: Sample.of_seeds(values) for place, values in groups.items()}


def _metrics(report: Report, results: Results) -> Found:
    options = report.options
    found: Found = {}
    for label, names in report.experiments.items():
        for name in names:
            x = parameter(results.of(name).parameters, options.parameter) if isinstance(options, SweepOptions) else None
            for metric in METRICS:
                found[label, metric, x if len(names) > 1 else None] = sample(results, name, metric)
    return found


def _curve(results: Results, name: str, protocol: str) -> dict[float, Sample | None]:
    """After each task."""
    if results.is_imported(name):
        return {cell.x or 0.0: Sample(cell.mean, cell.deviation, cell.n) for cell in results.curve(name, name, protocol)}
    curves = results.curves(name, protocol)
    count = max((len(curve) for curve in curves.values()), default=0)
    return {t + 1.0: _of({seed: curve[t] for seed, curve in curves.items()}) for t in range(count)}


def _curves(report: Report, results: Results) -> Found:
    return {
        (label, "accuracy", x): one
        for label, name in report.single().items()
        for x, one in _curve(results, name, TOLD).items()
    }


def _protocols(report: Report, results: Results) -> Found:
    """Rows are `LABEL, PROTOCOL`."""
    found: Found = {}
    for label, name in report.single().items():
        for protocol, title in PROTOCOLS.items():
            if results.has(name, protocol):
                row = f"{label}, {title}"
                found |= {(row, metric, None): sample(results, name, metric, protocol) for metric in ("acc", "bwt")}
                found |= {(row, "accuracy", x): one for x, one in _curve(results, name, protocol).items()}
    return found


def _differences(report: Report, results: Results) -> Found:
    """Rows are `LABEL, PROTOCOL`."""
    assert isinstance(report.options, PairedOptions)
    found: Found = {}
    for label, (one, other) in report.experiments.items():
        for metric in report.options.metrics:
            for protocol, title in PROTOCOLS.items():
                place = (f"{label}, {title}", f"{metric}_difference", None)
                cell = results.difference_cell(label, one, other, metric, protocol)
                if results.is_imported(one):
                    found[place] = Sample(cell.mean, cell.deviation, cell.n) if cell is not None else None
                elif cell is not None:
                    found[place] = _of(results.differences(one, other, metric, protocol))
    return found


def _variants(report: Report, results: Results) -> Found:
    """Of a collective: a row a variant."""
    from lifelong.reports.collective import METRICS as MEASURES
    from lifelong.reports.collective import measure_variant

    assert isinstance(report.options, CollectiveOptions)
    name = report.options.collective
    found: Found = {}
    for variant in results.settings.skill.collective(name).variants:
        whole = f"{name}/{variant}"
        if results.is_imported(name):
            found |= {(variant, metric, None): _of_imported(results, whole, metric) for metric in MEASURES}
            continue
        by_seed = dict(enumerate(measure_variant(results, whole)))
        for metric in MEASURES:
            found[variant, metric, None] = _of({seed: float(one[metric]) for seed, one in by_seed.items()})
    return found


def _of_imported(results: Results, name: str, metric: str, protocol: str = "class_incremental") -> Sample | None:
    """By seed, as published."""
    return _of({seed: mean for seed, mean in results.imported_seeds(name, metric, protocol).items() if mean is not None})


def _learners(report: Report, results: Results) -> Found:
    """Beside a collective: its variants, not told the task (`class_incremental`), and learners that are told."""
    assert isinstance(report.options, CollectiveOptions)
    name = report.options.collective
    variants = [f"{name}/{variant}" for variant in results.settings.skill.collective(name).variants]
    rows = {f"SKILL {one.partition('/')[2]}": (one, "class_incremental") for one in variants}
    rows |= {label: (one, TOLD) for label, one in report.single().items()}
    if results.is_imported(name):
        return {(row, "final", None): _of_imported(results, one, "final", asked) for row, (one, asked) in rows.items()}
    return {
        (row, "final", None): _of({seed: 100 * float(r[-1].mean()) for seed, r in results.matrices(one, asked).items()})
        for row, (one, asked) in rows.items()
    }
