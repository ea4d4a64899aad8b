"""`lifelong`: what people use, and the stages that Snakemake runs.

Paths follow from names (`lifelong.runtime.paths`), relative to the working directory.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import click

from lifelong.cli.people import PEOPLE
from lifelong.cli.skill import skill
from lifelong.cli.stages import STAGES, stage_command
from lifelong.params import load
from lifelong.params.methods import shipped_methods, stage_table
from lifelong.params.schema import PARAMS_FILE
from lifelong.runtime.errors import UserError, describe_os_error, did_you_mean
from lifelong.runtime.supervision import UNDER_SNAKEMAKE, describe_usage


class _Commands(click.Group):
    """Beside its own commands one for each stage of the methods, those that params.yaml brings among them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *stage_table(shipped_methods())})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own
        stages = stage_table(shipped_methods())
        if name not in stages and Path(context.params.get("params", PARAMS_FILE)).exists():
            stages = load(context.params.get("params", PARAMS_FILE)).stages()
        return stage_command(stages[name]) if name in stages else None

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError:
            raise UserError(f"{args[0]!r} is no command; {did_you_mean(args[0], self.list_commands(context))}") from None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """What people use first, then what Snakemake runs."""
        people = [command.name for command in PEOPLE]
        stages = [name for name in self.list_commands(context) if name not in (*people, skill.name)]
        for title, names in (("Commands", people), ("Exchange between agents", [skill.name]), ("Stages", stages)):
            commands = [(name, self.get_command(context, name or "")) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name or "", command.get_short_help_str(90)) for name, command in commands if command])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--params", type=click.Path(path_type=Path), default=PARAMS_FILE, show_default=True, envvar="LIFELONG_PARAMS")
@click.version_option(package_name="lifelong", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, params: Path) -> None:
    """Lifelong learning reproduced: check, show, verify, predict; and the stages that `snakemake TARGET` runs in order."""
    context.obj = load(params)


for command in (*PEOPLE, *STAGES, skill):
    cli.add_command(command)


def main() -> None:
    """Entry point: the user's own errors are one message without a traceback, and exit status 2."""
    gc.disable()  # imports alone make garbage collection cost 0.4 s; a stage turns it on again
    try:
        cli.main(standalone_mode=False)
        if UNDER_SNAKEMAKE in os.environ:
            print(describe_usage(), file=sys.stderr)
    except UserError as error:
        print(f"lifelong: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)  # whoever read the output has enough
    except OSError as error:
        print(f"lifelong: {describe_os_error(error)}", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print("lifelong: no memory is left; run fewer jobs at once, or on a machine with more", file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
