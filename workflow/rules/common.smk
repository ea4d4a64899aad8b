# What the rules ask of the experiments, and of the machine.

GPU = int(config.get("gpu", 0))
DEVICE = "cuda" if GPU else "cpu"


def trained_together():
    """Patterns of experiments whose seeds a GPU trains in one job, by these seeds; and of those left."""
    groups = {}
    for name, experiment in SETTINGS.experiments.items():
        if GPU and len(experiment.seeds) > 1 and experiment.network.kind == "mlp":
            groups.setdefault(" ".join(map(str, experiment.seeds)), []).append(name)
    left = "".join(rf"(?!(?:{'|'.join(names)})/)" for names in groups.values()) + r"[\w-]+"
    return {seeds: "|".join(names) for seeds, names in groups.items()}, left


TOGETHER, ALONE = trained_together()


def stage_inputs(stage, seeds):
    """Images, tasks, the states that the stage starts from and adds to, and the choice of options where there is one."""

    def inputs(w):
        experiment = SETTINGS.experiment(w.experiment)
        found = [ancient(layout.images(experiment.scenario.dataset)), layout.tasks(experiment.scenario_name)]
        found += [layout.chosen(w.experiment)] if experiment.grid else []
        for seed in seeds.format(**w).split():
            args = (experiment, int(seed), int(w.task), stage)
            found += [path for path in (stages.input_state(*args), stages.earlier_state(*args)) if path]
        return found

    return inputs


def final_states(w):
    """What each task of a seed leaves."""
    experiment = SETTINGS.experiment(w.experiment)
    return [stages.final_state(experiment, int(w.seed), task) for task in experiment.tasks]


def scores_of(name, seeds):
    return [layout.scores(name, seed) for seed in seeds]


def summary_inputs(w):
    """The scores of every seed, and those of the joint learner they are held against."""
    experiment = SETTINGS.experiment(w.experiment)
    joint = scores_of(experiment.joint, experiment.seeds) if experiment.joint else []
    choice = [layout.chosen(w.experiment)] if experiment.grid else []
    return scores_of(experiment.name, experiment.seeds) + joint + choice


def report_targets(section):
    """The reports of one section, the MLflow runs behind those that show scores, and what SKILL's are made of."""
    targets = []
    for name in SETTINGS.sections()[section]:
        wanted = SETTINGS.report(name)
        targets.append(layout.report(name, "md"))
        if {"summary", "scores"} & set(wanted.kind.needs):
            targets += [layout.tracked(experiment) for experiment in wanted.all_experiments()]
        collective = getattr(wanted.options, "collective", None)
        targets += [layout.tracked_collective(collective), *collective_evidence(collective)] if collective else []
    return targets


def report_inputs(w):
    """What a report needs of each of its experiments, or of its section."""
    wanted = SETTINGS.report(w.report)
    needs = wanted.kind.needs
    found = []
    for name in wanted.all_experiments():
        experiment = SETTINGS.experiment(name)
        tasks = {
            "states": experiment.tasks,
            "first-state": experiment.tasks[:1],
            "last-state": experiment.tasks[-1:],
        }
        if "summary" in needs:
            found.append(layout.summary(name))
            found += [layout.chosen(name)] if experiment.grid else []
        if "scores" in needs:
            found += scores_of(name, experiment.seeds)
        for need in needs:
            found += [stages.final_state(experiment, s, t) for s in experiment.seeds for t in tasks.get(need, ())]
        if "data" in needs:
            found += [
                layout.images(experiment.scenario.dataset),
                layout.tasks(experiment.scenario_name),
            ]
    if "section" in needs:
        for name in SETTINGS.sections()[wanted.section]:
            other = SETTINGS.report(name)
            if other.kind_name != wanted.kind_name:
                found += [layout.report(name, suffix) for suffix in ("md", *other.kind.writes)]
    for learner in getattr(wanted.options, "learners", {}).values():
        seeds = SETTINGS.segmentation_learner(learner).all_seeds()
        found += [layout.segmentation_scores(learner, seed) for seed in seeds]
    collective = getattr(wanted.options, "collective", None)
    found += collective_evidence(collective) if collective else []
    found += collective_baselines(collective) if "baselines" in needs else []
    return list(dict.fromkeys(found))


