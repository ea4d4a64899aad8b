"""The profile for SLURM on three nodes of this machine: same bytes as a local run, whatever is lost on the way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import Project, eventually
from support.slurm.nodes import PARTITIONS, Nodes, find_obstacle

pytestmark = [pytest.mark.workflow, pytest.mark.slurm, pytest.mark.xdist_group("workflow")]

CHAIN = "results/split-digits-ewc/seed-0"
STATES = ["task-0/learn", "task-0/consolidate", "task-1/learn", "task-1/consolidate"]
TARGETS = ["results/split-digits-ewc/summary.json", "results/split-digits-joint/summary.json"]
ON_GPU = "split-digits-itaml"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    made = Nodes(tmp_path_factory.mktemp("nodes"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        try:
            made.bring_up()
            yield made
        finally:
            made.take_down()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run without a cluster leaves."""
    project = make_project(tmp_path_factory.mktemp("local"))
    project.snakemake(*TARGETS, f"results/{ON_GPU}/summary.json")
    return project.digests()


def make_project(folder: Path) -> Project:
    project = Project(folder)
    project.edit("params.yaml", "epochs: 3", "epochs: 100")  # long enough to be lost in the middle
    return project


def command(*arguments: str) -> list[str]:
    """The profile; what follows it is of a SLURM without accounts, and of one that is looked at every second."""
    plain = ["--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-partition-config", str(PARTITIONS)]
    often = ["--slurm-init-seconds-before-status-checks", "1"]
    return ["snakemake", "--profile", "profiles/slurm", "--quiet", "rules", "reason", "host", *plain, *often, *arguments]


def test_whatever_is_lost_the_bytes_are_those_of_a_local_run(nodes: Nodes, local: dict[str, str], tmp_path: Path) -> None:
    """One job of the cluster for two chains; Snakemake is killed, then the node, each after a stage has ended."""
    project = make_project(tmp_path)
    run = command("--group-components", "chain=2", "--", *TARGETS)

    killed = project.start(*run)
    eventually(lambda: (project.folder / f"{CHAIN}/{STATES[0]}.safetensors").exists(), 120)
    (left,) = nodes.jobs()
    nodes.call("scontrol", "suspend", left)  # so that it is not over before all this is done
    other = nodes.call("srun", "-w", "n2", "--chdir", str(tmp_path), "sh", "-c", f"{' '.join(run[:3])} {TARGETS[0]} || true")
    assert f"snakemake runs in this folder already (process {killed.pid} on " in other
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    finished = identify(project, STATES[0])

    again = project.start(*run)
    eventually(lambda: left not in nodes.jobs() and nodes.jobs("RUNNING"), 120)
    (job,) = nodes.jobs()
    eventually(lambda: (project.folder / f"{CHAIN}/{STATES[2]}.safetensors").exists(), 120)
    node = nodes.call("squeue", "--noheader", "--jobs", job, "--format", "%N").strip()
    nodes.kill_node(node)
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert "cancelled 1 SLURM jobs that a killed Snakemake had left here" in said
    assert f"JobId={job} " in nodes.call("scontrol", "show", "job", job)
    assert "Restarts=1" in nodes.call("scontrol", "show", "job", job)
    assert identify(project, STATES[0]) == finished  # no stage is computed twice
    assert project.digests() == {path: digest for path, digest in local.items() if ON_GPU not in path}
    nodes.start_node(node)
    nodes.wait_until_idle(node)


def identify(project: Project, state: str) -> int:
    """Which file it is: a result that is made again is another one."""
    return (project.folder / f"{CHAIN}/{state}.safetensors").stat().st_ino


def test_a_stage_that_asks_for_a_gpu_gets_one(nodes: Nodes, local: dict[str, str], tmp_path: Path) -> None:
    """The devices are none, so the stage computes on the processor; SLURM gives it one all the same."""
    project = make_project(tmp_path)
    project.run(*command("--config", "gpu=1", "device=cpu", "--", f"results/{ON_GPU}/summary.json"))
    job = max(nodes.jobs("COMPLETED"), key=int)
    said = nodes.call("scontrol", "show", "job", job)
    assert "NodeList=g1" in said
    assert "TresPerJob=gres:gpu:1" in said
    assert project.digests() == {path: it for path, it in local.items() if ON_GPU in path or path.startswith("data/")}


def test_what_slurm_refuses_is_said_with_its_reason(nodes: Nodes, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    huge = ["--set-resources", "learn:mem_mb=20000", "--retries", "0"]
    said = project.run(*command(*huge, "--", f"results/{ON_GPU}/summary.json"), expect=1)
    assert "Requested node configuration is not available" in said
    assert not nodes.jobs()
