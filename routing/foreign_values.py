"""Values that an author's code made: their own methods may raise, or return anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

MAX_SHOWN_CHARACTERS = 40
"""Maximum number of characters of a value in a message."""

PLAIN_TYPES = frozenset({bool, int, float, str, bytes, type(None)})
"""Types whose values are shown themselves. Of all others, the type is shown."""

MAX_SHOWN_INTEGER = 10**MAX_SHOWN_CHARACTERS
"""Python refuses to write integers of more than some thousand digits."""


def name_of_type(value: object) -> str:
    """Return the name of a value's type, which a metaclass cannot change."""
    return cast(str, type.__dict__["__name__"].__get__(type(value)))


def text_of(value: object, characters: int) -> str:
    """Return at most `characters` characters of the text of a value, or a note if its `__str__` raises."""
    try:
        return plain_text(str(value), characters)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the author's, and the record has its outcome
        return f"a {name_of_type(value)}, whose text cannot be read: {name_of_type(error)}"


def plain_text(text: str, characters: int) -> str:
    """Return at most `characters` characters of a text; for a subclass of `str`, without calling its methods."""
    return str.__getitem__(text, slice(characters))


def shown(value: object) -> str:
    """Return a short form of a value for a message: its `repr`, or its type where that may be long or may raise."""
    if type(value) not in PLAIN_TYPES or (type(value) is int and abs(value) > MAX_SHOWN_INTEGER):
        return f"<{name_of_type(value)}>"
    text = repr(value[: MAX_SHOWN_CHARACTERS + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


def is_of(value: object, kind: type) -> bool:
    """Return whether a value is an instance of a type, whatever its `__class__` says."""
    return issubclass(type(value), kind)


def plain_list(value: object) -> list[Any]:
    """Return the elements of a list or a tuple; for a subclass, those that it holds, without calling its methods."""
    if is_of(value, list):
        return list(list.__iter__(cast("list[Any]", value)))
    return list(tuple.__iter__(cast("tuple[Any, ...]", value)))


def plain_dict(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the entries of a dict; for a subclass, those that it holds, without calling its methods."""
    return dict(dict.items(cast("dict[Any, Any]", value)))
