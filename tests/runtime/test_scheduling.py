"""The scheduler's clocks: one where its limit holds jobs back, none where it does not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobRateLimiter, JobScheduler
from snakemake.settings.types import MaxJobsPerTimespan

from lifelong.runtime.scheduling import look_again_when_limited


def test_a_clock_is_set_where_the_limit_was_reached_and_for_other_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks: list[float] = []
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", lambda _, delay: clocks.append(delay))
    look_again_when_limited()
    limiter = JobRateLimiter(MaxJobsPerTimespan.parse_choice("2/1s"))
    scheduler = SimpleNamespace(job_rate_limiter=limiter)
    look = JobScheduler._schedule_reevalutation
    look(scheduler, limiter.timespan)
    assert clocks == []
    limiter.register_jobs(2)
    look(scheduler, limiter.timespan)
    look(scheduler, 10)
    look(SimpleNamespace(job_rate_limiter=None), 1)
    assert clocks == [limiter.timespan, 10, 1]
