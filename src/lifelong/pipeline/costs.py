"""What an experiment would cost: its jobs, and the time they took before, here or where its section was run."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from lifelong.params import Settings
from lifelong.params.experiment import Experiment
from lifelong.pipeline.choose import apply_choice
from lifelong.pipeline.graph import stages_of
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError
from lifelong.runtime.timings import Timings, describe_seconds


def count_jobs(settings: Settings, experiment: Experiment) -> Counter[str]:
    """Jobs by rule, candidates of its grid among them; images, tasks and a joint learner are made for others too."""
    seeds = len(experiment.seeds)
    own = [task for task in experiment.tasks if task >= experiment.branch_task]
    result = Counter({"evaluate": seeds, "summarise": 1, "track": 1})
    for task in own:
        result.update(dict.fromkeys(stages_of(experiment, task), seeds))
    for name in experiment.candidates:
        result += count_jobs(settings, settings.experiment(name))
        result["track"] -= 1
    return result + Counter(choose=1) if experiment.candidates else result


def describe_costs(settings: Settings, experiment: Experiment) -> str:
    """One line: jobs, and hours of one core as they were measured; or that nothing like it was."""
    jobs = count_jobs(settings, experiment)
    told = f"costs: {jobs.total()} jobs"
    kept = find_kept_costs(settings, experiment)
    if kept is not None:
        seconds = kept["seconds"] * len(experiment.seeds) / len(kept["seeds"])
        return f"{told}, {describe_seconds(seconds)} of processor time (measured on {kept['machine']})"
    timings = Timings.read()
    estimates = [(timings.estimate(rule, experiment.name), count) for rule, count in jobs.items()]
    known = [(seconds, count) for seconds, count in estimates if seconds is not None]
    if not known:
        return f"{told}; how long they take is not known: none like them has run here"
    seconds = sum(seconds * count for seconds, count in known) * jobs.total() / sum(count for _, count in known)
    return f"{told}, about {describe_seconds(seconds)} one after the other (by jobs that ran here)"


def find_kept_costs(settings: Settings, experiment: Experiment) -> dict[str, Any] | None:
    """What a section's provenance says of the experiment, if it ran with the parameters that it has now."""
    for section in settings.sections():
        path = paths.section(section, "provenance.json")
        if not path.exists():
            continue
        entry = json.loads(path.read_text()).get(experiment.name)
        if entry and entry.get("seconds") and entry.get("seeds") and _same(entry, experiment):
            found: dict[str, Any] = entry
            return found
    return None


def _same(entry: dict[str, Any], experiment: Experiment) -> bool:
    try:
        return bool(entry["parameters"] == json.loads(json.dumps(apply_choice(experiment).parameters())))
    except (KeyError, UserError):
        return False
