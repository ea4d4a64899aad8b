"""What has been trained here: the newest model of each experiment's seed, and the collectives whose packets are shared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lifelong.params import Settings
from lifelong.params.experiment import Experiment
from lifelong.params.sequences import Dense, Permuted
from lifelong.pipeline.graph import final_state
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError


@dataclass(frozen=True)
class Trained:
    """A model at hand.

    Attributes:
        task: the last that it has learnt; of a collective the last of all.
        file: what it lies in; of a collective the scores of what its packets do together.
    """

    name: str
    seed: int
    task: int
    file: Path
    collective: bool = False

    def __str__(self) -> str:
        what = "collective" if self.collective else "experiment"
        return f"{what} {self.name}, seed {self.seed}, after task {self.task}"


def find_trained(settings: Settings) -> list[Trained]:
    """All models at hand, the one made last first."""
    models = [one for experiment in settings.experiments.values() if (one := find_model(experiment))]
    for name, collective in settings.skill.collectives.items():
        last = len(settings.skill.tasks(collective.sequence)) - 1
        done = (seed for seed in range(collective.seeds) if paths.collective_scores(name, seed).exists())
        models += [Trained(name, seed, last, paths.collective_scores(name, seed), True) for seed in list(done)[:1]]
    return sorted(models, key=lambda one: one.file.stat().st_mtime, reverse=True)


def find_model(experiment: Experiment, seed: int | None = None) -> Trained | None:
    """The model of a seed (the first that has one) after the last task that it has learnt; none where there is none."""
    for one in experiment.seeds if seed is None else [seed]:
        for task in reversed(experiment.tasks):
            if (file := final_state(experiment, one, task)).exists():
                return Trained(experiment.name, one, task, file)
    return None


def _can_answer(settings: Settings, model: Trained, task_known: bool) -> bool:
    """Whether it answers for whole images, and finds the task itself where that is not known."""
    experiment = settings.experiment(model.name)
    return not isinstance(experiment.sequence, Dense) and (
        task_known or compares_tasks(experiment) or asks_each_task(experiment)
    )


def compares_tasks(experiment: Experiment) -> bool:
    """Whether the outputs of all tasks may be compared."""
    return experiment.heads != "shared" and not asks_each_task(experiment)


def asks_each_task(experiment: Experiment) -> bool:
    """Whether tasks answer differently though their outputs may not be compared: by networks or pixels of their own."""
    return bool(experiment.method.network_of) or isinstance(experiment.sequence, Permuted)


def choose_trained(settings: Settings, name: str | None, seed: int | None, task_known: bool) -> Trained:
    """The model of an experiment or a collective; without a name the one trained last that can answer.

    Raises:
        UserError: nothing has been trained, or not that.
    """
    if name is None:
        models = [one for one in find_trained(settings) if one.collective or _can_answer(settings, one, task_known)]
        if not models:
            raise UserError("results: nothing has been trained here; `snakemake demo` trains the first models in minutes")
        return models[0]
    if name in settings.skill.collectives:
        number = seed or 0
        file = paths.collective_scores(name, number)
        return Trained(name, number, len(settings.skill.tasks(settings.skill.collective(name).sequence)) - 1, file, True)
    experiment = settings.experiment(name)
    if seed is not None and seed not in experiment.seeds:
        raise UserError(f"--seed: found {seed}; {name} has the seeds {', '.join(map(str, experiment.seeds))}")
    model = find_model(experiment, seed)
    if model is None:
        file = final_state(experiment, experiment.seeds[0] if seed is None else seed, experiment.tasks[-1])
        raise UserError(f"{file}: not trained yet; `snakemake {paths.summary(name)}` does that")
    return model
