"""Builds the site from the pages where they lie: the front page, docs and reports, with the files that they link to."""

from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
SHOWN = ("*.md", "LICENSE", "params.yaml", "docs/*.md", "docs/*.svg", "docs/how-to/*.md", "reports/*.md", "reports/*/*.*")


def on_files(files: Files, config: dict) -> Files:
    for path in sorted(path for pattern in SHOWN for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config["site_dir"], config["use_directory_urls"]))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """What is folded is Markdown too."""
    return markdown.replace("<details>", '<details markdown="1">')
