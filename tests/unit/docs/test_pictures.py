"""Every page of the control room has a picture in the documentation; every picture is there, small, and described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metroline.app.views.page import LINKS
from scripts.screenshots import FOLDER, MOST_BYTES, PICTURES, file_names
from tests.support.pages import PAGES

IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<path>[^)\s]+)\)")
SHOWN = [
    ((page.path.parent / found["path"]).resolve(), found["text"])
    for page in PAGES
    for found in IMAGE.finditer(page.prose)
]


def test_the_pages_show_the_pictures_that_make_screenshots_takes() -> None:
    assert {file for file, _ in SHOWN} == {FOLDER / name for name in file_names()}
    assert {file.name for file in FOLDER.iterdir()} == set(file_names())


@pytest.mark.parametrize("path", LINKS)
def test_every_page_of_the_control_room_has_a_picture(path: str) -> None:
    assert path in {picture.path for picture in PICTURES.values()}


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_a_picture_is_small(file: Path) -> None:
    assert file.stat().st_size <= MOST_BYTES
    assert file.read_bytes()[8:12] == b"WEBP"


@pytest.mark.parametrize(("file", "text"), SHOWN, ids=lambda value: getattr(value, "name", ""))
def test_a_picture_is_described_in_a_sentence_for_those_who_do_not_see_it(file: Path, text: str) -> None:
    assert len(text) >= 40
    assert "\n" not in text
    assert not [other for path, other in SHOWN if other == text and path != file], "no two pictures show the same"
