"""Every page in git can be read in a minute: its order, its length, its words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.project import ROOT

from lifelong.params import load
from lifelong.reports.findings import MOST, read_findings, write_findings
from lifelong.reports.layout import WORDS, count_words, fold, link_terms
from lifelong.reports.results import Results
from lifelong.reports.scoreboard import put_at_a_glance
from lifelong.runtime.errors import UserError

PAGES = sorted(path for path in ROOT.glob("reports/*/*.md") if path.parent.name not in ("benchmarks", "gpu"))
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


def test_findings_are_few_short_and_borne_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = read_findings()
    assert len(noted) <= MOST
    for one in noted:
        assert len(re.findall(r"\.(?: |$)", one.text)) == 2, one.text
        assert one.text.count("{number}") == 1 and not re.search(r"\d\.\d", one.text)
    settings = load(ROOT / "params.yaml")
    monkeypatch.chdir(ROOT)
    sections = [Results(settings, name) for name in dict.fromkeys(one.report.partition("/")[0] for one in noted)]
    monkeypatch.chdir(tmp_path)
    write_findings(sections)
    assert (tmp_path / "reports/findings.md").read_text() == (ROOT / "reports/findings.md").read_text()
    turned = noted[0].model_copy(update={"holds": "above"})
    monkeypatch.setattr("lifelong.reports.findings.read_findings", lambda: [turned])
    with pytest.raises(UserError, match=r"anpyc-fair/differences: found \[.*\]; expected an interval above"):
        write_findings(sections)


def test_the_readme_has_todays_scoreboard() -> None:
    readme = (ROOT / "README.md").read_text()
    scores = re.search(r"^\|.*?(?=\n\n)", (ROOT / "reports/README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert scores is not None
    assert put_at_a_glance(readme, f"{scores[0].replace('](', '](reports/')}\n") == readme
