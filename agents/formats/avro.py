"""Avro schemas: bytes to JSON values and back, without loss.

fastavro reads and writes a schema whose bytes are the same and that has no logical types, so that every value comes as
Avro stores it. `avro_values` turns these into their JSON form. Names are replaced, since the schema is only ours.

The branches of a union are told apart by the kind of JSON that they have. Where two branches have the same kind, each
value is an object with the name of its branch, as in Avro's own JSON encoding: `{"string": "x"}`. A record with one
field has the same bytes as its field, so fastavro reads these branches as such records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from typing import Any

import fastavro
import orjson

from metroline.agents.formats import avro_values as forms
from metroline.agents.formats.codec import InvalidSchema, NotReadable, NotWritable, json_line
from metroline.agents.formats.registry import RegisteredSchema
from metroline.agents.formats.unfit import KINDS, Unfit, expected, unknown_field
from metroline.agents.formats.wire import HEADER_BYTES, header, schema_text

ABSENT: Any = object()

PRIMITIVES: Mapping[str, forms.Form] = {
    "null": forms.NULL,
    "boolean": forms.BOOLEAN,
    "int": forms.whole(32),
    "long": forms.whole(64),
    "float": forms.floating(forms.MAX_FLOAT),
    "double": forms.floating(float("inf")),
    "bytes": forms.encoded_bytes(),
    "string": forms.STRING,
}

FRACTIONS = {"millis": 3, "micros": 6, "nanos": 9}
"""The digits of the units of times."""

MAX_SIZE = 2**20
"""Maximum number of bytes of a `fixed`."""


class AvroMessages:
    """The messages of an Avro schema, with the header of Confluent's wire format."""

    def __init__(self, schema: RegisteredSchema) -> None:
        """Raise `InvalidSchema` if the schema cannot be used."""
        self._schema = AvroSchema(schema.text, schema.references)
        self._header, self._text = header(schema.id), schema_text(schema.id)

    def read(self, value: bytes) -> tuple[bytes, str]:
        """Return the record in a message as a JSON line, and the schema that it names; raise `NotReadable`."""
        return json_line(self._schema.read(value[HEADER_BYTES:])), self._text

    def write(self, line: bytes, _: Sequence[int] | None) -> bytes:
        """Return the message of a record that is given as a JSON line; raise `NotWritable`."""
        return self._header + self._schema.write(orjson.loads(line))


@dataclass(slots=True)
class _Type:
    """A type of a schema."""

    name: str
    """The name of a branch of this type in a union."""
    wire: Any
    """The schema for fastavro."""
    form: forms.Form
    default: Callable[[Any], Any]
    """Turns a default value of the schema into the value for fastavro's writer."""


class AvroSchema:
    """A schema whose messages are read and written."""

    def __init__(self, text: str, references: Mapping[str, str]) -> None:
        """Take the texts of the schemas that are referred to, in any order. Raise `InvalidSchema`."""
        try:
            compiler = _Compiler({name: orjson.loads(one) for name, one in references.items()})
            compiled = compiler.type(orjson.loads(text), "")
            self._wire = fastavro.parse_schema(compiled.wire)
        except InvalidSchema:
            raise
        except RecursionError:
            raise InvalidSchema("it is nested too deeply") from None
        except Exception as error:
            raise InvalidSchema(f"{type(error).__name__}: {error}") from error
        self._form = compiled.form

    def read(self, data: bytes) -> dict[str, Any]:
        """Return the record in data of Avro's binary encoding; raise `NotReadable`."""
        source = BytesIO(data)
        try:
            value = fastavro.schemaless_reader(source, self._wire, None)
            value = value if self._form.read is None else self._form.read(value)
        except (Exception, RecursionError) as error:
            raise NotReadable(f"not data of its schema: {type(error).__name__}: {error}") from error
        if source.tell() != len(data):
            raise NotReadable(f"not data of its schema: {len(data) - source.tell()} bytes are left over")
        if type(value) is not dict:
            raise NotReadable("its schema is not that of a record")
        return value

    def write(self, record: dict[str, Any]) -> bytes:
        """Return a record in Avro's binary encoding; raise `NotWritable` with the path of the field at fault."""
        written = BytesIO()
        try:
            fastavro.schemaless_writer(written, self._wire, self._form.write(record))
        except Unfit as error:
            raise NotWritable(str(error)) from None
        except (Exception, RecursionError) as error:
            raise NotWritable(f"{type(error).__name__}: {error}") from error
        return written.getvalue()


