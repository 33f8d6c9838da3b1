"""Writes the tree in docs/ARCHITECTURE.md from the docstrings of packages and modules: `make docs-tree`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
FOLDERS = ("routing", "agents", "app", "metroline")
SECTION = re.compile(r"(?<=\n## The tree\n).*?(?=\n## )", re.DOTALL)


def docstring(file: Path) -> str:
    """Return the first paragraph of a module's docstring on one line."""
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def tree() -> str:
    """Return the section: for each folder, its rule and its files with their contents."""
    return "\n" + "\n".join(line for name in FOLDERS for line in _folder(ROOT / name, 3))


def rewritten(page: str) -> str:
    """Return the page with the section that the code generates."""
    return SECTION.sub(lambda _: tree(), page)


def _folder(folder: Path, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{folder.relative_to(ROOT)}/`"
    yield ""
    yield f"**Rule:** {docstring(folder / '__init__.py')}"
    yield ""
    files = [file for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"]
    if files:
        yield "| file | contents |"
        yield "| --- | --- |"
        yield from (f"| `{file.name}` | {_cell(docstring(file))} |" for file in files)
        yield ""
    for inner in sorted(folder.iterdir()):
        if not inner.is_symlink() and (inner / "__init__.py").is_file():
            yield from _folder(inner, level + 1)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")
