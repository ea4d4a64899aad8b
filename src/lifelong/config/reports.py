"""The kinds of reports one can name in params.yaml: what each is made of and what it writes beside its Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lifelong.config.sections import Count, Name, Section
from lifelong.config.split2meta_reports import FusionGapOptions, LandscapeOptions, MatchedOptions

PAPER = Path(__file__).parents[1] / "paper"
"""Where what the papers print lies: `printed` values, `claims` made in words, and `pages` that tell of both."""

Metric = Literal["acc", "bwt", "fwt_joint", "fwt_gem"]


class ComparisonOptions(Section):
    """Experiments side by side in one table."""

    printed: Name | None = None  # the published table set beside ours, a CSV of `lifelong/paper/printed`
    scale: Literal["printed", "smaller"] = "printed"  # smaller: another network or fewer tasks, so its values are not judged
    full_scale: list[str] = []  # rows that are judged even so: for them it is the printed scale


class ProtocolsOptions(Section):
    """Experiments under every protocol side by side."""

    printed: Name | None = None  # the published table whose values are held against every protocol


class StepsOptions(Section):
    """Mean accuracy on the tasks seen, after each task, under every protocol."""

    printed: Name | None = None


class AttentionOptions(Section):
    """Where an attentive network looks, on validation images of the first experiment."""

    images: Count = 5


class CostsOptions(Section):
    """Time and memory of ARI's step."""

    rounds: Count = 15  # mini-batches measured of each experiment


class FigureOptions(Section):
    """A figure."""

    claims: Name | None = None  # what the paper says of its own figure, a file of `lifelong/paper/claims`


class SweepOptions(FigureOptions):
    """Metrics against one parameter of the experiments of each series; a series of one is a horizontal line."""

    parameter: str  # dotted, as in params.yaml with its names resolved: options.strength, network.hidden.0
    label: str  # of the axis
    scale: Literal["linear", "log"] = "linear"
    metrics: Annotated[list[Metric], Field(min_length=1)] = ["acc"]


class BarsOptions(FigureOptions):
    """A bar an experiment, a panel a metric."""

    metrics: Annotated[list[Metric], Field(min_length=1)] = ["acc"]


class PairedOptions(FigureOptions):
    """What a part changes: of each label's two experiments the first less the second, seed by seed, under every protocol."""

    metrics: Annotated[list[Literal["acc", "bwt"]], Field(min_length=1)] = ["acc"]


class GrowthOptions(FigureOptions):
    """Parameters against the number of tasks learnt, of one network under several methods; nothing is trained."""

    network: Name
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)]
    classes_per_task: Count
    tasks: Count


class DensityOptions(FigureOptions):
    """Distributions of importance values after the first task."""

    printed: Name | None = None  # a CSV of `lifelong/paper/printed`


class PageOptions(Section):
    """A page on the other reports of its section, from a template of `lifelong/paper/pages`."""

    template: Name


class CollectiveOptions(Section):
    """A collective of SKILL agents: what it answers, what it shares, how its banks agree."""

    collective: Name


class SegmentationOptions(Section):
    """Learners of class-incremental segmentation side by side."""

    learners: Annotated[dict[str, Name], Field(min_length=1)]  # label -> learner


class SkillCostsOptions(Section):
    """Tables 1 and 2 of SKILL, and the same account for a collective of ours."""

    table: str  # CSV of the 102 tasks, looked for in data/raw and LIFELONG_DATA
    collective: Name
    epochs: Count = 30


Need = Literal["summary", "scores", "states", "first-state", "last-state", "data", "section", "baselines"]
"""Of every experiment of a report: its summary, the scores of each seed, the state each task (the first, the last) leaves,
its images and tasks; or all other reports of the section; or the baselines of a collective."""


@dataclass(frozen=True)
class ReportKind:
    """How reports of one kind are made: `module.write(settings, report)`."""

    module: str
    needs: tuple[Need, ...]
    writes: tuple[str, ...]  # suffixes beside .md
    options: type[Section] = Section
    experiments: Literal["none", "one", "series"] = "one"  # what a label may stand for
    methods: tuple[str, ...] = ()  # of its experiments; none named: all
    same_seeds: bool = False  # what it shows is of the seeds that all of its experiments have


_FIGURE = ("csv", "json", "png")

