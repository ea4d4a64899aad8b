"""Everything that runs as a job: what decides its outcome, and what it needs of the machine.

A method's own stages are declared in its package (`Method.stages`); here is all else, and one way to ask for either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifelong.params import Experiment, Report, Settings
from lifelong.params.datasets import DenseFolder
from lifelong.params.networks import (
    AttentionResNet18Network,
    DenseConvNetwork,
    MlpNetwork,
    PreActResNetNetwork,
    PretrainedNetwork,
    ResolvedNetwork,
    network_module,
)
from lifelong.params.reports import sources
from lifelong.params.sequences import TRAINING_IMAGES_OF_BUILT_IN, Split
from lifelong.pipeline.fingerprints import fingerprint
from lifelong.pipeline.tracking.mlflow_runs import public_uri
from lifelong.runtime.artifacts import file_digest

MEMORY_AROUND = 800
"""MiB, measured: where a cluster runs a job, a Snakemake and the process that it forks jobs from are counted with it."""

_SHORTEST = 5  # minutes

Parts = tuple[dict[str, Any], list[str]]
"""Parameters as JSON values, and the entries (`module:function`) whose code decides the outcome beside them."""


@dataclass(frozen=True)
class JobKind:
    """A kind of job.

    Attributes:
        parts: (settings, names of what it is about) -> what its outcome depends on.
        memory: MiB, measured; what an experiment's network and tasks need comes on top (`needed_memory`).
        device: whether it computes on the device that is asked for.
        minutes: what no job of the kind should exceed (`needed_minutes`).
    """

    parts: Callable[..., Parts]
    memory: int = 700
    device: bool = False
    minutes: int = 10


def job_fingerprint(settings: Settings, kind: str, *names: str) -> str:
    """What the outcome of a job depends on, as one hash."""
    return fingerprint(*JOBS[kind].parts(settings, *names))


def stage_fingerprint(experiment: Experiment, stage: str) -> str:
    """What the outcome of a method's stage depends on, as one hash."""
    return fingerprint(*stage_parts(experiment, stage))


def stage_parts(experiment: Experiment, stage: str) -> Parts:
    entries = ["lifelong.pipeline.run:run_seeds", experiment.method.stage(stage).entry, _building(experiment.network)]
    return experiment.parameters(), entries


def scores_parts(experiment: Experiment) -> Parts:
    parameters = {key: experiment.parameters()[key] for key in ("sequence", "network", "heads", "dropout_at_test")}
    entries = ["lifelong.pipeline.evaluate:evaluate", _building(experiment.network)]
    if experiment.method.network_of:  # then what answers is not told by the weights alone
        parameters["options"] = experiment.options.model_dump()
        entries.append(experiment.method.network_of)
    return parameters | {"stop": experiment.stop}, entries


def summary_parts(experiment: Experiment) -> Parts:
    listed = {"seeds": list(experiment.seeds), "joint": experiment.joint, "stop": experiment.stop}
    return {**experiment.parameters(), **listed}, ["lifelong.pipeline.summarise:summarise"]


def report_parts(report: Report) -> Parts:
    digests = {path.name: file_digest(path) for path in sources(report.options)}
    return {**report.parameters(), "sources": digests}, [f"{report.kind.module}:write"]


def measure_parts(report: Report) -> Parts:
    parameters = {key: value for key, value in report.parameters().items() if key != "title"}
    entries = [f"{report.kind.module}:measure"] + ([_building(report.network)] if report.network else [])
    return parameters, entries


def _collecting(settings: Settings, section: str) -> Parts:
    """What a section keeps, by name; what it is worth is in the files that are collected."""
    shown = {name: settings.report(name).parameters() for name in settings.sections()[section]}
    asked = {name: {key: one[key] for key in ("kind", "experiments", "options")} for name, one in shown.items()}
    return asked, ["lifelong.reports.collect:collect"]


def _building(network: Any) -> str:
    return f"{network_module(network)}:build"


def _images(settings: Settings, dataset: str) -> Parts:
    folder = settings.datasets.get(dataset)
    entry = "lifelong.data.dense:prepare" if isinstance(folder, DenseFolder) else "lifelong.data.catalog:prepare"
    return {"dataset": folder.model_dump() if folder else dataset}, [entry]


def _features(settings: Settings, backbone: str, tier: str) -> Parts:
    skill = settings.skill
    parameters = {"backbone": skill.backbones[backbone].model_dump(), "tier": skill.tiers[tier].model_dump()}
    return parameters, ["lifelong.methods.skill.features:extract"]


def _of_collective(entry: str, *extra: str) -> Callable[[Settings, str], Parts]:
    """All that decides a collective's results, but for the numbers of seeds and agents; and further keys of its own."""

    def parts(settings: Settings, name: str) -> Parts:
        collective = settings.skill.collective(name)
        chosen = collective.model_dump(include={"heads", "mappers", "variants", *extra})
        return chosen | _shared(settings, name), [f"lifelong.{entry}"]

    return parts


def _shared(settings: Settings, name: str) -> dict[str, Any]:
    """What a collective's heads are learnt from."""
    collective = settings.skill.collective(name)
    sequence = settings.skill.sequences[collective.sequence]
    return {
        "sequence": sequence.model_dump(),
        "tier": settings.skill.tiers[sequence.tier].model_dump(),
        "backbone": settings.skill.backbones[collective.backbone].model_dump(),
    }


