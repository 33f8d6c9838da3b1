"""Changes of files are noticed by their content, once they are written, and until they are accepted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metroline.app.local.file_watch import MAX_HASHED_BYTES, FileWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "services.py"
    made.write_text("one")
    return made


@pytest.fixture
def watch(file: Path) -> FileWatch:
    return FileWatch(file.parent.iterdir)


def test_a_change_is_returned_when_two_looks_find_it_and_until_it_is_accepted(watch: FileWatch, file: Path) -> None:
    assert watch.changed() == frozenset()
    file.write_text("two")
    assert watch.changed() == frozenset()
    assert watch.changed() == watch.changed() == {file}
    watch.accept()
    assert watch.changed() == frozenset()


def test_a_file_that_is_being_written_is_waited_for(watch: FileWatch, file: Path) -> None:
    for text in ("t", "tw", "two"):
        file.write_text(text)
        assert watch.changed() == frozenset()
    assert watch.changed() == {file}


def test_a_file_that_is_saved_as_it_was_has_not_changed(watch: FileWatch, file: Path) -> None:
    file.write_text("one")
    os.utime(file, (1, 1))
    assert [watch.changed() for _ in range(3)] == [frozenset()] * 3


def test_files_that_come_and_go_have_changed(watch: FileWatch, file: Path) -> None:
    other = file.with_name("prices.py")
    other.touch()
    watch.changed()
    assert watch.changed() == {other}
    other.unlink()
    file.unlink()
    watch.changed()
    assert watch.changed() == {file}


def test_refused_files_are_returned_again_only_after_another_change(watch: FileWatch, file: Path) -> None:
    file.write_text("wrong")
    watch.changed()
    assert watch.changed() == {file}
    watch.refuse()
    assert watch.changed() == frozenset()
    file.write_text("right")
    watch.changed()
    assert watch.changed() == {file}
    watch.refuse()
    file.write_text("one")
    assert [watch.changed() for _ in range(3)] == [frozenset()] * 3, "as it was accepted"


def test_files_that_are_not_trusted_are_all_returned_after_another_change(watch: FileWatch, file: Path) -> None:
    watch.changed()
    watch.distrust()
    assert watch.changed() == frozenset()
    file.with_name("other.py").touch()
    watch.changed()
    assert watch.changed() == {file, file.with_name("other.py")}


def test_a_large_file_has_changed_if_its_time_has(watch: FileWatch, file: Path) -> None:
    with file.open("wb") as large:
        large.truncate(MAX_HASHED_BYTES + 1)
    watch.changed()
    assert watch.changed() == {file}
    watch.accept()
    os.utime(file, (1, 1))
    assert watch.has_moved_on()
    watch.changed()
    assert watch.changed() == {file}
