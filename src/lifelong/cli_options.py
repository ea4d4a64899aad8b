"""Options that several commands share."""

from __future__ import annotations

import click

threads_option = click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
device_option = click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1.")
