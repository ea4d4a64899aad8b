"""The graph of a collective as a user runs it, in a small copy of the project: three tasks of digits, a random backbone.

Beside it the graph of learners of one network on the same tasks.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.project import Project

from lifelong.runtime.artifacts import read_tensors

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("skill-workflow")]

PARAMS = """
backbones:
  random: {kind: random, image_size: 16, widths: [8, 16]}
sequences:
  three:
    kind: data-sets
    tier: all
    tasks:
      - {name: digits-01, dataset: digits, classes: [0, 1]}
      - {name: digits-23, dataset: digits, classes: [2, 3]}
      - {name: digits-456, dataset: digits, classes: [4, 5, 6]}
networks:
  on-features: {kind: backbone, backbone: random, hidden: [12]}
  whole: {kind: backbone, backbone: random, frozen: false}
training:
  short: {optimiser: adam, learning_rate: 0.005, batch_size: 32, epochs: 2}
experiments:
  three-ewc:
    sequence: three
    network: on-features
    training: short
    method: ewc
    grid: {options: {strength: [1, 10]}, tasks: 2}
    seeds: [0]
  three-whole: {sequence: three, network: whole, training: short, method: finetune, seeds: [0]}
collectives:
  tiny:
    sequence: three
    backbone: random
    seeds: 1
    agents: [1, 2, 3]
    heads:
      linear: {kind: linear, epochs: 3}
      biases: {kind: beneficial-biases, epochs: 3}
    mappers:
      gmmc: {kind: gmmc, components: 4}
      mahalanobis: {kind: mahalanobis, samples: 5}
    variants:
      GMMC: {head: linear, mapper: gmmc}
      BB-MAHA: {head: biases, mapper: mahalanobis}
reports:
  skill-demo:
    tiny: {kind: collective, title: Tiny, options: {collective: tiny}}
  learners:
    tiny:
      kind: skill-baselines
      title: Beside
      experiments: {EWC: three-ewc, Whole: three-whole}
      options: {collective: tiny}
"""

TARGET = "skill-demo"
BASE = "results/skill/tiny/seed-0"
REPORT = [f"reports/skill-demo/tiny.{suffix}" for suffix in ("csv", "json", "md", "png")]
RECEIPT = "results/.tracked/skill/tiny.json"
TABLES = ("results.csv", "quantities.csv", "provenance.json")
KEPT = ["results/measured/skill-demo/tiny.csv", *(f"reports/skill-demo/{table}" for table in TABLES), *REPORT]
"""What the section collects, and its report."""
TASKS = range(3)


def of_tasks(pattern: str) -> list[str]:
    return [pattern.format(task) for task in TASKS]


TAUGHT = [*of_tasks(BASE + "/task-{}/taught.safetensors"), *of_tasks("logs/skill/tiny/seed-0/task-{}/times.json")]
BIASED = [
    *of_tasks(BASE + "/task-{}/biased-biases.safetensors"),
    *of_tasks("logs/skill/tiny/seed-0/task-{}/times-biases.json"),
    *of_tasks(BASE + "/task-{}/judged-biases.safetensors"),
]
BANKS = [f"{BASE}/agents-{agents}/agent-{agent}.json" for agents in (1, 2, 3) for agent in range(agents)]
RECEIVED = [*BANKS, f"{BASE}/scores.json", f"{BASE}/predictions.safetensors", *KEPT, RECEIPT]
SHARED = [
    *(f"{BASE}/task-{task}/packet-{variant}.safetensors" for task in TASKS for variant in ("GMMC", "BB-MAHA")),
    *RECEIVED,
]
SECOND_SEED = [path.replace("seed-0", "seed-1") for path in (*TAUGHT, *BIASED, *SHARED) if "seed-0" in path]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose demo is complete."""
    project = Project(tmp_path_factory.mktemp("finished"), PARAMS)
    project.snakemake(TARGET)
    return project


def test_a_finished_demo_has_nothing_to_do(finished: Project) -> None:
    assert finished.planned(TARGET) == []
    text = (finished.folder / "reports/skill-demo/tiny.md").read_text()
    assert "Banks of N = 1, 2, 3 agents: 12 compared, all the same for a seed and variant; 0 packets refused." in text


