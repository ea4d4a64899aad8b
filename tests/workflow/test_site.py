"""`make site`: every link and picture of the site is there, no page asks for anything elsewhere, and a phone can show it."""

from __future__ import annotations

import html
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
from support.project import ROOT

MKDOCS, CHROMIUM = shutil.which("mkdocs"), shutil.which("chromium") or shutil.which("google-chrome")
NARROW = 400  # pixels

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(MKDOCS is None, reason="mkdocs is not installed; `make site` installs it"),
]
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [str(MKDOCS), "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Links(HTMLParser):
    """What a page leads to, what it needs, and the places in it that can be led to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.leads: list[str] = []
        self.needs: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.places |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])
        if tag in ("img", "script") and "src" in given:
            self.needs.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon"):
            self.needs.append(given["href"])


def test_no_link_is_broken_and_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = {path: Links(path) for path in site.rglob("*.html") if path.name != "404.html"}
    broken, foreign = [], []
    for path, links in pages.items():
        base = f"/{path.relative_to(site).as_posix()}"
        foreign += [f"{base}: {one}" for one in links.needs if urlparse(one).netloc]
        for one in [*links.leads, *links.needs]:
            if urlparse(one).scheme or urlparse(one).netloc:
                continue
            where, place = urldefrag(urljoin(base, one))
            target = site / unquote(where).lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (place and target in pages and unquote(place) not in pages[target].places):
                broken.append(f"{base}: {one}")
    assert len(pages) > 70
    assert (broken, foreign) == ([], [])


@browser
def test_a_browser_shows_the_pages_without_errors(address: str) -> None:
    for page in ("/", "/reports/findings/", "/reports/anpyc/", "/reports/skill/skill-19/", "/docs/glossary/"):
        dom, errors = open_page(f"{address}{page}")
        assert errors == []
        assert "<h1" in dom and 'id="__search"' in dom


@browser
def test_a_phone_shows_a_page_whole_and_large_enough(site: Path, address: str) -> None:
    pages = ["/", "/reports/findings/", "/reports/anpyc/", "/reports/ari/figure-4/", "/reports/anpyc/table-1-fair/"]
    for page in pages:
        (site / "phone.html").write_text(PHONE.format(page=page, narrow=NARROW))
        dom, _ = open_page(f"{address}/phone.html")
        found = re.search(r"<title>(\{.*?\})</title>", dom)
        assert found is not None
        measured = json.loads(html.unescape(found[1]))
        assert measured["width"] <= NARROW, page
        assert measured["letters"] >= 14 and measured["pictures"] <= NARROW, page


PHONE = """<title>nothing</title>
<iframe id="phone" src="{page}" style="width: {narrow}px; height: 900px; border: 0"></iframe>
<script>
document.getElementById("phone").onload = event => {{
  const page = event.target.contentDocument, text = page.querySelector("article p");
  document.title = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    letters: parseFloat(page.defaultView.getComputedStyle(text).fontSize),
    pictures: Math.max(0, ...[...page.images].map(image => image.getBoundingClientRect().width)),
  }});
}};
</script>
"""


def open_page(address: str) -> tuple[str, list[str]]:
    """A page as it stands once its scripts have run, and what the browser's console had to say of errors."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=4000", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line and "rror" in line]
