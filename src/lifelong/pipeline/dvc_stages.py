"""dvc.yaml: the coarse stages by which DVC versions data, models and reports; `lifelong dvc` writes it from params.yaml.

`data-<data set>` decodes images, `train-<paper>` makes all states and tables of a paper's sections, `report-<paper>` draws
them. Snakemake decides inside what has to run, so outputs persist. The tables lie in git and are no output of training: a
clone without models draws its reports without training anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lifelong.params import Experiment, Settings
from lifelong.params.reading import read_yaml
from lifelong.params.schema import PARAMS_FILE
from lifelong.runtime import paths

HEAD = "# Written by `lifelong dvc` from params.yaml. Snakemake decides what has to run, so results persist.\n"
SNAKEMAKE = "snakemake --quiet rules reason host --"
TABLES = ("results.csv", "quantities.csv", "provenance.json")
SHORT = ("comparison", "ari-protocols")
"""Kinds of reports whose JSON is a metric a row, as `dvc metrics` shows it."""
CODE = ["Snakefile", "workflow", "src/lifelong"]
PLAIN = ": {cache: false, persist: true}"
SHARED = ("datasets", "sequences", "networks", "training")
"""Keys of params.yaml itself that any paper may use."""


def describe_stages(settings: Settings) -> str:
    """The text of dvc.yaml."""
    everything = list(settings.sections())
    papers: dict[str, list[str]] = {}
    for section in everything:
        papers.setdefault(section.partition("-")[0], []).append(section)
    owned: dict[str, str] = {}
    trained: dict[str, Any] = {}
    for paper, sections in papers.items():
        trained[f"train-{paper}"] = _train(settings, paper, sections, owned)
    data = {
        f"data-{name}": {
            "cmd": f"{SNAKEMAKE} {paths.images(name)}",
            "deps": ["src/lifelong/data"],
            **({"params": [f"datasets.{name}"]} if name in settings.datasets else {}),
            "outs": [_persisting(paths.images(name))],
        }
        for name in _images(settings, _experiments(settings, everything), _collectives(settings, everything))
    }
    kept = {
        paper: [section for section in sections if paths.section(section, "provenance.json").exists()]
        for paper, sections in papers.items()
    }
    drawn = {f"report-{paper}": _report(settings, sections) for paper, sections in kept.items() if sections}
    text = yaml.safe_dump({"stages": {**data, **trained, **drawn}}, sort_keys=False, width=110)
    return HEAD + re.sub(
        r":\n +persist: true", ": {persist: true}", re.sub(r":\n +cache: false\n +persist: true", PLAIN, text)
    )


def _train(settings: Settings, paper: str, sections: list[str], owned: dict[str, str]) -> dict[str, Any]:
    """What a paper's experiments leave; those that an earlier paper leaves are inputs, and `owned` says whose each is."""
    experiments = _experiments(settings, sections)
    collectives = _collectives(settings, sections)
    places = [*(paths.RESULTS / one.name for one in experiments), *(paths.RESULTS / "skill" / name for name in collectives)]
    others = [str(place) for place in places if owned.get(str(place), paper) != paper]
    owned |= {str(place): paper for place in places if str(place) not in owned}
    images = [str(paths.images(name)) for name in _images(settings, experiments, collectives)]
    file = Path(f"params/{paper}.yaml")
    own: list[Any] = [{str(file): list(read_yaml(file)[0])}] if file.exists() else ["experiments", "reports"]
    shared = [key for key in SHARED if key in read_yaml(Path(PARAMS_FILE))[0]]
    return {
        "cmd": f"{SNAKEMAKE} {' '.join(sections)}",
        "deps": [*CODE, *images, *others],
        "params": [*shared, *own],
        "outs": [_persisting(place) for place in places if str(place) not in others],
    }


def _report(settings: Settings, sections: list[str]) -> dict[str, Any]:
    """The pages of a paper's sections that keep tables, from those alone."""
    names = [name for section in sections for name in settings.sections()[section]]
    reports = [settings.report(name) for name in names]
    files = [paths.report(one.name, suffix) for one in reports for suffix in ("md", *one.kind.writes)]
    metrics = [paths.report(one.name, "json") for one in reports if one.kind_name in SHORT]
    pictures = [file for file in files if file.suffix == ".png"]
    kept = [str(path) for section in sections for path in _tables(settings, section)]
    evidence = [str(path) for name in names if (path := paths.evidence(name)).exists()]

    def uncached(files: list[Path]) -> list[dict[str, Any]]:
        return [{str(file): {"cache": False, "persist": True}} for file in files]

    return {
        "cmd": [f"lifelong report {section}" for section in sections],
        "deps": ["src/lifelong/reports", *kept, *evidence],
        "outs": uncached([file for file in files if file not in (*metrics, *pictures)]),
        **({"metrics": uncached(metrics)} if metrics else {}),
        **({"plots": uncached(pictures)} if pictures else {}),
    }


def _tables(settings: Settings, section: str) -> list[Path]:
    tables, imported = [paths.section(section, name) for name in TABLES], paths.section(section, "imported.csv")
    return [*tables, imported] if imported.exists() else tables


def _experiments(settings: Settings, sections: list[str]) -> list[Experiment]:
    """Those that the sections' reports show, and the joint learners that they are held against; no candidates of grids."""
    shown = [
        name
        for section in sections
        for report in settings.sections()[section]
        for name in settings.report(report).all_experiments()
    ]
    joint = [settings.experiment(name).joint for name in shown]
    return [settings.experiment(name) for name in dict.fromkeys([*shown, *filter(None, joint)])]


def _collectives(settings: Settings, sections: Iterable[str]) -> list[str]:
    options = [settings.report(name).options for section in sections for name in settings.sections()[section]]
    return list(dict.fromkeys(filter(None, (getattr(one, "collective", None) for one in options))))


def _images(settings: Settings, experiments: list[Experiment], collectives: list[str]) -> list[str]:
    sequences = [one.sequence_name for one in experiments]
    used = [dataset for name in dict.fromkeys(sequences) for dataset in settings.sequence_datasets(name)]
    for name in collectives:
        used += [task.dataset for task in settings.skill.tasks(settings.skill.collective(name).sequence)]
    return list(dict.fromkeys(used))


def _persisting(path: Path) -> dict[str, Any]:
    return {str(path): {"persist": True}}
