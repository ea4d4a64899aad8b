"""How long jobs took: what the next run's remaining time, and the hours of an experiment, are told by."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from lifelong.runtime.artifacts import write_bytes

FILE = Path(".snakemake") / "lifelong.timings.json"
_WEIGHT = 0.5
"""Of the newest time in what is remembered, so that a faster machine or smaller budget soon tells."""


class Timings:
    """Seconds of wall-clock time by rule and by what the job was about (an experiment, a data set, a collective)."""

    def __init__(self, seconds: dict[str, dict[str, float]]) -> None:
        self._seconds = seconds

    @classmethod
    def read(cls, path: Path = FILE) -> Timings:
        """What earlier runs noted; nothing where they noted none, or the file is damaged: it only serves guesses."""
        try:
            noted = json.loads(path.read_text())
            return cls({rule: {about: float(s) for about, s in by.items()} for rule, by in noted.items()})
        except (OSError, ValueError, AttributeError, TypeError):
            return cls({})

    def note(self, rule: str, about: str, seconds: float) -> None:
        earlier = self._seconds.setdefault(rule, {})
        earlier[about] = round(_WEIGHT * seconds + (1 - _WEIGHT) * earlier.get(about, seconds), 2)

    def write(self, path: Path = FILE) -> None:
        write_bytes(path, json.dumps(self._seconds, indent=1, sort_keys=True).encode())

    def estimate(self, rule: str, about: str = "") -> float | None:
        """Seconds of a job: its own earlier ones, else the mean of its rule; none where the rule never ran."""
        earlier = self._seconds.get(rule)
        if not earlier:
            return None
        return earlier.get(about, sum(earlier.values()) / len(earlier))

    def estimate_all(self, counts: dict[str, int]) -> float | None:
        """Seconds of so many jobs of each rule, one after another; a rule never run counts as the mean of the others."""
        known = {rule: seconds for rule in counts if (seconds := self.estimate(rule)) is not None}
        if not known:
            return None
        mean = sum(known.values()) / len(known)
        return sum(count * known.get(rule, mean) for rule, count in counts.items())


def describe_seconds(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Remaining:
    """The time that a run still takes, from what it has done so far and from earlier runs."""

    def __init__(self, timings: Timings, counts: dict[str, int], cores: int) -> None:
        self._timings, self._left, self._cores = timings, dict(counts), cores
        self._now: dict[str, list[float]] = defaultdict(list)
        self._busy = 0.0

    def finish(self, rule: str, seconds: float) -> None:
        self._left[rule] = max(0, self._left.get(rule, 0) - 1)
        self._now[rule].append(seconds)
        self._busy += seconds

    def estimate(self, elapsed: float) -> float | None:
        """Seconds; none where nothing is known of any rule."""
        timings = Timings({rule: {"": sum(times) / len(times)} for rule, times in self._now.items()})
        for rule in self._left:
            if rule not in self._now and (earlier := self._timings.estimate(rule)) is not None:
                timings.note(rule, "", earlier)
        work = timings.estimate_all(self._left)
        side_by_side = min(self._cores, max(1.0, self._busy / elapsed)) if elapsed > 0 and self._busy else self._cores
        return None if work is None else work / side_by_side
