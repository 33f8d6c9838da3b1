"""Every value of Avro has a JSON form that goes back without loss: what fastavro writes comes back the same."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import count
from typing import Any

import fastavro
import orjson
from hypothesis import given
from hypothesis import strategies as st

from metroline.agents.formats.avro import AvroSchema
from tests.support.worlds import examples

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "timestamp-nanos"},
    {"type": "long", "logicalType": "local-timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4},
    {"type": "bytes", "logicalType": "decimal", "precision": 40},
    {"type": "string", "logicalType": "uuid"},
    {"type": "long", "logicalType": "nobody-knows-it"},
)
FIXED: tuple[tuple[int, dict[str, Any]], ...] = (
    (3, {}),
    (16, {"logicalType": "uuid"}),
    (6, {"logicalType": "decimal", "precision": 9, "scale": 2}),
)
"""The sizes of fixed types, with their logical types."""

NAMES = st.text(string.ascii_letters, min_size=1, max_size=3)
TEXT = st.text('aé€😀"\\\n 1', max_size=8)


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    """Draw the schema of a record, with every kind of type in it."""
    numbers = count()
    named: list[Any] = []

    def name() -> str:
        return f"T{next(numbers)}"

    def simple() -> Any:
        kind = draw(st.sampled_from(["primitive", "primitive", "logical", "enum", "fixed", "again"]))
        if kind == "logical":
            return dict(draw(st.sampled_from(LOGICAL)))
        if kind == "again" and named:
            return draw(st.sampled_from(named))["name"]
        if kind == "enum":
            named.append({"type": "enum", "name": name(), "symbols": ["A", "B", "C"]})
            return named[-1]
        if kind == "fixed":
            size, logical = draw(st.sampled_from(FIXED))
            named.append({"type": "fixed", "name": name(), "size": size, **logical})
            return named[-1]
        return draw(st.sampled_from(PRIMITIVES))

    def any_type(depth: int, *, in_union: bool = False) -> Any:
        kind = draw(st.sampled_from(["simple", "simple", "array", "map", "record", "union"]))
        if depth == 0 or kind == "simple" or (kind == "union" and in_union):
            return simple()
        if kind == "union":
            branches: dict[str, Any] = {}
            for _ in range(draw(st.integers(1, 4))):
                known = len(named)
                branch = any_type(depth - 1, in_union=True)
                if branches.setdefault(_branch(branch), branch) is not branch:
                    del named[known:]  # types in a branch that is left out
            return list(branches.values())
        if kind == "record":
            return record(depth - 1)
        return {"type": kind, "items" if kind == "array" else "values": any_type(depth - 1)}

    def record(depth: int) -> Any:
        own = name()
        fields = [{"name": f"f{place}", "type": any_type(depth)} for place in range(draw(st.integers(0, 4)))]
        if depth == 2 and draw(st.booleans()):
            fields.append({"name": "again", "type": ["null", own]})
        return {"type": "record", "name": own, "fields": fields}

    return record(2)


def _branch(schema: Any) -> str:
    """Return what no other branch of a union may be."""
    if isinstance(schema, str):
        return schema
    return str(schema.get("name", schema["type"]))


def stripped(schema: Any) -> Any:
    """Return a schema without logical types."""
    if isinstance(schema, dict):
        return {key: stripped(value) for key, value in schema.items() if key != "logicalType"}
    return [stripped(one) for one in schema] if isinstance(schema, list) else schema


def named_in(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named types of a schema."""
    if isinstance(schema, dict):
        if schema["type"] in ("record", "enum", "fixed"):
            yield schema["name"], schema
        for field in schema.get("fields", ()):
            yield from named_in(field["type"])
        yield from named_in([schema.get("items"), schema.get("values")])
    elif isinstance(schema, list):
        for one in schema:
            yield from named_in(one)


def data(draw: Callable[[st.SearchStrategy[Any]], Any], schema: Any, names: dict[str, Any], depth: int = 0) -> Any:
    """Draw a value as Avro stores it."""
    if isinstance(schema, list):
        branches = ["null"] if "null" in schema and depth > 4 else schema
        branch = draw(st.sampled_from(branches))
        value = data(draw, branch, names, depth + 1)
        return value if branch == "null" else (_branch(branch), value)  # else fastavro takes the first that will do
    if isinstance(schema, str) and schema in names:
        schema = names[schema]
    kind = schema if isinstance(schema, str) else schema["type"]
    if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
        most = 10 ** schema["precision"] - 1
        unscaled = draw(st.integers(-most, most))
        sizes = [schema["size"]] if "size" in schema else range(1, 40)
        return next(filter(None, (_bytes(unscaled, size) for size in sizes)))
    match kind:
        case "null":
            return None
        case "boolean":
            return draw(st.booleans())
        case "int":
            return draw(st.integers(-(2**31), 2**31 - 1))
        case "long":
            return draw(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**12), 10**15))
        case "float":
            return draw(st.floats(width=32).map(_without_payload))
        case "double":
            return draw(st.floats().map(_without_payload))
        case "bytes":
            return draw(st.binary(max_size=6))
        case "string":
            return draw(TEXT)
        case "enum":
            return draw(st.sampled_from(schema["symbols"]))
        case "fixed":
            return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
        case "array":
            return [data(draw, schema["items"], names, depth + 1) for _ in range(draw(st.integers(0, 2)))]
        case "map":
            keys = draw(st.lists(NAMES, max_size=2, unique=True))
            return {key: data(draw, schema["values"], names, depth + 1) for key in keys}
        case _:
            return {one["name"]: data(draw, one["type"], names, depth + 1) for one in schema["fields"]}


def _without_payload(number: float) -> float:
    """Return a number, and for any NaN the usual one: JSON has no other."""
    return math.nan if math.isnan(number) else number


def _bytes(number: int, size: int) -> bytes | None:
    try:
        return number.to_bytes(size, "big", signed=True)
    except OverflowError:
        return None


@examples(100)
@given(st.data(), schemas())
def test_the_bytes_that_fastavro_writes_come_back_the_same_from_their_json_form(
    drawn: st.DataObject, schema: Any
) -> None:
    value = data(drawn.draw, schema, dict(named_in(schema)))
    written = BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(stripped(schema)), value)
    ours = AvroSchema(orjson.dumps(schema).decode(), {})

    line = orjson.dumps(ours.read(written.getvalue()))

    assert ours.write(orjson.loads(line)) == written.getvalue()
