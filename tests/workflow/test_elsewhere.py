"""The Snakefile from another folder, with another params.yaml, and as a module of another workflow."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.workflow

MODULE = f"""
module lifelong:
    snakefile: "{ROOT}/Snakefile"
    config: config

use rule * from lifelong

rule count:
    default_target: True
    input: "results/digits-5-sgd/summary.json"
    output: "count.txt"
    shell: "wc -c < {{input}} > {{output}}"
"""


def snakemake(folder: Path, *arguments: str | Path) -> str:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, arguments)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not ended.returncode, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_another_workflow_uses_the_rules_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(MODULE)
    snakemake(tmp_path, "--quiet")
    assert int((tmp_path / "count.txt").read_text()) == (tmp_path / "results/digits-5-sgd/summary.json").stat().st_size


def test_parameters_are_found_beside_the_snakefile_or_as_said(tmp_path: Path) -> None:
    planned = snakemake(ROOT, "--directory", tmp_path, "--dry-run", "--", "digits")
    assert "learn" in planned
    (tmp_path / "other.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "params").symlink_to(ROOT / "params")
    asked = ("--directory", tmp_path, "--dry-run", "--config", "params=other.yaml", "--", "digits")
    assert "other.yaml" in snakemake(ROOT, *asked)
