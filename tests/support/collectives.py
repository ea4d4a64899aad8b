"""A collective of three tasks and two seeds, learners of the same tasks, and what the pipeline leaves of both, made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lifelong import params
from lifelong.params import Settings
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_bytes, write_result, write_tensors

NAME, TASKS, SEEDS = "tiny", 3, 2
TASK_NAMES = ["digits-01", "digits-23", "digits-456"]
VARIANTS = ("GMMC", "MAHA", "BB-MAHA")
LEARNERS = {"EWC": "on-features-ewc", "One": "on-features-one", "Joint": "on-features-joint", "PSP": "on-features-psp"}
"""Experiments on the collective's sequence, by the labels of the report on them."""
SMALLEST: dict[str, Any] = {
    "backbone": "random",
    "seeds": 1,
    "agents": [1],
    "heads": {"linear": {"kind": "linear"}},
    "mappers": {"gmmc": {"kind": "gmmc"}},
    "variants": {"GMMC": {"head": "linear", "mapper": "gmmc"}},
}
"""A collective, but for the sequence that it learns."""
SIZES = {"GMMC": 1000, "MAHA": 3000, "BB-MAHA": 3500}
ADAM = {"optimiser": "adam", "learning_rate": 0.01, "batch_size": 8, "epochs": 2}


def collective_settings(seeds: int = SEEDS, **changed: Any) -> Settings:
    """Reports of every kind about the one collective; `changed` are keys of it."""
    tasks = [
        {"name": name, "dataset": "digits", "classes": classes}
        for name, classes in zip(TASK_NAMES, ([0, 1], [2, 3], [4, 5, 6]), strict=True)
    ]
    collective = {
        "sequence": "three",
        "backbone": "random",
        "seeds": seeds,
        "agents": [1, 3],
        "heads": {"linear": {"kind": "linear"}, "biases": {"kind": "beneficial-biases"}},
        "mappers": {"gmmc": {"kind": "gmmc", "components": 4}, "mahalanobis": {"kind": "mahalanobis"}},
        "variants": {
            "GMMC": {"head": "linear", "mapper": "gmmc"},
            "MAHA": {"head": "linear", "mapper": "mahalanobis"},
            "BB-MAHA": {"head": "biases", "mapper": "mahalanobis"},
        },
        "reuse": {
            "variant": "GMMC",
            "pairs": TASK_NAMES,
            "transfers": [{"old": "digits-01", "new": "digits-23"}],
            "shots": [5],
            "epochs": 3,
        },
    } | changed
    usual = {"sequence": "three", "network": "on-features", "training": "short", "seeds": seeds}
    experiments = {
        "on-features-ewc": usual | {"method": "ewc", "grid": {"options": {"strength": [1, 2]}, "tasks": 2}},
        "on-features-one": usual | {"method": "sgd", "heads": "all-classes"},
        "on-features-joint": usual | {"method": "joint"},
        "on-features-psp": usual | {"method": "psp"},
    }
    kinds = {"all": "collective", "learners": "skill-baselines", "again": "skill-reuse"}
    reports: dict[str, Any] = {
        name: {"kind": kind, "title": "Tiny", "options": {"collective": NAME}} for name, kind in kinds.items()
    }
    reports["learners"]["experiments"] = LEARNERS
    reports["costs"] = {"kind": "skill-costs", "title": "Tiny", "options": {"collective": NAME, "table": "table.csv"}}
    return params.settings(
        {
            "backbones": {"random": {"kind": "random", "image_size": 16, "widths": [4, 6]}},
            "sequences": {"three": {"kind": "data-sets", "tier": "all", "tasks": tasks}},
            "networks": {"on-features": {"kind": "backbone", "backbone": "random", "hidden": [4]}},
            "training": {"short": ADAM},
            "experiments": experiments,
            "collectives": {NAME: collective},
            "reports": {"tiny": reports},
        }
    )


def three_sets(
    experiments: Mapping[str, Mapping[str, Any]],
    network: Mapping[str, Any],
    backbone: Mapping[str, Any],
    sequence: Mapping[str, Any] | None = None,
    **budget: Any,
) -> Settings:
    """Experiments, of the keys given, on three data sets set-0 to set-2 of all images; `budget` overrides `ADAM`."""
    tasks = [{"name": f"t{t}", "dataset": f"set-{t}"} for t in range(TASKS)]
    usual = {"sequence": "three", "network": "net", "training": "short", "seeds": 1}
    return params.settings(
        {
            "datasets": {f"set-{task}": {"path": "nowhere", "image_size": 8} for task in range(TASKS)},
            "backbones": {"random": dict(backbone)},
            "sequences": {"three": {"kind": "data-sets", "tier": "all", "tasks": tasks} | dict(sequence or {})},
            "networks": {"net": dict(network)},
            "training": {"short": ADAM | budget},
            "experiments": {name: usual | dict(entry) for name, entry in experiments.items()},
            "reports": {},
        }
    )


def triangle(random: np.random.Generator, low: float = 0.2) -> list[list[float]]:
    return [[round(float(random.uniform(low, 1)), 3) for _ in range(i + 1)] for i in range(TASKS)]


