"""Types of records that services declare: a record is read as one, and what the service returns is checked against it.

TypedDicts, dataclasses, msgspec's structs and attrs' classes are read by msgspec, pydantic's models by pydantic.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Protocol

import msgspec
import pydantic
from pydantic.dataclasses import is_pydantic_dataclass

from metroline.routing.errors import SchemaMismatch
from metroline.routing.foreign_values import is_of, name_of_type, text_of
from metroline.routing.outcome import Drop, Retry, Wait
from metroline.routing.records.field_sets import FieldSet
from metroline.routing.records.json_kinds import Kinds, Schema, kinds_in, object_in

MAX_PROBLEMS = 3
"""Maximum number of fields that a mismatch names."""

MAX_TEXT_CHARACTERS = 500
"""Maximum number of characters of the text of an exception."""

AT = " - at "
"""Separates the problem from the path in the messages of msgspec."""

OWN = "metroline.routing."
"""Beginning of the modules of this project's own classes, such as `Drop`. None of them is a type of records."""

NO_RECORDS = (Drop, Retry, Wait, BaseException)
"""Classes whose instances, and those of their subclasses, are answers and never records."""

MISSING = "Object missing required field "

UNEXPECTED = re.compile(r"Expected `(?P<expected>[^`]+)`.*\[field_name='(?P<field>[^']+)',.* input_type=(?P<got>\w+)\]")
"""The message of pydantic for a field that was set to a value of another kind."""


class UnusableType(Exception):
    """Raised for a type whose values cannot be read from records; the text says why."""


class RecordType(Protocol):
    """A type of records."""

    @property
    def name(self) -> str: ...

    def read(self, record: dict[str, Any]) -> Any:
        """Return a record as a value of the type; raise `SchemaMismatch`."""

    def fields(self, *, is_returned: bool) -> Mapping[str, Kinds] | None:
        """Return the kinds of the fields of the type; None if they are not known.

        `is_returned` if values of the type are returned, and not read.
        """

    def has_checked(self, value: Any) -> bool:
        """Return whether writing a value has checked it already."""

    @property
    def names(self) -> FieldSet:
        """The fields from which values are read; None if the type takes or refuses others, or they are not known."""


@dataclasses.dataclass(frozen=True, slots=True)
class MsgspecType:
    """A type that msgspec reads."""

    name: str
    type: Any

    def read(self, record: dict[str, Any]) -> Any:
        try:
            return msgspec.convert(record, self.type)
        except msgspec.ValidationError as error:
            raise SchemaMismatch(self.name, _told(text_of(error, MAX_TEXT_CHARACTERS))) from error
        except BaseException as error:  # the author's `__post_init__` may raise anything, even SystemExit
            raise SchemaMismatch(self.name, _other(error)) from error

    def fields(self, *, is_returned: bool) -> Mapping[str, Kinds] | None:
        schema, definitions = self._schema()
        return _fields(schema, definitions)

    def has_checked(self, value: Any) -> bool:
        return False

    @property
    def names(self) -> FieldSet:
        schema, definitions = self._components()
        objects = list(_objects_in(schema, definitions))
        are_open = all("additionalProperties" in one for one in objects)
        if are_open or not all("properties" in one for one in objects):
            return None
        return frozenset[str]().union(*(one["properties"] for one in objects))

    def _schema(self) -> tuple[Schema, Schema]:
        schema, definitions = self._components()
        return object_in(schema, definitions), definitions

    def _components(self) -> tuple[Schema, Schema]:
        try:
            (schema,), definitions = msgspec.json.schema_components([self.type])
            # Since msgspec 0.18, names that are not ASCII are found only once their UTF-8 is known, which this makes so
            msgspec.json.encode((schema, definitions))
        except Exception as error:
            raise UnusableType(text_of(error, MAX_TEXT_CHARACTERS)) from error
        return schema, definitions


