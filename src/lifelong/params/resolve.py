"""From params as written to experiments and reports with every name resolved; each fault is told by its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from lifelong.params.datasets import DenseFolder, Folder
from lifelong.params.edges import list_edges
from lifelong.params.experiment import Experiment
from lifelong.params.inheritance import Expansion, expand_entries
from lifelong.params.messages import validate
from lifelong.params.methods import Method, load_methods
from lifelong.params.networks import BackboneNetwork, PretrainedNetwork, ResolvedNetwork, layers_kind
from lifelong.params.reporting import Report, resolve_report
from lifelong.params.schema import Branch, ExperimentEntry, Grid, Params
from lifelong.params.sequences import CLASSES_OF_BUILT_IN, WHOLE, DataSets, Dense, TaskEntry, Tier
from lifelong.params.settings import Settings
from lifelong.params.skill import Skill
from lifelong.runtime.errors import UserError, did_you_mean


@dataclass
class _Faults:
    """What does not fit, collected so that all of it is told at once."""

    source: str
    texts: list[str] = field(default_factory=list)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Goes on after a fault in the block."""
        try:
            yield
        except UserError as error:
            self.texts += [line.removeprefix(f"{self.source}: ") for line in str(error).split("\n")]

    def raise_any(self) -> None:
        if self.texts:
            raise UserError("\n".join(f"{self.source}: {text}" for text in self.texts))


def resolve(written: dict[str, Any], source: str) -> Settings:
    """Check params that are already read; `source` names them in messages.

    Raises:
        UserError: something does not fit; every fault is listed.
    """
    expanded = expand_entries(written, source)
    params = validate(Params, expanded.values, source, "")
    methods = load_methods(params.methods)
    faults = _Faults(source)
    _check_datasets(params, faults)
    tables = {name: one for name, one in params.sequences.items() if isinstance(one, DataSets)}
    parts = {
        "backbones": params.backbones,
        "tiers": {WHOLE: Tier(), **params.tiers},
        "sequences": tables,
        "collectives": params.collectives,
    }
    skill = Skill(sequences=tables)  # which experiments learn, whatever is wrong of the collectives
    with faults.collected():
        skill = validate(Skill, {**parts, "mac_per_byte": params.mac_per_byte}, source, "")
    experiments: dict[str, Experiment] = {}
    for name, entry in params.experiments.items():
        with faults.collected():
            experiments[name] = _resolve_experiment(name, entry, params, methods, skill.tasks, source)
    if "skill" in experiments and params.collectives:
        faults.texts.append("experiments.skill: results/skill is the collectives' folder; rename the experiment")
    for name in experiments:
        faults.texts += _joint_faults(experiments[name], params, methods)
        faults.texts += _candidate_faults(experiments[name], params, expanded)
    for name, entry in params.experiments.items():
        if entry.branch is not None and name in experiments:
            with faults.collected():
                experiments[name] = _branch_off(experiments[name], entry.branch, experiments, params, source)
    reports: dict[str, Report] = {}
    for section, entries in params.reports.items():
        for name, report in entries.items():
            with faults.collected():
                reports[f"{section}/{name}"] = resolve_report(f"{section}/{name}", report, params, experiments, source)
    faults.raise_any()
    of_tables = skill.folders(entry.sequence for entry in params.experiments.values())
    for name, folder in of_tables.items():
        if name in CLASSES_OF_BUILT_IN or (name in params.datasets and params.datasets[name] != Folder(**folder)):
            raise UserError(
                f"{source}: datasets.{name}: a table of a sequence has a folder of this name; rename one of the two"
            )
    return Settings(
        datasets=params.datasets | {name: Folder(**folder) for name, folder in of_tables.items()},
        sequences=params.sequences,
        tiers={WHOLE: Tier(), **params.tiers},
        experiments=experiments,
        candidates={c.name: c for experiment in experiments.values() for c in _candidates(experiment)},
        skill=skill,
        training=params.training,
        reports=reports,
        tracking_uri=params.tracking_uri,
        limits=params.limits,
        methods=methods,
        origins=expanded.origins,
        sweeps=expanded.sweeps,
    )


