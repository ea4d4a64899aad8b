"""Kills a run again and again at random moments, each time another part of it, and compares with an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
from support.project import Project, eventually, kill_group

TARGET = "results/split-digits-anpyc/summary.json"
RECEIPT = "results/.tracked/split-digits-anpyc.json"

VICTIMS = ("group", "snakemake", "job", "warm process", "tracker")
"""The whole process group; Snakemake alone; one job's own process; the process that runs jobs; whoever writes to MLflow."""

ORPHAN_SECONDS = 2.0


def disturb(project: Project, kills: int, seed: int, longest: float, victims: tuple[str, ...] = VICTIMS) -> Counter[str]:
    """Start a run and kill -9 a part of it after a random time, until so many kills have hit, then let it finish.

    Returns the kills by victim, and under `orphans` how many processes outlived their Snakemake by over two seconds.
    """
    moments, hit = random.Random(seed), Counter[str]()
    for attempt in range(kills * 4):
        if sum(hit[victim] for victim in victims) >= kills:
            break
        if project.planned(TARGET, RECEIPT) == []:
            shutil.rmtree(project.folder / "results")  # all is done, and what comes next needs work to disturb
        victim = victims[attempt % len(victims)]
        process = project.start("snakemake", "--cores", "2", TARGET, RECEIPT)
        try:
            hit[victim] += _kill(project, process, victim, moments.uniform(0.5, longest))
        finally:
            if process.poll() is None:
                if victim in ("job", "warm process", "tracker"):  # Snakemake goes on, or says what failed
                    process.communicate()
                else:
                    kill_group(process)
        hit["orphans"] += _count_orphans(project)
    project.snakemake(TARGET, RECEIPT)
    return hit


def _kill(project: Project, process: subprocess.Popen[str], victim: str, after: float) -> int:
    """Whether something was killed."""
    until = time.monotonic() + 30
    if victim in ("group", "snakemake"):
        try:
            process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            if victim == "group":
                kill_group(process)
            else:
                process.kill()
                process.communicate()
            return 1
        return 0
    time.sleep(after / 4)
    while process.poll() is None and time.monotonic() < until:
        for found in _processes(project):
            if _is(victim, found.info["cmdline"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found.pid, signal.SIGKILL)
                    return 1
        time.sleep(0.02)
    return 0


def _is(victim: str, words: list[str]) -> bool:
    text = " ".join(words)
    warm = "lifelong.runtime.warm.server" in text
    job = not warm and "bin/lifelong" in text and "snakemake" not in words[:2]
    return {"warm process": warm, "tracker": job and " track " in text, "job": job}[victim]


def _processes(project: Project) -> list[psutil.Process]:
    """What is at work in the project's folder, Snakemake itself left out."""
    result = []
    for found in psutil.process_iter(["cmdline", "cwd"]):
        words = found.info["cmdline"] or []
        if found.info["cwd"] == str(project.folder) and any("lifelong" in word for word in words):
            result.append(found)
    return result


def _count_orphans(project: Project) -> int:
    """Processes left after a Snakemake has ended for longer than they should be; all are gone a minute later."""
    with contextlib.suppress(AssertionError):
        eventually(lambda: not _processes(project), ORPHAN_SECONDS)
    left = _processes(project)
    eventually(lambda: not _processes(project), 60)
    return len(left)


def differences(project: Project, reference: dict[str, str]) -> list[str]:
    """Results that differ from the reference's or are missing on one side, among those of TARGET's experiment."""
    found = project.digests()
    part = str(Path(TARGET).parent)
    names = {name for name in (*found, *reference) if not name.startswith("results/") or name.startswith(part)}
    return sorted(name for name in names if found.get(name) != reference.get(name))
