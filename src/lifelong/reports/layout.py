"""How every page of a report is laid out: what one reads in a minute, then folds.

Title; three sentences (question, answer, how sure); the picture; the paper's claims with verdicts; the first tables, as long
as the whole stays short; everything else folded. Terms link to the glossary where they are used first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lifelong.params import Report
from lifelong.reports.claims import Finding, describe, find_findings
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.markdown import table
from lifelong.reports.quantities import format_value
from lifelong.reports.results import TOLD, Results
from lifelong.reports.verdicts import OUTCOMES
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_text

WORDS = 900
"""That a page may show unfolded."""

VERDICTS = """\
Claims are the paper's, in our words. Each is tested two-sided on the differences of the same seeds (Student's t; where only
means are kept, Welch's t on these; spreads by the F test), and p is corrected over all claims of the section (Holm).
*Supported*, *contradicted*: p < .05; *undecided*: the data do not tell; fewer than three seeds are shown, not judged. The
interval is that of the contrast alone; of a claim about several places the one that speaks least for it is shown."""

_GLOSSARY = {
    "learning-tasks-one-after-the-other": ("task-incremental", "class-incremental", "image by image", "chunks of"),
    "metrics": ("ACC", "BWT", "FWT", "R[i, j]", "IoU", "normalised accuracy"),
    "networks": ("heads", "logits"),
    "holding-on-to-what-was-learnt": ("importance", "exemplars", "rehearsal", "null space"),
}
"""Anchor in the glossary -> terms that stand there."""


def write_page(report: Report, results: Results, text: str) -> None:
    """Write a report's page from its title, picture and sections as they come."""
    write_text(paths.report(report.name, "md"), link_terms(lay_out(report, results, text)))


def lay_out(report: Report, results: Results, text: str) -> str:
    """The page in its order, all that is too much folded."""
    findings = [one for one in find_findings(results) if one.report == report.name]
    image = f"![{report.title}]({paths.report(report.name, 'png').name})\n" if "png" in report.kind.writes else ""
    parts = [f"# {report.title}\n", three_sentences(report, results, findings), image]
    claims = [("Claims of the paper", f"{findings_table(findings)}\n{VERDICTS}")] if findings else []
    ordered = sorted([*claims, *_sections(text)], key=lambda section: section[0].startswith("How these"))
    left = WORDS - sum(map(count_words, parts)) - 20
    for title, body in ordered:
        words = count_words(title) + count_words(body)
        folded = title.startswith(("How these", "Options")) or words > left
        parts.append(fold(title, body) if folded else f"## {title}\n\n{body}\n")
        left -= count_words(title) if folded else words
    return "\n".join(part for part in parts if part)


def fold(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body.strip()}\n\n</details>\n"


def count_words(text: str) -> int:
    """Words that a reader sees: outside folds, pictures and the lines of tables; a cell of a table counts as its words."""
    shown = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    return sum(any(letter.isalnum() for letter in word) for word in shown.split())


def link_terms(text: str) -> str:
    """The page with each term's first use in running text linked to the glossary."""
    lines = text.split("\n")
    for anchor, terms in _GLOSSARY.items():
        for term in terms:
            found = re.compile(rf"(?<![\w\[/(#-]){re.escape(term)}(?![\w\]-])")
            for number, line in enumerate(lines):
                if line.startswith(("#", "|", "!", "<")) or "](" in line or "`" in line:
                    continue
                if found.search(line):
                    linked = f"[{term}](../../docs/glossary.md#{anchor})"
                    lines[number] = found.sub(lambda _, linked=linked: linked, line, count=1)  # type: ignore[misc]
                    break
    return "\n".join(lines)


def findings_table(findings: Sequence[Finding]) -> str:
    """Each claim with our numbers, the difference with its interval, and the verdict."""
    told = [describe(one) for one in findings]
    keys = ("statement", "ours", "tested", "verdict")
    return table(["Claim", "Ours", "Difference [95 %]", "Verdict"], [[one[key] for key in keys] for one in told])


def three_sentences(report: Report, results: Results, findings: Sequence[Finding]) -> str:
    return (
        f"**Question.** {report.kind.question}\n\n**Answer.** {_answer(report, results, findings)}\n\n"
        f"**How sure.** {_sureness(report, results, findings)}\n"
    )


def _answer(report: Report, results: Results, findings: Sequence[Finding]) -> str:
    told = []
    if findings:
        counted = Counter(one.verdict.outcome for one in findings)
        words = [f"{counted[word]} {word}" for word in OUTCOMES if counted[word]]
        told = [f"of the paper's claims tested here, {join_words(words)}"]
    if report.experiments and report.kind.experiments == "one" and len(report.experiments) > 1:
        protocol = "class_incremental" if report.kind_name.startswith("ari-") else TOLD
        single = {label: name for label, name in report.single().items() if name in results.made}
        spreads = {label: results.spread(name, "acc", protocol) for label, name in single.items()}
        known = {label: one for label, one in spreads.items() if one["mean"] is not None}
        if len(known) > 1:
            ends = [pick(known, key=lambda label: known[label]["mean"]) for pick in (max, min)]
            high, low = (f"{end} ({format_value('acc', **known[end])} %)" for end in ends)
            how = "class-incremental" if protocol != TOLD else "task told"
            told.append(f"ACC is highest for {high} and lowest for {low}, {how}")
    text = "; ".join(told) or "what came out is in the picture and the tables; no claim of the paper is tested on it"
    return f"{text[0].upper()}{text[1:]}."


def _sureness(report: Report, results: Results, findings: Sequence[Finding]) -> str:
    tiers = dict.fromkeys(one.tier for one in findings if one.tier)
    made = [results.made[name] for name in (report.name, *report.all_experiments()) if name in results.made]
    told = [describe_setting(report, results), *(f"a tier of the paper's: {tier}" for tier in tiers)]
    if any(one.imported for one in made):
        told.append("means kept from older code")
    text = "; ".join(filter(None, told)) or "counted, not learnt, so there is nothing to vary"
    return f"{text[0].upper()}{text[1:]}."


def join_words(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _sections(text: str) -> list[tuple[str, str]]:
    """Title and body of each section; what stands before the first is the results."""
    rest = re.sub(r"^# .*\n", "", text, count=1)
    rest = re.sub(r"^!\[.*?\]\(.*?\)\n\n?", "", rest, flags=re.MULTILINE)
    first, *others = re.split(r"^## ", rest, flags=re.MULTILINE)
    result = [("Results", first.strip())] if first.strip() else []
    for other in others:
        title, _, body = other.partition("\n")
        result.append((title.strip(), body.strip()))
    return result
