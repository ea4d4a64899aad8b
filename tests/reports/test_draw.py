"""Reports are drawn from what is kept in git alone, and say where it is of older code."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.project import ROOT

from lifelong.params import Settings, load
from lifelong.reports.draw import draw
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_json, write_json
from lifelong.runtime.errors import UserError

KEPT = ("digits", "skill-demo", "split2meta-segmentation")


@pytest.fixture(scope="module")
def shipped() -> Settings:
    return load(ROOT / "params.yaml")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a clone holds of some sections: no data, no model."""
    for section in KEPT:
        shutil.copytree(ROOT / "reports" / section, tmp_path / "reports" / section)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    """Bytes by path; of pages without the words that they are of older code, which every edit of a stage adds."""
    older = re.compile(rb"\n\n\*\*Of older code or parameters\*\*: [^\n]*")
    return {str(path.relative_to(folder)): older.sub(b"", path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_clone_draws_what_is_in_git_to_the_byte(clone: Path, shipped: Settings) -> None:
    before = content(clone)
    for section in KEPT:
        for name in shipped.sections()[section]:
            for suffix in ("md", *shipped.report(name).kind.writes):
                paths.report(name, suffix).unlink()
        draw(shipped, section)
    after = content(clone)
    assert after.keys() == before.keys()
    pictures = {name for name in after if name.endswith(".png")}
    assert [name for name in after if name not in pictures and after[name] != before[name]] == []
    draw(shipped, "digits/comparison")
    assert content(clone) == after


@pytest.mark.workflow
def test_everything_in_git_is_drawn_anew_to_the_byte(
    tmp_path: Path, shipped: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "reports", tmp_path / "reports")
    monkeypatch.chdir(tmp_path)
    before = content(tmp_path)
    draw(shipped, None)
    after = content(tmp_path)
    assert [name for name in after if not name.endswith(".png") and after[name] != before.get(name)] == []


def test_rows_of_older_code_and_imported_ones_are_named(clone: Path, shipped: Settings) -> None:
    path = paths.section("digits", "provenance.json")
    made = read_json(path)
    made["split-digits-ewc"]["fingerprint"] = "another"
    write_json(path, made)
    draw(shipped, "digits/comparison")
    text = paths.report("digits/comparison", "md").read_text()
    assert re.search(
        r"\*\*Of older code or parameters\*\*: .*`split-digits-ewc`.*\. `snakemake digits` makes them anew\.", text
    )
    assert "**Imported**" in paths.report("split2meta-segmentation/table-2", "md").read_text()


def test_what_is_not_kept_is_named(clone: Path, shipped: Settings) -> None:
    path = paths.section("digits", "provenance.json")
    made = read_json(path)
    del made["split-digits-ewc"]
    write_json(path, made)
    with pytest.raises(UserError, match=r"digits/comparison is not drawn: .*nothing is kept of 'split-digits-ewc'"):
        draw(shipped, "digits")
    with pytest.raises(UserError, match=r"reports/anpyc/provenance\.json: no such file; `snakemake anpyc` makes it"):
        draw(shipped, "anpyc")
    with pytest.raises(UserError, match=r"report 'digit' is unknown"):
        draw(shipped, "digit")
    path.write_text('{"a": {"seeds": "many"}}')
    with pytest.raises(UserError, match=r"provenance\.json: found .* expected an object a name"):
        Results(shipped, "digits")
