"""The metadata of a record as rules read it: `meta.key`, `meta.headers["type"]`, `meta.timestamp`, `meta.entered`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import repeat
from typing import Any

from metroline.routing.messages.metadata import NO_TIMESTAMP, Headers, Metadata

RuleMeta = tuple[bytes | None, Headers | None, int, float | None]
"""Key, headers, timestamp (milliseconds) and time of entry (seconds) of a record, without those that no rule reads.

Records with equal ones decide alike.
"""

RuleMetas = Sequence[RuleMeta] | None
"""The metadata of each record; None if no rule reads it."""

NO_META: RuleMeta = (None, None, NO_TIMESTAMP, None)


def rule_metas(metadata: Metadata | None, entered: float, count: int, parts: Collection[str]) -> RuleMetas:
    """Return the metadata of `count` records as far as rules read it; `parts` are the fields that they read.

    `entered` is the time at which the records entered the line, in seconds since the epoch.
    """
    if not parts:
        return None
    found = metadata or Metadata()
    keys = found.keys if found.keys is not None and "key" in parts else repeat(None)
    headers = found.headers if found.headers is not None and "headers" in parts else repeat(None)
    at = found.timestamps if "timestamp" in parts else None
    timestamps = at if at is not None else repeat(NO_TIMESTAMP)
    entry = entered if "entered" in parts else None
    columns = zip(range(count), keys, headers, timestamps, strict=False)
    return [(key, own, timestamp, entry) for _, key, own, timestamp in columns]


def as_variable(meta: RuleMeta) -> dict[str, Any]:
    """Return the value of the variable `meta`: bytes as text, and times in seconds since the epoch."""
    key, headers, timestamp, entered = meta
    return {
        "key": _text(key),
        "headers": {name: _text(value) for name, value in headers or ()},
        "timestamp": None if timestamp == NO_TIMESTAMP else timestamp / 1_000,
        "entered": entered,
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
