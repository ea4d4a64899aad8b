"""What a run of Snakemake shows: one live line on a terminal, at most forty lines elsewhere.

Done and all jobs, what runs now, the time spent and the time left as earlier runs tell it; warnings; of a failed job the
last lines of its own log. A dry run, and options that only look, print what Snakemake prints. Snakemake makes this before it
reads the Snakefile, which says where reports go, so what asks for paths is imported when it is used.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

from lifelong.runtime.supervision import LOOKING, describe_failure

if TYPE_CHECKING:
    from lifelong.runtime.timings import Remaining, Timings

STEPS = 20
"""Lines of progress on a plain terminal."""
FAILURES, FAILURE_LINES = 2, 6
"""Failed jobs that are shown in full, and lines of the log of each."""
REPORTS = 3
"""Reports that are named at the end."""
_ROUTINE = (
    "Assuming unrestricted",
    "Building DAG",
    "Complete log",
    "Conda environments",
    "Exiting because",
    "host:",
    "Job stats",
    "Provided ",
    "Rules claiming",
    "Select jobs",
    "Shutting down",
    "Trying to restart",
    "Using profile",
    "Using shell",
    "Execute ",
    "At least one job did not complete",
    "Cannot restore",
    "RuleException",
    "Will exit after finishing",
    "WorkflowError:\nAt least one job",
)
_KEYS = ("experiment", "collective", "dataset", "sequence", "report")
"""Wildcards that say what a job is about, the first that there is."""


class LogHandler(LogHandlerBase):
    """Called by Snakemake with every event, one at a time."""

    def __post_init__(self) -> None:
        self._plain: logging.Handler | None = None
        settings = self.common_settings
        if settings.dryrun or settings.verbose or settings.printshellcmds or LOOKING.intersection(sys.argv):
            self._plain = ColorizingTextHandler(
                nocolor=settings.nocolor,
                formatter=DefaultFormatter(settings.quiet, settings.show_failed_logs),
                filter=DefaultFilter(
                    settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds
                ),
            )
        self._started = time.monotonic()
        self._timings: Timings | None = None
        self._remaining: Remaining | None = None
        self._jobs: dict[int, dict[str, Any]] = {}
        self._running: dict[int, float] = {}
        self._reports: list[str] = []
        self._failed: list[str] = []
        self._done = self._total = self._spoken = 0
        self._bar: tqdm | None = None
        self._stopped = threading.Event()

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._plain is not None:
                self._plain.handle(record)
                return
            event = getattr(record, "event", None)
            if event in _SHOWN:
                _SHOWN[event](self, record.__dict__)
            elif event is None or event == LogEvent.ERROR:
                self._tell(record)
        except Exception:
            self.handleError(record)

    def _tell(self, record: logging.LogRecord) -> None:
        from lifelong.params import load
        from lifelong.pipeline.targets import find_absent_target, suggest_target

        text = record.getMessage().strip()
        if target := find_absent_target(text):
            text = f"snakemake: {suggest_target(load(), target)}"
        elif cause := re.search(r"^\s*UserError: (.+)", text, re.MULTILINE):  # an input function's, behind its traceback
            text = f"snakemake: {cause[1]}"
        if text and not text.startswith(_ROUTINE) and (record.levelno >= logging.WARNING or not self._total):
            self._print(text)

    def _begin(self, event: dict[str, Any]) -> None:
        from lifelong.runtime.timings import Remaining, Timings, describe_seconds

        self._timings = Timings.read()
        counts = {rule: count for rule, count in event["stats"].items() if rule != "total"}
        self._total = sum(counts.values())
        self._remaining = Remaining(self._timings, counts, os.cpu_count() or 1)
        left = self._remaining.estimate(0)
        expected = "how long they take is not known yet" if left is None else f"about {describe_seconds(left)}"
        self._print(f"{self._total} jobs, {expected}; what each does is in logs/")
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._total, bar_format="{n_fmt}/{total_fmt} {bar:12} {desc}", leave=False)
            threading.Thread(target=self._tick, daemon=True).start()

    def _describe(self, event: dict[str, Any]) -> None:
        wildcards = dict(event["wildcards"] or {})
        about = next((wildcards[key] for key in _KEYS if key in wildcards), "")
        place = [f"{key} {wildcards[key]}" for key in ("seed", "task", "head") if key in wildcards]
        self._jobs[event["jobid"]] = {
            "rule": event["rule_name"],
            "about": about,
            "name": " ".join([event["rule_name"], *filter(None, [about]), *place]),
            "pages": [str(path) for path in event["output"] or () if str(path).endswith(".md")],
        }

    def _start(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        self._running |= dict.fromkeys(event["jobs"], now)
        self._refresh()

    def _finish(self, event: dict[str, Any]) -> None:
        job = self._jobs.get(event["job_id"])
        begun = self._running.pop(event["job_id"], None)
        self._done += 1
        if job is None or begun is None or self._remaining is None or self._timings is None:
            return
        seconds = time.monotonic() - begun
        self._timings.note(job["rule"], job["about"], seconds)
        self._remaining.finish(job["rule"], seconds)
        self._reports += job["pages"]
        self._refresh()
        if self._bar is None and self._done * STEPS // self._total > self._spoken:
            self._spoken = self._done * STEPS // self._total
            self._print(f"{self._done}/{self._total} {self._describe_state()}")

    def _fail(self, event: dict[str, Any]) -> None:
        self._running.pop(event["jobid"], None)
        job = self._jobs.get(event["jobid"], {"name": event["rule_name"]})
        self._failed.append(job["name"])
        if len(self._failed) <= FAILURES:
            shown = [describe_failure(path, FAILURE_LINES) for path in map(str, event["log"] or ())]
            self._print("\n".join([f"failed: {job['name']}", *shown]))

    def _describe_state(self) -> str:
        from lifelong.runtime.timings import describe_seconds

        elapsed = time.monotonic() - self._started
        left = self._remaining.estimate(elapsed) if self._remaining else None
        state = f"{describe_seconds(elapsed)}" + ("" if left is None else f", {describe_seconds(left)} left")
        now = [self._jobs[one]["name"] for one in self._running if one in self._jobs]
        failed = f", {len(self._failed)} failed" if self._failed else ""
        return f"{state}{failed}" + (f": {'; '.join(now)}" if now else "")

    def _refresh(self) -> None:
        if self._bar is not None:
            self._bar.n = self._done
            self._bar.set_description_str(self._describe_state())

    def _tick(self) -> None:
        while not self._stopped.wait(1):
            self._refresh()

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """The end of the run: what came of it and what to do next."""
        from lifelong.runtime.timings import describe_seconds

        super().close()
        if not self._total or self._stopped.is_set():
            return
        self._stopped.set()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._timings is not None and self._done:
            self._timings.write()
        spent = describe_seconds(time.monotonic() - self._started)
        if self._failed or self._done < self._total:
            more = self._failed[FAILURES:]
            self._print(f"{self._done} of {self._total} jobs done in {spent}, {len(self._failed)} failed")
            if more:
                self._print(f"failed too: {', '.join(more[:5])}{' ...' if len(more) > 5 else ''}; their logs are in logs/")
            self._print("Mend the cause and give the same command again: what is done is kept")
            return
        self._print(f"{self._total} jobs done in {spent}")
        names = [page.rpartition("reports/")[2].removesuffix(".md") for page in self._reports]
        for name in names[:REPORTS]:
            self._print(f"  lifelong show {name}")
        if len(names) > REPORTS:
            self._print(f"  and {len(names) - REPORTS} more reports; `lifelong list` names them")


_SHOWN = {
    LogEvent.RUN_INFO: LogHandler._begin,
    LogEvent.JOB_INFO: LogHandler._describe,
    LogEvent.JOB_STARTED: LogHandler._start,
    LogEvent.JOB_FINISHED: LogHandler._finish,
    LogEvent.JOB_ERROR: LogHandler._fail,
}
