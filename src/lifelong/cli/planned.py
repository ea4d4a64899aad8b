"""A job does what Snakemake planned, or nothing: parameters or sources were edited since, or it is done already."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lifelong.params import Settings
from lifelong.pipeline.freshness import WITH_RECEIPT, Freshness
from lifelong.pipeline.stages import job_fingerprint
from lifelong.runtime import paths
from lifelong.runtime.artifacts import file_digest, write_result
from lifelong.runtime.errors import UserError
from lifelong.runtime.provenance import note_plain_file, working

plan_option = click.option("--planned", "plan", hidden=True, help="The fingerprint that the job was planned with.")
makes_option = click.option("--makes", default="", hidden=True, help="The files that the job makes.")


def planned(kind: str, *arguments: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command a kind of job (`run_job`).

    Snakemake adds `--planned`, the fingerprint that it has planned the job with, and `--makes`, the job's outputs.
    `arguments` are those of the command that name what the job is about, or names themselves, as `pipeline.stages.JOBS`
    takes them. Stands below `pass_obj`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @plan_option
        @makes_option
        @functools.wraps(function)
        def command(settings: Settings, plan: str | None, makes: str, **values: Any) -> None:
            names = [values.get(name, name) for name in arguments]
            run_job(settings, kind, names, lambda: function(settings, **values), plan, makes)

        return command

    return decorate


def run_job(
    settings: Settings, kind: str, names: list[str], function: Callable[[], None], plan: str | None, makes: str
) -> None:
    """Do a job's work: what it reads is checked, and what it writes says how it was made; fresh outputs are kept.

    Raises:
        UserError: the job was planned with another fingerprint.
    """
    result = job_fingerprint(settings, kind, *names)
    if plan not in (None, result):
        raise UserError(
            f"{kind} {' '.join(names)}: the parameters or the code have changed since Snakemake planned this job, so it "
            f"would mix old and new; nothing was done: run snakemake again"
        )
    outputs = [Path(one) for one in makes.split()]
    if outputs and _keep(settings, kind, names, outputs):
        return
    with working(result, Freshness(settings)):
        function()
        if outputs and kind in WITH_RECEIPT:
            for path in outputs:
                note_plain_file(path, file_digest(path))
            write_result(paths.receipt(kind, names[0]), {})
    for path in outputs:
        os.utime(path)  # one that was the same already is not written again, and its time tells Snakemake that it is done


def _keep(settings: Settings, kind: str, names: list[str], outputs: list[Path]) -> bool:
    """Leave the outputs as they are if they are what would be made."""
    if not all(path.exists() for path in outputs):
        return False
    freshness = Freshness(settings)
    receipt = paths.receipt(kind, names[0])
    results = [receipt] if kind in WITH_RECEIPT else [path for path in outputs if freshness.covers(path)]
    if not results or any(not path.exists() or freshness.find_problem(path) for path in results):
        return False
    for path in (*outputs, *results):
        os.utime(path)
    print(f"{', '.join(map(str, outputs))}: made of the same before, kept", file=sys.stderr)
    return True