def reports_of_kind(kind):
    """A pattern of the names of a kind's reports; one that nothing matches when there is none."""
    return "|".join(name for name, one in SETTINGS.reports.items() if one.kind_name == kind) or "(?!)"


def segmentation_inputs(stage):
    """Images, and the states that a stage of segmentation starts from and adds to."""

    def inputs(w):
        args = (SETTINGS, w.learner, int(w.seed), int(w.step), stage)
        states = [stages.segmentation_input(*args), stages.segmentation_earlier(*args)]
        return [segmentation_data(w), *(path for path in states if path)]

    return inputs


def segmentation_data(w):
    steps = SETTINGS.segmentation.steps[SETTINGS.segmentation_learner(w.learner).steps]
    return layout.segmentation_images(steps.data)


def segmentation_finals(w):
    """What each step of a seed leaves."""
    steps = range(len(SETTINGS.segmentation_sizes(w.learner)))
    return [stages.segmentation_final(SETTINGS, w.learner, int(w.seed), step) for step in steps]


def collective_tasks(w):
    return range(len(SETTINGS.skill.tasks(SETTINGS.skill.collective(w.collective).sequence)))


def skill_features(collective, splits, tasks=None):
    """Features of the data sets that the tasks (all of them by default) of a collective are cut from."""
    wanted = SETTINGS.skill.collective(collective)
    tier = SETTINGS.skill.sequences[wanted.sequence].tier
    entries = SETTINGS.skill.tasks(wanted.sequence)
    datasets = dict.fromkeys(entry.dataset for entry in (entries if tasks is None else [entries[t] for t in tasks]))
    return [layout.features(wanted.backbone, tier, dataset, split) for dataset in datasets for split in splits]


def trains_backbone(collective):
    return SETTINGS.skill.collective(collective).baselines.network == "backbone"


def baseline_data(collective):
    """What baselines of a collective learn from: features, or images where they train the backbone."""
    if not trains_backbone(collective):
        return skill_features(collective, ["train", "test"])
    entries = SETTINGS.skill.tasks(SETTINGS.skill.collective(collective).sequence)
    return [layout.images(dataset) for dataset in dict.fromkeys(entry.dataset for entry in entries)]


def task_dataset(w):
    sequence = SETTINGS.skill.collective(w.collective).sequence
    return SETTINGS.skill.tasks(sequence)[int(w.task)].dataset


def collective_packets(collective, seed):
    wanted = SETTINGS.skill.collective(collective)
    tasks = range(len(SETTINGS.skill.tasks(wanted.sequence)))
    return [layout.packet(collective, seed, task, variant) for task in tasks for variant in wanted.variants]


def collective_baselines(collective):
    wanted = SETTINGS.skill.collective(collective)
    learners = wanted.baselines.learners if wanted.baselines else []
    return [layout.baseline(collective, seed, label) for seed in range(wanted.seeds) for label in learners]


def collective_evidence(collective):
    """What a report on a collective reads: scores and banks of every seed, and how long the tasks took."""
    wanted = SETTINGS.skill.collective(collective)
    tasks = range(len(SETTINGS.skill.tasks(wanted.sequence)))
    biased = stages.biased_heads(wanted)
    found = []
    for seed in range(wanted.seeds):
        found += [layout.collective_scores(collective, seed), layout.collective_predictions(collective, seed)]
        found += [layout.bank(collective, seed, n, agent) for n in wanted.agents for agent in range(n)]
        found += [layout.taught_times(collective, seed, task) for task in tasks]
        found += [layout.biased_times(collective, seed, task, head) for task in tasks for head in biased]
        found += [layout.reused(collective, seed)] if wanted.reuse else []
        if wanted.head2toe:
            found += [layout.biased_predictions(collective, seed, t, wanted.head2toe.head) for t in tasks]
            found += [layout.head2toe(collective, seed, t) for t in tasks]
    return found
