"""The commands of SKILL: features of a backbone, teaching, packets, banks and routing."""

from __future__ import annotations

from pathlib import Path

import click

from lifelong.cli.options import device_option, head_option, seed_option, task_option
from lifelong.cli.planned import planned
from lifelong.params import Settings
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError, did_you_mean
from lifelong.runtime.places import RAW, search_directories


@click.group()
def skill() -> None:
    """SKILL: agents that learn tasks apart, share packets and find the task of an image by themselves."""


def _places() -> tuple[Path, list[Path]]:
    return RAW, search_directories()


@skill.command()
@click.argument("backbone")
@click.argument("tier")
@click.argument("dataset")
@device_option
@click.pass_obj
@planned("features", "backbone", "tier")
def features(settings: Settings, backbone: str, tier: str, dataset: str, device: str) -> None:
    """Features of a frozen backbone for the images of a data set that a tier uses."""
    for given, known, what in ((backbone, settings.skill.backbones, "backbone"), (tier, settings.skill.tiers, "tier")):
        if given not in known:
            raise UserError(f"params.yaml: skill has no {what} {given!r}; {did_you_mean(given, known)}")
    from lifelong.methods.skill.features import SPLITS, extract
    from lifelong.runtime.computing import computing

    outputs = {split: paths.features(backbone, tier, dataset, split) for split in SPLITS}
    chosen = settings.skill.backbones[backbone], settings.skill.tiers[tier]
    with computing(device):
        extract(backbone, *chosen, paths.images(dataset), outputs, paths.CHECKPOINTS, _places())


@skill.command()
@click.argument("collective")
@seed_option
@task_option
@click.pass_obj
@planned("teach", "collective")
def teach(settings: Settings, collective: str, seed: int, task: int) -> None:
    """Linear heads and anchors of one task."""
    from lifelong.methods.skill.teach import teach
    from lifelong.runtime.computing import computing

    with computing():
        teach(settings.skill, collective, seed, task)


@skill.command("teach-biased")
@click.argument("collective")
@seed_option
@task_option
@head_option
@device_option
@click.pass_obj
@planned("teach-biased", "collective", "head")
def teach_biased(settings: Settings, collective: str, seed: int, task: int, head: str, device: str) -> None:
    """A head with beneficial biases of one task."""
    from lifelong.methods.skill.teach import teach_biased
    from lifelong.runtime.computing import computing

    with computing(device):
        teach_biased(settings.skill, collective, seed, task, head, _places())


@skill.command("head2toe")
@click.argument("collective")
@seed_option
@task_option
@click.pass_obj
@planned("head2toe", "collective")
def head2toe(settings: Settings, collective: str, seed: int, task: int) -> None:
    """A head of one task that also sees inner maps, chosen by the beneficial biases, and its answers."""
    from lifelong.methods.skill.head2toe import head2toe
    from lifelong.runtime.computing import computing

    with computing():
        head2toe(settings.skill, collective, seed, task, _places())


@skill.command("judge-biased")
@click.argument("collective")
@seed_option
@head_option
@device_option
@click.pass_obj
@planned("judge-biased", "collective", "head")
def judge_biased(settings: Settings, collective: str, seed: int, head: str, device: str) -> None:
    """What the heads with beneficial biases answer for the test images of their own tasks."""
    from lifelong.methods.skill.teach import judge_biased
    from lifelong.runtime.computing import computing

    with computing(device):
        judge_biased(settings.skill, collective, seed, head, _places())


@skill.command()
@click.argument("collective")
@seed_option
@task_option
@click.pass_obj
@planned("pack", "collective")
def pack(settings: Settings, collective: str, seed: int, task: int) -> None:
    """The packets of one task, one for each variant."""
    from lifelong.methods.skill.packing import pack

    pack(settings.skill, collective, seed, task)


@skill.command()
@click.argument("collective")
@seed_option
@click.option("--agents", type=click.IntRange(1), required=True, help="How many agents share the tasks.")
@click.option("--agent", type=click.IntRange(0), required=True, help="Which of them, from 0.")
@click.pass_obj
@planned("receive", "collective")
def receive(settings: Settings, collective: str, seed: int, agents: int, agent: int) -> None:
    """The bank of one agent after all packets."""
    from lifelong.methods.skill.share import receive

    receive(settings.skill, collective, seed, agents, agent)


@skill.command("evaluate")
@click.argument("collective")
@seed_option
@click.pass_obj
@planned("route", "collective")
def evaluate(settings: Settings, collective: str, seed: int) -> None:
    """Mapper and final accuracy of every variant after 1..T tasks."""
    from lifelong.methods.skill.evaluate import evaluate
    from lifelong.runtime.computing import computing

    with computing():
        evaluate(settings.skill, collective, seed)


@skill.command("track")
@click.argument("collective")
@click.pass_obj
@planned("track-collective", "collective")
def track(settings: Settings, collective: str) -> None:
    """Write a collective's runs to MLflow; repeating it updates them."""
    from lifelong.pipeline.tracking.collectives import track_collective
    from lifelong.reports.figures.matrices import draw_matrices

    track_collective(settings, collective, draw_matrices)


@skill.command("reuse")
@click.argument("collective")
@seed_option
@click.pass_obj
@planned("reuse", "collective")
def reuse(settings: Settings, collective: str, seed: int) -> None:
    """Correction of answers by class names, and old heads as a start for new tasks."""
    from lifelong.methods.skill.reuse import reuse
    from lifelong.runtime.computing import computing

    with computing():
        reuse(settings.skill, collective, seed)
