# What the rules ask of the experiments.


def stage_inputs(stage):
    """Images, tasks and the state that the stage starts from."""

    def inputs(w):
        experiment = SETTINGS.experiment(w.experiment)
        state = stages.input_state(experiment, int(w.seed), int(w.task), stage)
        shared = [
            layout.images(experiment.scenario.dataset),
            layout.tasks(experiment.scenario_name),
        ]
        return shared + ([state] if state else [])

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
    return scores_of(experiment.name, experiment.seeds) + joint


def report_targets(section):
    """Tables of one section of the reports, and the MLflow runs behind them."""
    targets = []
    for name in SETTINGS.sections()[section]:
        targets.append(layout.report(name, "md"))
        targets += [layout.tracked(experiment) for experiment in SETTINGS.comparison(name).experiments.values()]
    return targets