def _check_datasets(params: Params, faults: _Faults) -> None:
    """Every data set that a sequence names is defined, and is of the kind that the sequence cuts."""
    if WHOLE in params.tiers:
        faults.texts.append(f"tiers.{WHOLE}: this name stands for whole data sets; choose another")
    for name in params.datasets:
        if name in CLASSES_OF_BUILT_IN:
            faults.texts.append(f"datasets.{name}: this name is a built-in data set's; choose another")
    known = {*CLASSES_OF_BUILT_IN, *params.datasets}
    for name, sequence in params.sequences.items():
        where = f"sequences.{name}"
        if isinstance(sequence, DataSets) and sequence.tier not in {WHOLE, *params.tiers}:
            hint = did_you_mean(sequence.tier, {WHOLE, *params.tiers})
            faults.texts.append(f"{where}.tier: {sequence.tier!r} is unknown; {hint}")
        elif isinstance(sequence, DataSets) and sequence.tier != WHOLE and params.tiers[sequence.tier].train_per_class == 1:
            faults.texts.append(
                f"tiers.{sequence.tier}.train_per_class: found 1, which leaves {where} none for validation; give two or more"
            )
        for dataset in sequence.datasets:
            key = f"{where}.tasks" if isinstance(sequence, DataSets) else f"{where}.dataset"
            if dataset not in known:
                faults.texts.append(f"{key}: {dataset!r} is unknown; {did_you_mean(dataset, known)}")
                continue
            folder = params.datasets.get(dataset)
            if isinstance(folder, DenseFolder) != isinstance(sequence, Dense):
                what = "labels every pixel" if isinstance(folder, DenseFolder) else "labels whole images"
                faults.texts.append(f"{key}: {dataset!r} {what}, which a sequence of kind {sequence.kind!r} does not cut")
            elif (
                isinstance(folder, DenseFolder)
                and isinstance(sequence, Dense)
                and (count := sum(sequence.task_sizes())) > folder.classes
            ):
                faults.texts.append(
                    f"{where}: tasks of {sequence.task_sizes()} classes need {count}; {dataset} has {folder.classes}"
                )


def _branch_off(
    experiment: Experiment, branch: Branch, known: dict[str, Experiment], params: Params, source: str
) -> Experiment:
    """The experiment behind another one of the same kind, which may itself not be a branch."""
    where = f"{source}: experiments.{experiment.name}.branch"
    if branch.experiment not in known:
        raise UserError(f"{where}.experiment: {branch.experiment!r} is unknown; {did_you_mean(branch.experiment, known)}")
    trunk = known[branch.experiment]
    for what in ("sequence_name", "method_name", "heads", "network", "dropout_at_test"):
        ours, theirs = getattr(experiment, what), getattr(trunk, what)
        if ours != theirs:
            raise UserError(f"{where}: {trunk.name!r} has {what.removesuffix('_name')} {theirs!r}; expected {ours!r}")
    if params.experiments[trunk.name].branch is not None or trunk.grid is not None or experiment.method.joint:
        raise UserError(f"{where}: {trunk.name!r} is itself a branch, has a grid or learns all tasks at once; name another")
    if branch.task >= experiment.count:
        raise UserError(f"{where}.task: found {branch.task}; the last task is {experiment.count - 1}")
    absent = [seed for seed in experiment.seeds if seed not in trunk.seeds]
    if absent:
        raise UserError(f"{where}: {trunk.name!r} lacks seeds {absent}; give it those seeds")
    return replace(experiment, trunk=trunk, branch_task=branch.task)


def _candidates(experiment: Experiment) -> list[Experiment]:
    """An experiment for each point of the grid, in the order written, with the grid's seeds."""
    if experiment.grid is None:
        return []
    written = experiment.options.model_dump(exclude_unset=True)
    seeds = _seeds(experiment.grid.seeds)
    return [
        replace(
            experiment.with_options(written | point),
            name=name,
            seeds=seeds,
            joint=None,
            may_diverge=True,
            stop=experiment.grid.tasks,
        )
        for name, point in zip(experiment.candidates, _points(experiment.grid), strict=True)
    ]


def _points(grid: Grid) -> list[dict[str, Any]]:
    """Every combination of the grid's options."""
    return [dict(zip(grid.options, values, strict=True)) for values in product(*grid.options.values())]


