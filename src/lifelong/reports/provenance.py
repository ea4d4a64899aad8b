"""How what a section keeps was made, and whether today's code and parameters would still make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lifelong.params import Experiment, Settings
from lifelong.params.sections import Section
from lifelong.pipeline.fingerprints import fingerprint
from lifelong.pipeline.graph import final_state
from lifelong.pipeline.stages import job_fingerprint, scores_parts, stage_fingerprint
from lifelong.runtime import paths
from lifelong.runtime.artifacts import json_digest, read_json, read_record
from lifelong.runtime.errors import UserError

COLLECTIVE_JOBS = ("teach", "pack", "receive", "route")


class Made(Section):
    """How an experiment's, a collective's or a report's kept numbers were made.

    Attributes:
        parameters: resolved, with options chosen; empty of a report.
        choice: of a grid: every candidate's validation accuracy, as `chosen.json` holds it.
        fingerprint: of the code and parameters then; none where it is not known.
        seconds: of processor time of all its jobs, where their logs were kept.
        rows: sha256 of its rows.
        imported: the report that its numbers were copied from; none where they come from the stages' own files.
        published: of a report: so little was kept that its page and picture stay as published.
    """

    method: str = ""
    sequence: str = ""
    heads: str = ""
    seeds: list[int] = []
    joint: str | None = None
    parameters: dict[str, Any] = {}
    choice: dict[str, Any] | None = None
    fingerprint: str | None = None
    versions: dict[str, str] = {}
    machine: str = ""
    seconds: float | None = None
    rows: str = ""
    imported: str | None = None
    published: bool = False


def read_provenance(section: str) -> dict[str, Made]:
    """Of each experiment, collective and report of a section; of none where nothing is kept.

    Raises:
        UserError: provenance.json is damaged.
    """
    return read_made(paths.section(section, "provenance.json").parent)


def read_made(folder: Path) -> dict[str, Made]:
    """What the provenance.json of a section's folder says; nothing where there is none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / "provenance.json"
    if not path.exists():
        return {}
    try:
        return {name: Made.model_validate(one) for name, one in read_json(path).items()}
    except (ValidationError, AttributeError) as error:
        raise UserError(
            f"{path}: found {str(error).splitlines()[0]}; expected an object a name; `git checkout -- {path}` brings back "
            f"what is kept; deleted, `snakemake {folder.name}` makes it anew"
        ) from None


def experiment_fingerprint(experiment: Experiment) -> str:
    """Of all that decides an experiment's scores."""
    stages = {
        stage.name: stage_fingerprint(experiment, stage.name) for t in experiment.tasks for stage in experiment.stages(t)
    }
    return json_digest({"stages": stages, "scores": fingerprint(*scores_parts(experiment))})


def collective_fingerprint(settings: Settings, name: str) -> str:
    return json_digest([job_fingerprint(settings, job, name) for job in COLLECTIVE_JOBS])


def measure_fingerprint(settings: Settings, name: str) -> str:
    """Of what a report itself measures."""
    return job_fingerprint(settings, "measure", name)


def today(settings: Settings, name: str) -> str | None:
    """The fingerprint that a name's numbers would have if they were made now; none where params.yaml has no such name."""
    if name in settings.experiments:
        return experiment_fingerprint(settings.experiment(name))
    if name in settings.skill.collectives:
        return collective_fingerprint(settings, name)
    return measure_fingerprint(settings, name) if name in settings.reports else None


def versions_of(experiment: Experiment) -> dict[str, str]:
    """Versions that the last state of the first seed was made with."""
    state = final_state(experiment, experiment.seeds[0], experiment.tasks[-1])
    found: dict[str, str] = read_record(state)["made"]["versions"] if state.exists() else {}
    return found


def describe(settings: Settings, section: str, made: Mapping[str, Made], names: Iterable[str]) -> str:
    """Machine and versions behind a report, and which of its numbers are imported or of older code."""
    known = {name: made[name] for name in dict.fromkeys(names) if name in made}
    machines = dict.fromkeys(one.machine for one in known.values() if one.machine)
    versions = dict.fromkeys(
        ", ".join(f"{key} {value}" for key, value in one.versions.items()) for one in known.values() if one.versions
    )
    text = f"Machine: {'; '.join(machines) or 'not recorded'}."
    text += f" Versions: {'; '.join(versions)}." if versions else ""
    imported = dict.fromkeys(one.imported for one in known.values() if one.imported)
    stale = [n for n, one in known.items() if one.fingerprint is not None and one.fingerprint != today(settings, n)]
    if imported:
        text += (
            f"\n\n**Imported**: means of {', '.join(f'`{source}`' for source in imported)} as published, made by older "
            "code. Where no values by seed are kept, claims are tested on means."
        )
    if stale:
        listed = ", ".join(f"`{name}`" for name in stale)
        text += f"\n\n**Of older code or parameters**: {listed}. `snakemake {section}` makes them anew."
    return text + "\n"
