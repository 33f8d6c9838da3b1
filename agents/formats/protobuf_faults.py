"""Finds the field at fault in a record that a Protobuf message type cannot hold.

The JSON parser of Protobuf names some fields and not others, and no path through arrays and maps. So the parts of the
record are parsed one by one, down to the smallest one that is refused.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError

from metroline.agents.formats.unfit import Unfit, expected, unknown_field

WELL_KNOWN = "google.protobuf."
"""The package of the types that have a JSON form of their own, such as `Timestamp`."""

REFUSALS = (json_format.ParseError, EncodeError, ValueError, TypeError, RecursionError)
"""The errors of a record that its message type cannot hold."""

EXPECTED = {
    FieldDescriptor.CPPTYPE_INT32: "an integer of 32 bits",
    FieldDescriptor.CPPTYPE_UINT32: "an integer of 32 bits without a sign",
    FieldDescriptor.CPPTYPE_INT64: "an integer of 64 bits",
    FieldDescriptor.CPPTYPE_UINT64: "an integer of 64 bits without a sign",
    FieldDescriptor.CPPTYPE_FLOAT: "a number that fits into 32 bits",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
}
"""The JSON of the fields of each type."""


def fault_in(record: dict[str, Any], kind: Descriptor, problem: str) -> Unfit:
    """Return the error for a record that a message type refused: with the path of the smallest part at fault.

    `problem` is the parser's, for a record of which no single field is at fault.
    """
    for name, value in record.items():
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name) or _by_json_name(kind, name)
        if field is None:
            return unknown_field(kind.full_name, value).within(name)
        if refused := _refused(kind, {name: value}):
            return _fault_of(field, name, value, kind, refused).within(name)
    return Unfit(problem)


def _by_json_name(kind: Descriptor, name: str) -> FieldDescriptor | None:
    return next((field for field in kind.fields if field.json_name == name), None)


def _refused(kind: Descriptor, record: dict[str, Any]) -> str | None:
    """Return the problem of a record that a message type refuses; None if it holds it."""
    try:
        message = message_factory.GetMessageClass(kind)()
        json_format.ParseDict(record, message, descriptor_pool=kind.file.pool)
        message.SerializeToString()
    except REFUSALS as error:
        return str(error)
    return None


def _fault_of(field: FieldDescriptor, name: str, value: Any, kind: Descriptor, problem: str) -> Unfit:
    """Return the error for the value of a field that is refused."""
    if not field.is_repeated:
        return _fault_of_one(field, value, problem)
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    parts = _parts(value, is_map)
    if parts is None:
        return expected("an object" if is_map else "an array", value)
    of_parts = field.message_type.fields_by_name["value"] if is_map else field
    for place, part, alone in parts:
        if refused := _refused(kind, {name: alone}):
            if is_map and not _refused(of_parts.containing_type, {"value": part}):
                return expected(f"keys that are {_expected(of_parts.containing_type.fields_by_name['key'])}", place)
            return _fault_of_one(of_parts, part, refused).within(place)
    return Unfit(problem)


def _parts(value: Any, is_map: bool) -> list[tuple[str | int, Any, Any]] | None:
    """Return the place of each part of an array or a map, the part, and an array or a map with it alone."""
    if is_map:
        return [(key, one, {key: one}) for key, one in value.items()] if type(value) is dict else None
    return [(place, one, [one]) for place, one in enumerate(value)] if type(value) is list else None


def _fault_of_one(field: FieldDescriptor, value: Any, problem: str) -> Unfit:
    """Return the error for a single value of a field."""
    kind = field.message_type
    if kind is None:
        return expected(_expected(field), value)
    if kind.full_name.startswith(WELL_KNOWN):
        return expected(f"the JSON form of {kind.full_name}", value)
    return fault_in(value, kind, problem) if type(value) is dict else expected(f"an object of {kind.full_name}", value)


def _expected(field: FieldDescriptor) -> str:
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return f"one of {', '.join(value.name for value in field.enum_type.values)}"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "base64" if field.type == FieldDescriptor.TYPE_BYTES else "text"
    return EXPECTED[field.cpp_type]