REPORT_KINDS: dict[str, ReportKind] = {
    "comparison": ReportKind("lifelong.paper.tables", ("summary",), ("csv", "json"), ComparisonOptions),
    "skill-reuse": ReportKind("lifelong.paper.reuse", (), _FIGURE, CollectiveOptions, "none"),
    "skill-costs": ReportKind("lifelong.paper.skill_costs", (), ("csv", "json"), SkillCostsOptions, "none"),
    "skill-baselines": ReportKind("lifelong.paper.skill_baselines", ("baselines",), _FIGURE, CollectiveOptions, "none"),
    "collective": ReportKind("lifelong.paper.collective", (), _FIGURE, CollectiveOptions, "none"),
    "accuracy-over-tasks": ReportKind("lifelong.paper.figures.accuracy_over_tasks", ("scores",), _FIGURE, FigureOptions),
    "sweep": ReportKind("lifelong.paper.figures.sweep", ("summary",), _FIGURE, SweepOptions, "series"),
    "bars": ReportKind("lifelong.paper.figures.bars", ("summary",), _FIGURE, BarsOptions),
    "parameter-growth": ReportKind("lifelong.paper.figures.parameter_growth", (), _FIGURE, GrowthOptions, "none"),
    "importance-density": ReportKind(
        "lifelong.paper.figures.importance_density",
        ("first-state", "data"),
        _FIGURE,
        DensityOptions,
        methods=("anpyc",),
    ),
    "parameter-distance": ReportKind(
        "lifelong.paper.figures.parameter_distance", ("first-state", "last-state"), _FIGURE, FigureOptions
    ),
    "compression": ReportKind(
        "lifelong.paper.compression", ("states", "scores"), ("csv",), Section, methods=("anpyc-compression",)
    ),
    "matched-forgetting": ReportKind("lifelong.paper.split2meta.matched", ("scores",), ("csv", "png"), MatchedOptions),
    "fusion-gap": ReportKind(
        "lifelong.paper.split2meta.fusion_gap",
        ("states", "data"),
        ("csv", "png"),
        FusionGapOptions,
        methods=("connector", "split2meta"),
    ),
    "loss-landscape": ReportKind(
        "lifelong.paper.split2meta.landscape",
        ("states", "data"),
        ("csv", "png"),
        LandscapeOptions,
        methods=("connector", "split2meta"),
    ),
    "dream-sheet": ReportKind(
        "lifelong.paper.split2meta.dream_sheet", ("last-state",), ("csv", "png"), methods=("split2meta",)
    ),
    "segmentation": ReportKind("lifelong.paper.segmentation", (), ("csv", "png"), SegmentationOptions, "none"),
    "page": ReportKind("lifelong.paper.page", ("section",), (), PageOptions, "none"),
    "ari-protocols": ReportKind("lifelong.paper.ari.protocols", ("summary",), _FIGURE, ProtocolsOptions),
    "paired": ReportKind("lifelong.paper.figures.paired", ("summary",), _FIGURE, PairedOptions, "series"),
    "ari-steps": ReportKind("lifelong.paper.ari.steps", ("scores",), ("csv", "png"), StepsOptions),
    "ari-distances": ReportKind(
        "lifelong.paper.ari.distances", ("last-state",), ("csv", "png"), methods=("ari", "itaml"), same_seeds=True
    ),
    "ari-costs": ReportKind(
        "lifelong.paper.ari.costs", ("last-state", "data"), ("csv",), CostsOptions, methods=("ari", "itaml")
    ),
    "ari-attention": ReportKind(
        "lifelong.paper.ari.attention", ("last-state", "data"), ("csv", "png"), AttentionOptions, methods=("ari",)
    ),
}


def sources(options: Section) -> list[Path]:
    """The files of `PAPER` that a report with these options is held against or written from."""
    named = {"printed": "printed/{}.csv", "claims": "claims/{}.yaml", "template": "pages/{}.md"}
    found = [(pattern, getattr(options, key, None)) for key, pattern in named.items()]
    return [PAPER / pattern.format(name) for pattern, name in found if name]


def parameter(parameters: Mapping[str, Any], path: str) -> float | None:
    """The number at a dotted path of an experiment's parameters; none where there is no number."""
    found: Any = parameters
    for key in path.split("."):
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None