def _teaching(settings: Settings, name: str) -> Parts:
    parameters, entries = _of_collective("methods.skill.teach:teach")(settings, name)
    parameters["heads"] = {label: head for label, head in parameters["heads"].items() if head["kind"] == "linear"}
    return parameters, entries


def _of_head(function: str) -> Callable[[Settings, str, str], Parts]:
    def parts(settings: Settings, name: str, head: str) -> Parts:
        own = settings.skill.collective(name).heads[head].model_dump()
        return {**_shared(settings, name), "head": own}, [f"lifelong.methods.skill.teach:{function}"]

    return parts


def _head2toe(settings: Settings, name: str) -> Parts:
    collective = settings.skill.collective(name)
    assert collective.head2toe is not None
    own = {
        "head": collective.heads[collective.head2toe.head].model_dump(),
        "head2toe": collective.head2toe.model_dump(exclude={"mapper"}),
    }
    return {**_shared(settings, name), **own}, ["lifelong.methods.skill.head2toe:head2toe"]


def _packing(settings: Settings, name: str) -> Parts:
    chosen = settings.skill.collective(name).model_dump(include={"heads", "mappers", "variants"})
    return chosen, ["lifelong.methods.skill.packing:pack"]


def _tracking(settings: Settings, name: str) -> Parts:
    whole = settings.skill.collective(name).model_dump()
    about = {"collective": whole, **_shared(settings, name), "uri": public_uri(settings.tracked_at())}
    return about, ["lifelong.pipeline.tracking.collectives:track_collective"]


def needed_memory(settings: Settings, kind: str, experiment: str | None = None) -> int:
    """MiB that a job of the kind needs, about this experiment."""
    result = JOBS[kind].memory
    if experiment is None:
        return result
    asked = settings.experiment(experiment)
    tasks = asked.count if asked.method.joint or kind == "evaluate" else 1
    return result + 110 * tasks + _network_memory(asked.network)


def needed_minutes(settings: Settings, kind: str, experiment: str | None = None) -> int:
    """What no job of the kind should exceed, about this experiment: some ten times what training was measured to take."""
    result = JOBS[kind].minutes
    if experiment is None or kind != "stage":
        return result
    asked = settings.experiment(experiment)
    known = [TRAINING_IMAGES_OF_BUILT_IN.get(name) for name in set(asked.datasets)]
    if None in known:  # a folder of any size
        return result
    images = sum(filter(None, known))
    if isinstance(asked.sequence, Split) and not asked.method.joint:
        images = images // asked.sequence.count
    seconds = images * asked.training.epochs * _seconds_an_image(asked.network)
    return min(result, max(_SHORTEST, round(seconds / 60)))


def _seconds_an_image(network: ResolvedNetwork) -> float:
    """Ten times what an epoch of plain training takes on one core, since methods do more than that."""
    match network:
        case MlpNetwork():
            return 1e-3
        case AttentionResNet18Network() | PreActResNetNetwork() | PretrainedNetwork():
            return 0.3
        case _:
            return 0.02


def _network_memory(network: ResolvedNetwork) -> int:
    """MiB for activations and gradients of a batch beside what a perceptron needs."""
    match network:
        case AttentionResNet18Network():
            return 12 * sum(network.widths)
        case PreActResNetNetwork():
            return 700 + 30 * network.width
        case PretrainedNetwork():
            return 0 if network.frozen else 3000
        case DenseConvNetwork():
            return 1500
        case MlpNetwork():
            return 0
        case _:
            return 800


JOBS: dict[str, JobKind] = {
    "images": JobKind(_images, 1000),
    "tasks": JobKind(lambda s, name: (s.sequence_parameters(name), ["lifelong.data.sequences:build"])),
    "stage": JobKind(lambda s, name, stage: stage_parts(s.experiment(name), stage), 700, True, 480),
    "evaluate": JobKind(lambda s, name: scores_parts(s.experiment(name)), 700, True, 30),
    "choose": JobKind(
        lambda s, name: ({"grid": s.experiment(name).parameters()["grid"]}, ["lifelong.pipeline.choose:choose"])
    ),
    "summarise": JobKind(lambda s, name: summary_parts(s.experiment(name))),
    "measure": JobKind(lambda s, name: measure_parts(s.report(name)), 3000, minutes=120),
    "collect": JobKind(_collecting, 1500),
    "report": JobKind(lambda s, name: report_parts(s.report(name)), 1500),
    "track": JobKind(
        lambda s, name: ({"uri": public_uri(s.tracked_at())}, ["lifelong.pipeline.tracking.experiments:track"]),
        1000,
    ),
    "features": JobKind(_features, 3000, True, 120),
    "teach": JobKind(_teaching, 2000, minutes=60),
    "teach-biased": JobKind(_of_head("teach_biased"), 3000, True, 480),
    "judge-biased": JobKind(_of_head("judge_biased"), 3000, True, 60),
    "head2toe": JobKind(_head2toe, 3000, minutes=120),
    "pack": JobKind(_packing),
    "receive": JobKind(_of_collective("methods.skill.share:receive")),
    "route": JobKind(_of_collective("methods.skill.evaluate:evaluate"), 4000, minutes=120),
    "reuse": JobKind(_of_collective("methods.skill.reuse:reuse", "reuse"), 3000, minutes=120),
    "track-collective": JobKind(_tracking, 1000),
}
