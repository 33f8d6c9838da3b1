"""The types that a service's function declares for its records, in its annotations."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from metroline.agents.services.service import Record, Service
from metroline.routing.errors import InvalidLine
from metroline.routing.outcome import Drop, Retry, Wait
from metroline.routing.records.record_types import DeclaredTypes, UnusableType, is_record_class, record_type

NAMES = {"Record": Record, "Drop": Drop, "Retry": Retry, "Wait": Wait, "Any": Any, "Mapping": Mapping}
"""Names in annotations that need not be imported when a program runs."""


class UnknownName(Exception):
    """Raised for an annotation that cannot be evaluated; the text says why."""


def with_types(service: Service) -> Service:
    """Return a service with the types that its function declares. Records of a service without any stay dicts.

    Unless the service says itself which fields it `reads`, it receives those of its type. Raise `InvalidLine` if its
    records cannot be read as the type.
    """
    function = service.handler
    try:
        parameters = list(inspect.signature(function).parameters.values())
        taken = _taken(_evaluated(function, parameters[0].annotation), is_batch=service.batching is not None)
        returned = _returned(_evaluated(function, inspect.signature(function).return_annotation), service)
        declared = DeclaredTypes(
            None if taken is None else record_type(taken, _name(taken)),
            None if returned is None else record_type(returned, _name(returned)),
        )
        if declared == DeclaredTypes():
            return service
        return replace(service, types=declared, reads=declared.reads if service.reads is None else service.reads)
    except (UnknownName, UnusableType) as error:
        raise InvalidLine(f"service {service.name!r}: {error}") from error


def _taken(annotation: Any, *, is_batch: bool) -> Any:
    """Return the type of the records that a function takes; None if it takes dicts."""
    if is_batch:
        if _is_record(annotation):
            raise UnusableType(f"a batch is a list of records: write list[{_name(annotation)}]")
        annotation = _element(annotation)
    members = [one for one in _members(annotation) if one is not type(None)]
    if not members or any(map(_is_plain, members)):
        return None
    if all(map(_is_record, members)) and (len(members) == 1 or all(map(_is_struct, members))):
        return annotation if len(members) > 1 else members[0]
    raise UnusableType(
        f"a record cannot be read as {_name(annotation)}: declare a TypedDict, a dataclass, a msgspec.Struct, a "
        "pydantic model, a union of structs with tags, or a dict"
    )


def _returned(annotation: Any, service: Service) -> Any:
    """Return the type of the records that a function returns; None if it names none, or several."""
    if service.batching is not None:
        if _is_record(annotation):
            raise UnusableType(f"it returns a list with an answer for each record: write -> list[{_name(annotation)}]")
        annotation = _element(annotation)
    records = [one for one in _members(annotation) if _is_record(one)]
    is_open = any(map(_is_plain, _members(annotation)))
    return records[0] if len(records) == 1 and not is_open else None


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, or the only type of another annotation."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for one in typing.get_args(annotation):
            yield from _members(one)
    elif annotation is not inspect.Parameter.empty:
        yield annotation


def _element(annotation: Any) -> Any:
    """Return the type of the elements of a list."""
    elements = typing.get_args(annotation)
    return elements[0] if elements else inspect.Parameter.empty


def _is_plain(annotation: Any) -> bool:
    """Return whether an annotation stands for a dict, or for anything."""
    origin = typing.get_origin(annotation) or annotation
    if origin in (Any, object) or isinstance(origin, typing.TypeVar):
        return True
    return isinstance(origin, type) and issubclass(origin, Mapping) and not _is_typed_dict(origin)


def _is_record(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return _is_typed_dict(origin) or is_record_class(origin)


def _is_typed_dict(kind: Any) -> bool:
    """Return whether a class is a `TypedDict`, that of `typing` or of `typing_extensions`."""
    return isinstance(kind, type) and hasattr(kind, "__total__") and hasattr(kind, "__required_keys__")


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _name(annotation: Any) -> str:
    members = list(_members(annotation))
    return " | ".join(getattr(one, "__name__", str(one)) for one in members)


def _evaluated(function: Callable[..., Any], annotation: Any) -> Any:
    """Return an annotation that may be text; raise `UnknownName` if it names something that is not there."""
    if not isinstance(annotation, str):
        return annotation
    own = inspect.unwrap(function)
    names = getattr(own, "__globals__", None) or vars(sys.modules[own.__module__])
    try:
        while isinstance(annotation, str):
            annotation = eval(
                annotation, dict(NAMES) | names
            )  # the author's own code, as typing.get_type_hints does it
        return annotation
    except Exception as error:
        raise UnknownName(
            f"its annotation {annotation} cannot be evaluated ({type(error).__name__}: {error}): import what it names "
            "at the top of the module, outside of TYPE_CHECKING"
        ) from error
