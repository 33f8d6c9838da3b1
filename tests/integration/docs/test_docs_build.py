"""The documentation builds without a warning, and a built page loads nothing from another host."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
LOADS = {"src", "srcset", "data", "poster"}
"""Attributes whose address a browser loads; `href` is one of them only on `link`."""
LINKS_THAT_LOAD = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "manifest",
    "modulepreload",
}
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\"')\s]+")
ELSEWHERE = re.compile(r"(?:https?:)?//")


class Loaded(HTMLParser):
    """Collects the addresses that a browser loads when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.classes.update(values.get("class", "").split())
        self.addresses += [value for name, value in values.items() if name in LOADS]
        if tag == "link" and set(values.get("rel", "").split()) & LINKS_THAT_LOAD:
            self.addresses.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation as `make docs` does: in strict mode, in which a broken link is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def pages(site: Path) -> Iterator[tuple[Path, Loaded]]:
    for file in site.rglob("*.html"):
        page = Loaded()
        page.feed(file.read_text("utf-8"))
        yield file, page


def test_every_page_of_docs_is_in_the_site(site: Path) -> None:
    for page in (PROJECT / "docs").glob("*.md"):
        built = site / ("index.html" if page.stem == "index" else f"{page.stem}/index.html")
        assert built.is_file(), page


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    found = dict(pages(site))
    assert any(page.addresses for page in found.values())
    for file, page in found.items():
        assert not [address for address in page.addresses if ELSEWHERE.match(address)], file
        assert "mermaid" not in page.classes, f"{file}: Material loads the library for diagrams from elsewhere"


def test_no_style_sheet_loads_anything_from_another_host(site: Path) -> None:
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in [*sheets, *site.rglob("*.html")]:
        assert not IN_STYLES.search(sheet.read_text("utf-8")), sheet


def test_the_search_needs_no_other_host(site: Path) -> None:
    assert (site / "search" / "search_index.json").is_file()
    assert not [file for file in site.rglob("*.html") if "unpkg.com" in file.read_text("utf-8")]
