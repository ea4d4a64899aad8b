"""How Snakemake's scheduler waits, so that a run's thousandth job costs no more than its first."""

from __future__ import annotations


def look_again_when_limited() -> None:
    """Let the scheduler set a clock only where its limit of jobs a second holds jobs back.

    As it is, Snakemake 9.27 sets one whenever it has looked, each clock has it look again, and so every job that ends adds a
    look a second, at all jobs that are ready, until the run ends.
    """
    from snakemake.scheduling.job_scheduler import JobScheduler

    always = JobScheduler._schedule_reevalutation

    def when_limited(scheduler: JobScheduler, delay: float) -> None:
        limiter = scheduler.job_rate_limiter
        if limiter is None or delay != limiter.timespan or limiter.get_free_jobs() == 0:
            always(scheduler, delay)

    JobScheduler._schedule_reevalutation = when_limited