def test_every_agents_bank_is_the_same_for_every_number_of_agents(finished: Project) -> None:
    banks = [json.loads((finished.folder / path).read_text()) for path in BANKS]
    for variant in ("GMMC", "BB-MAHA"):
        assert len({bank["variants"][variant]["sha256"] for bank in banks}) == 1
        assert {tuple(bank["variants"][variant]["bytes"]) for bank in banks} == {("digits-01", "digits-23", "digits-456")}
    assert [bank["own"] for bank in banks] == [[0, 1, 2], [0, 2], [1], [0], [1], [2]]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("params.yaml", "components: 4", "components: 5", [*TAUGHT, *SHARED]),
        ("params.yaml", "beneficial-biases, epochs: 3", "beneficial-biases, epochs: 4", [*BIASED, *SHARED]),
        ("params.yaml", "agents: [1, 2, 3]", "agents: [1, 2]", [*KEPT, RECEIPT]),
        ("params.yaml", "seeds: 1", "seeds: 2", [*SECOND_SEED, *KEPT, RECEIPT]),
        ("params.yaml", "title: Tiny", "title: Small", REPORT),
        ("params.yaml", "\nreports:", "\n# a remark\nreports:", []),
        ("src/lifelong/methods/skill/packet.py", "1 << 28", "1 << 27", RECEIVED),
    ],
    ids=["clusters", "epochs", "agents", "seeds", "title", "remark", "packets"],
)
def test_an_edit_runs_again_what_depends_on_it_and_nothing_else(
    finished: Project, file: str, old: str, new: str, expected: list[str]
) -> None:
    finished.edit(file, old, new)
    try:
        assert finished.planned(TARGET) == sorted(expected)
    finally:
        finished.edit(file, new, old)


def learner_files(name: str, tasks: int, stages: tuple[str, ...], trains: str = "learn") -> list[str]:
    """States, curves, scores and summary of one seed of an experiment."""
    folder = f"results/{name}/seed-0"
    states = [f"{folder}/task-{task}/{stage}.safetensors" for task in range(tasks) for stage in stages]
    curves = [f"{folder}/task-{task}/{trains}.curve.jsonl" for task in range(tasks)]
    return [*states, *curves, f"{folder}/scores.json", f"{folder}/predictions.safetensors", f"results/{name}/summary.json"]


EWC = ("learn", "consolidate")
CANDIDATES = [file for number in (0, 1) for file in learner_files(f"three-ewc_grid-{number}", 2, EWC)]
CHOSEN = ["results/three-ewc/chosen.json", *learner_files("three-ewc", 3, EWC), "results/.tracked/three-ewc.json"]
WHOLE = [*learner_files("three-whole", 3, ("learn",)), "results/.tracked/three-whole.json"]
BESIDE = [f"reports/learners/tiny.{suffix}" for suffix in ("csv", "json", "md", "png")]
BESIDE_KEPT = [*(f"reports/learners/{table}" for table in TABLES), *BESIDE]
FEATURES = [f"data/features/random/all/digits-{split}.safetensors" for split in ("train", "test")]


@pytest.fixture(scope="module")
def beside(finished: Project) -> Project:
    """The same project, whose learners of one network are complete too."""
    finished.snakemake("learners")
    return finished


def test_learners_of_one_network_are_made_from_the_same_features_and_images(beside: Project) -> None:
    assert beside.planned("learners") == []
    for file in (*CANDIDATES, *CHOSEN, *WHOLE, *BESIDE):
        assert (beside.folder / file).is_file(), file
    text = (beside.folder / "reports/learners/tiny.md").read_text()
    for row in ("| SKILL GMMC ", "| EWC ", "| Whole "):
        assert row in text
    assert [line.split("|")[2].strip() for line in text.splitlines() if "| strength " in line] == [
        "strength 1.0",
        "strength 10.0",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("hidden: [12]", "hidden: [13]", [*CANDIDATES, *CHOSEN, *BESIDE_KEPT]),
        ("hidden: [12]}", "hidden: [12]}  # few", []),
        ("image_size: 16", "image_size: 8", None),
        ("title: Beside", "title: Near", BESIDE),
    ],
    ids=["hidden", "remark", "backbone", "title"],
)
def test_an_edit_makes_learners_anew_that_depend_on_it(
    beside: Project, old: str, new: str, expected: list[str] | None
) -> None:
    beside.edit("params.yaml", old, new)
    try:
        if expected is None:
            expected = [*FEATURES, *CANDIDATES, *CHOSEN, *WHOLE, *BESIDE_KEPT, *TAUGHT, *BIASED, *SHARED]
            expected = [file for file in expected if file not in KEPT]  # of another section
        assert beside.planned("learners") == sorted(expected)
    finally:
        beside.edit("params.yaml", new, old)


