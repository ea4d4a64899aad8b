"""The command `lifelong`: by the warm process of a Snakemake where there is one, else here."""

from __future__ import annotations

import sys

from lifelong.runtime.gpus import lease_gpu
from lifelong.runtime.supervision import end_with_parent
from lifelong.runtime.warm.client import run_warm


def main() -> None:
    end_with_parent()
    lease = lease_gpu(sys.argv[1:])  # held as long as this process lives, and the one that computes
    status = run_warm(sys.argv[1:], "lifelong.cli.warm:warm_up", lease)
    if status is not None:
        sys.exit(status)
    from lifelong.cli import main as command

    command()


if __name__ == "__main__":
    main()
