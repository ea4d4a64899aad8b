"""Options that several commands share."""

from __future__ import annotations

import click

seed_option = click.option("--seed", type=int, required=True, help="One of the seeds.")
task_option = click.option("--task", type=int, required=True, help="The task's place in the sequence, from 0.")
head_option = click.option("--head", required=True, help="A head of the collective with beneficial biases.")
device_option = click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1.")
