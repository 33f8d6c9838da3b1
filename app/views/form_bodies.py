"""Forms about dead letters as the JSON objects that programs send: both are checked alike afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metroline.app.operations.edits import parse_field
from metroline.app.operations.exact_json import exact_object
from metroline.app.operations.replay_jobs import parse_ramp, parse_share
from metroline.app.views.access.forms import FORM_TOKEN, fields_in
from metroline.routing.errors import UsageError


def _fields(text: str) -> dict[str, Any]:
    return {name: value for name, value, _ in (parse_field(line) for line in text.splitlines() if line.strip())}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a number") from None


def _record(text: str) -> dict[str, Any]:
    try:
        return exact_object(text.encode())
    except UsageError as error:
        raise UsageError(f"the record cannot be used: {error}") from error


READ: dict[str, Callable[[str], object]] = {
    "ids": str.split,
    "set": _fields,
    "ramp": lambda text: list(parse_ramp(text)),
    "stop_at": parse_share,
    "rate": _number,
    "patience": _number,
    "record": _record,
    "dry_run": lambda text: text == "true",
    "discard": lambda text: text == "true",
}
"""The value that a field of a form stands for, where that is not its text."""


def body_of_form(raw: bytes) -> dict[str, Any]:
    """Return the object that a form stands for; a field that was left empty is none. Raise `UsageError`."""
    fields = fields_in(raw)
    fields.pop(FORM_TOKEN, None)  # which the check of the login has read
    filled = {name: value for name, value in fields.items() if value.strip()}
    return {name: READ[name](value) if name in READ else value for name, value in filled.items()}
