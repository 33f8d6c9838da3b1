"""The bodies of `_bulk` requests, and what becomes of each document by the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import orjson
from msgspec import Struct

MAX_BODY_BYTES = 5 * 1024 * 1024
"""Bytes of documents from which on a request is divided. OpenSearch's own limit is 100 MiB by default."""

MAX_REASON = 500
"""Maximum number of characters of a reason that OpenSearch gives."""


class Document(Struct, frozen=True):
    """A document as it is written: one with the same index and id takes its place."""

    index: str
    id: str
    source: bytes
    """The record as JSON on one line."""
    version: int | None = None
    """None to take the place of any document; otherwise of one whose version is not higher."""


class Fate(Enum):
    """The result of writing a document."""

    WRITTEN = "written"
    REFUSED = "refused"
    """The document itself is at fault, so that it would be refused again."""
    WAITS = "waits"
    """The cluster does not take it now: it is overloaded, an index is read-only or missing, or a right is missing."""


class Item(NamedTuple):
    """The result of writing a document, with the reason if it was not written."""

    fate: Fate
    reason: str = ""


WRITTEN = Item(Fate.WRITTEN)

BAD_REQUEST, CONFLICT = 400, 409

VERSION_CONFLICT = "version_conflict_engine_exception"

OF_THE_CLUSTER = (
    "validation_exception",  # too many shards
    "index_closed_exception",
    "invalid_index_name_exception",
    "routing_missing_exception",  # the mapping of the index demands routing
)
"""Types of errors with the status 400 that say nothing of the document: no other one would be taken either."""

REASONS_OF_THE_CLUSTER = (
    "no write index",  # of an alias
    "op_type of create",  # a data stream takes no documents that may replace others
    "pipeline with id",  # the index names an ingest pipeline that does not exist
    "number of documents in the",  # the index is full
)
"""Parts of the reasons of other such errors, whose types say nothing."""


def body_of(documents: Sequence[Document]) -> bytes:
    """Return the body of a request that writes documents in this order."""
    return b"".join(map(_lines, documents))


def _lines(document: Document) -> bytes:
    action: dict[str, Any] = {"_index": document.index, "_id": document.id}
    if document.version is not None:
        action |= {"version": document.version, "version_type": "external_gte"}
    return b'{"index":%b}\n%b\n' % (orjson.dumps(action), document.source)


def chunks(documents: Sequence[Document], most: int = MAX_BODY_BYTES) -> Iterator[Sequence[Document]]:
    """Yield the documents in order, in parts of about `most` bytes at most."""
    first = size = 0
    for place, document in enumerate(documents):
        own = len(document.source)
        if place > first and size + own > most:
            yield documents[first:place]
            first, size = place, 0
        size += own
    if documents:
        yield documents[first:]


def items_of(answer: Mapping[str, Any], count: int) -> list[Item]:
    """Return the results of `count` documents by the answer to their request; raise ValueError if it is none."""
    if answer.get("errors") is False:
        return [WRITTEN] * count
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != count:
        raise ValueError("it does not say what became of each document")
    try:
        return [_item(item["index"]) for item in items]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError("it does not say what became of each document") from error


def _item(result: Mapping[str, Any]) -> Item:
    status, error = int(result["status"]), result.get("error")
    if error is None and status < 300:
        return WRITTEN
    kind, reason = _described(error)
    if status == CONFLICT and kind == VERSION_CONFLICT:  # a later one is there
        return WRITTEN
    is_of_the_cluster = kind in OF_THE_CLUSTER or any(part in reason for part in REASONS_OF_THE_CLUSTER)
    is_own_fault = status == BAD_REQUEST and not is_of_the_cluster
    return Item(Fate.REFUSED if is_own_fault else Fate.WAITS, f"{status} {reason}")


def _described(error: Any) -> tuple[str, str]:
    if not isinstance(error, Mapping):
        return "", str(error)[:MAX_REASON]
    return str(error.get("type")), reason_of(error)


def reason_of(error: Mapping[str, Any]) -> str:
    """Return an error of OpenSearch as text: its type and reason, and those of what caused it."""
    parts: list[str] = []
    cause: Any = error
    while isinstance(cause, Mapping) and len(parts) < 3:
        text = f"{cause.get('type')}: {cause.get('reason')}"
        if text not in parts:
            parts.append(text)
        cause = cause.get("caused_by")
    return ", caused by ".join(parts).replace("\n", " ")[:MAX_REASON]
