# What the rules ask of the experiments, and of the machine.

GPU = config.get("gpu", 0)  # how many there are; each job that computes on one has it for itself, or shares it
SHARES = int(config.get("jobs_per_gpu", 1))
if GPU == "auto":
    if not workflow.is_main_process:
        raise WorkflowError("gpu=auto counts the GPUs of one machine; on a cluster give gpu=1")
    GPU = count_gpus()
GPU = int(GPU)
DEVICE = config.get("device", "cuda") if GPU else "cpu"
if GPU and "gpu" not in workflow.global_resources:
    workflow.global_resources["gpu"] = GPU * SHARES
if GPU:
    os.environ[GPUS], os.environ[JOBS_PER_GPU] = str(GPU), str(SHARES)


# On a cluster, a limit of these is one of each job of it.
resource_scopes:
    gpu="local",
    side_by_side="local",


def depends(kind, *wildcards):
    """The fingerprint of a job of this kind about what the wildcards name."""
    return lambda w: stages.job_fingerprint(SETTINGS, kind, *(getattr(w, name) for name in wildcards))


def needs(kind):
    """What a job of this kind asks of the machine; where it was too little, a second attempt asks for twice as much."""
    job = stages.JOBS[kind]

    def memory(w, attempt):
        around = 0 if workflow.local_exec else stages.MEMORY_AROUND  # not known before jobs are planned
        return attempt * (stages.needed_memory(SETTINGS, kind, about(w)) + around)

    def minutes(w, attempt):
        return attempt * stages.needed_minutes(SETTINGS, kind, about(w))

    def about(w):
        return w.experiment if kind in ("stage", "evaluate") else None

    # All name the device, for Snakemake refuses a group whose jobs differ in a text.
    found = {"mem_mb": memory, "runtime": minutes, "side_by_side": 1, "device": DEVICE}
    return found | ({"gpu": min(GPU, 1)} if job.device else {})


def trained_together():
    """Patterns of experiments whose seeds a GPU trains in one job, by these seeds; and of those left."""
    groups = {}
    for name, experiment in SETTINGS.experiments.items():
        if GPU and len(experiment.seeds) > 1 and layers_kind(experiment.network) == "mlp":
            groups.setdefault(" ".join(map(str, experiment.seeds)), []).append(name)
    patterns = {seeds: "|".join(map(re.escape, names)) for seeds, names in groups.items()}
    left = "".join(rf"(?!(?:{pattern})/)" for pattern in patterns.values()) + NAME_PATTERN
    return patterns, left


TOGETHER, ALONE = trained_together()


def stage_inputs(stage, seeds):
    """Images, tasks, the states that the stage starts from and adds to, and the choice of options where there is one."""

    def inputs(w):
        experiment = SETTINGS.experiment(w.experiment)
        learnt = range(experiment.count) if experiment.method.joint else [int(w.task)]
        found = [*graph.source_files(experiment, learnt, ["train"]), paths.tasks(experiment.sequence_name)]
        found += [paths.chosen(w.experiment)] if experiment.grid else []
        for seed in seeds.format(**w).split():
            args = (experiment, int(seed), int(w.task), stage)
            found += [path for path in (graph.input_state(*args), graph.earlier_state(*args)) if path]
        return found

    return inputs


def evaluation_data(w):
    """Test and validation images of all tasks."""
    experiment = SETTINGS.experiment(w.experiment)
    sources = graph.source_files(experiment, range(experiment.count), ["train", "test"])
    return [*sources, paths.tasks(experiment.sequence_name)]


def final_states(w):
    """What each task of a seed leaves."""
    experiment = SETTINGS.experiment(w.experiment)
    return [graph.final_state(experiment, int(w.seed), task) for task in experiment.tasks]


def scores_of(name, seeds):
    return [paths.scores(name, seed) for seed in seeds]


def summary_inputs(w):
    """The scores of every seed, and those of the joint learner they are held against."""
    return summary_inputs_of(SETTINGS.experiment(w.experiment))


def summary_inputs_of(experiment):
    joint = scores_of(experiment.joint, experiment.seeds) if experiment.joint else []
    choice = [paths.chosen(experiment.name)] if experiment.grid else []
    return scores_of(experiment.name, experiment.seeds) + joint + choice


def report_targets(section):
    """The reports of one section, the MLflow runs behind those that show scores, and what SKILL's are made of."""
    targets = []
    for name in SETTINGS.sections()[section]:
        wanted = SETTINGS.report(name)
        targets.append(paths.report(name, "md"))
        if wanted.kind.scores:
            targets += [paths.tracked(experiment) for experiment in wanted.all_experiments()]
        collective = getattr(wanted.options, "collective", None)
        targets += [paths.tracked_collective(collective), *collective_evidence(collective)] if collective else []
    return targets


def demo_targets(name):
    """The scores of an experiment or a collective, and its MLflow runs; nothing where params.yaml has no such."""
    if name in SETTINGS.experiments:
        return [*scores_of(name, SETTINGS.experiment(name).seeds), paths.tracked(name)]
    if name in SETTINGS.skill.collectives:
        seeds = range(SETTINGS.skill.collective(name).seeds)
        return [*(paths.collective_scores(name, seed) for seed in seeds), paths.tracked_collective(name)]
    return []


