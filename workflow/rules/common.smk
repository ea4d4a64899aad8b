# What the rules ask of the experiments.


def stage_inputs(stage):
    """Images, tasks, the state that the stage starts from, and the choice of options where there is one."""

    def inputs(w):
        experiment = SETTINGS.experiment(w.experiment)
        state = stages.input_state(experiment, int(w.seed), int(w.task), stage)
        shared = [
            layout.images(experiment.scenario.dataset),
            layout.tasks(experiment.scenario_name),
        ]
        choice = [layout.chosen(w.experiment)] if experiment.grid else []
        return shared + choice + ([state] if state else [])

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
    """The reports of one section, and the MLflow runs behind them."""
    targets = []
    for name in SETTINGS.sections()[section]:
        targets.append(layout.report(name, "md"))
        targets += [layout.tracked(experiment) for experiment in SETTINGS.report(name).experiments.values()]
    return targets


def report_inputs(w):
    """What a report needs of each of its experiments."""
    wanted = SETTINGS.report(w.report)
    found = []
    for name in wanted.experiments.values():
        experiment = SETTINGS.experiment(name)
        if "summary" in wanted.kind.needs:
            found.append(layout.summary(name))
        if "scores" in wanted.kind.needs:
            found += scores_of(name, experiment.seeds)
        if "states" in wanted.kind.needs:
            found += [stages.final_state(experiment, s, t) for s in experiment.seeds for t in experiment.tasks]
    collective = getattr(wanted.options, "collective", None)
    return found + (collective_evidence(collective) if collective else [])


def reports_of_kind(kind):
    """A pattern of the names of a kind's reports; one that nothing matches when there is none."""
    return "|".join(name for name, one in SETTINGS.reports.items() if one.kind_name == kind) or "(?!)"
