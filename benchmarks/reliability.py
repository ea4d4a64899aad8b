"""How the pipeline stands up to kills, damage and hostile input, in counts.

python benchmarks/reliability.py [--kills 100] [--flips 1000] [--output reports/reliability.md]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.damage import flip_bytes  # noqa: E402
from support.fire import RECEIPT, TARGET, VICTIMS, differences, disturb  # noqa: E402
from support.project import Project  # noqa: E402

from lifelong.reports.markdown import machine, table  # noqa: E402
from lifelong.runtime.artifacts import write_text  # noqa: E402

TESTED = {
    "Hostile and broken input": ["tests/params", "tests/data/test_folder.py", "tests/data/test_outside.py"],
    "Packets that are no packets": ["tests/methods/test_skill_packets.py"],
    "Files that cannot be read": ["tests/runtime/test_artifacts.py"],
    "What the system refuses": ["tests/runtime/test_errors.py"],
    "Edges of methods": ["tests/methods/test_edges.py"],
}
"""What is counted as tests that pass, by what they are about."""


@click.command()
@click.option("--kills", default=100, show_default=True, help="Kills that must hit a running workflow.")
@click.option("--flips", default=1000, show_default=True, help="Bits that are flipped, one at a time.")
@click.option("--output", type=click.Path(path_type=Path), default=ROOT / "reports/reliability.md", show_default=True)
def main(kills: int, flips: int, output: Path) -> None:
    """Run all of it and write the page."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        whole, project = Project(Path(one)), Project(Path(two))
        whole.snakemake(TARGET, RECEIPT)
        hit = disturb(project, kills, seed=0, longest=12)
        wrong = differences(project, whole.digests())
        caught = flip_bytes(whole.folder, flips, random.Random(0))
    rows = [
        [f"kill -9 of the {victim}", str(hit[victim]), "survived" if not wrong else "not survived"] for victim in VICTIMS
    ]
    parts = [
        "# Reliability\n",
        f"{sum(hit[victim] for victim in VICTIMS)} kills, then one undisturbed end: "
        f"{len(wrong)} of the results differ from those of an undisturbed run. {hit['orphans']} processes outlived their "
        "Snakemake by over two seconds.\n",
        table(["What was killed", "Kills", "Same bytes in the end"], rows),
        f"\n{flips} flipped bits, one at a time, in files of a finished run: {caught['refused']} refused when read, "
        f"{caught['same']} changed nothing that is read (the padding of a header), {caught['wrong']} were used.\n",
        table(["File", "Refused", "Changed nothing"], by_kind(caught)),
        "\nTests that pass, by what they are about:\n",
        table(["About", "Cases"], [[about, str(count_passes(paths))] for about, paths in TESTED.items()]),
        f"\nMachine: {machine()}. Made by `python benchmarks/reliability.py --kills {kills} --flips {flips}`.\n",
    ]
    write_text(output, "\n".join(parts))
    click.echo(f"{output}: {sum(hit[victim] for victim in VICTIMS)} kills, {len(wrong)} results differ; {dict(caught)}")
    raise SystemExit(bool(wrong or caught["wrong"]))


def by_kind(caught: Counter[str]) -> list[list[str]]:
    kinds = sorted({key.partition(" ")[2] for key in caught if " " in key})
    return [[kind, str(caught[f"refused {kind}"]), str(caught[f"same {kind}"])] for kind in kinds]


def count_passes(paths: list[str]) -> int:
    """Cases that pass in the test files there are."""
    there = [path for path in paths if (ROOT / path).exists()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cases.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "not workflow", f"--junitxml={file}", *there],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        suite = ElementTree.parse(file).getroot().find("testsuite")
        assert suite is not None
        return int(suite.attrib["tests"]) - int(suite.attrib["skipped"])


if __name__ == "__main__":
    main()
