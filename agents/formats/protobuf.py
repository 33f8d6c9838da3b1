"""Messages with a Protobuf schema, in the JSON form that Protobuf defines, with two differences.

Integers of 64 bits are numbers, so that rules can compare them, and fields have the names of the schema. Fields without
presence are always there, with their default.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import grpc_tools
import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, unknown_fields
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from metroline.agents.formats import avro_values as forms
from metroline.agents.formats.codec import InvalidSchema, NotReadable, NotWritable, json_line
from metroline.agents.formats.protobuf_faults import REFUSALS, WELL_KNOWN, fault_in
from metroline.agents.formats.registry import RegisteredSchema
from metroline.agents.formats.wire import FIRST_MESSAGE, header, read_indexes, schema_text, write_indexes

MAIN = "metroline_registered_schema.proto"
"""The file name of a schema. Those that it imports have the names of its references."""

COMPILE_SECONDS = 60.0
"""Time that the compiler may take."""

_FLOATING = forms.floating(float("inf")).read or str
_BYTES = forms.encoded_bytes().read or str


class ProtobufMessages:
    """The messages of a Protobuf schema, with the header of Confluent's wire format."""

    def __init__(self, schema: RegisteredSchema, message: str | None = None) -> None:
        """Raise `InvalidSchema` if the schema cannot be used.

        `message` is the name of the type of records that are written, with its package; None for the first one.
        """
        self._id = schema.id
        files = _compiled(schema.text, schema.references)
        self._pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self._pool.AddSerializedFile(file.SerializeToString())
        main = next(file for file in files.file if file.name == MAIN)
        self._names = dict(_message_types(main.message_type, main.package, ()))
        self._classes: dict[tuple[int, ...], type[Message]] = {}
        if not self._names:
            raise InvalidSchema("it has no message")
        self._written: tuple[int, ...] = FIRST_MESSAGE
        if message:
            found = [indexes for indexes, name in self._names.items() if name == message]
            if not found:
                raise InvalidSchema(f"it has no message {message}, only {', '.join(self._names.values())}")
            self._written = found[0]

    def read(self, value: bytes) -> tuple[bytes, str]:
        """Return the record in a message as a JSON line, and the schema that it names; raise `NotReadable`."""
        indexes, at = read_indexes(value)
        if indexes not in self._names:
            raise NotReadable(f"its schema has no message with the indexes {list(indexes)}")
        try:
            message = self._class(indexes).FromString(value[at:])
            record = self._json(message)
        except (DecodeError, ValueError, TypeError) as error:
            raise NotReadable(f"not data of its schema: {type(error).__name__}: {error}") from error
        if type(record) is not dict:
            raise NotReadable("its message type is not that of a record")
        return json_line(record), schema_text(self._id, indexes)

    def write(self, line: bytes, indexes: Sequence[int] | None) -> bytes:
        """Return the message of a record that is given as a JSON line; raise `NotWritable`.

        `indexes` are those of the message type; None for the one that is configured.
        """
        chosen = self._written if indexes is None else tuple(indexes)
        if chosen not in self._names:
            raise NotWritable(f"the schema has no message with the indexes {list(chosen)}")
        message, record = self._class(chosen)(), orjson.loads(line)
        try:
            json_format.ParseDict(record, message, descriptor_pool=self._pool)
            data = message.SerializeToString(deterministic=True)
        except REFUSALS as error:
            problem = " ".join(str(error).partition("Available Fields")[0].split())
            raise NotWritable(str(fault_in(record, message.DESCRIPTOR, problem))) from error
        return header(self._id) + write_indexes(chosen) + bytes(data)

    def _class(self, indexes: tuple[int, ...]) -> type[Message]:
        made = self._classes.get(indexes)
        if made is None:
            found = self._pool.FindMessageTypeByName(self._names[indexes])
            made = self._classes[indexes] = message_factory.GetMessageClass(found)
        return made

    def _json(self, message: Message) -> Any:
        """Return the JSON form of a message; raise `NotReadable` for what has none."""
        own: Descriptor = message.DESCRIPTOR
        if own.full_name.startswith(WELL_KNOWN):
            return json_format.MessageToDict(message, descriptor_pool=self._pool)
        if len(unknown_fields.UnknownFieldSet(message)) or any(one.is_extension for one, _ in message.ListFields()):
            raise NotReadable(f"it holds fields that {own.full_name} in its schema does not have")
        record = {}
        for one in own.fields:
            if one.is_repeated:
                record[one.name] = self._several(one, getattr(message, one.name))
            elif not one.has_presence or message.HasField(one.name):
                record[one.name] = self._value(one, getattr(message, one.name))
        return record

    def _several(self, one: FieldDescriptor, values: Any) -> Any:
        if one.message_type is None or not one.message_type.GetOptions().map_entry:
            return [self._value(one, value) for value in values]
        entry = one.message_type.fields_by_name["value"]
        return {_key(key): self._value(entry, values[key]) for key in values}

    def _value(self, one: FieldDescriptor, value: Any) -> Any:
        if one.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            return self._json(value)
        if one.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            known = one.enum_type.values_by_number.get(value)
            return value if known is None else known.name
        if one.type == FieldDescriptor.TYPE_BYTES:
            return _BYTES(value)
        if one.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return _FLOATING(value)
        return value


def _key(key: Any) -> str:
    return str(key).lower() if type(key) is bool else str(key)


def _message_types(
    types: Sequence[descriptor_pb2.DescriptorProto], within: str, above: tuple[int, ...]
) -> Sequence[tuple[tuple[int, ...], str]]:
    """Return the indexes and the full name of each message type. The entries of maps, which are none, do not count."""
    found: list[tuple[tuple[int, ...], str]] = []
    for place, one in enumerate(one for one in types if not one.options.map_entry):
        name = f"{within}.{one.name}" if within else one.name
        found += [((*above, place), name), *_message_types(one.nested_type, name, (*above, place))]
    return found


def _compiled(text: str, references: Mapping[str, str]) -> descriptor_pb2.FileDescriptorSet:
    """Return a schema and all that it imports, as protoc compiles them; raise `InvalidSchema`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {**references, MAIN: text}.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise InvalidSchema(f"{name} is not the name of a schema")
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")
        out = Path(folder, "compiled")
        well_known = Path(next(iter(grpc_tools.__path__)), "_proto")
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{well_known}"]
        command += ["--include_imports", f"--descriptor_set_out={out}", MAIN]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
        if done.returncode:
            raise InvalidSchema(f"protoc: {' '.join(done.stderr.split())[:300]}")
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