def test_what_the_chosen_candidate_learnt_is_not_learnt_again(beside: Project) -> None:
    chosen = json.loads((beside.folder / "results/three-ewc/chosen.json").read_text())
    (name,) = (one["experiment"] for one in chosen["candidates"] if one["options"] == chosen["options"])
    for task in (0, 1):
        for stage in EWC:
            files = [beside.folder / f"results/{of}/seed-0/task-{task}/{stage}.safetensors" for of in ("three-ewc", name)]
            own, theirs = (read_tensors(file, "state")[0] for file in files)
            assert own.keys() == theirs.keys()
            assert all(np.array_equal(own[key], theirs[key]) for key in own)
    assert not (beside.folder / f"results/{name}/seed-0/task-2").exists()


LEARNT = [f"{BASE}/task-0/taught.safetensors", f"{BASE}/task-0/biased-biases.safetensors"]


def killed_at(project: Project, checkpoint: str) -> None:
    """Run until a job writes its first checkpoint of this name, which there kills Snakemake's group and itself."""
    source, end = "src/lifelong/training/checkpoints.py", "        self._written = time.monotonic()\n"
    kill = f"""\
        if name == {checkpoint!r}:
            import signal

            os.killpg(int(os.environ["LIFELONG_UNDER_SNAKEMAKE"]), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
"""
    project.edit(source, end, end + kill)  # no result depends on this module
    project.run("snakemake", "--cores", "2", *LEARNT, expect=-signal.SIGKILL)
    project.edit(source, kill, "")


def test_killed_in_features_and_in_teaching_it_ends_with_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    project = Project(tmp_path, PARAMS)
    checkpoints = project.folder / "results/.checkpoints"
    killed_at(project, "00000")
    assert list(checkpoints.rglob("00000.safetensors"))
    assert not (project.folder / "data/features/random/all/digits-test.safetensors").exists()
    killed_at(project, "head")
    assert list(checkpoints.rglob("head.safetensors"))
    assert not (project.folder / LEARNT[1]).exists()
    project.snakemake(*LEARNT)
    found = project.digests()
    assert set(LEARNT) < set(found)
    assert found == {path: digest for path, digest in finished.digests().items() if path in found}
    assert not list(checkpoints.iterdir())
    assert not list(project.folder.rglob("*.part"))


def test_an_image_is_predicted_as_the_evaluation_answers_for_it(finished: Project, tmp_path: Path) -> None:
    """The same pixels from a picture file take the same way: to the same task and, where that is right, the same class."""
    images, _ = read_tensors(finished.folder / "data/images/digits.safetensors", "images", ["test_images"])
    features, about = read_tensors(finished.folder / "data/features/random/all/digits-test.safetensors", "features")
    answers, info = read_tensors(finished.folder / f"{BASE}/predictions.safetensors", "skill-predictions")
    own = [np.flatnonzero(np.isin(features["labels"], classes)) for classes in ([0, 1], [2, 3], [4, 5, 6])]
    order = np.concatenate(own)  # the evaluation takes task after task
    paths = []
    for number in (0, len(own[0]), len(order) - 1):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(images["test_images"][features["index"][order[number]], 0]).save(paths[-1])
    for variant, mapper in (("GMMC", "gmmc"), ("BB-MAHA", "mahalanobis")):
        printed = finished.run("lifelong", "predict", *map(str, paths), "--collective", "tiny", "--variant", variant)
        for path, line in zip(paths, printed.splitlines()[1:], strict=True):
            number = int(path.stem)
            task = int(answers[f"routes/{mapper}"][number])
            assert line.startswith(f"{path}: task {info['tasks'][task]}, class ")
            label, _, confidence = line.split("class ")[1].partition(" ")
            right = label == about["class_names"][features["labels"][order[number]]]
            if task == answers["owners"][number]:
                assert right == answers[f"right/{variant}"][number]
            assert 0 < float(confidence.strip("()")) <= 1


def test_an_unknown_collective_and_a_missing_image_are_the_users_to_mend(finished: Project) -> None:
    output = finished.run("lifelong", "predict", "x.png", "--collective", "tine", expect=2)
    assert "has no collective 'tine'; allowed: tiny. Did you mean 'tiny'?" in output
    assert "x.png: no such image" in finished.run("lifelong", "predict", "x.png", "--collective", "tiny", expect=2)
    output = finished.run("lifelong", "predict", "x.png", "--collective", "tiny", "--variant", "MAHA", expect=2)
    assert "has no variant 'MAHA': " in output
