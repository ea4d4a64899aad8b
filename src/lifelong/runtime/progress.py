"""How far a job is: a bar on a terminal, a plain line every ten seconds in a log."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

LINE_SECONDS = 10.0


class Progress:
    """Counts steps of one job. Use as a context."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self._start = self._spoken = time.monotonic()
        self._bar = tqdm(total=total, desc=label, disable=not sys.stderr.isatty(), leave=False, delay=2)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def resume(self, count: int) -> None:
        """Steps that an earlier, interrupted run has done already."""
        self.done += count
        self._bar.update(count)
        if self._bar.disable:
            print(f"{self.label}: goes on after {count} of {self.total}", file=sys.stderr, flush=True)

    def step(self, note: str = "") -> None:
        self.done += 1
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(1)
        now = time.monotonic()
        if self._bar.disable and now - self._spoken >= LINE_SECONDS:
            self._spoken = now
            print(
                f"{self.label}: {self.done}/{self.total}, {now - self._start:.0f} s, {note}",
                file=sys.stderr,
                flush=True,
            )
