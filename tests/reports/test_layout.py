"""Every page in git can be read in a minute: its order, its length, its words."""

from __future__ import annotations

import re

import pytest
from support.project import ROOT

from lifelong.reports.layout import WORDS, count_words, fold, link_terms

PAGES = sorted(path for path in ROOT.glob("reports/*/*.md") if path.parent.name != "benchmarks")
CODE_NAMES = re.compile(r"class_il|chunk\(|task_oracle|task_pred|task_incremental|class_incremental|fwt_\w+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_opens_with_what_matters_and_stays_short(page: object) -> None:
    path = ROOT / str(page)
    text = path.read_text()
    opening, *_ = re.split(r"^(?:## |<details>)", text, flags=re.MULTILINE)
    order = [r"\A# .+\n\n", r"\*\*Question\.\*\* ", r"\*\*Answer\.\*\* ", r"\*\*How sure\.\*\* "]
    places = [found.start() for one in order if (found := re.search(one, opening))]
    assert len(places) == len(order) and places == sorted(places)
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", opening, re.MULTILINE)
    if path.stem == "README" or path.with_suffix(".png").exists():
        assert len(pictures) == 1 and (path.parent / pictures[0]).exists()
    assert count_words(text) <= WORDS
    assert CODE_NAMES.findall(text) == []
    assert text.count("<details>") == text.count("</details>")


def test_words_in_folds_and_marks_do_not_count() -> None:
    assert count_words("two words\n\n| a | 1.2 ± .3 |\n| --- | --- |\n\n" + fold("More", "not these")) == 5


def test_the_first_use_of_a_term_links_to_the_glossary() -> None:
    text = "# ACC\n\nThe ACC and ACC again.\n| ACC | BWT |\nA look at BWT-like words, then BWT.\n"
    link = "(../../docs/glossary.md#metrics)"
    assert link_terms(text) == (
        f"# ACC\n\nThe [ACC]{link} and ACC again.\n| ACC | BWT |\nA look at BWT-like words, then [BWT]{link}.\n"
    )
    anchors = {re.sub(r"[^\w ]", "", one.lower()).strip().replace(" ", "-") for one in _headings()}
    linked = {anchor for path in PAGES for anchor in re.findall(r"docs/glossary\.md#([\w-]+)", path.read_text())}
    assert linked and linked <= anchors


def _headings() -> list[str]:
    return re.findall(r"^#+ (.*)", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
