"""A branch: the first tasks are those of another experiment, the rest its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.runs import SPLIT, made
from support.tiny import identical

from lifelong import params
from lifelong.params import Experiment
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import final_state, input_state, stages_of
from lifelong.pipeline.run import run_stage
from lifelong.pipeline.stages import stage_fingerprint
from lifelong.pipeline.states import read_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result
from lifelong.runtime.errors import UserError


def experiments(**branch: Any) -> dict[str, Experiment]:
    """A trunk, a branch of it at `task` with a smaller memory, and one of the branch's options without a trunk."""
    common = {"sequence": "three", "network": "net", "training": "short", "method": "er", "seeds": 1}
    own = common | {"options": {"memory": 6}}
    return params.settings(
        {
            "sequences": {"three": SPLIT},
            "networks": {"net": {"kind": "mlp", "hidden": [4], "initialisation": "uniform-fan-in"}},
            "training": {"short": {"learning_rate": 0.1, "batch_size": 8, "epochs": 1}},
            "experiments": {
                "trunk": common | {"options": {"memory": 12}},
                "twig": own | {"branch": {"experiment": "trunk", "task": 1} | branch},
                "alone": own,
                "joint": common | {"method": "joint", "heads": "all-classes"},
            },
            "reports": {},
        }
    ).experiments


def test_a_branch_starts_from_the_trunks_state() -> None:
    found = experiments(task=2)
    twig, trunk = found["twig"], found["trunk"]
    assert input_state(twig, 0, 2, "learn") == paths.state("trunk", 0, 1, "remember")
    assert [final_state(twig, 0, task) for task in range(3)] == [
        *(final_state(trunk, 0, task) for task in range(2)),
        paths.state("twig", 0, 2, "remember"),
    ]
    assert len({stage_fingerprint(one, "learn") for one in found.values()}) == 4
    with pytest.raises(UserError, match="no stage 'learn' of task 1"):
        input_state(twig, 0, 1, "learn")


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ({"experiment": "trnk"}, "twig.branch.experiment: 'trnk' is unknown.*trunk"),
        ({"experiment": "twig"}, "itself a branch"),
        ({"experiment": "joint"}, "has method 'joint'; expected 'er'"),
        ({"task": 3}, "twig.branch.task: found 3; the last task is 2"),
        ({"task": 0}, "twig.branch.task: found 0"),
    ],
)
def test_impossible_branches_are_refused(branch: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        experiments(**branch)


def test_a_branch_is_the_trunk_up_to_there_and_its_own_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = experiments(task=1)
    made(found["trunk"])
    for task in (1, 2):
        for stage in stages_of(found["twig"], task):
            run_stage(found["twig"], 0, task, stage)
    assert not paths.state("twig", 0, 0, "learn").exists()
    for name in ("trunk", "twig"):
        evaluate(found[name], 0)
    rows = {name: read_result(paths.scores(name, 0))["test"]["task_incremental"] for name in ("trunk", "twig")}
    assert rows["trunk"][0] == rows["twig"][0]
    memories = {name: read_state(paths.state(name, 0, 2, "remember"))["memory"]["labels"] for name in ("trunk", "twig")}
    assert [len(labels) for labels in memories.values()] == [12, 6]
    one, other = (read_state(paths.state(name, 0, 1, "learn"))["network"] for name in ("trunk", "twig"))
    assert identical(one, other), "the branch point is behind the same memory"


def test_ari_goes_on_from_task_k_with_other_hyper_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first task's base model is the trunk's; with the trunk's own options the branch is the trunk, bit for bit."""
    monkeypatch.chdir(tmp_path)
    common = {"sequence": "three", "network": "net", "training": "short", "method": "ari", "seeds": 1}
    behind = common | {"branch": {"experiment": "trunk", "task": 1}}
    other = {"memory": 6, "gamma": 0.9, "fusion": "literal", "attack": "none"}
    found = params.settings(
        {
            "sequences": {"three": SPLIT},
            "networks": {"net": {"kind": "attention-mlp", "hidden": [4]}},
            "training": {"short": {"learning_rate": 0.1, "batch_size": 8, "epochs": 1}},
            "experiments": {
                "trunk": common | {"options": {"memory": 12}},
                "same": behind | {"options": {"memory": 12}},
                "other": behind | {"options": other},
            },
            "reports": {},
        }
    ).experiments
    made(found["trunk"])
    for name in ("same", "other"):
        for task in (1, 2):
            for stage in stages_of(found[name], task):
                run_stage(found[name], 0, task, stage)
        assert not paths.state(name, 0, 0, "learn").exists()
        assert input_state(found[name], 0, 1, "learn") == paths.state("trunk", 0, 0, "adapt")
        evaluate(found[name], 0)
    networks = {name: read_state(paths.state(name, 0, 2, "adapt"))["network"] for name in found}
    assert identical(networks["same"], networks["trunk"])
    assert not identical(networks["other"], networks["trunk"])
    scores = {name: read_result(paths.scores(name, 0))["test"]["task_incremental"] for name in ("same", "other")}
    assert scores["same"][0] == scores["other"][0]
