"""A collective's runs in MLflow: what the files say, written once, found again, replaced when they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.collectives import NAME, SEEDS, SIZES, VARIANTS, collective_settings, write_collective, write_seed
from support.tracked_files import client

from lifelong.pipeline.tracking.collectives import track_collective
from lifelong.reports.figures.matrices import draw_matrices
from lifelong.runtime import paths
from lifelong.runtime.artifacts import file_digest, read_result, write_result
from lifelong.runtime.errors import UserError

HOME = "lifelong/skill-three"


@pytest.fixture
def place(untracked: Path) -> Path:
    write_collective()
    return untracked


def runs() -> dict[str, Any]:
    home = client().get_experiment_by_name(HOME)
    return {run.info.run_name: run for run in client().search_runs([home.experiment_id])}


def history(run: Any, key: str) -> dict[int, float]:
    """Step -> value."""
    return {m.step: m.value for m in client().get_metric_history(run.info.run_id, key)}


def test_runs_hold_what_the_files_say_once_and_are_replaced_when_they_differ(place: Path) -> None:
    """One test, since a database takes seconds to make."""
    settings = collective_settings()
    track_collective(settings, NAME, draw_matrices)
    found = runs()
    assert set(found) == {NAME, f"{NAME} seed 0", f"{NAME} seed 1"}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    parent = found[NAME]
    scores = [read_result(paths.collective_scores(NAME, seed))["variants"] for seed in range(SEEDS)]
    for variant in VARIANTS:
        ends = []
        for seed in range(SEEDS):
            run, one = found[f"{NAME} seed {seed}"], scores[seed][variant]
            means = [float(np.mean(row)) for row in one["final"]]
            ends.append(means[-1])
            assert history(run, f"final/{variant}") == pytest.approx(dict(enumerate(means)))
            mapped = {i: float(np.mean(row)) for i, row in enumerate(one["mapper"])}
            assert history(run, f"mapper/{variant}") == pytest.approx(mapped)
            assert history(run, f"first/{variant}") == {i: row[0] for i, row in enumerate(one["final"])}
            assert history(run, f"on_task/{variant}_1") == {i: one["final"][i][1] for i in (1, 2)}
            assert run.data.metrics[f"oracle/{variant}"] == pytest.approx(float(np.mean(one["oracle"])))
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            packet = paths.packet(NAME, seed, 2, variant)
            assert run.data.tags[f"sha256/task-2/{packet.name}"] == file_digest(packet)
        assert parent.data.metrics[f"final/{variant}"] == pytest.approx(float(np.mean(ends)))
        assert parent.data.metrics[f"std/final_{variant}"] == pytest.approx(float(np.std(ends, ddof=1)))
        assert parent.data.metrics[f"packet_bytes/{variant}"] == SIZES[variant] + 10
        assert parent.data.metrics[f"costs/teacher_macs_{variant}"] > 0
        assert 0 < parent.data.metrics[f"costs/efficiency_2_agents_{variant}"] <= 1
    assert {key: parent.data.metrics[f"banks/{key}"] for key in ("compared", "same", "refused")} == {
        "compared": SEEDS * 4 * len(VARIANTS),
        "same": 1,
        "refused": 0,
    }
    assert parent.data.params["mappers.gmmc.components"] == "4"
    assert parent.data.tags["lifelong.level"] == "collective"
    assert parent.data.tags["mlflow.note.content"].startswith("- Without a task oracle, in percent: GMMC ")

    receipt = paths.tracked_collective(NAME).read_bytes()
    track_collective(settings, NAME, draw_matrices)
    assert {name: run.info.run_id for name, run in runs().items()} == {n: run.info.run_id for n, run in found.items()}
    assert paths.tracked_collective(NAME).read_bytes() == receipt

    write_seed(1, np.random.default_rng(99))
    track_collective(settings, NAME, draw_matrices)
    after = runs()
    assert set(after) == set(found)
    assert after[f"{NAME} seed 0"].info.run_id == found[f"{NAME} seed 0"].info.run_id
    assert after[f"{NAME} seed 1"].info.run_id != found[f"{NAME} seed 1"].info.run_id
    assert paths.tracked_collective(NAME).read_bytes() != receipt

    track_collective(collective_settings(seeds=1), NAME, draw_matrices)
    assert set(runs()) == {NAME, f"{NAME} seed 0"}

    bank = read_result(paths.bank(NAME, 0, 3, 2))
    bank["variants"]["MAHA"]["sha256"] = "other"
    write_result(paths.bank(NAME, 0, 3, 2), bank)
    track_collective(collective_settings(seeds=1), NAME, draw_matrices)
    assert runs()[NAME].data.metrics["banks/same"] == 0


def test_a_missing_file_is_named(place: Path) -> None:
    for path in (paths.packet(NAME, 0, 1, "MAHA"), paths.collective_scores(NAME, 1)):
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=f"{path}: no such file; `snakemake"):
            track_collective(collective_settings(), NAME, draw_matrices)
        path.write_bytes(kept)