@dataclass(slots=True)
class _Field:
    name: str
    type: _Type
    default: Any
    """The value for fastavro's writer of a field that a record does not have; `ABSENT` if it needs one."""


@dataclass(slots=True)
class _Compiler:
    """Compiles the types of a schema."""

    references: Mapping[str, Any]
    names: dict[str, _Type] = field(default_factory=dict)
    """The named types by their full names."""
    numbers: Any = field(default_factory=lambda: count(1))

    def type(self, schema: Any, namespace: str) -> _Type:
        """Return a type; `namespace` is that of the names in it."""
        if isinstance(schema, list):
            return self._union(schema, namespace)
        if isinstance(schema, str):
            return self._primitive(schema) if schema in PRIMITIVES else self._named(schema, namespace)
        if not isinstance(schema, dict):
            raise InvalidSchema(f"{schema!r} is not a type")
        kind = schema.get("type")
        if isinstance(kind, (dict, list)):
            return self.type(kind, namespace)
        make = {"record": self._record, "error": self._record, "enum": self._enum, "fixed": self._fixed}.get(kind or "")
        if make is not None:
            return make(schema, *_full_name(schema, namespace))
        if kind == "array":
            return self._array(self.type(schema["items"], namespace))
        if kind == "map":
            return self._map(self.type(schema["values"], namespace))
        if kind in PRIMITIVES:
            return self._logical(str(kind), schema) or self._primitive(str(kind))
        return self._named(str(kind), namespace)

    def _named(self, name: str, namespace: str) -> _Type:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        for candidate in (full, name):
            if candidate in self.names:
                again = self.names[candidate]
                return _Type(again.name, _name_of(again.wire), again.form, again.default)
            if candidate in self.references:
                self.type(self.references[candidate], "")
                if candidate in self.names:  # here it is used first, so here it is defined
                    return self.names[candidate]
        raise InvalidSchema(f"there is no type {name!r}")

    def _primitive(self, name: str) -> _Type:
        return _Type(name, name, PRIMITIVES[name], _latin if name == "bytes" else _same)

    def _logical(self, name: str, schema: Mapping[str, Any]) -> _Type | None:
        """Return the type with its logical type; None if it has none that is known, or one that does not fit it."""
        logical, underlying = str(schema.get("logicalType")), PRIMITIVES[name]
        form = None
        if name == "bytes" and logical == "decimal":
            form = _decimal(schema, None)
        elif name == "int" and logical == "date":
            form = forms.day(underlying)
        elif (name, logical) in (("int", "time-millis"), ("long", "time-micros")):
            form = forms.time_of_day(FRACTIONS[logical.removeprefix("time-")], underlying)
        elif name == "long":
            base, _, unit = logical.removeprefix("local-").partition("-")
            if base == "timestamp" and unit in FRACTIONS:
                form = forms.moment(FRACTIONS[unit], underlying, is_local=logical.startswith("local-"))
        return None if form is None else _Type(name, name, form, _latin if name == "bytes" else _same)

    def _enum(self, schema: Mapping[str, Any], full: str, _: str) -> _Type:
        wire = {"type": "enum", "name": self._new_name(), "symbols": schema["symbols"]}
        made = _Type(_short(full), wire, forms.enum(frozenset(schema["symbols"])), _same)
        return self._keep(full, made)

    def _fixed(self, schema: Mapping[str, Any], full: str, _: str) -> _Type:
        size = int(schema["size"])
        if not 0 <= size <= MAX_SIZE:
            raise InvalidSchema(f"a fixed cannot have {size} bytes")
        logical, form = schema.get("logicalType"), None
        if logical == "decimal":
            form = _decimal(schema, size)
        elif logical == "uuid" and size == 16:
            form = forms.uuid_bytes()
        wire = {"type": "fixed", "name": self._new_name(), "size": size}
        return self._keep(full, _Type(_short(full), wire, form or forms.encoded_bytes(size), _latin))

    def _array(self, items: _Type) -> _Type:
        read, write = items.form.read, items.form.write

        def write_array(value: Any) -> list[Any]:
            if type(value) is not list:
                raise expected("an array", value)
            written: list[Any] = []
            try:
                for item in value:
                    written.append(write(item))
            except Unfit as error:
                raise error.within(len(written)) from None
            return written

        form = forms.Form(
            None if read is None else lambda value: list(map(read, value)), write_array, _OBJECTS["array"]
        )
        return _Type(
            "array", {"type": "array", "items": items.wire}, form, lambda value: [items.default(item) for item in value]
        )

    def _map(self, values: _Type) -> _Type:
        read, write = values.form.read, values.form.write

        def write_map(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise expected("an object", value)
            written = {}
            for key, item in value.items():
                try:
                    written[key] = write(item)
                except Unfit as error:
                    raise error.within(key) from None
            return written

        def read_map(value: dict[str, Any]) -> dict[str, Any]:
            assert read is not None
            return {key: read(item) for key, item in value.items()}

        form = forms.Form(None if read is None else read_map, write_map, _OBJECTS["object"])
        return _Type(
            "map",
            {"type": "map", "values": values.wire},
            form,
            lambda value: {key: values.default(item) for key, item in value.items()},
        )

    def _record(self, schema: Mapping[str, Any], full: str, namespace: str) -> _Type:
        name = self._new_name()
        fields: list[_Field] = []
        wire: dict[str, Any] = {"type": "record", "name": name, "fields": []}
        actual: list[forms.Form] = []
        late = forms.Form(  # for the fields that hold a record of this type again
            lambda value: actual[0].read(value) if actual[0].read is not None else value,
            lambda value: actual[0].write(value),  # noqa: PLW0108 - `actual` is empty yet
            _OBJECTS["object"],
        )
        made = self._keep(full, _Type(_short(full), wire, late, lambda value: _default_record(fields, value)))
        for each in schema["fields"]:
            own = self.type(each["type"], namespace)
            wire["fields"].append({"name": each["name"], "type": own.wire})
            fields.append(_Field(each["name"], own, ABSENT))
        for one, each in zip(fields, schema["fields"], strict=True):
            if "default" in each:
                one.default = one.type.default(each["default"])
            elif "null" in one.type.form.kinds:
                one.default = None
        made.form = _record_form(_short(full), fields)
        actual.append(made.form)
        return made

    def _union(self, branches: Sequence[Any], namespace: str) -> _Type:
        types = [self.type(branch, namespace) for branch in branches]
        if not types:
            raise InvalidSchema("a union has no branches")
        kinds = [kind for one in types for kind in one.form.kinds]
        has_arrays = "array" in kinds and any(bytes in _python_kinds(one) for one in types)
        if len(kinds) == len(set(kinds)) and not (has_arrays and "object" in kinds):
            if has_arrays:
                types = [self._told_by_name(one) if bytes in _python_kinds(one) else one for one in types]
            return _Type("union", [one.wire for one in types], _plain_union(types), types[0].default)
        names = [one.name for one in types]
        tags = [name if names.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(names)]
        wires: list[Any] = []
        writers: dict[str, tuple[str, forms.Write]] = {}
        readers: dict[str, forms.Read | None] = {}
        for tag, one in zip(tags, types, strict=True):
            if one.name == "null":
                wires.append("null")
                continue
            name, wire = self._as_record(tag, one)
            wires.append(wire)
            writers[tag], readers[tag] = (name, one.form.write), one.form.read
        first = tags[0]
        if types[0].name == "null":
            tagged_default: Callable[[Any], Any] = types[0].default
        else:
            tagged_default = lambda value: (writers[first][0], {first: types[0].default(value)})  # noqa: E731
        return _Type("union", wires, _tagged_union(writers, readers, "null" in names), tagged_default)

    def _told_by_name(self, branch: _Type) -> _Type:
        """Return a branch of bytes that fastavro's writer finds by its name.

        It takes bytes for an array of integers otherwise.
        """
        name, wire = self._as_record(ONLY, branch)
        read, write, default = branch.form.read, branch.form.write, branch.default
        form = forms.Form(
            lambda value: value[ONLY] if read is None else read(value[ONLY]),
            lambda value: (name, {ONLY: write(value)}),
            branch.form.kinds,
        )
        return _Type(branch.name, wire, form, lambda value: (name, {ONLY: default(value)}))

    def _as_record(self, key: str, one: _Type) -> tuple[str, dict[str, Any]]:
        """Return name and schema of a record with a type as its only field, whose bytes are those of the type."""
        name = self._new_name()
        return name, {"type": "record", "name": name, "fields": [{"name": key, "type": one.wire}]}

    def _keep(self, full: str, made: _Type) -> _Type:
        if full in self.names:
            raise InvalidSchema(f"the type {full!r} is defined twice")
        self.names[full] = made
        return made

    def _new_name(self) -> str:
        return f"metroline.t{next(self.numbers)}"


ONLY = "value"
"""The name of the only field of a record that stands for the type of this field."""

_OBJECTS = {kind: frozenset({kind}) for kind in ("array", "object")}


def _record_form(name: str, fields: Sequence[_Field]) -> forms.Form:
    changed = [(one.name, one.type.form.read) for one in fields if one.type.form.read is not None]
    writers = [(one.name, one.type.form.write, one.default) for one in fields]
    known = frozenset(one.name for one in fields)

    def read_record(value: dict[str, Any]) -> dict[str, Any]:
        for field_name, read in changed:
            value[field_name] = read(value[field_name])
        return value

    def write_record(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise expected(f"an object of the type {name}", value)
        written, found = {}, 0
        for field_name, write, default in writers:
            item = value.get(field_name, ABSENT)
            if item is ABSENT:
                if default is ABSENT:
                    raise Unfit("the field is missing").within(field_name)
                written[field_name] = default
                continue
            found += 1
            try:
                written[field_name] = write(item)
            except Unfit as error:
                raise error.within(field_name) from None
        if found < len(value):
            unknown = next(key for key in value if key not in known)
            raise unknown_field(name, value[unknown]).within(unknown)
        return written

    return forms.Form(read_record if changed else None, write_record, _OBJECTS["object"])


def _default_record(fields: Sequence[_Field], value: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: one.type.default(value[one.name]) if one.name in value else one.default for one in fields}


def _plain_union(types: Sequence[_Type]) -> forms.Form:
    """Return the form of a union whose branches have JSON of different kinds."""
    writers = {kind: one.form.write for one in types for kind in one.form.kinds}
    readers = {kind: one.form.read for one in types for kind in _python_kinds(one) if one.form.read is not None}
    allowed = " or ".join(one.name for one in types)

    def write_branch(value: Any) -> Any:
        write = writers.get(KINDS[type(value)])
        if write is None:
            raise expected(allowed, value)
        return write(value)

    def read_branch(value: Any) -> Any:
        read = readers.get(type(value))
        return value if read is None else read(value)

    return forms.Form(read_branch if readers else None, write_branch, frozenset(writers))


def _python_kinds(one: _Type) -> Sequence[type]:
    """Return the types that fastavro's reader gives for the values of a type."""
    wire = one.wire if isinstance(one.wire, str) else one.wire.get("type") if isinstance(one.wire, dict) else ""
    by_wire: dict[str, type] = {
        "null": type(None),
        "boolean": bool,
        "int": int,
        "long": int,
        "float": float,
        "double": float,
        "bytes": bytes,
        "fixed": bytes,
        "string": str,
        "enum": str,
        "array": list,
        "record": dict,
        "map": dict,
    }
    if wire in by_wire:
        return [by_wire[wire]]
    if "object" in one.form.kinds:
        return [dict]
    return [bytes, str]  # a named type that was defined before: a fixed or an enum


def _tagged_union(
    writers: Mapping[str, tuple[str, forms.Write]], readers: Mapping[str, forms.Read | None], has_null: bool
) -> forms.Form:
    """Return the form of a union whose values are objects with the name of their branch."""
    allowed = " or ".join(f'{{"{tag}": ...}}' for tag in writers) + (" or null" if has_null else "")

    def write_branch(value: Any) -> Any:
        if value is None and has_null:
            return None
        if type(value) is not dict or len(value) != 1:
            raise expected(allowed, value)
        [(tag, item)] = value.items()
        if tag not in writers:
            raise expected(allowed, value)
        name, write = writers[tag]
        try:
            return name, {tag: write(item)}
        except Unfit as error:
            raise error.within(tag) from None

    def read_branch(value: Any) -> Any:
        if value is None:
            return None
        [(tag, item)] = value.items()
        read = readers[tag]
        return value if read is None else {tag: read(item)}

    return forms.Form(read_branch, write_branch, frozenset({"object", *(["null"] if has_null else [])}))


def _decimal(schema: Mapping[str, Any], size: int | None) -> forms.Form | None:
    """Return the form of a decimal; None if the schema does not describe one rightly, which Avro then ignores."""
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision or not precision:
        return None
    return forms.decimal(precision, scale, size)


def _full_name(schema: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    """Return the full name of a named type, and the namespace of the names in it."""
    name = str(schema["name"])
    if "." not in name:
        namespace = str(schema.get("namespace", namespace) or "")
        name = f"{namespace}.{name}" if namespace else name
    return name, name.rpartition(".")[0]


def _short(full: str) -> str:
    return full.rpartition(".")[2]


def _name_of(wire: Any) -> Any:
    return wire["name"] if isinstance(wire, dict) else wire


def _same(value: Any) -> Any:
    return value


def _latin(value: Any) -> bytes:
    return str(value).encode("latin-1")
