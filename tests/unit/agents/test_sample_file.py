"""A line's records.jsonl is repeated for as many records as are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.agents.services.line import Line
from metroline.routing.errors import InvalidLine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "services.py").write_text("from metroline import service\n@service\ndef a(record): return record\n")
    (tmp_path / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "a"\n')
    return tmp_path


def test_the_records_of_the_file_are_repeated(folder: Path) -> None:
    (folder / "records.jsonl").write_bytes(b'{"n": 1}\r\n\n{"n": 2}')
    assert list(Line.load(str(folder)).records(5)) == [b'{"n": 1}', b'{"n": 2}'] * 2 + [b'{"n": 1}']


def test_records_of_python_come_first(folder: Path) -> None:
    (folder / "records.jsonl").write_text("{}\n")
    (folder / "records.py").write_text("def records(count, seed):\n    yield {'seed': seed}\n")
    assert list(Line.load(str(folder)).records(1, 7)) == [{"seed": 7}]


def test_a_file_without_records_is_refused(folder: Path) -> None:
    (folder / "records.jsonl").write_text("\n \n")
    with pytest.raises(InvalidLine, match=r"records.jsonl has no records: write a JSON object into each line"):
        Line.load(str(folder)).records(1)
