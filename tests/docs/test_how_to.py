"""The how-to pages, run as they are written, on the tiny parameters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.project import ROOT, Project

pytestmark = pytest.mark.workflow

PAGES = {
    "own-data": ["10 classes", "# costs: ", "my-digits-finetune ", "Job stats"],
    "experiments": ["chosen from the grid", "options.strength = 10", "three-ewc-turned", "Job stats"],
    "predict": ["trained last", '"classes": [{"class": ', "task 1, class "],
    "teams": ["jobs done", "team-models"],
    "troubleshooting": ["params.yaml is well", "digits"],
    "costs": ["digits", "# costs: "],
}
"""Words of each page's output, in order."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_as_written(page: str, tmp_path: Path) -> None:
    text = (ROOT / f"docs/how-to/{page}.md").read_text()
    project = Project(tmp_path / "project")
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        project.run(*command)
    for file, content in re.findall(r"^`(params/own/[\w.]+)`:\n\n```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (project.folder / file).parent.mkdir(parents=True, exist_ok=True)
        project.write(file, content)
    commands = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    output = project.run("bash", "-ec", "\n".join(["export COLUMNS=200", *commands]))
    place = 0
    for words in PAGES[page]:
        place = output.find(words, place)
        assert place >= 0, (words, output)


def test_every_page_is_run() -> None:
    elsewhere = {"new-method", "cluster", "gpu"}
    assert {path.stem for path in (ROOT / "docs/how-to").glob("*.md")} - elsewhere == set(PAGES)
