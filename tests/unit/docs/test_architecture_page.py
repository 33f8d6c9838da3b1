"""The architecture page shows the current tree, and every name on it exists."""

from __future__ import annotations

import re

import pytest

from scripts.architecture_tree import FOLDERS, PAGE, ROOT, docstring, rewritten

TEXT = PAGE.read_text("utf-8")
FILES = [file for name in FOLDERS for file in sorted((ROOT / name).rglob("*.py")) if not file.is_symlink()]


def test_the_tree_is_the_one_that_the_code_has() -> None:
    assert rewritten(TEXT) == TEXT, "run `make docs-tree`"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_module_says_in_a_sentence_what_it_holds(file: object) -> None:
    sentence = docstring(ROOT / str(file))
    assert sentence.endswith((".", ":"))
    assert len(sentence) < 240


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:app|agents|routing|tests)/[\w/]+(?:\.py|/))`", TEXT))))
def test_what_the_page_points_to_exists(path: str) -> None:
    assert (ROOT / path).exists()


PATH = TEXT[TEXT.index("## A record's path") : TEXT.index("## The tree")]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z]\w+|\w+\(\))`", PATH))))
def test_what_a_record_meets_on_its_path_is_defined(name: str) -> None:
    definition = re.compile(rf"^(?:class|(?:async )?def) {name.removesuffix('()')}\b", re.MULTILINE)
    assert any(definition.search(file.read_text("utf-8")) for file in FILES)
