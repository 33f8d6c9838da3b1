"""Messages with a JSON Schema or a Protobuf schema, and in a format of an author's own."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from metroline.agents.formats.codec import InvalidSchema, NotReadable, NotWritable
from metroline.agents.formats.json_schema import JsonMessages
from metroline.agents.formats.own_function import OwnDecoder, OwnEncoder, UnusableFunction, function_named
from metroline.agents.formats.protobuf import ProtobufMessages
from metroline.agents.formats.registry import RegisteredSchema

ORDER = """
syntax = "proto3";
package acme;
import "google/protobuf/timestamp.proto";
import "item.proto";
enum State { NEW = 0; PAID = 1; }
message Order {
  int64 number = 1;
  State state = 2;
  repeated Item items = 3;
  map<string, double> rates = 4;
  bytes raw = 5;
  google.protobuf.Timestamp at = 6;
  optional int32 maybe = 7;
  message Note { string text = 1; }
  oneof extra { Note note = 8; string tag = 9; }
}
message Second { string text = 1; }
"""
ITEM = 'syntax = "proto3"; package acme; message Item { uint64 id = 1; float weight = 2; }'


@pytest.fixture(scope="module")
def orders() -> ProtobufMessages:
    return ProtobufMessages(RegisteredSchema(7, "PROTOBUF", ORDER, {"item.proto": ITEM}))


def test_a_protobuf_message_goes_to_json_and_back(orders: ProtobufMessages) -> None:
    record = {
        "number": 2**62,
        "state": "PAID",
        "items": [{"id": 2**64 - 1, "weight": 0.5}],
        "rates": {"a": "NaN", "b": 1.5},
        "raw": "/wA=",
        "at": "2026-11-27T10:15:30.000001Z",
        "note": {"text": "x"},
    }
    value = orders.write(orjson.dumps(record), None)
    line, schema = orders.read(value)

    assert value[:6] == b"\0\0\0\0\x07\0"
    assert (orjson.loads(line), schema) == (record, "7")
    assert orders.write(line, None) == value


def test_fields_without_presence_have_their_default_and_others_are_absent(orders: ProtobufMessages) -> None:
    line, _ = orders.read(b"\0\0\0\0\x07\0")

    assert orjson.loads(line) == {"number": 0, "state": "NEW", "items": [], "rates": {}, "raw": ""}


def test_the_indexes_name_the_message_type(orders: ProtobufMessages) -> None:
    note, second = orders.write(b'{"text":"x"}', (0, 0)), orders.write(b'{"text":"x"}', (1,))

    assert orders.read(note) == (b'{"text":"x"}', "7:0.0")
    assert orders.read(second) == (b'{"text":"x"}', "7:1")
    with pytest.raises(NotReadable, match=r"no message with the indexes \[5\]"):
        orders.read(b"\0\0\0\0\x07\x02\x0a")


def test_the_message_type_of_records_that_are_written_can_be_named() -> None:
    schema = RegisteredSchema(7, "PROTOBUF", ORDER, {"item.proto": ITEM})

    assert ProtobufMessages(schema, "acme.Second").write(b"{}", None) == b"\0\0\0\0\x07\x02\x02"
    with pytest.raises(InvalidSchema, match=r"acme\.Third, only acme\.Order, acme\.Order\.Note, acme\.Second"):
        ProtobufMessages(schema, "acme.Third")


@pytest.mark.parametrize("text", ["no proto", 'syntax = "proto3"; import "none.proto";', 'syntax = "proto3";'])
def test_a_protobuf_schema_that_cannot_be_compiled_says_why(text: str) -> None:
    with pytest.raises(InvalidSchema):
        ProtobufMessages(RegisteredSchema(7, "PROTOBUF", text))


def test_a_name_of_a_reference_is_no_way_out_of_the_folder() -> None:
    with pytest.raises(InvalidSchema, match="is not the name of a schema"):
        ProtobufMessages(RegisteredSchema(7, "PROTOBUF", ORDER, {"../item.proto": ITEM}))


def json_schema(text: str, **references: str) -> JsonMessages:
    named = {name.replace("_", "."): other for name, other in references.items()}
    return JsonMessages(RegisteredSchema(8, "JSON", text, named))


def test_json_is_checked_when_it_is_read_and_before_it_is_written() -> None:
    text = '{"properties":{"items":{"items":{"$ref":"item.json"}}},"required":["items"]}'
    messages = json_schema(text, item_json='{"type":"integer"}')

    assert messages.read(b'\0\0\0\0\x08{"items":\n [1]}') == (b'{"items":[1]}', "8")
    assert messages.write(b'{"items":[1]}', None) == b'\0\0\0\0\x08{"items":[1]}'
    with pytest.raises(NotWritable, match=r'items\[1\]: "x" is not of type "integer"'):
        messages.write(b'{"items":[1,"x"]}', None)
    with pytest.raises(NotReadable, match='"items" is a required property'):
        messages.read(b"\0\0\0\0\x08{}")
    with pytest.raises(NotReadable, match="not valid JSON"):
        messages.read(b"\0\0\0\0\x08{")
    with pytest.raises(NotReadable, match="does not fit into 64 bits"):
        messages.read(b'\0\0\0\0\x08{"items":[99999999999999999999]}')


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://127.0.0.1:1/x.json"])
def test_a_json_schema_fetches_nothing_from_elsewhere(url: str) -> None:
    with pytest.raises(InvalidSchema, match="the registry names no reference"):
        json_schema(f'{{"$ref":"{url}"}}')


async def test_a_function_of_ones_own_reads_and_writes() -> None:
    def read(value: bytes) -> Any:
        return {"text": value.decode()} if value else []

    decoded = await OwnDecoder(read).decode([b"a", None, b"\xff", b""])
    encoded = await OwnEncoder(lambda record: record["text"].encode()).encode([b'{"text":"a"}', b"{}"], [None, None])

    assert decoded.values == [b'{"text":"a"}', None, b"\xff", b""]
    assert decoded.problems[2].startswith("UnicodeDecodeError: ")
    assert decoded.problems[3] == "the decoder returned list, not a dict"
    assert encoded[0] == b"a"
    assert str(encoded[1]) == "KeyError: 'text'"


@pytest.mark.parametrize("name", ["no_such_module:read", "json:no_such_function", "sys:path"])
def test_a_function_that_cannot_be_used_names_the_setting(name: str) -> None:
    with pytest.raises(UnusableFunction, match=f"SOURCE_FORMAT: {name} "):
        function_named("SOURCE_FORMAT", name)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [Unspeakable, SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_whatever_a_function_of_the_authors_own_raises_ends_one_message_alone(error: type[BaseException]) -> None:
    def pick(value: bytes) -> dict[str, Any]:
        if value == b"2":
            raise error
        return {"n": int(value)}

    decoded = await OwnDecoder(pick).decode([b"1", b"2", b"3"])
    assert (decoded.values, list(decoded.problems)) == ([b'{"n":1}', b"2", b'{"n":3}'], [1])
    assert decoded.problems[1].startswith(f"{error.__name__}: ") or error is Unspeakable
    written = await OwnEncoder(lambda record: str(pick(b"%d" % record["n"])).encode()).encode(
        [b'{"n":1}', b'{"n":2}'], [None, None]
    )
    assert [isinstance(one, bytes) for one in written] == [True, False]
