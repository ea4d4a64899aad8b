"""Reports of params.yaml, every name resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lifelong.params.messages import validate
from lifelong.params.networks import BackboneNetwork, ResolvedNetwork
from lifelong.params.reports import (
    REPORT_KINDS,
    ComparisonOptions,
    GrowthOptions,
    PairedOptions,
    ReportKind,
    SweepOptions,
    parameter,
    sources,
)
from lifelong.params.schema import Params, ReportEntry
from lifelong.params.sections import Section
from lifelong.runtime.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from lifelong.params.experiment import Experiment


@dataclass(frozen=True)
class Report:
    """One report of a section; its full name is `<section>/<name>`."""

    name: str
    kind_name: str
    title: str
    experiments: dict[str, tuple[str, ...]]  # label -> experiments
    options: Section
    network: ResolvedNetwork | None = None  # that its options name

    @property
    def kind(self) -> ReportKind:
        return REPORT_KINDS[self.kind_name]

    @property
    def section(self) -> str:
        return self.name.partition("/")[0]

    def single(self) -> dict[str, str]:
        """label -> experiment, of kinds with one experiment a label."""
        return {label: names[0] for label, names in self.experiments.items()}

    def all_experiments(self) -> list[str]:
        """Each experiment once, in the order written."""
        return list(dict.fromkeys(name for names in self.experiments.values() for name in names))

    def parameters(self) -> dict[str, Any]:
        """All that decides what is written beside the experiments' own results, as JSON values."""
        return {
            "title": self.title,
            "kind": self.kind_name,
            "experiments": {label: list(names) for label, names in self.experiments.items()},
            "options": self.options.model_dump(),
            "network": self.network.model_dump() if self.network else None,
        }


def resolve_report(
    name: str, entry: ReportEntry, params: Params, experiments: Mapping[str, Experiment], source: str
) -> Report:
    """The report as an object; `experiments` are those that were sound themselves.

    Raises:
        UserError: something in it does not fit.
    """
    where = f"reports.{name.replace('/', '.')}"
    if entry.kind not in REPORT_KINDS:
        raise UserError(f"{source}: {where}.kind: found {entry.kind!r}; {did_you_mean(entry.kind, REPORT_KINDS)}")
    kind = REPORT_KINDS[entry.kind]
    if (kind.experiments == "none") != (not entry.experiments):
        expected = "none" if kind.experiments == "none" else "some, by label"
        raise UserError(
            f"{source}: {where}.experiments: found {len(entry.experiments)}; a report of kind {entry.kind!r} has {expected}"
        )
    for label, names in entry.experiments.items():
        at = f"{source}: {where}.experiments.{label}"
        if not names or (kind.experiments == "one" and len(names) > 1):
            expected = "one" if kind.experiments == "one" else "some"
            raise UserError(f"{at}: found {len(names)} experiments; kind {entry.kind!r} has {expected} a label")
        for experiment in names:
            if experiment not in params.experiments:
                raise UserError(f"{at}: {experiment!r} is unknown; {did_you_mean(experiment, params.experiments)}")
            method = params.experiments[experiment].method
            if kind.methods and method not in kind.methods:
                raise UserError(
                    f"{at}: {experiment!r} has method {method!r}; kind {entry.kind!r} works with {', '.join(kind.methods)}"
                )
    options = validate(kind.options, entry.options, source, f"{where}.options.")
    for file in sources(options):
        if not file.is_file():
            known = [other.stem for other in file.parent.glob(f"*{file.suffix}")]
            raise UserError(
                f"{source}: {where}.options: no {file.parent.name} {file.stem!r}; {did_you_mean(file.stem, known)}"
            )
    collective = getattr(options, "collective", None)
    if collective is not None and collective not in params.collectives:
        hint = did_you_mean(collective, params.collectives)
        raise UserError(f"{source}: {where}.options.collective: {collective!r} is unknown; {hint}")
    network: ResolvedNetwork | None = None
    if isinstance(options, GrowthOptions):
        named = params.networks.get(options.network)
        if named is None:
            hint = did_you_mean(options.network, params.networks)
            raise UserError(f"{source}: {where}.options.network: {options.network!r} is unknown; {hint}")
        if isinstance(named, BackboneNetwork):
            raise UserError(f"{source}: {where}.options.network: {options.network!r} is a backbone; name another network")
        network = named
    result = {label: tuple(names) for label, names in entry.experiments.items()}
    for label in options.full_scale if isinstance(options, ComparisonOptions) else ():
        if label not in result:
            hint = did_you_mean(label, result)
            raise UserError(f"{source}: {where}.options.full_scale: {label!r} is no label of its experiments; {hint}")
    if kind.same_seeds:
        _check_seeds(result, experiments, f"{source}: {where}")
    if isinstance(options, SweepOptions):
        _check_series(result, options, experiments, f"{source}: {where}")
    if isinstance(options, PairedOptions):
        _check_pairs(result, experiments, f"{source}: {where}")
    return Report(name, entry.kind, entry.title, result, options, network)


def _check_seeds(found: Mapping[str, tuple[str, ...]], experiments: Mapping[str, Experiment], where: str) -> None:
    seeds = {name: experiments[name].seeds for names in found.values() for name in names if name in experiments}
    if seeds and not set.intersection(*map(set, seeds.values())):
        told = ", ".join(f"{name!r} has {list(own)}" for name, own in seeds.items())
        raise UserError(f"{where}.experiments: no seed in common: {told}; give them one")


def _check_pairs(pairs: Mapping[str, tuple[str, ...]], experiments: Mapping[str, Experiment], where: str) -> None:
    """Differences seed by seed need two experiments on the same tasks, with seeds in common."""
    for label, names in pairs.items():
        if len(names) != 2:
            raise UserError(f"{where}.experiments.{label}: found {len(names)} experiments; expected two: with, and without")
        if not all(name in experiments for name in names):
            continue  # its own fault is told
        a, b = (experiments[name] for name in names)
        if a.sequence_name != b.sequence_name:
            raise UserError(
                f"{where}.experiments.{label}: {a.name!r} learns {a.sequence_name!r} and {b.name!r} {b.sequence_name!r}; "
                f"expected one sequence"
            )
        if not set(a.seeds) & set(b.seeds):
            raise UserError(f"{where}.experiments.{label}: {a.name!r} and {b.name!r} have no seed in common; give them one")


def _check_series(
    series: Mapping[str, tuple[str, ...]], options: SweepOptions, experiments: Mapping[str, Experiment], where: str
) -> None:
    """Every experiment of a series must have a number of its own at the swept parameter."""
    for label, names in series.items():
        taken: dict[float, str] = {}
        for name in names if len(names) > 1 else ():
            if name not in experiments:
                continue  # its own fault is told
            value = parameter(experiments[name].parameters(), options.parameter)
            if value is None or (options.scale == "log" and value <= 0):
                requested = "a number above 0, as the axis is logarithmic" if options.scale == "log" else "a number"
                raise UserError(
                    f"{where}.options.parameter: {options.parameter!r} of experiment {name!r} is "
                    f"{'absent or no number' if value is None else value}; expected {requested}"
                )
            if value in taken:
                raise UserError(
                    f"{where}.experiments.{label}: {taken[value]!r} and {name!r} both have {options.parameter} = {value}; "
                    f"keep one"
                )
            taken[value] = name
