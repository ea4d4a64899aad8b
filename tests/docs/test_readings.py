"""Every id of a reading that code, parameters, tests or documents cite has exactly one entry in docs/readings.md."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
PLACES = ("src", "params", "tests", "docs", "workflow", "params.yaml", "Snakefile", "README.md", "CONTRIBUTING.md")
SUFFIXES = {".py", ".yaml", ".md", ".csv", ".smk", ""}
FORMER = "dos" + "sier"  # what ids were cited from before they stood in docs/readings.md

ID = r"[ABMNPS]\d+"
LINE = r"\s+(?:#\s*)?"  # a citation may go on in the next line of a text or comment
CITATION = re.compile(rf"\b[Rr]eadings?{LINE}({ID}(?:(?:,{LINE}|{LINE}(?:and|or|to){LINE}|-){ID})*)\b")


@cache
def texts() -> dict[str, str]:
    """Path below the root -> text of the tracked files that may cite."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--", *PLACES]
    names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    paths = [ROOT / name for name in names if name and Path(name).suffix in SUFFIXES]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths if path.is_file()}


def cited(text: str) -> set[str]:
    """The ids that a text cites; "N2 to N4" and "N2-N4" cite N3 too."""
    found: set[str] = set()
    for match in CITATION.finditer(text):
        found |= set(re.findall(ID, match[1]))
        for first, last in re.findall(rf"({ID})(?:{LINE}to{LINE}|-)({ID})", match[1]):
            found |= {f"{first[0]}{number}" for number in range(int(first[1:]), int(last[1:]) + 1)}
    return found


def headings() -> list[str]:
    return re.findall(r"^### (\S+) .", (ROOT / "docs" / "readings.md").read_text(), re.MULTILINE)


def test_citations_are_found() -> None:
    assert cited("(reading N4)") == {"N4"}
    assert cited("# readings S4, S6") == {"S4", "S6"}
    assert cited("Readings M1-M3, M26, and the readings N15 to N17") == {"M1", "M2", "M3", "M26", "N15", "N16", "N17"}
    assert cited("see (reading\n    # A20) and readings P1,\n  P2") == {"A20", "P1", "P2"}
    assert cited("reading A100s, reading: N4") == set()


def test_every_id_has_one_entry() -> None:
    assert len(headings()) == len(set(headings()))


def test_every_entry_has_text() -> None:
    lines = [line for line in (ROOT / "docs" / "readings.md").read_text().split("\n") if line]
    bare = [line for line, after in pairwise([*lines, "#"]) if line.startswith("### ") and after.startswith("#")]
    assert not bare, bare


def test_what_is_cited_has_an_entry() -> None:
    known = set(headings())
    unknown = {name: missing for name, text in texts().items() if (missing := sorted(cited(text) - known))}
    assert not unknown, f"no entry in docs/readings.md: {unknown}"
    assert len(set().union(*map(cited, texts().values()))) > 50


def test_nothing_cites_what_is_not_in_the_repository() -> None:
    named = [name for name, text in texts().items() if FORMER in text.lower()]
    assert not named, named
