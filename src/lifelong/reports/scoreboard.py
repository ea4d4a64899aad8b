"""One page of all papers: what came of their claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lifelong.params.reports import PAPERS
from lifelong.reports.claims import count_outcomes, find_findings, read_papers
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.reports.verdicts import OUTCOMES, Outcome
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_text

BEGIN, END = "<!-- scoreboard: drawn by `lifelong report --all` -->", "<!-- end of scoreboard -->"

TEXT = """\
# What came of the papers' claims

{scores}
A claim is what a paper says in words or by an order of rows. It is tested on the same seeds of both sides; p is corrected
over all claims that one section tests (Holm). *Not attempted*: nothing here tests it, or fewer than three seeds do. A claim
that two reports test counts twice. Most are tested on a smaller tier than the paper's, as each page says.

In short, with numbers: [findings](findings.md). `lifelong report --all` draws this page and all others from what git keeps.
"""


def write_scoreboard(sections: Sequence[Results]) -> None:
    """Write reports/README.md: by paper, how many claims have which outcome, over all sections that test them."""
    findings = [one for results in sections for one in find_findings(results)]
    body = []
    for paper, places in read_papers().items():
        total = sum((count_outcomes(place, findings) for place in places), Counter[Outcome]())
        body.append([f"[{PAPERS[paper]}]({paper}/README.md)", *(str(total[word]) for word in OUTCOMES)])
    scores = table(["Paper", *(word.capitalize() for word in OUTCOMES)], body)
    write_text(paths.REPORTS / "README.md", TEXT.format(scores=scores))
    readme = Path("README.md")
    if readme.exists() and Path("reports") == paths.REPORTS:
        write_text(readme, put_at_a_glance(readme.read_text(), scores.replace("](", "](reports/")))


def put_at_a_glance(readme: str, scores: str) -> str:
    """The README with the scores between its two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{scores}\n{END}{after}" if after else readme
