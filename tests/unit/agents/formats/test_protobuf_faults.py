"""A record that a Protobuf message type cannot hold: the problem has the path of the field and the value."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from metroline.agents.formats.codec import NotWritable
from metroline.agents.formats.protobuf import ProtobufMessages
from metroline.agents.formats.registry import RegisteredSchema

SCHEMA = """
syntax = "proto3";
package acme;
import "google/protobuf/timestamp.proto";
message Order {
  int32 number = 1;
  string name = 2;
  repeated Item items = 3;
  map<int32, Item> by_place = 4;
  google.protobuf.Timestamp at = 5;
  State state = 6;
  bool paid = 7;
  repeated uint64 totals = 8;
  oneof contact { string mail = 9; string phone = 10; }
}
message Item { double price = 1; bytes raw_form = 2; }
enum State { NEW = 0; PAID = 1; }
"""


@pytest.fixture(scope="module")
def orders() -> ProtobufMessages:
    return ProtobufMessages(RegisteredSchema(7, "PROTOBUF", SCHEMA))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"number": "x"}, "number: expected an integer of 32 bits, got the string 'x'"),
        ({"number": 2**40}, f"number: expected an integer of 32 bits, got the number {2**40}"),
        ({"name": 5}, "name: expected text, got the number 5"),
        ({"items": {"price": 1}}, "items: expected an array, got the object {'price': 1}"),
        ({"items": [{"price": 1}, {"price": "x"}]}, "items[1].price: expected a number, got the string 'x'"),
        ({"items": [{"rawForm": 5}]}, "items[0].rawForm: expected base64, got the number 5"),
        ({"items": [5]}, "items[0]: expected an object of acme.Item, got the number 5"),
        ({"by_place": {"1": {"more": 1}}}, "by_place.1.more: the type acme.Item has no such field, got the number 1"),
        ({"by_place": {"x": {}}}, "by_place: expected keys that are an integer of 32 bits, got the string 'x'"),
        ({"by_place": [1]}, "by_place: expected an object, got the array [1]"),
        ({"at": "now"}, "at: expected the JSON form of google.protobuf.Timestamp, got the string 'now'"),
        ({"state": "LOST"}, "state: expected one of NEW, PAID, got the string 'LOST'"),
        ({"paid": "yes"}, "paid: expected true or false, got the string 'yes'"),
        ({"totals": [1, -1]}, "totals[1]: expected an integer of 64 bits without a sign, got the number -1"),
    ],
)
def test_the_smallest_part_at_fault_is_named(orders: ProtobufMessages, record: dict[str, Any], problem: str) -> None:
    with pytest.raises(NotWritable) as refused:
        orders.write(orjson.dumps({"name": "fine"} | record), None)

    assert str(refused.value) == problem


def test_fields_that_are_wrong_together_only_are_named_by_the_parser(orders: ProtobufMessages) -> None:
    with pytest.raises(NotWritable, match="contact"):
        orders.write(b'{"mail": "a", "phone": "1"}', None)
