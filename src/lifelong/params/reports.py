"""The kinds of reports one can name in params.yaml: what each is made of and what it writes beside its Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lifelong.params.sections import Count, Name, Section
from lifelong.params.split2meta_reports import FusionGapOptions, LandscapeOptions, MatchedOptions

PAPER = Path(__file__).parents[1] / "reports"
"""Where what the papers print lies: `printed` values, `claims` made in words, and `pages` that tell of both."""

PAPERS = {"anpyc": "ANPyC", "ari": "ARI", "skill": "SKILL", "split2meta": "Split2MetaFusion"}
"""Start of its sections' names -> the paper, as its method is called."""

Metric = Literal["acc", "bwt", "fwt_joint", "fwt_gem"]


class ComparisonOptions(Section):
    """Experiments side by side in one table."""

    printed: Name | None = None  # the published table set beside ours, a CSV of `lifelong/reports/printed`
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

    claims: Name | None = None  # what the paper says of its own figure, a file of `lifelong/reports/claims`


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

    printed: Name | None = None  # a CSV of `lifelong/reports/printed`


class PageOptions(Section):
    """A page on the other reports of its section, from a template of `lifelong/reports/pages`."""

    template: Name


class CollectiveOptions(Section):
    """A collective of SKILL agents: what it answers, what it shares, how its banks agree."""

    collective: Name


class SkillCostsOptions(Section):
    """Tables 1 and 2 of SKILL, and the same account for a collective of ours."""

    table: str  # CSV of the 102 tasks, looked for in data/raw and LIFELONG_DATA
    collective: Name
    epochs: Count = 30


Need = Literal["scores", "states", "first-state", "last-state", "data", "section"]
"""Of every experiment of a report: the scores of each seed, the state each task (the first, the last) leaves, its images
and tasks; or all other reports of the section."""


@dataclass(frozen=True)
class ReportKind:
    """How reports of one kind are made: `module.write(settings, report, results)`, from what the section keeps alone.

    Attributes:
        needs: what a section must have before it can keep what such a report shows.
        writes: suffixes beside .md.
        experiments: what a label may stand for.
        methods: of its experiments; none named: all.
        same_seeds: what it shows is of the seeds that all of its experiments have.
        measures: it shows what no experiment's scores hold; `module.measure(settings, report)` measures it.
        evidence: among that are images or texts, which `reports/<section>/evidence` keeps.
        question: that such a report answers, as its page opens.
    """

    module: str
    needs: tuple[Need, ...]
    writes: tuple[str, ...]
    options: type[Section] = Section
    experiments: Literal["none", "one", "series"] = "one"
    methods: tuple[str, ...] = ()
    same_seeds: bool = False
    measures: bool = False
    evidence: bool = False
    question: str = ""

    @property
    def scores(self) -> bool:
        """Whether the accuracies of its experiments are kept."""
        return "scores" in self.needs


_FIGURE = ("csv", "json", "png")

