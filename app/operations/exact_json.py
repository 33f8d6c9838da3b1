"""Reads JSON that people and programs give for records: what a record could not hold without a change is refused."""

from __future__ import annotations

from typing import Any

from metroline.routing.errors import UsageError
from metroline.routing.records.source_messages import read_message


def exact_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in a text.

    Raise `UsageError` if it is none, is nested too deeply, or holds a number that would change: an integer of more than
    64 bits, or one that is not finite.
    """
    line, *more = read_message(raw)
    if more:
        raise UsageError("several JSON objects, where one is expected")
    if line.record is None:
        raise UsageError(line.problem or "not a JSON object")
    return line.record
