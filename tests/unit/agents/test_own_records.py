"""Errors in the records that a line's own code makes are said in one line, with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.agents.services.line import Line
from metroline.app.inputs.source_records import records_of
from metroline.routing.errors import InvalidLine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "services.py").write_text("from metroline import service\n@service\ndef a(record): return record\n")
    (tmp_path / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "a"\n')
    return tmp_path


def line(folder: Path, *code: str) -> Line:
    (folder / "records.py").write_text("\n".join(["def records(count, seed):", *(f"    {one}" for one in code), ""]))
    return Line.load(str(folder))


def test_an_exception_at_the_first_record_names_its_place(folder: Path) -> None:
    made = line(folder, "import not_installed", "yield {}").records(1)
    with pytest.raises(InvalidLine) as raised:
        next(made)
    told = "ModuleNotFoundError: No module named 'not_installed' (records.py:2)"
    assert str(raised.value) == f"the records of the line {folder.name!r}: {told}"


def test_an_exception_of_a_function_that_returns_a_list_comes_at_once(folder: Path) -> None:
    with pytest.raises(InvalidLine, match=r": ZeroDivisionError: .* \(records\.py:2\)$"):
        line(folder, "return [{'n': 1 / 0}]").records(1)


def test_what_is_no_list_of_records_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidLine, match=r": TypeError: 'NoneType' object is not iterable$"):
        line(folder, "return None").records(1)
    made = line(folder, "yield {}", "yield '{}'").records(2)
    assert next(made) == {}
    with pytest.raises(InvalidLine, match=r"record 2 is of the type str: yield a dict, or bytes$"):
        next(made)


def test_records_before_an_exception_come_in(folder: Path) -> None:
    made = line(folder, "yield {'n': 1}", "yield b'{}'", "raise ValueError('no more')").records(3)
    assert [next(made), next(made)] == [{"n": 1}, b"{}"]
    with pytest.raises(InvalidLine, match=r": ValueError: no more \(records\.py:4\)$"):
        next(made)


def test_an_error_of_metroline_is_raised_as_it_is(folder: Path) -> None:
    code = ("from metroline.routing.errors import InvalidLine", "raise InvalidLine('ask for fewer')", "yield")
    with pytest.raises(InvalidLine, match=r"^ask for fewer$"):
        next(line(folder, *code).records(1))


def test_a_value_that_is_no_json_is_refused(folder: Path) -> None:
    made = records_of("2", line(folder, "yield {}", "yield {'n': {1, 2}}"), seed=1)
    assert next(made) == b"{}"
    with pytest.raises(InvalidLine, match=r": record 2 does not fit into JSON: Type is not JSON serializable: set$"):
        next(made)