@dataclasses.dataclass(frozen=True, slots=True)
class PydanticType:
    """A model or a dataclass of pydantic."""

    name: str
    type: Any
    adapter: pydantic.TypeAdapter[Any]

    @classmethod
    def of(cls, name: str, type: Any) -> PydanticType:
        """Return the type; raise `UnusableType` if pydantic has no schema for it."""
        try:
            found = cls(name, type, pydantic.TypeAdapter(type))
        except Exception as error:
            raise UnusableType(text_of(error, MAX_TEXT_CHARACTERS)) from error
        if hidden := next(found._hidden_fields(), None):
            raise UnusableType(
                f"the field {hidden} of {name} is a secret, of which pydantic writes asterisks: declare it as a str"
            )
        return found

    def read(self, record: dict[str, Any]) -> Any:
        try:
            return self.adapter.validate_python(record)
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise SchemaMismatch(self.name, "; ".join(map(_described, found[:MAX_PROBLEMS]))) from error
        except BaseException as error:  # the author's validators may raise anything, even SystemExit
            raise SchemaMismatch(self.name, _other(error)) from error

    def fields(self, *, is_returned: bool) -> Mapping[str, Kinds] | None:
        schema = self._schema(is_returned=is_returned)
        definitions = schema.get("$defs", {})
        return _fields(object_in(schema, definitions), definitions)

    def _schema(self, *, is_returned: bool) -> Schema:
        """Return the JSON Schema; an empty one if there is none, as for some types that can be read."""
        try:
            return self.adapter.json_schema(mode="serialization" if is_returned else "validation")
        except Exception:  # noqa: BLE001 - whatever pydantic raises
            return {}

    def _hidden_fields(self) -> Iterator[str]:
        """Yield the names of fields, also of nested models, whose values are not written as they were read."""
        schema = self._schema(is_returned=True)
        for one in (schema, *schema.get("$defs", {}).values()):
            for name, field in one.get("properties", {}).items():
                if any(part.get("writeOnly") for part in (field, *field.get("anyOf", ()))):
                    yield name

    def has_checked(self, value: Any) -> bool:
        return type(value) is self.type  # fields that were set to something else make pydantic warn, which is an error

    @property
    def names(self) -> FieldSet:
        config = getattr(self.type, "model_config", None) or getattr(self.type, "__pydantic_config__", None) or {}
        known = self.fields(is_returned=False)
        if config.get("extra", "ignore") != "ignore" or known is None:
            return None
        names, by_name = set(known), config.get("populate_by_name") or config.get("validate_by_name")
        for name, field in getattr(self.type, "__pydantic_fields__", {}).items():
            names.update(_top_names(field.validation_alias), [name] if by_name else ())
        return frozenset(names)


@dataclasses.dataclass(frozen=True, slots=True)
class DeclaredTypes:
    """The types that a service declares."""

    taken: RecordType | None = None
    """The type of its records; None if it takes dicts."""
    returned: RecordType | None = None
    """The type of the records that it returns; None if it does not say."""

    @property
    def reads(self) -> FieldSet:
        """The fields that the service receives; None for the whole record."""
        return None if self.taken is None else self.taken.names

    def read(self, record: dict[str, Any]) -> Any:
        """Return a record as the service receives it; raise `SchemaMismatch`."""
        return record if self.taken is None else self.taken.read(record)

    def written(self, value: Any, *, comes_back: bool = False) -> Any:
        """Return a record that the service returned as a dict, and any other value as it is.

        Raise `SchemaMismatch` if the record does not fit the type that the service declares: the one that it takes if
        the record `comes_back` to it, and otherwise the one that it returns.
        """
        kind: Any = type(value)
        record = _writer_of(kind)(value)
        expected = self.taken if comes_back else self.returned
        if expected is not None and is_of(record, dict) and not expected.has_checked(value):
            try:
                expected.read(record)
            except SchemaMismatch as error:
                raise SchemaMismatch(error.type_name, f"it returned {error.problem}") from error
        return record


def record_type(declared: Any, name: str) -> RecordType:
    """Return the type of records that a class, or a union of structs, stands for; raise `UnusableType`."""
    if _is_pydantic(declared):
        return PydanticType.of(name, declared)
    found = MsgspecType(name, declared)
    if found.fields(is_returned=False) is None and isinstance(declared, type):
        raise UnusableType(f"a record cannot be read as {name}, which has no named fields")
    return found