def write_collective(seeds: int = SEEDS) -> None:
    """All files of the collective and of the learners, drawn by seed, and the features they are made of."""
    for split in ("train", "test"):
        about = {"width": 6, "channels": 14, "class_names": [], "classes": []}
        path = paths.features("random", "all", "digits", split)
        write_tensors(path, "features", {"labels": np.zeros(2)}, about)
    for seed in range(seeds):
        write_seed(seed, np.random.default_rng(seed))
    rows = [
        {"experiment": f"on-features-ewc_grid-{i}", "options": {"strength": s}, "acc": acc, "deviation": None}
        for i, (s, acc) in enumerate(((1.0, 0.5), (2.0, None)))
    ]
    choice = {"options": rows[0]["options"], "varied": ["strength"], "candidates": rows}
    write_result(paths.chosen("on-features-ewc"), choice)


def write_seed(seed: int, random: np.random.Generator) -> None:
    variants = {}
    for variant in VARIANTS:
        oracle = [round(float(random.uniform(0.5, 1)), 3) for _ in TASK_NAMES]
        scores = {"mapper": triangle(random), "final": triangle(random), "oracle": oracle, "mapper_pooled": [0.5] * TASKS}
        variants[variant] = scores
    write_result(paths.collective_scores(NAME, seed), {"variants": variants, "tasks": TASK_NAMES})
    write_tensors(paths.collective_predictions(NAME, seed), "skill-predictions", {"owners": np.zeros(2)}, {"seed": seed})
    for agents in (1, 3):
        for agent in range(agents):
            held = {
                variant: {
                    "sha256": f"{seed}-{variant}",
                    "refused": [],
                    "bytes": {task: SIZES[variant] + 10 * i for i, task in enumerate(TASK_NAMES)},
                }
                for variant in VARIANTS
            }
            write_result(paths.bank(NAME, seed, agents, agent), {"own": [agent], "variants": held})
    for task, name in enumerate(TASK_NAMES):
        classes = 3 if name.endswith("456") else 2
        info = {"class_names": [str(label) for label in range(classes)], "images": 20}
        write_tensors(paths.taught(NAME, seed, task), "skill-taught", {"a": np.zeros(1)}, info)
        write_result(paths.taught_times(NAME, seed, task), {"images": 20, "seconds": {"head": 1.0 + task, "anchor": 1.0}})
        write_result(paths.biased_times(NAME, seed, task, "biases"), {"images": 20, "epochs": 3, "seconds": 4.0})
        for variant in VARIANTS:
            write_bytes(paths.packet(NAME, seed, task, variant), f"{seed} {task} {variant}".encode())
    for label in LEARNERS:
        write_learner(seed, label, random)
    write_result(paths.reused(NAME, seed), reused(random))


def write_learner(seed: int, label: str, random: np.random.Generator) -> None:
    """Scores as the evaluation of an experiment leaves them; a told task may be one still to come."""
    rows: Sequence[int] = [TASKS - 1] if label == "Joint" else range(TASKS)
    told, free = triangle(random), triangle(random)
    for row in told:
        row += [round(float(random.uniform(0, 1)), 3) for _ in range(TASKS - len(row))] if label != "PSP" else []
    nothing: list[float | None] = [None] * TASKS
    test = {
        protocol: [([*table[i], *nothing][:TASKS] if i in rows else nothing) for i in range(TASKS)]
        for protocol, table in (("task_incremental", told), ("class_incremental", free if label != "PSP" else [[]] * TASKS))
    }
    write_result(paths.scores(LEARNERS[label], seed), {"test": test, "validation": test, "tasks": TASKS})


def told_and_free(label: str, seed: int) -> tuple[list[list[float]], list[list[float]]]:
    """What a learner answered of the tasks so far, the task told and not; a joint one has one row."""
    test = read_result(paths.scores(LEARNERS[label], seed))["test"]
    first = TASKS - 1 if label == "Joint" else 0
    told, free = (
        [row[: i + 1] for i, row in enumerate(test[protocol]) if i >= first]
        for protocol in ("task_incremental", "class_incremental")
    )
    return told, free


def reused(random: np.random.Generator) -> dict[str, Any]:
    def curve() -> list[float]:
        return [round(float(value), 3) for value in np.sort(random.uniform(0, 1, 4))]

    pairs = [
        {"tasks": [TASK_NAMES[a], TASK_NAMES[b]], "reused": curve(), "random": curve()} for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    shots = {key: {"reused": curve(), "random": curve()} for key in ("all", "5")}
    transfer = {"old": "digits-01", "new": "digits-23", "matched": [["2", "0"]], "shots": shots}
    rules = ("none", "same name", "cosine > 0.95", "cosine > 0.9")
    accuracy = {rule: [0.5, 0.5 + 0.1 * number, 0.25] for number, rule in enumerate(rules)}
    near = [["digits-01", "0", "digits-23", "2", 0.97]]
    return {
        "names": {"tasks": TASK_NAMES, "accuracy": accuracy, "near": near},
        "pairs": pairs,
        "transfers": [transfer],
        "harvests": [{"name": "mixed", "matched": [["2", "0"], ["4", "1"]], "reused": curve(), "random": curve()}],
    }
