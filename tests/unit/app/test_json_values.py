"""JSON files of every shape that tools write: lines, one array, objects over several lines."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.app.inputs.json_values import json_values
from metroline.app.inputs.row_files import RowFile, UnreadableRecords
from metroline.app.inputs.source_records import records_in
from tests.support.worlds import examples

json_objects = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(alphabet='a",[]{}\\\n ä', max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)


class Drips(io.BytesIO):
    """A file that never returns more than some bytes at once, as a pipe does."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7 if size is None or size < 0 else min(size, 7))


def read(text: str | bytes) -> list[tuple[int, bytes]]:
    raw = text.encode() if isinstance(text, str) else text
    whole, dripping = (list(json_values(RowFile("a.json", io.BytesIO(), content, "json"))) for content in streams(raw))
    assert whole == dripping
    return whole


def streams(raw: bytes) -> tuple[io.BytesIO, io.BytesIO]:
    return io.BytesIO(raw), Drips(raw)


def refused(text: str) -> str:
    with pytest.raises(UnreadableRecords) as caught:
        read(text)
    return str(caught.value)


def test_lines_are_yielded_as_they_are_also_those_that_are_no_json() -> None:
    assert read('\ufeff{"n": 1}\r\n\n  \n[1, 2]\nitem;price\n{"n":2}') == [
        (1, b'{"n": 1}'),
        (4, b"[1, 2]"),
        (5, b"item;price"),
        (6, b'{"n":2}'),
    ]


def test_the_elements_of_an_array_are_records() -> None:
    assert read('[\n  {"n": 1},\n  {"n":\n   2}\n]\n') == [(2, b'{"n": 1}'), (3, b'{"n":    2}')]
    assert read('[{"n": 1}, {"n": "a]}\\""}]') == [(1, b'{"n": 1}'), (1, b'{"n": "a]}\\""}')]
    assert read('\n[{"n": 12345678901234567890123},\n "x", 7, [1, {"a": 2}]]') == [
        (2, b'{"n": 12345678901234567890123}'),
        (3, b'"x"'),
        (3, b"7"),
        (3, b'[1, {"a": 2}]'),
    ]
    assert read("[]") == read("[\n]\n") == read("") == read(" \n") == []


def test_objects_over_several_lines_are_records() -> None:
    one = '{\n  "n": 1,\n  "lines": [{"sku": "a"}]\n}\n'
    assert read(one) == [(1, b'{   "n": 1,   "lines": [{"sku": "a"}] }')]
    assert [number for number, _ in read(one * 2 + '{"n": 3}\n')] == [1, 5, 9]


def test_a_list_as_the_first_of_several_lines_is_a_line() -> None:
    assert read('[{"n": 1}]\n{"n": 2}\n') == [(1, b'[{"n": 1}]'), (2, b'{"n": 2}')]


def test_a_broken_first_line_does_not_swallow_the_lines_behind_it() -> None:
    for broken in ('{"n": 1', '{"n": "a}', "[1, 2", "{broken}", '{"n": 1}}'):
        assert read(f'{broken}\n{{"n": 2}}\n') == [(1, broken.encode()), (2, b'{"n": 2}')]


def test_a_file_that_does_not_end_as_it_began_names_the_line() -> None:
    assert refused('[\n{"n": 1},\n') == "a.json:3: the file ends within the array that begins in line 1"
    assert refused('[\n{"n": 1},\n{"n": ') == "a.json:3: the file ends within the value that begins here"
    assert refused('[\n{"n": 1},\n]') == "a.json:3: there is a comma before the end of the array"
    assert refused('[\n{"n": 1}\n]\n{"n": 2}') == "a.json:4: there is more behind the end of the array"
    assert refused('[\n{"n": 1},\n{"n": 1}\n{"n": 2}]').startswith("a.json:4: not valid JSON: ")
    assert refused('{\n"n": 1\n}\n"x"') == "a.json:4: a JSON object or array should begin here"


def test_a_bracket_alone_in_the_first_line_begins_an_array_or_an_object_also_if_it_is_broken() -> None:
    assert refused('[\n{"n": 1,}\n]').startswith("a.json:2: not valid JSON: ")
    assert refused('{\n  "n": 1,\n}\n').startswith("a.json:1: not valid JSON: ")
    assert read("[\n  1,\n  2\n]\n") == [(2, b"1"), (3, b"2")]


@given(st.lists(json_objects, min_size=1, max_size=4))
@examples(40)
def test_every_way_of_writing_the_same_objects_reads_the_same(objects: list[dict[str, object]]) -> None:
    indented = [orjson.dumps(one, option=orjson.OPT_INDENT_2) for one in objects]
    lines = b"\n".join(map(orjson.dumps, objects))
    for text in (lines, b"\n".join(indented), orjson.dumps(objects), orjson.dumps(objects, option=orjson.OPT_INDENT_2)):
        assert [orjson.loads(value) for _, value in read(text)] == objects
        assert not any(b"\n" in value for _, value in read(text))


def test_a_large_array_is_read_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    file.write_bytes(orjson.dumps([{"n": n, "text": "[,]" * 100} for n in range(3_000)]))
    found = [orjson.loads(record)["n"] for _, record in records_in(file)]
    assert found == list(range(3_000))
