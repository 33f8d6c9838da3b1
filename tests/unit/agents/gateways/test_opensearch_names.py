"""Names of indices, times of records, and the files and options from which an end in OpenSearch is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from metroline.agents.gateways.opensearch.bulk import Document, body_of, chunks, items_of
from metroline.agents.gateways.opensearch.end import OpenSearchEnd, milliseconds
from metroline.agents.gateways.opensearch.index_pattern import IndexPattern, InvalidPattern, NoSuchTime
from metroline.agents.gateways.opensearch.index_template import IndexTemplate, InvalidTemplate
from metroline.agents.services.line_options import LineOptions
from metroline.routing.errors import InvalidLineOptions

NEW_YEAR = 1_735_689_600_000
"""2025-01-01T00:00:00Z, in milliseconds since the epoch; in ISO 8601 a day of the first week of 2025."""

OPTIONS = """\
[ends.search]
kind = "opensearch"
index = "orders-%Y"
template = "orders.json"
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("orders", "orders"),
        ("orders-%Y.%m.%d", "orders-2025.01.01"),
        ("orders-%Y-%j-%H", "orders-2025-001-00"),
        ("orders-%G-w%V", "orders-2025-w01"),
        (".hidden-%Y", ".hidden-2025"),
    ],
)
def test_an_index_has_the_time_of_its_records_in_utc(text: str, name: str) -> None:
    assert IndexPattern(text).name(NEW_YEAR) == name


def test_a_time_changes_the_index_at_the_very_millisecond() -> None:
    pattern = IndexPattern("orders-%Y")

    assert [pattern.name(NEW_YEAR - 1), pattern.name(NEW_YEAR), pattern.name(-1)] == [
        "orders-2024",
        "orders-2025",
        "orders-1969",
    ]
    assert pattern.name(-62_135_596_800_000) == "orders-0001"
    with pytest.raises(NoSuchTime):
        pattern.name(10**18)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("orders-%Q", "%Q is no part of a time"),
        ("orders-%M", "%M is no part of a time"),
        ("orders%", "% is no part of a time"),
        ("Orders", "'O' is not allowed"),
        ("orders 1", "' ' is not allowed"),
        ("a/b", "'/' is not allowed"),
        ("_orders", "begins with none of - _ +"),
        ("..", "begins with none of"),
        ("a" * 256, "at most 255 bytes"),
    ],
)
def test_a_pattern_that_names_no_index_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidPattern, match=problem):
        IndexPattern(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-01-01", NEW_YEAR),
        ("2025-01-01T00:00:00Z", NEW_YEAR),
        ("2025-01-01T02:00:00.5+02:00", NEW_YEAR + 500),
        ("2025-01-01T00:00:00", NEW_YEAR),
        (NEW_YEAR, NEW_YEAR),
        (NEW_YEAR + 0.5, NEW_YEAR),
        ("soon", None),
        (True, None),
        (None, None),
        ([NEW_YEAR], None),
        (float("inf"), None),
    ],
)
def test_times_are_read_as_opensearch_reads_them(value: Any, expected: int | None) -> None:
    assert milliseconds(value) == expected


def test_a_body_has_two_lines_for_each_document() -> None:
    documents = [Document("o", 'a"b', b'{"n":1}'), Document("o", "c", b"{}", version=7)]

    assert body_of(documents) == (
        b'{"index":{"_index":"o","_id":"a\\"b"}}\n{"n":1}\n'
        b'{"index":{"_index":"o","_id":"c","version":7,"version_type":"external_gte"}}\n{}\n'
    )


def test_documents_are_divided_in_order_and_none_is_lost() -> None:
    documents = [Document("o", str(n), b"x" * n) for n in range(1, 8)]

    parts = list(chunks(documents, 10))

    assert [one for part in parts for one in part] == documents
    assert [sum(len(one.source) for one in part) for part in parts] == [10, 5, 6, 7]
    assert list(chunks([])) == []


@pytest.mark.parametrize("answer", [{}, {"errors": True}, {"errors": True, "items": [{}, {}]}, {"items": [1, 2]}])
def test_an_answer_that_does_not_say_what_became_of_the_documents_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="what became of each document"):
        items_of(answer, 2)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", "{", "a.json:1:2: it is no JSON"),
        ("a.json", "[]", 'an index template is an object with "index_patterns"'),
        ("a.json", '{"index_patterns": [], "version": "1"}', '"version" must be a whole number'),
        ("A.json", "{}", "a template is named as its file"),
        ("a.json", None, "a.json: it cannot be read"),
    ],
)
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, name: str, text: str | None, problem: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidTemplate) as refused:
        IndexTemplate.read(tmp_path / name)
    assert problem in str(refused.value)


def test_the_template_is_beside_the_options_of_the_line(tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text(OPTIONS)
    (tmp_path / "orders.json").write_text('{"index_patterns": ["orders-*"]}')

    end = LineOptions.read(tmp_path, frozenset()).outside["search"]

    assert isinstance(end, OpenSearchEnd)
    assert end.template == IndexTemplate("orders", {"index_patterns": ["orders-*"]})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('index = "Orders"', "3: ends.search.index: an index cannot be named 'Orders'"),
        ('template = "none.json"', "none.json: it cannot be read (No such file or directory)"),
        ("template = 7", "3: ends.search.template: must be the name of a JSON file beside line.toml"),
        ('url = "search:9200"', "3: ends.search.url: write http://host:port"),
        ('id = ""', "3: ends.search.id: is empty"),
        ('topic = "orders"', "3: ends.search.topic: unknown key"),
    ],
)
def test_options_that_are_wrong_are_named_with_their_line(tmp_path: Path, line: str, problem: str) -> None:
    index = "" if line.startswith("index") else 'index = "orders"\n'
    (tmp_path / "line.toml").write_text(f'[ends.search]\nkind = "opensearch"\n{line}\n{index}')

    with pytest.raises(InvalidLineOptions) as refused:
        LineOptions.read(tmp_path, frozenset())

    [told] = refused.value.problems
    assert problem in told


def test_an_end_needs_an_index() -> None:
    with pytest.raises(ValidationError, match="index"):
        OpenSearchEnd.model_validate({"kind": "opensearch"})
