"""The methods that baselines of a collective may name, and what becomes of an entry: checked candidates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from lifelong.config.messages import validated
from lifelong.config.methods import METHODS, Method
from lifelong.config.schema import Heads
from lifelong.config.sections import Section
from lifelong.config.skill import Skill
from lifelong.config.skill_baselines import Baseline, PspOptions, ReplayOptions, SupSupOptions
from lifelong.errors import UserError, did_you_mean

_OWN = "lifelong.methods.skill.baselines"
_GENERAL = ("sgd", "finetune", "ewc", "ewc-online", "si", "mas", "lwf")

BASELINES: dict[str, Method] = {name: METHODS[name] for name in _GENERAL} | {
    "joint": Method(f"{_OWN}.joint", ("learn",), heads=("per-task", "all-classes"), joint=True),
    "er": Method(f"{_OWN}.replay", ("learn", "remember"), ReplayOptions, heads=("per-task", "all-classes")),
    "psp": Method(f"{_OWN}.psp", ("learn",), PspOptions, heads=("shared",)),
    "supsup": Method(f"{_OWN}.supsup", ("learn",), SupSupOptions, heads=("shared",)),
}

PERCEPTRONS = ("psp", "supsup")
"""Baselines written for layers of a perceptron alone."""


@dataclass(frozen=True)
class Learner:
    """A baseline with its names resolved and its options checked."""

    method: Method
    method_name: str
    heads: Heads
    candidates: tuple[Section, ...]  # options; more than one where a grid chooses


def learner(entry: Baseline, where: str, source: str = "params.yaml") -> Learner:
    """
    Raises:
        UserError: the method, its heads or an option is not what it may be.
    """
    if entry.method not in BASELINES:
        hint = did_you_mean(entry.method, BASELINES)
        raise UserError(f"{source}: {where}.method: {entry.method!r} is no baseline of SKILL; {hint}")
    method = BASELINES[entry.method]
    heads = entry.heads or method.heads[0]
    if heads not in method.heads:
        hint = did_you_mean(heads, method.heads)
        raise UserError(f"{source}: {where}.heads: {heads!r} does not fit method {entry.method!r}; {hint}")
    both = [key for key in entry.grid if key in entry.options]
    if both:
        raise UserError(f"{source}: {where}.grid: {both[0]!r} is also in 'options'; keep one of the two")
    points: list[dict[str, Any]] = [dict(zip(entry.grid, values, strict=True)) for values in product(*entry.grid.values())]
    checked = tuple(validated(method.options, {**entry.options, **p}, source, f"{where}.options.") for p in points)
    return Learner(method, entry.method, heads, checked)


def baseline_faults(skill: Skill) -> list[str]:
    """What is wrong with the baselines of all collectives, without the source's name."""
    faults: list[str] = []
    for name, collective in skill.collectives.items():
        for label, entry in collective.baselines.learners.items() if collective.baselines else ():
            where = f"skill.collectives.{name}.baselines.learners.{label}"
            if entry.method in PERCEPTRONS and collective.baselines and collective.baselines.network != "perceptron":
                faults.append(f"{where}.method: {entry.method!r} is for a perceptron; expected 'network: perceptron'")
            try:
                learner(entry, where, "")
            except UserError as error:
                faults += [line.removeprefix(": ") for line in str(error).split("\n")]
    return faults
