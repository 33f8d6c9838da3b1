"""Reads entries of changelogs, and notices those that no worker of the line wrote."""

from __future__ import annotations

import logging
from typing import Any

import orjson

from metroline.agents.tables.publication import Publication
from metroline.routing.errors import MetrolineError

log = logging.getLogger(__name__)


class ForeignEntry(MetrolineError):
    """Raised when an entry of a changelog cannot be one that a worker of the line wrote."""


def partition_of(key: bytes) -> int:
    """Return the partition with which a key begins, as in `3/source/0`."""
    return int(key.partition(b"/")[0])


def epoch_of(entry: bytes | None) -> int:
    """Return the epoch in which an entry of an `OwnedTable` was written; 0 for None."""
    return 0 if entry is None else int(orjson.loads(entry).get("epoch", 0))


def owned_epoch(key: Any, value: bytes | None, partition: int) -> int:
    """Return the epoch of an entry that was found in a partition of the changelog of an `OwnedTable`.

    Raise `ForeignEntry` if its key is not one of the partition, or if its value is not a JSON object.
    """
    try:
        if partition_of(key) != partition:
            raise ForeignEntry(f"the key {key!r} is one of another partition")
        key.decode()
        return epoch_of(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise ForeignEntry(f"{type(error).__name__}: {error}") from error


def check_publication(key: Any, value: bytes | None) -> None:
    """Raise `ForeignEntry` for an entry of the table `rules` that is not a version and its publication."""
    try:
        int(key)
        if value is not None:
            Publication.of_json(orjson.loads(value))
    except (ValueError, TypeError, LookupError) as error:
        raise ForeignEntry(f"{type(error).__name__}: {error}") from error


def report_foreign(topic: str, partition: int, offset: int, error: ForeignEntry) -> None:
    """Log that an entry is left out."""
    log.error(
        "%s[%d] holds an entry at offset %d that no worker of this line wrote, and it is left out (%s)",
        topic,
        partition,
        offset,
        error,
    )
