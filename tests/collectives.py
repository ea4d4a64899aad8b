"""A collective of three tasks and two seeds, and what the pipeline leaves of it, with made-up numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong import config, layout
from lifelong.artifacts import write_bytes, write_json, write_tensors
from lifelong.config import Settings

NAME, TASKS, SEEDS = "tiny", 3, 2
TASK_NAMES = ["digits-01", "digits-23", "digits-456"]
VARIANTS = ("GMMC", "MAHA", "BB-MAHA")
LEARNERS = ("EWC", "One", "Joint", "PSP")
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


def collective_settings(seeds: int = SEEDS, **changed: Any) -> Settings:
    """Reports of every kind about the one collective."""
    budget: dict[str, Any] = {
        "hidden": [4],
        "epochs": 2,
        "learners": {"EWC": {"method": "ewc", "grid": {"strength": [1, 2]}}},
    }
    budget["learners"] |= {"One": {"method": "sgd", "heads": "all-classes"}, "Joint": {"method": "joint"}}
    budget["learners"] |= {"PSP": {"method": "psp"}}
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
        "baselines": budget,
    } | changed
    kinds = {"all": "collective", "learners": "skill-baselines", "again": "skill-reuse"}
    reports: dict[str, Any] = {
        name: {"kind": kind, "title": "Tiny", "options": {"collective": NAME}} for name, kind in kinds.items()
    }
    reports["costs"] = {"kind": "skill-costs", "title": "Tiny", "options": {"collective": NAME, "table": "table.csv"}}
    return config.settings(
        {
            "scenarios": {},
            "networks": {},
            "training": {},
            "experiments": {},
            "skill": {
                "backbones": {"random": {"kind": "random", "image_size": 16, "widths": [4, 6]}},
                "tiers": {"all": {}},
                "sequences": {"three": {"tier": "all", "tasks": tasks}},
                "collectives": {NAME: collective},
            },
            "reports": {"tiny": reports},
        }
    )


def three_folders(backbone: dict[str, Any], baselines: dict[str, Any]) -> Settings:
    """The smallest collective, with baselines, on three data sets set-0 to set-2 of all images."""
    tasks = [{"name": f"t{t}", "dataset": f"set-{t}"} for t in range(TASKS)]
    return config.settings(
        {
            "datasets": {f"set-{task}": {"path": "nowhere", "image_size": 8} for task in range(TASKS)},
            "scenarios": {},
            "networks": {},
            "training": {},
            "experiments": {},
            "reports": {},
            "skill": {
                "backbones": {"random": backbone},
                "tiers": {"all": {}},
                "sequences": {"three": {"tier": "all", "tasks": tasks}},
                "collectives": {NAME: {**SMALLEST, "sequence": "three", "baselines": baselines}},
            },
        }
    )


def triangle(random: np.random.Generator, low: float = 0.2) -> list[list[float]]:
    return [[round(float(random.uniform(low, 1)), 3) for _ in range(i + 1)] for i in range(TASKS)]


def write_collective(seeds: int = SEEDS) -> None:
    """All files of the collective, drawn by seed, and the features it is made of."""
    for split in ("train", "test"):
        about = {"width": 6, "channels": 14, "class_names": [], "classes": []}
        path = layout.features("random", "all", "digits", split)
        write_tensors(path, "features", {"labels": np.zeros(2)}, about)
    for seed in range(seeds):
        write_seed(seed, np.random.default_rng(seed))


def write_seed(seed: int, random: np.random.Generator) -> None:
    variants = {}
    for variant in VARIANTS:
        oracle = [round(float(random.uniform(0.5, 1)), 3) for _ in TASK_NAMES]
        scores = {"mapper": triangle(random), "final": triangle(random), "oracle": oracle, "mapper_pooled": [0.5] * TASKS}
        variants[variant] = scores
    write_json(layout.collective_scores(NAME, seed), {"variants": variants, "tasks": TASK_NAMES})
    write_tensors(layout.collective_predictions(NAME, seed), "skill-predictions", {"owners": np.zeros(2)}, {"seed": seed})
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
            write_json(layout.bank(NAME, seed, agents, agent), {"own": [agent], "variants": held})
    for task, name in enumerate(TASK_NAMES):
        classes = 3 if name.endswith("456") else 2
        info = {"class_names": [str(label) for label in range(classes)], "images": 20}
        write_tensors(layout.taught(NAME, seed, task), "skill-taught", {"a": np.zeros(1)}, info)
        write_json(layout.taught_times(NAME, seed, task), {"images": 20, "seconds": {"head": 1.0 + task, "anchor": 1.0}})
        write_json(layout.biased_times(NAME, seed, task, "biases"), {"images": 20, "epochs": 3, "seconds": 4.0})
        for variant in VARIANTS:
            write_bytes(layout.packet(NAME, seed, task, variant), f"{seed} {task} {variant}".encode())
    for label in LEARNERS:
        write_learner(seed, label, random)
    write_json(layout.reused(NAME, seed), reused(random))


def write_learner(seed: int, label: str, random: np.random.Generator) -> None:
    told, free = triangle(random), triangle(random)
    heads = {"One": "all-classes", "PSP": "shared"}.get(label, "per-task")
    found: dict[str, Any] = {
        "tasks": TASK_NAMES,
        "told": told,
        "free": free,
        "heads": heads,
        "options": {},
        "candidates": [],
    }
    if label == "Joint":
        found |= {"told": told[-1:], "free": free[-1:]}
    if label == "PSP":
        found["free"] = None
    if label == "EWC":
        values = [0.5, None]
        found["candidates"] = [
            {"options": {"strength": s}, "validation": v} for s, v in zip((1.0, 2.0), values, strict=True)
        ]
        found["options"] = {"strength": 1.0}
    write_json(layout.baseline(NAME, seed, label), found)


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
