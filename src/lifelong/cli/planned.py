"""A job does what Snakemake planned, or nothing: parameters and sources may have been edited since."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from lifelong.params import Settings
from lifelong.pipeline.stages import job_fingerprint
from lifelong.runtime.errors import UserError


def planned(kind: str, *arguments: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command of a kind of job the option `--planned`: the fingerprint that Snakemake has planned it with.

    `arguments` are those of the command that name what the job is about, or names themselves, as `pipeline.stages.JOBS`
    takes them. Stands below `pass_obj`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @click.option("--planned", "plan", hidden=True, help="The fingerprint that the job was planned with.")
        @functools.wraps(function)
        def command(settings: Settings, plan: str | None, **values: Any) -> None:
            if plan is not None:
                check_plan(settings, plan, kind, *(values.get(name, name) for name in arguments))
            function(settings, **values)

        return command

    return decorate


def check_plan(settings: Settings, plan: str, kind: str, *names: str) -> None:
    """Refuse a job that was planned with another fingerprint."""
    if plan != job_fingerprint(settings, kind, *names):
        raise UserError(
            f"{kind} {' '.join(names)}: the parameters or the code have changed since Snakemake planned this job, so it "
            f"would mix old and new; nothing was done: run snakemake again"
        )