def is_record_class(declared: Any) -> bool:
    """Return whether records can be read as instances of a class. `Drop` and `Retry` are answers, and no records."""
    if not isinstance(declared, type) or declared.__module__.startswith(OWN) or issubclass(declared, NO_RECORDS):
        return False
    is_known = issubclass(declared, (msgspec.Struct, pydantic.BaseModel)) or dataclasses.is_dataclass(declared)
    return is_known or hasattr(declared, "__attrs_attrs__")


def _is_pydantic(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, pydantic.BaseModel) or is_pydantic_dataclass(kind))


def _unchanged(value: Any) -> Any:
    return value


@lru_cache(maxsize=1_024)
def _writer_of(kind: Any) -> Callable[[Any], Any]:
    """Return what makes dicts of the instances of a record class; instances of other classes stay as they are."""
    if not is_record_class(kind):
        return _unchanged
    if not _is_pydantic(kind):
        return partial(msgspec.to_builtins, str_keys=True)
    return partial(dumped, pydantic.TypeAdapter(kind), kind.__name__)


def dumped(adapter: pydantic.TypeAdapter[Any], name: str, value: Any) -> Any:
    """Return an instance of the pydantic model of this name as a dict."""
    try:
        return adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
    except ValueError as error:  # pydantic's errors of serialization are of this class
        raise SchemaMismatch(name, f"it returned {_unserializable(error)}") from error


def _fields(schema: Schema, definitions: Schema) -> Mapping[str, Kinds] | None:
    properties = schema.get("properties")
    if properties is None:
        return None
    return {name: kinds_in(one, definitions) for name, one in properties.items()}


def _objects_in(schema: Schema, definitions: Schema) -> Iterator[Schema]:
    """Yield the schemas of the objects of a union, or the only one."""
    found = object_in(schema, definitions)
    if "anyOf" in found:
        for one in found["anyOf"]:
            yield from _objects_in(one, definitions)
    elif found.get("type") != "null":
        yield found


def _top_names(alias: Any) -> Iterator[str]:
    """Yield the top-level fields that an alias of pydantic names."""
    for one in getattr(alias, "choices", [alias]):
        top = one.path[0] if hasattr(one, "path") else one
        if isinstance(top, str):
            yield top


def _told(text: str) -> str:
    """Return a message of msgspec with the path in front."""
    problem, at, place = text.rpartition(AT)
    if not at:
        problem, place = text, ""
    path = place.replace("`", "").replace("$.", "").removeprefix("$")
    if problem.startswith(MISSING):
        missing = problem.removeprefix(MISSING).strip("`")
        return f"{path}.{missing}: is missing" if path else f"{missing}: is missing"
    said = problem.replace("`", "").removesuffix(".")
    return f"{path}: {said[:1].lower()}{said[1:]}" if path else said


def _described(error: Mapping[str, Any]) -> str:
    """Return a problem that pydantic found, with the path in front."""
    path = "".join(_steps(error["loc"])).removeprefix(".")
    if error["type"] == "missing":
        return f"{path}: is missing"
    problem = error["msg"].removeprefix("Value error, ")
    return f"{path}: {problem[:1].lower()}{problem[1:]}" if path else problem


def _steps(path: tuple[int | str, ...]) -> Iterator[str]:
    for step in path:
        yield f"[{step}]" if isinstance(step, int) else f".{step}"


def _other(error: BaseException) -> str:
    return f"{name_of_type(error)}: {text_of(error, MAX_TEXT_CHARACTERS)}"


def _unserializable(error: ValueError) -> str:
    """Return why pydantic could not write a value, with the field in front if it says which one."""
    lines = [line.strip() for line in text_of(error, MAX_TEXT_CHARACTERS).splitlines() if line.strip()]
    last = lines[-1] if lines else name_of_type(error)
    found = UNEXPECTED.search(last)
    return last if found is None else f"{found['field']}: expected {found['expected']}, got {found['got']}"
