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
            names = [values.get(name, name) for name in arguments]
            if plan is not None and plan != job_fingerprint(settings, kind, *names):
                about = " ".join(names)
                raise UserError(
                    f"{kind} {about}: the parameters or the code have changed since Snakemake planned this job, so it would "
                    f"mix old and new; nothing was done: run snakemake again"
                )
            function(settings, **values)

        return command

    return decorate
