"""The commands of class-incremental segmentation: images, the stages of a step, evaluation."""

from __future__ import annotations

import click

from lifelong import layout
from lifelong.cli_options import device_option, threads_option
from lifelong.config import Settings
from lifelong.config.segmentation import SEGMENTATION_STAGES
from lifelong.errors import UserError, did_you_mean

seed_option = click.option("--seed", type=int, required=True, help="One of the learner's seeds.")


@click.group()
def segmentation() -> None:
    """Segmentation whose classes come in steps."""


@segmentation.command()
@click.argument("data")
@click.pass_obj
def images(settings: Settings, data: str) -> None:
    """Find, read and resize images and annotations."""
    known = settings.segmentation.data
    if data not in known:
        raise UserError(f"params.yaml: segmentation.data has no {data!r}; {did_you_mean(data, known)}")
    from lifelong.data.catalog import search_directories
    from lifelong.data.segmentation import prepare

    prepare(data, known[data], layout.segmentation_images(data), layout.RAW, search_directories())


def _stage(name: str, text: str) -> None:
    @segmentation.command(name, help=text)
    @click.argument("learner")
    @seed_option
    @click.option("--step", type=int, required=True, help="The step, from 0.")
    @threads_option
    @device_option
    @click.pass_obj
    def command(settings: Settings, learner: str, seed: int, step: int, threads: int, device: str) -> None:
        settings.segmentation_learner(learner)
        from lifelong.device import computing_on
        from lifelong.methods.segmentation.run import run_stage

        with computing_on(device):
            run_stage(settings, learner, seed, step, name, threads)


for name, text in SEGMENTATION_STAGES.items():
    _stage(name, text)


@segmentation.command()
@click.argument("learner")
@seed_option
@threads_option
@device_option
@click.pass_obj
def evaluate(settings: Settings, learner: str, seed: int, threads: int, device: str) -> None:
    """Confusion matrices of one seed after every step."""
    settings.segmentation_learner(learner)
    from lifelong.device import computing_on
    from lifelong.methods.segmentation.run import evaluate

    with computing_on(device):
        evaluate(settings, learner, seed, threads)
