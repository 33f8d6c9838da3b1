"""Source messages: one object is one record, otherwise each line is one; no input raises."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metroline.routing.errors import MalformedRecord
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.records.source_messages import read_message, read_plain
from tests.support.worlds import examples


def read(value: bytes | None) -> list[Any]:
    """Return the record of each line or, as text, its problem."""
    return [line.problem if line.record is None else line.record for line in read_message(value)]


def test_one_object_is_one_record_that_travels_as_it_came() -> None:
    value = b'{"a": 1.10, "b" : "\\u00e9"}'
    (line,) = read_message(value)
    assert (line.line, line.record, line.problem) == (value, {"a": 1.1, "b": "é"}, None)


def test_an_object_over_several_lines_is_one_record_that_travels_in_one() -> None:
    (line,) = read_message(b'\n{\n  "a": [\n 1\r\n],\n "b": "x"\n}\n\n')
    assert line.record == {"a": [1], "b": "x"}
    assert line.line == b'{"a":[1],"b":"x"}'


def test_49_lines_are_49_records_in_order() -> None:
    lines = [b'{"n":%d}' % number for number in range(49)]
    assert read(b"\n".join(lines)) == [{"n": number} for number in range(49)]
    assert read(b"\n".join(lines) + b"\n") == [{"n": number} for number in range(49)]


def test_blank_lines_are_skipped_and_carriage_returns_do_not_matter() -> None:
    assert read(b'\r\n{"a":1}\r\n\r\n  \t\n{"b":2}\r\n') == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("value", [b"", b" ", b"\n", b"\r\n\t\n"])
def test_an_empty_message_is_one_problem(value: bytes) -> None:
    assert read(value) == ["the message is empty"]


def test_a_tombstone_is_another_one() -> None:
    assert read(None) == ["the message has no value (a tombstone)"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"\0\0\0\0\x07a\nb", "not JSON: it looks like Confluent's wire format (schema 7); see SOURCE_FORMAT"),
        (b"\x1f\x8b\x08\n\n", "not JSON: it is compressed with gzip"),
        (b"Obj\x01\n", "not JSON: it is an Avro file, not an Avro message"),
        ('{"a":1}\n'.encode("utf-16"), "not JSON: it is text in UTF-16, not in UTF-8"),
    ],
)
def test_bytes_that_are_no_text_are_one_problem_and_kept_as_they_are(value: bytes, problem: str) -> None:
    assert [(line.line, line.problem) for line in read_message(value)] == [(value, problem)]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b'{"order": 1, "amount": NaN}', "NaN"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":[Infinity]}', "Infinity"),
        (b'{"a":None}', "None"),
        (b'{"a":undefined}', "undefined"),
    ],
)
def test_what_is_no_value_in_json_is_named(value: bytes, named: str) -> None:
    [found] = read(value)
    assert found.startswith(f"not valid JSON: {named} is no value in JSON: line 1 column ")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"[1, 2]", "not a JSON object but a list"),
        (b'"text"', "not a JSON object but a string"),
        (b"null", "not a JSON object but null"),
        (b"true", "not a JSON object but true or false"),
        (b"1", "not a JSON object but a number"),
        (b"1.5e3", "not a JSON object but a number"),
        (b"12345678901234567890123", "not a JSON object but a number"),
        (b"{", "not valid JSON: "),
        (b"{}{}", "not valid JSON: "),
        (b'{"a":NaN}', "not valid JSON: "),
        (b'{"a":Infinity}', "not valid JSON: "),
        (b'{"a":1e400}', "not valid JSON: "),
        (b"{'a':1}", "not valid JSON: "),
        (b'{"a":1,}', "not valid JSON: "),
        (b'{"a":01}', "not valid JSON: "),
        (b'{"a":"\xff"}', "not valid JSON: "),
        (b'{"a":"\\ud800"}', "not valid JSON: "),
        (b"\xef\xbb\xbf{}", "not valid JSON: UTF-8 byte order mark"),
        (b"\x00", "not valid JSON: "),
        ('{"a":1}'.encode("utf-16"), "not JSON: it is text in UTF-16"),
    ],
)
def test_what_is_no_json_object_says_what_it_is(value: bytes, problem: str) -> None:
    (found,) = read(value)
    assert found.startswith(problem)
    (line,) = read_message(value)
    assert line.line == value


def test_a_broken_line_leaves_its_neighbours_whole() -> None:
    first, second, third = read(b'{"a":1}\nbroken\n{"b":2}')
    assert (first, third) == ({"a": 1}, {"b": 2})
    assert second.startswith("not valid JSON: ")


@pytest.mark.parametrize(
    "number", [2**64, 2**64 + 1, 10**19 * 2, -(2**63) - 1, -(10**19), 10**39, 10**40, 10**300, -(10**200)]
)
@pytest.mark.parametrize(
    "around", ['{"a":%s}', '{"a": [1, {"b": %s }]}', '{"x":"y\\"","a":\t%s}', '{"1":1.5,"a":-1,"b":%s}']
)
def test_an_integer_beyond_64_bits_is_a_problem_wherever_it_stands(number: int, around: str) -> None:
    (problem,) = read((around % number).encode())
    assert problem.startswith(f"the integer {str(number)[:40]}")
    assert problem.endswith("does not fit into 64 bits")


def test_an_integer_beyond_64_bits_makes_one_problem_of_an_object_over_several_lines() -> None:
    value = b'{\n "a": 18446744073709551616,\n "b": 1\n}'
    (line,) = read_message(value)
    assert line.record is None
    assert line.problem == "the integer 18446744073709551616 does not fit into 64 bits"
    assert line.line == value


@pytest.mark.parametrize(
    ("value", "record"),
    [
        (b'{"a":18446744073709551615}', {"a": 2**64 - 1}),
        (b'{"a":-9223372036854775808}', {"a": -(2**63)}),
        (b'{"a":"18446744073709551616"}', {"a": "18446744073709551616"}),
        (b'{"a":"\\"18446744073709551616\\\\"}', {"a": '"18446744073709551616\\'}),
        (b'{"18446744073709551616":1}', {"18446744073709551616": 1}),
        (b'{"a":18446744073709551616.0}', {"a": 2.0**64}),
        (b'{"a":18446744073709551616e0}', {"a": 2.0**64}),
        (b'{"a":18446744073709551616E-1}', {"a": 1844674407370955161.6}),
        (b'{"a":0.10000000000000000555111512312578270}', {"a": 0.1}),
        (b'{"a":-1.99999999999999999999999999e+5}', {"a": -2e5}),
        (b'{"a":1e00000000000000000000000000000001}', {"a": 10.0}),
    ],
)
def test_a_long_number_that_json_keeps_is_a_record(value: bytes, record: dict[str, Any]) -> None:
    assert read(value) == [record]


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    assert read(b'{"a":1,"a":2}') == [{"a": 2}]
    assert read(b'{"a":1,\n"a":2}') == [{"a": 2}]


@pytest.mark.parametrize("gap", [b"", b"\n"])
def test_a_record_nested_more_deeply_than_can_be_written_is_a_problem(gap: bytes) -> None:
    value = b'{"a":' * 300 + gap + b"1" + b"}" * 300
    (problem,) = read(value)
    assert problem.startswith("the record is nested too deeply")
    assert read(b'{"a":[' + b"[]," * 500 + b"1]}") == [{"a": [[]] * 500 + [1]}]


def test_long_numbers_are_read_in_a_moment() -> None:
    numbers = ",".join(["1" * 300 + ".5"] * 3_000)
    assert len(read(f'{{"a":[{numbers}]}}'.encode())[0]["a"]) == 3_000


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
@examples(500)
def test_any_bytes_are_read_without_raising(value: bytes) -> None:
    lines = read_message(value)
    assert lines
    for line in lines:
        assert (line.record is None) == (line.problem is not None)


SHARDS = [*'{}[]",:\n\r \\-+.eE0', "1" * 19, "18446744073709551616", '"a":', '{"a":1}', "null", "\n{", "9" * 25]


@given(st.lists(st.sampled_from(SHARDS), max_size=20).map(lambda shards: "".join(shards).encode()))
@examples(500)
def test_what_nearly_is_json_is_a_record_only_where_json_would_not_change_it(value: bytes) -> None:
    for line in read_message(value):
        if line.record is not None:
            assert line.record == json.loads(line.line)
            assert b"\n" not in line.line
            assert orjson.loads(line.line) == line.record


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
messages = st.lists(st.dictionaries(st.text(), json_values, max_size=3), min_size=1, max_size=4)


def fits(value: Any) -> bool:
    """Return whether orjson keeps every integer of a value."""
    if isinstance(value, dict):
        return all(map(fits, value.values()))
    if isinstance(value, list):
        return all(map(fits, value))
    return type(value) is not int or -(2**63) <= value < 2**64


@given(messages, st.sampled_from([None, 1]))
@examples(200)
def test_each_record_of_a_message_is_exactly_what_was_written(
    records: list[dict[str, Any]], indent: int | None
) -> None:
    if indent:
        records = records[:1]
    value = "\n".join(json.dumps(record, indent=indent) for record in records).encode()
    lines = read_message(value)
    assert len(lines) == len(records)
    for line, record in zip(lines, records, strict=True):
        assert (line.record == record) if fits(record) else ("64 bits" in str(line.problem))


GOOD = [
    b'{"a":1,"b":[1,2,{"c":"x"}],"d":null}',
    b' {"a":1e22,"b":-1.5E-12,"c":"\\u00e9\\n"}\r',
    '{"a":"é","b":{"c":{}}}'.encode(),
    b"{}",
    b'{"a":123456789012345678,"u":"c386bbe204f89e123","t":true}',
]
SHREDS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\n",
        b"\r",
        b" ",
        b"\\",
        b"e",
        b"E",
        b"+",
        b"-",
        b".",
        b"0",
        b"9",
        b"/",
    ),
    *(
        b"\\u",
        b"\\ud800",
        b"000",
        b"400",
        b"1" * 19,
        b"null",
        b'"a":',
        b'{"a":1}',
        b"}\n{",
        b"NaN",
        b"\xff",
        b"\xc3\xa9",
        b"\x00",
    ),
]
mutations = st.tuples(st.integers(0, 60), st.booleans(), st.sampled_from(SHREDS))


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """Draw a good message with some bytes overwritten or inserted."""
    message = draw(st.sampled_from(GOOD))
    for place, over, shard in draw(st.lists(mutations, max_size=3)):
        message = message[:place] + shard + message[place + (len(shard) if over else 0) :]
    return message


READERS = [FieldReader(frozenset()), FieldReader(frozenset("a")), FieldReader(None)]


ODD_LINES = [b"", b" ", b'{"a":1}{"a":2}', b'{"a":', b"2}", b"{", b'"a":3}', b'{"a":[{}', b"{}]}", b'{"a":"}', b'{"}']
packed = st.lists(st.one_of(nearly_good(), st.sampled_from(GOOD + ODD_LINES)), min_size=1, max_size=4).flatmap(
    lambda lines: st.sampled_from([b"\n".join(lines), b"\n".join(lines) + b"\n", b"\r\n".join(lines)])
)


@given(
    st.lists(st.one_of(nearly_good(), packed, st.sampled_from(ODD_LINES)), min_size=1, max_size=4),
    st.sampled_from(READERS),
)
@example([b'{"a":18446744073709551616}'], READERS[1])
@example([b'{"a":1e400}'], READERS[0])
@example([b'{"a":1}\n\n{"a":2}\n'], READERS[1])
@examples(500)
def test_messages_that_are_read_at_once_are_those_that_each_alone_would_be_records(
    values: list[bytes], reader: FieldReader
) -> None:
    found = read_plain(values, reader)
    if found is None:
        return
    one_by_one = [read_message(value) for value in values]
    assert list(found.counts or [1] * len(values)) == [len(lines) for lines in one_by_one]
    every = [line for lines in one_by_one for line in lines]
    for line, seen, taken in zip(every, found.records, found.lines, strict=True):
        assert line.record is not None
        assert line.line.strip() == taken.strip()
        wanted = {name: value for name, value in line.record.items() if reader.reads is None or name in reader.reads}
        assert json.dumps(seen, sort_keys=True) == json.dumps(wanted, sort_keys=True)


def test_two_records_on_a_line_and_an_empty_message_are_not_two_records_on_two_lines() -> None:
    for odd in (b"", b"{", b'{"a":"}'):
        values = [b'{"n":0}', b'{"n":1}{"n":2}', b'{"n":3}', odd]
        assert read_plain(values, FieldReader(frozenset("n"))) is None
        with pytest.raises(MalformedRecord):
            FieldReader(frozenset("n")).read_all(values)


def test_fields_come_in_the_order_in_which_they_stand_in_the_record() -> None:
    reader = FieldReader(frozenset(["d", "b", "größe", "a", "c"]))
    assert list(reader.read('{"a":1,"b":2,"größe":3,"c":4,"d":5}'.encode())) == ["a", "b", "größe", "c", "d"]


def test_good_messages_are_read_at_once() -> None:
    found = read_plain(GOOD * 20, FieldReader(frozenset("t")))
    assert found is not None
    assert (found.records, found.counts) == ([{}, {}, {}, {}, {"t": True}] * 20, None)


def test_packed_messages_are_read_at_once() -> None:
    found = read_plain([b'{"t":1}\n{"t":2}\n', b'{"t":3}', b'{"t":4}\r\n{"t":5}\r\n{}'], FieldReader(frozenset("t")))
    assert found is not None
    assert (found.records, found.counts) == ([{"t": 1}, {"t": 2}, {"t": 3}, {"t": 4}, {"t": 5}, {}], [2, 1, 3])


def test_many_brackets_in_messages_that_are_not_deep_do_not_matter() -> None:
    flat = orjson.dumps({"rows": [{"a": []}] * 40})
    assert read_plain([flat] * 20, FieldReader(frozenset())) is not None


@pytest.mark.parametrize(
    "odd",
    [
        *(None, b"", b"\n", b"[]", b'{"a":\n1}', b'{"a":1}{}', b'{"a":"\xff"}', b'{"a":"\\ud800"}'),
        *(b'{"a":1e400}', b'{"a":1e+999}', b'{"a":18446744073709551616}', b'{"a":' * 300 + b"1" + b"}" * 300),
    ],
)
def test_one_odd_message_makes_all_be_looked_at_one_by_one(odd: bytes | None) -> None:
    assert read_plain([*GOOD, odd, *GOOD], FieldReader(frozenset())) is None