REPORT_KINDS: dict[str, ReportKind] = {
    "comparison": ReportKind(
        "lifelong.reports.tables",
        ("scores",),
        _FIGURE,
        ComparisonOptions,
        question="How much do learners keep of what they learnt, with the same tasks and seeds?",
    ),
    "skill-reuse": ReportKind(
        "lifelong.reports.reuse",
        (),
        _FIGURE,
        CollectiveOptions,
        "none",
        measures=True,
        evidence=True,
        question="Do names of classes and heads that are already there save training?",
    ),
    "skill-costs": ReportKind(
        "lifelong.reports.skill_costs",
        (),
        ("csv", "json"),
        SkillCostsOptions,
        "none",
        measures=True,
        question="What does sharing cost beside learning everything in one place?",
    ),
    "skill-baselines": ReportKind(
        "lifelong.reports.skill_baselines",
        ("scores",),
        _FIGURE,
        CollectiveOptions,
        question="How do agents that share compare with one network that learns all tasks in turn?",
    ),
    "collective": ReportKind(
        "lifelong.reports.collective",
        (),
        _FIGURE,
        CollectiveOptions,
        "none",
        measures=True,
        question="How well do agents answer when nobody says which task an image is from?",
    ),
    "accuracy-over-tasks": ReportKind(
        "lifelong.reports.figures.accuracy_over_tasks",
        ("scores",),
        _FIGURE,
        FigureOptions,
        question="Which learner keeps most while tasks come in?",
    ),
    "sweep": ReportKind(
        "lifelong.reports.figures.sweep",
        ("scores",),
        _FIGURE,
        SweepOptions,
        "series",
        question="How does the result depend on one setting?",
    ),
    "bars": ReportKind(
        "lifelong.reports.figures.bars",
        ("scores",),
        _FIGURE,
        BarsOptions,
        question="Which variant ends highest, and by more than its spread over seeds?",
    ),
    "parameter-growth": ReportKind(
        "lifelong.reports.figures.parameter_growth",
        (),
        _FIGURE,
        GrowthOptions,
        "none",
        measures=True,
        question="How fast does each network grow with the number of tasks?",
    ),
    "importance-density": ReportKind(
        "lifelong.reports.figures.importance_density",
        ("first-state", "data"),
        _FIGURE,
        DensityOptions,
        methods=("anpyc",),
        measures=True,
        question="Is importance gathered in few weights, and more so after pruning?",
    ),
    "parameter-distance": ReportKind(
        "lifelong.reports.figures.parameter_distance",
        ("first-state", "last-state"),
        _FIGURE,
        FigureOptions,
        measures=True,
        question="How far do weights move from the first task to the last?",
    ),
    "compression": ReportKind(
        "lifelong.reports.compression",
        ("states", "scores"),
        ("csv",),
        methods=("anpyc-compression",),
        measures=True,
        question="How small does pruning make the network, and at what loss of accuracy?",
    ),
    "matched-forgetting": ReportKind(
        "lifelong.reports.split2meta.matched",
        ("scores",),
        ("csv", "png"),
        MatchedOptions,
        question="Which learner is more accurate where both forget the same?",
    ),
    "fusion-gap": ReportKind(
        "lifelong.reports.split2meta.fusion_gap",
        ("states", "data"),
        ("csv", "png"),
        FusionGapOptions,
        methods=("connector", "split2meta"),
        measures=True,
        question="What does fusing the slow and the fast model cost on old and new tasks?",
    ),
    "loss-landscape": ReportKind(
        "lifelong.reports.split2meta.landscape",
        ("states", "data"),
        ("csv", "png"),
        LandscapeOptions,
        methods=("connector", "split2meta"),
        measures=True,
        question="Where do the fused weights lie between the models that they are made of?",
    ),
    "dream-sheet": ReportKind(
        "lifelong.reports.split2meta.dream_sheet",
        ("last-state",),
        ("csv", "png"),
        methods=("split2meta",),
        measures=True,
        evidence=True,
        question="What do the images look like that a network dreams of its tasks?",
    ),
    "segmentation": ReportKind(
        "lifelong.reports.segmentation",
        ("scores",),
        ("csv", "png"),
        methods=("plop",),
        measures=True,
        question="How well does each learner label pixels while classes come in?",
    ),
    "page": ReportKind("lifelong.reports.page", ("section",), (), PageOptions, "none"),
    "ari-protocols": ReportKind(
        "lifelong.reports.ari.protocols",
        ("scores",),
        _FIGURE,
        ProtocolsOptions,
        question="How does accuracy depend on what is told about the task at test?",
    ),
    "paired": ReportKind(
        "lifelong.reports.figures.paired",
        ("scores",),
        _FIGURE,
        PairedOptions,
        "series",
        question="What does each part of the method change, seed by seed?",
    ),
    "ari-steps": ReportKind(
        "lifelong.reports.ari.steps",
        ("scores",),
        ("csv", "png"),
        StepsOptions,
        question="How does accuracy fall while tasks come in, protocol by protocol?",
    ),
    "ari-distances": ReportKind(
        "lifelong.reports.ari.distances",
        ("last-state",),
        ("csv", "png"),
        methods=("ari", "itaml"),
        same_seeds=True,
        measures=True,
        question="Do the task models draw nearer to their base, and does the regulariser do that?",
    ),
    "ari-costs": ReportKind(
        "lifelong.reports.ari.costs",
        ("last-state", "data"),
        ("csv",),
        CostsOptions,
        methods=("ari", "itaml"),
        measures=True,
        question="What do the attack and the task models cost in time and memory?",
    ),
    "ari-attention": ReportKind(
        "lifelong.reports.ari.attention",
        ("last-state", "data"),
        ("csv", "png"),
        AttentionOptions,
        methods=("ari",),
        measures=True,
        evidence=True,
        question="Where does the network look, and where does the attack act?",
    ),
}


def sources(options: Section) -> list[Path]:
    """The files of `PAPER` that a report with these options is held against or written from."""
    named = {"printed": "printed/{}.csv", "claims": "claims/{}.yaml", "template": "pages/{}.md"}
    result = [(pattern, getattr(options, key, None)) for key, pattern in named.items()]
    return [PAPER / pattern.format(name) for pattern, name in result if name]


def parameter(parameters: Mapping[str, Any], path: str) -> float | None:
    """The number at a dotted path of an experiment's parameters; none where there is no number."""
    result: Any = parameters
    for key in path.split("."):
        if isinstance(result, Mapping) and key in result:
            result = result[key]
        elif isinstance(result, list) and key.isdigit() and int(key) < len(result):
            result = result[int(key)]
        else:
            return None
    return result if isinstance(result, int | float) and not isinstance(result, bool) else None
