"""The pages of the documentation and their fenced code blocks.

A block may be marked behind its language, in a form that GitHub and MkDocs both understand:

    ```python title="shop/services.py"    a file, written to that path before any command of the page runs
    ```sh {.run}                          commands that must succeed
    ```sh {.until}                        a command that is repeated until it succeeds and prints what is shown
    ```sh {.start}                        a command that runs until the end of the page
    ```text {.output}                     lines that the block before it prints, in this order; `…` stands for any text
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.project import ROOT

FENCE = re.compile(r"^```(?P<language>\w*)[ ]*(?P<info>[^\n`]*)\n(?P<text>.*?)^```[ ]*$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r'title="([^"]+)"')
MARK = re.compile(r"\{\s*\.(\w+)\s*\}")
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    language: str
    info: str
    """The text after the language in the opening fence."""
    text: str
    line: int
    """The line of the page on which the block begins."""

    @property
    def file(self) -> str | None:
        """Return the path of the file that the block shows, if it shows one."""
        found = TITLE.search(self.info)
        return found and found[1]

    @property
    def mark(self) -> str | None:
        """Return `run`, `until`, `start` or `output`, or None for a block that is only shown."""
        found = MARK.search(self.info)
        return found and found[1]


@dataclass(frozen=True, slots=True)
class Page:
    """A page in Markdown."""

    path: Path

    @property
    def name(self) -> str:
        """Return the path from the root of the project."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def blocks(self) -> list[Block]:
        """Return the fenced blocks in the order of the page."""
        return [
            Block(found["language"], found["info"].strip(), found["text"], self.text.count("\n", 0, found.start()) + 1)
            for found in FENCE.finditer(self.text)
        ]

    @property
    def prose(self) -> str:
        """Return the page without its fenced blocks."""
        return FENCE.sub("", self.text)

    @property
    def links(self) -> list[tuple[str, str]]:
        """Return the path and the anchor of every relative link; either may be empty."""
        return LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """Return the anchors of the headings, as MkDocs and GitHub derive them."""
        return {_anchor(heading) for heading in HEADING.findall(self.prose)}


def _anchor(heading: str) -> str:
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


README = Page(ROOT / "README.md")
PAGES = [README, *map(Page, sorted((ROOT / "docs").glob("*.md")))]


def page(name: str) -> Page:
    """Return the page with this path below docs/."""
    return Page(ROOT / "docs" / name)
