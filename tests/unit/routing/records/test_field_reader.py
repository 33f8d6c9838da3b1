"""Partial decoding: a field read from a record's line has the value that decoding the whole line would return."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import MalformedRecord
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.records.source_messages import read_message
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import Sketch, examples, table

NAMES = ["a", "b", "", "x y", 'q"', "back\\slash", "new\nline", "é", "\U0001f600", "a.b"]
names = st.one_of(st.sampled_from(NAMES), st.text())
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(names, values, max_size=6), st.frozensets(names, max_size=4), st.booleans())
@examples(400)
def test_the_fields_that_are_read_are_those_of_the_whole_record(
    record: dict[str, Any], reads: frozenset[str], plain: bool
) -> None:
    text = json.dumps(record, ensure_ascii=plain)
    for line in read_message(text.encode()):
        assert line.record is not None
        wanted = {name: value for name, value in line.record.items() if name in reads}
        found = FieldReader(reads).read(line.line)
        assert found == wanted
        assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)
        assert FieldReader(None).read(line.line) == line.record


@pytest.mark.parametrize(
    "value",
    [
        *("-0", "-0.0", "1E5", "1e-400", "5e-324", "1e22", "1.7976931348623157e308", "true", '"\\u0061"'),
        *("18446744073709551615", "-9223372036854775808", "18446744073709551616.0", "9007199254740993.0"),
        "0.10000000000000000555111512312578270",
    ],
)
def test_a_number_is_read_as_it_is_read_everywhere_else(value: str) -> None:
    line = f'{{"b": [1], "\\u0061": {value}}}'.encode()
    assert repr(FieldReader(frozenset("a")).read(line)["a"]) == repr(orjson.loads(line)["a"])


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    assert FieldReader(frozenset("a")).read(b'{"a":1,"a":2}') == {"a": 2}


@pytest.mark.parametrize("reads", [frozenset("a"), None, frozenset(['"'])])
@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'{"a":1}x', b'{"a":nul}', b'{"a":"\xff"}', b'{"raw"'])
def test_a_line_that_is_no_record_is_malformed_and_keeps_its_bytes(line: bytes, reads: frozenset[str] | None) -> None:
    with pytest.raises(MalformedRecord, match=r"^(the line is )?not (a record|valid JSON|a JSON object)") as caught:
        FieldReader(reads).read(line)
    assert caught.value.raw == line


@pytest.mark.parametrize("name", ['say "a"', "back\\slash", "new\nline", "nul\x00", "'", "\u2028", "type", ""])
def test_a_rule_may_read_a_field_of_any_name(name: str) -> None:
    quoted = json.dumps(name, ensure_ascii=False)
    condition = json.dumps(f"record[{quoted}] == 1", ensure_ascii=False)
    rules_table = RulesTable.parse(
        f'[[rules]]\nafter = "source"\nmatch = {{ {quoted} = 1 }}\nto = "s0"\n'
        f'[[rules]]\nafter = "s0"\nwhen = {condition}\nto = "s1"\n'
    )
    record = rules_table.reader.read(orjson.dumps({"other": 2, name: 1}))
    assert record == {name: 1}
    assert (rules_table.decide("source", record).stop, rules_table.decide("s0", record).stop) == ("s0", "s1")


def test_a_table_that_looks_at_nothing_reads_nothing() -> None:
    rules = (Sketch("all", "source", to="s0"), Sketch("ones", "s0", (("a", 1),), to="s1"))
    rules_table = RulesTable.parse(table(rules))
    assert rules_table.stop_rules("source").reader.is_blind
    assert rules_table.stop_rules("nowhere").reader.is_blind
    assert not rules_table.stop_rules("s0").reader.is_blind
    assert not rules_table.reader.is_blind
