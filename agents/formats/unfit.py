"""A value that does not fit a schema, with the path of its field."""

from __future__ import annotations

from typing import Any

MAX_SHOWN = 60
"""Maximum number of characters of a value that a problem shows."""

KINDS = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
"""The JSON kind of each type that a decoded record holds."""


class Unfit(Exception):
    """Raised for a value that does not fit a schema; the path grows while it passes the fields that hold the value."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str | int] = []

    def within(self, place: str | int) -> Unfit:
        """Return the error with the name of the field, or the index, that holds the value."""
        self.path.append(place)
        return self

    def __str__(self) -> str:
        path = path_text(self.path[::-1])
        return f"{path}: {self.problem}" if path else self.problem


def path_text(path: list[str | int]) -> str:
    """Return a path as people read it, such as `items[0].price`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def expected(what: str, value: Any) -> Unfit:
    """Return the error for a value in place of which `what` belongs."""
    return Unfit(f"expected {what}, got the {_described(value)}")


def unknown_field(type_name: str, value: Any) -> Unfit:
    """Return the error for the value of a field that a type does not have."""
    return Unfit(f"the type {type_name} has no such field, got the {_described(value)}")


def kind_of(value: Any) -> str:
    """Return the JSON kind of a value."""
    return KINDS.get(type(value), "value")


def _described(value: Any) -> str:
    shown = repr(value)
    if len(shown) > MAX_SHOWN:
        shown = f"{shown[:MAX_SHOWN]}..."
    return f"{kind_of(value)} {shown}"
