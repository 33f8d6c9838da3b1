"""Avro's values in JSON, and what becomes of a record that does not fit its schema."""

from __future__ import annotations

import struct
from typing import Any

import orjson
import pytest

from metroline.agents.formats.avro import AvroSchema
from metroline.agents.formats.codec import InvalidSchema, NotReadable, NotWritable


def schema_of(*fields: tuple[str, Any], references: dict[str, str] | None = None, **more: Any) -> AvroSchema:
    """Return the schema of a record; each field is given by its name and its type, which may have a default."""
    made = [
        {"name": name, **(type_ if isinstance(type_, dict) and "default" in type_ else {"type": type_})}
        for name, type_ in fields
    ]
    text = orjson.dumps({"type": "record", "name": "Order", "fields": made, **more}).decode()
    return AvroSchema(text, references or {})


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
FORMS = [
    ("null", None, b""),
    ("boolean", True, b"\x01"),
    ("int", -1, b"\x01"),
    ("long", 2**62, bytes([0x80] * 8 + [0x80, 0x01])),
    ("double", 0.5, struct.pack("<d", 0.5)),
    ("double", "NaN", struct.pack("<d", float("nan"))),
    ("float", "-Infinity", struct.pack("<f", float("-inf"))),
    ("bytes", "/wA=", b"\x04\xff\x00"),
    ("string", "é", b"\x04\xc3\xa9"),
    (DECIMAL, "12.50", b"\x04\x04\xe2"),
    (DECIMAL, "-0.01", b"\x02\xff"),
    ({"type": "int", "logicalType": "date"}, "1970-01-02", b"\x02"),
    ({"type": "int", "logicalType": "date"}, -1_000_000, b"\xff\x88\x7a"),
    ({"type": "int", "logicalType": "time-millis"}, "00:00:01.000", b"\xd0\x0f"),
    ({"type": "long", "logicalType": "timestamp-millis"}, "1970-01-01T00:00:00.001Z", b"\x02"),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, "1969-12-31T23:59:59.999999", b"\x01"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", b"\x02"),
    ({"type": "fixed", "name": "F", "size": 2}, "/wA=", b"\xff\x00"),
    ({"type": "string", "logicalType": "uuid"}, "x", b"\x02x"),
    ({"type": "array", "items": "int"}, [1], b"\x02\x02\x00"),
    ({"type": "map", "values": "int"}, {"k": 1}, b"\x02\x02k\x02\x00"),
    (["null", "string"], "x", b"\x02\x02x"),
    (["null", "string"], None, b"\x00"),
    (["string", "bytes"], {"bytes": "/w=="}, b"\x02\x02\xff"),
    (["null", "int", "long"], {"long": 1}, b"\x04\x02"),
    ([{"type": "array", "items": "int"}, {"type": "fixed", "name": "F", "size": 2}], "AQE=", b"\x02\x01\x01"),
    ([{"type": "array", "items": "int"}, "bytes"], [1], b"\x00\x02\x02\x00"),
    (
        [{"type": "map", "values": "int"}, {"type": "array", "items": "int"}, "bytes"],
        {"bytes": "AQ=="},
        b"\x04\x02\x01",
    ),
]


@pytest.mark.parametrize(("type_", "json", "data"), FORMS)
def test_each_type_has_a_json_form(type_: Any, json: Any, data: bytes) -> None:
    schema = schema_of(("f", type_))

    assert schema.read(data) == {"f": json}
    assert schema.write({"f": json}) == data


UNFIT = [
    ({"n": 1.5}, "n: expected an integer of 32 bits, got the number 1.5"),
    ({"n": 2**31}, "n: expected an integer of 32 bits, got the number 2147483648"),
    ({"n": True}, "n: expected an integer of 32 bits, got the boolean True"),
    ({"lines": [{"price": "1.00"}, {"price": "1.001"}]}, "lines[1].price: expected a decimal of 9 digits"),
    ({"lines": [{}]}, "lines[0].price: the field is missing"),
    ({"more": 1}, "more: the type Order has no such field"),
    ({"name": "x" * 100}, "name: expected null or Kind, got the string 'xxx"),
    ({"tags": {"a": 1}}, "tags.a: expected a string, got the number 1"),
]


@pytest.mark.parametrize(("change", "problem"), UNFIT)
def test_a_record_that_does_not_fit_names_the_path_of_the_field(change: dict[str, Any], problem: str) -> None:
    line = {"type": "record", "name": "Line", "fields": [{"name": "price", "type": DECIMAL}]}
    schema = schema_of(
        ("n", "int"),
        ("lines", {"type": "array", "items": line}),
        ("name", ["null", {"type": "fixed", "name": "Kind", "size": 1}]),
        ("tags", {"type": "map", "values": "string"}),
    )
    record = {"n": 1, "lines": [], "name": None, "tags": {}} | change

    with pytest.raises(NotWritable) as refused:
        schema.write(record)

    assert str(refused.value).startswith(problem.partition("expected null or Kind")[0])
    assert len(str(refused.value)) < 200


def test_a_field_that_is_absent_has_its_default_or_is_null() -> None:
    schema = schema_of(("b", {"type": "bytes", "default": "\u00ff"}), ("s", ["null", "string"]))

    assert schema.read(schema.write({})) == {"b": "/w==", "s": None}


def test_a_number_without_loss_is_accepted_where_another_kind_belongs() -> None:
    schema = schema_of(("n", "int"), ("d", "double"), ("price", DECIMAL))

    assert schema.read(schema.write({"n": 5.0, "d": 5, "price": 12.5})) == {"n": 5, "d": 5.0, "price": "12.50"}
    with pytest.raises(NotWritable, match="d: expected a number"):
        schema.write({"n": 1, "d": 2**53 + 1, "price": 1})


def test_a_schema_may_refer_to_others_and_to_itself() -> None:
    address = orjson.dumps(
        {"type": "record", "name": "Address", "namespace": "com.acme", "fields": [{"name": "zip", "type": "string"}]}
    ).decode()
    schema = schema_of(
        ("to", "com.acme.Address"),
        ("from", ["null", "com.acme.Address"]),
        ("parent", ["null", "Order"]),
        references={"com.acme.Address": address},
    )
    record = {"to": {"zip": "1"}, "from": {"zip": "2"}, "parent": {"to": {"zip": "3"}, "from": None, "parent": None}}

    assert schema.read(schema.write(record)) == record


@pytest.mark.parametrize("data", [b"", b"\x02\x02", b"\x02extra", b"\x80"])
def test_bytes_that_are_not_of_the_schema_are_not_readable(data: bytes) -> None:
    with pytest.raises(NotReadable, match="not data of its schema"):
        schema_of(("n", "int")).read(data if data != b"\x02extra" else b"\x02extra")


@pytest.mark.parametrize(
    "text", ["no JSON", '"Unknown"', '{"type":"record","name":"R","fields":[{"name":"f","type":"Unknown"}]}', "[]", "7"]
)
def test_a_schema_that_cannot_be_used_says_why(text: str) -> None:
    with pytest.raises(InvalidSchema):
        AvroSchema(text, {})


def test_a_schema_that_is_not_a_records_holds_no_record() -> None:
    with pytest.raises(NotReadable, match="not that of a record"):
        AvroSchema('"int"', {}).read(b"\x02")