def _resolve_experiment(
    name: str,
    entry: ExperimentEntry,
    params: Params,
    methods: Mapping[str, Method],
    tasks_of: Callable[[str], tuple[TaskEntry, ...]],
    source: str,
) -> Experiment:
    where = f"{source}: experiments.{name}"
    for key, known in (("sequence", params.sequences), ("network", params.networks), ("training", params.training)):
        value = getattr(entry, key)
        if value not in known:
            raise UserError(f"{where}.{key}: {value!r} is unknown; {did_you_mean(value, known)}")
    if entry.method not in methods:
        raise UserError(f"{where}.method: {entry.method!r} is unknown; {did_you_mean(entry.method, methods)}")
    method = methods[entry.method]
    heads = entry.heads or method.heads[0]
    if heads not in method.heads:
        raise UserError(
            f"{where}.heads: {heads!r} does not fit method {entry.method!r}; {did_you_mean(heads, method.heads)}"
        )
    sequence = params.sequences[entry.sequence]
    if sequence.kind not in method.sequences:
        raise UserError(
            f"{where}.sequence: {entry.sequence!r} is of kind {sequence.kind!r}; method {entry.method!r} learns "
            f"{', '.join(method.sequences)}{method.why_not(sequence.kind)}"
        )
    network = _resolve_network(entry.network, params, where)
    if method.networks and layers_kind(network) not in method.networks:
        raise UserError(
            f"{where}.network: {entry.network!r} is of kind {layers_kind(network)!r}; method {entry.method!r} works with "
            f"{', '.join(method.networks)}"
        )
    _check_input(sequence, network, f"{where}.network: {entry.network!r}")
    seeds = _seeds(entry.seeds)
    if len(set(seeds)) != len(seeds) or not seeds:
        raise UserError(f"{where}.seeds: found {list(seeds)}; expected a count, or seeds that differ")
    points: list[dict[str, Any]] = [{}]
    if entry.grid is not None:
        both = [key for key in entry.grid.options if key in entry.options]
        if both:
            raise UserError(f"{where}.grid.options: {both[0]!r} is also in 'options'; keep one of the two")
        if "pruning" in entry.grid.options:
            raise UserError(f"{where}.grid.options: 'pruning' decides which stages there are; it cannot be chosen")
        if entry.grid.tasks is not None and entry.grid.tasks > sequence.count:
            raise UserError(f"{where}.grid.tasks: found {entry.grid.tasks}; {entry.sequence!r} has {sequence.count}")
        points = _points(entry.grid)
    prefix = f"experiments.{name}.options."
    options = [validate(method.options, {**entry.options, **point}, source, prefix) for point in points]
    entries = tasks_of(entry.sequence) if isinstance(sequence, DataSets) else ()
    datasets = tuple(task.dataset for task in entries) or (sequence.datasets[0],) * sequence.count
    experiment = Experiment(
        name=name,
        sequence_name=entry.sequence,
        sequence=sequence,
        datasets=datasets,
        folders=tuple((one, params.datasets[one]) for one in dict.fromkeys(datasets) if one in params.datasets),
        tier_name=sequence.tier if isinstance(sequence, DataSets) else WHOLE,
        tier={WHOLE: Tier(), **params.tiers}[sequence.tier] if isinstance(sequence, DataSets) else Tier(),
        entries=entries,
        network=network,
        heads=heads,
        training=params.training[entry.training],
        method_name=entry.method,
        method=method,
        options=options[0],
        seeds=seeds,
        joint=entry.joint,
        may_diverge=entry.may_diverge,
        dropout_at_test=entry.dropout_at_test,
        grid=entry.grid,
        candidates=tuple(f"{name}_grid-{i}" for i in range(len(points))) if entry.grid else (),
    )
    if edges := list(dict.fromkeys(list_edges(experiment, options))):
        raise UserError("\n".join(f"{where}.{edge}" for edge in edges))
    return experiment


def _resolve_network(name: str, params: Params, where: str) -> ResolvedNetwork:
    network = params.networks[name]
    if not isinstance(network, BackboneNetwork):
        return network
    if network.backbone not in params.backbones:
        hint = did_you_mean(network.backbone, params.backbones)
        raise UserError(f"{where}.network: {name!r} names the backbone {network.backbone!r}, which is unknown; {hint}")
    return PretrainedNetwork(
        kind="backbone",
        name=network.backbone,
        backbone=params.backbones[network.backbone],
        frozen=network.frozen,
        hidden=network.hidden,
    )


def _check_input(sequence: Any, network: ResolvedNetwork, where: str) -> None:
    """A network takes what a sequence's tasks give it."""
    if (network.kind == "dense-conv") != isinstance(sequence, Dense):
        raise UserError(
            f"{where} is of kind {network.kind!r}, and the sequence of kind {sequence.kind!r}: labels of pixels go with "
            f"a network of kind 'dense-conv', and only with it"
        )
    if isinstance(network, PretrainedNetwork):
        if getattr(sequence, "permutation", None) or getattr(sequence, "backgrounds", None):
            raise UserError(f"{where} is a backbone; it takes images as they are, not permuted or on backgrounds")
    elif isinstance(sequence, DataSets) and sequence.shape is None:
        raise UserError(f"{where} takes images of one shape; give the sequence a 'shape': [channels, height, width]")


def _seeds(written: int | list[int]) -> tuple[int, ...]:
    return tuple(range(written)) if isinstance(written, int) else tuple(written)


def _candidate_faults(experiment: Experiment, params: Params, expanded: Expansion) -> list[str]:
    """Candidates of a grid have folders beside those of the experiments, so their names must differ."""
    return [
        f"experiments.{experiment.name}.grid: makes {name!r}, as does experiments.{expanded.origins[name].steps[0].name}; "
        "rename one of the two"
        for name in experiment.candidates
        if name in params.experiments
    ]


def _joint_faults(experiment: Experiment, params: Params, methods: Mapping[str, Method]) -> list[str]:
    """`joint` must name a joint learner of the same sequence that has every seed of this experiment."""
    if experiment.joint is None:
        return []
    where = f"experiments.{experiment.name}.joint"
    other = params.experiments.get(experiment.joint)
    if other is None:
        return [f"{where}: {experiment.joint!r} is unknown; {did_you_mean(experiment.joint, params.experiments)}"]
    if other.method not in methods or not methods[other.method].joint:
        return [f"{where}: {experiment.joint!r} has method {other.method!r}; expected a joint learner"]
    if other.sequence != experiment.sequence_name:
        return [f"{where}: {experiment.joint!r} learns {other.sequence!r}; expected {experiment.sequence_name!r}"]
    absent = [seed for seed in experiment.seeds if seed not in _seeds(other.seeds)]
    return [f"{where}: {experiment.joint!r} lacks seeds {absent}; give it those seeds"] if absent else []
