"""Services that read some fields: their changes are in the record afterwards, and all other fields are unchanged."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metroline.routing.errors import MalformedRecord
from metroline.routing.records.service_view import PartialDecode, SelectedFields, ServiceView, WholeRecord
from tests.support.worlds import examples

Record = dict[str, Any]

names = st.sampled_from(["a", "b", "c", "d", "e/f", "\u00e9", ""])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-2, 2)
    | st.sampled_from(["", "a", '"a":', "\\", "\u00e9"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
records = st.dictionaries(names, values, max_size=5)
some = st.frozensets(names, max_size=3)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("set"), names, values),
        st.tuples(st.just("take out"), names, st.none()),
        st.tuples(st.just("change inside"), names, values),
        st.tuples(st.just("same again"), names, st.none()),
    ),
    max_size=4,
)
writings: list[Callable[[Record], str]] = [
    lambda record: json.dumps(record, separators=(",", ":"), ensure_ascii=False),
    lambda record: json.dumps(record).replace("/", "\\/"),
    lambda record: json.dumps(record, indent=1).replace("\n", " ") + " ",
    lambda record: json.dumps(record, separators=(",", ":")).replace("}", " }").replace('"a":', '"\\u0061":'),
]


def changed(record: Record, what: list[tuple[str, str, Any]]) -> Record:
    """Apply these changes to the record in place, and return it."""
    for kind, name, value in what:
        inside = record.get(name)
        if kind == "set":
            record[name] = copy.deepcopy(value)
        elif kind == "take out":
            record.pop(name, None)
        elif kind == "same again" and name in record:
            record[name] = json.loads(json.dumps(record[name]))
        elif kind == "change inside" and isinstance(inside, list):
            inside.append(value)
        elif kind == "change inside" and isinstance(inside, dict):
            inside["new"] = value
    return record


def exact(record: Any) -> str:
    """Return a text that distinguishes 1, 1.0 and true."""
    return json.dumps(record, sort_keys=True)


@given(st.lists(records, min_size=1, max_size=3), some, some, changes, st.sampled_from(writings))
@example([{"a": 1}], frozenset("a"), frozenset(), [("set", "a", 1.0)], writings[0])
@example([{"a": 1}], frozenset("a"), frozenset(), [("set", "a", True)], writings[0])
@examples(300)
def test_what_a_service_made_is_laid_over_the_record(
    those: list[Record], reads: frozenset[str], beside: frozenset[str], what: list[tuple[str, str, Any]], write: Any
) -> None:
    excerpt = PartialDecode(reads, beside)
    for _ in range(2):
        lines = [write(record).encode() for record in those]
        for line, (known, handed) in zip(lines, excerpt.open_all(lines), strict=True):
            came = json.loads(line)
            assert exact(handed) == exact({name: came[name] for name in came if name in reads})
            was = handed.keys() & came.keys()
            result = changed(handed, what)
            wanted = {name: value for name, value in came.items() if name not in was - result.keys()} | result
            new = excerpt.close(line, known, result)
            assert exact(orjson.loads(new)) == exact(json.loads(new)) == exact(wanted)
            assert len(json.loads(new, object_pairs_hook=list)) == len(wanted)
            left = excerpt.left(known, result)
            assert exact([left.get(name) for name in sorted(beside)]) == exact(
                [wanted.get(name) for name in sorted(beside)]
            )
        excerpt = excerpt.grown()


@given(records, some, changes)
@examples(200)
def test_it_is_the_same_where_a_rule_asks_for_the_whole_record(
    record: Record, reads: frozenset[str], what: list[tuple[str, str, Any]]
) -> None:
    line = orjson.dumps(record)
    made = []
    for handling in (SelectedFields(reads), PartialDecode(reads, frozenset())):
        known, handed = handling.open(line)
        result = changed(handed, what)
        made.append(exact(orjson.loads(handling.close(line, known, result))))
    assert made[0] == made[1]


def test_a_line_to_which_a_field_is_added_is_not_written_anew() -> None:
    excerpt = PartialDecode(frozenset("a"), frozenset())
    line = b'{"z":1.50,"a":1}'
    made = []
    for _ in range(2):
        known, handed = excerpt.open(line)
        made.append(excerpt.close(line, known, handed | {"b": 2}))
        excerpt = excerpt.grown()
    assert made == [b'{"z":1.5,"a":1,"b":2}', b'{"z":1.50,"a":1,"b":2}']


def test_a_record_that_is_not_changed_travels_on_as_it_came() -> None:
    excerpt = PartialDecode(frozenset("a"), frozenset("b"))
    line = b'{ "z" : 1.50, "a" : 1, "b" : [] }'
    known, handed = excerpt.open(line)
    assert (handed, excerpt.close(line, known, handed)) == ({"a": 1}, line)


@pytest.mark.parametrize(
    "handling", [WholeRecord(), SelectedFields(frozenset("a")), PartialDecode(frozenset("a"), frozenset())]
)
@pytest.mark.parametrize("line", [b"", b"[]", b"1", b'{"a":1', b'{"z":"\xff"}', b'{"a":1}{}'])
def test_a_line_that_is_no_record_is_told(handling: ServiceView, line: bytes) -> None:
    with pytest.raises(MalformedRecord):
        handling.open(line)
    with pytest.raises(MalformedRecord):
        handling.open_all([b"{}", line])


def test_what_json_cannot_hold_is_told() -> None:
    for handling in (WholeRecord(), SelectedFields(frozenset()), PartialDecode(frozenset(), frozenset("b"))):
        known, handed = handling.open(b'{"a":1}')
        with pytest.raises(TypeError):
            handling.close(b'{"a":1}', known, handed | {"b": object()})
