"""Reads entries of changelogs, and refuses those that no worker of the line can have written."""

from __future__ import annotations

import re
from typing import Any

import orjson

from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural

MAX_EPOCH = 2**48
"""Limit of the epochs of an `OwnedTable`. Each owner adds the group's generation, so no line comes near it."""

VERSION = re.compile(rb"[1-9][0-9]{0,15}")
"""The key of an entry of the table `rules`."""

PARTITION = re.compile(rb"([0-9]{1,9})/")
"""The beginning of a key of an `OwnedTable`."""


class ForeignEntry(MetrolineError):
    """Raised when an entry of a changelog cannot be one that a worker of the line wrote."""


def partition_of(key: bytes) -> int:
    """Return the partition with which a key begins, as in `3/source/0`; raise `ForeignEntry` if there is none."""
    found = PARTITION.match(key)
    if found is None:
        raise ForeignEntry(f"the key {key[:100]!r} names no partition")
    return int(found[1])


def epoch_of(entry: bytes | None) -> int:
    """Return the epoch in which an entry of an `OwnedTable` was written; 0 for None.

    Raise `ForeignEntry` if the entry is not a JSON object with an epoch below `MAX_EPOCH`.
    """
    return 0 if entry is None else _epoch_in(_object(entry))


def owned_entry(key: Any, value: bytes | None, partition: int) -> tuple[int, dict[str, Any]]:
    """Return the epoch and the value of an entry in a partition of the changelog of an `OwnedTable`.

    Raise `ForeignEntry` if its key is not one of the partition, or if its value is not a JSON object with an epoch. No
    worker deletes an entry, so there is none without a value.
    """
    if not isinstance(key, bytes) or partition_of(key) != partition:
        raise ForeignEntry(f"the key {key!r:.100} is not one of this partition")
    try:
        key.decode()
    except UnicodeDecodeError as error:
        raise ForeignEntry(f"the key is not text: {error}") from error
    if value is None:
        raise ForeignEntry("it deletes an entry")
    decoded = _object(value)
    return _epoch_in(decoded), decoded


def version_of(key: Any) -> int | None:
    """Return the version that is the key of an entry of the table `rules`; None if the key is none."""
    return int(key) if isinstance(key, bytes) and VERSION.fullmatch(key) else None


def _object(value: bytes) -> dict[str, Any]:
    try:
        decoded = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ForeignEntry(f"not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise ForeignEntry("not a JSON object")
    return decoded


def _epoch_in(decoded: dict[str, Any]) -> int:
    try:
        epoch = natural(decoded.get("epoch", 0))
    except MetrolineError as error:
        raise ForeignEntry(f"its epoch: {error}") from error
    if epoch >= MAX_EPOCH:
        raise ForeignEntry(f"its epoch {epoch} is not below {MAX_EPOCH}")
    return epoch