def report_evidence(name):
    """What a report needs of each of its experiments, and of its collective."""
    wanted = SETTINGS.report(name)
    needs = wanted.kind.needs
    found = []
    for shown in wanted.all_experiments():
        experiment = SETTINGS.experiment(shown)
        tasks = {
            "states": experiment.tasks,
            "first-state": experiment.tasks[:1],
            "last-state": experiment.tasks[-1:],
        }
        if "scores" in needs:
            found += summary_inputs_of(experiment)
        for need in needs:
            found += [graph.final_state(experiment, s, t) for s in experiment.seeds for t in tasks.get(need, ())]
        if "data" in needs:
            found += [
                *graph.source_files(experiment, range(experiment.count), ["train"]),
                paths.tasks(experiment.sequence_name),
            ]
    collective = getattr(wanted.options, "collective", None)
    found += collective_evidence(collective) if collective else []
    return list(dict.fromkeys(found))


def section_evidence(section):
    """What a section collects: scores, and what its reports have measured."""
    found = []
    for name in SETTINGS.sections()[section]:
        wanted = SETTINGS.report(name)
        found += measured_files(name) if wanted.kind.measures else []
        if wanted.kind.scores:
            found += [file for shown in wanted.all_experiments() for file in summary_inputs_of(SETTINGS.experiment(shown))]
        collective = getattr(wanted.options, "collective", None)
        seeds = range(SETTINGS.skill.collective(collective).seeds) if collective else ()
        found += [paths.collective_scores(collective, seed) for seed in seeds]
    return list(dict.fromkeys(found))


def measured_files(name):
    suffixes = ["csv", "safetensors"] if SETTINGS.report(name).kind.evidence else ["csv"]
    return [paths.measured(name, suffix) for suffix in suffixes]


def kept_files(section):
    """What a section keeps and its reports are drawn from."""
    tables = [paths.section(section, file) for file in ("results.csv", "quantities.csv", "provenance.json")]
    evidence = [paths.evidence(name) for name in SETTINGS.sections()[section] if SETTINGS.report(name).kind.evidence]
    return tables + evidence


def report_inputs(w):
    """What the section keeps; of a page the other reports."""
    wanted = SETTINGS.report(w.report)
    if "section" not in wanted.kind.needs:
        return kept_files(wanted.section)
    others = [SETTINGS.report(name) for name in SETTINGS.sections()[wanted.section]]
    return [
        paths.report(other.name, suffix)
        for other in others
        if other.kind_name != wanted.kind_name
        for suffix in ("md", *other.kind.writes)
    ]


def paper_of(w):
    """The paper that a report is about: a chapter of `snakemake --report`."""
    section = SETTINGS.report(w.report).section
    return next((paper for start, paper in PAPERS.items() if section.startswith(start)), "All papers' methods")


def section_of(w):
    return SETTINGS.report(w.report).section


def label_report(w):
    return {"Report": SETTINGS.report(w.report).title}


def reports_of_kind(kind):
    """A pattern of the names of a kind's reports; one that nothing matches when there is none."""
    return "|".join(re.escape(name) for name, one in SETTINGS.reports.items() if one.kind_name == kind) or "(?!)"


def collective_tasks(w):
    return range(len(SETTINGS.skill.tasks(SETTINGS.skill.collective(w.collective).sequence)))


def skill_features(collective, splits, tasks=None):
    """Features of the data sets that the tasks (all of them by default) of a collective are cut from."""
    wanted = SETTINGS.skill.collective(collective)
    tier = SETTINGS.skill.sequences[wanted.sequence].tier
    entries = SETTINGS.skill.tasks(wanted.sequence)
    datasets = dict.fromkeys(entry.dataset for entry in (entries if tasks is None else [entries[t] for t in tasks]))
    return [paths.features(wanted.backbone, tier, dataset, split) for dataset in datasets for split in splits]


def task_dataset(w):
    sequence = SETTINGS.skill.collective(w.collective).sequence
    return SETTINGS.skill.tasks(sequence)[int(w.task)].dataset


def collective_packets(collective, seed):
    wanted = SETTINGS.skill.collective(collective)
    tasks = range(len(SETTINGS.skill.tasks(wanted.sequence)))
    return [paths.packet(collective, seed, task, variant) for task in tasks for variant in wanted.variants]


def collective_evidence(collective):
    """What a report on a collective reads: scores and banks of every seed, and how long the tasks took."""
    wanted = SETTINGS.skill.collective(collective)
    tasks = range(len(SETTINGS.skill.tasks(wanted.sequence)))
    biased = graph.biased_heads(wanted)
    found = []
    for seed in range(wanted.seeds):
        found += [paths.collective_scores(collective, seed), paths.collective_predictions(collective, seed)]
        found += [paths.bank(collective, seed, n, agent) for n in wanted.agents for agent in range(n)]
        found += [paths.taught_times(collective, seed, task) for task in tasks]
        found += [paths.biased_times(collective, seed, task, head) for task in tasks for head in biased]
        found += [paths.reused(collective, seed)] if wanted.reuse else []
        if wanted.head2toe:
            found += [paths.biased_predictions(collective, seed, t, wanted.head2toe.head) for t in tasks]
            found += [paths.head2toe(collective, seed, t) for t in tasks]
    return found
