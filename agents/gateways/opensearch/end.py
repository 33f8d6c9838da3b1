"""An end of the kind `opensearch`: the options of its table in `line.toml`, and its records as documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from metroline.agents.gateways.opensearch.access import OpenSearchSettings
from metroline.agents.gateways.opensearch.bulk import Document, Fate, Item
from metroline.agents.gateways.opensearch.bulk_writer import BulkWriter
from metroline.agents.gateways.opensearch.cluster import ClusterAway, RequestRefused, SearchCluster
from metroline.agents.gateways.opensearch.index_pattern import IndexPattern, InvalidPattern, NoSuchTime
from metroline.agents.gateways.opensearch.index_template import IndexTemplate, InvalidTemplate
from metroline.agents.gateways.outside_end import Answer, Delayed, EndWriter, Outgoing, OutsideEnd, RefusedByEnd
from metroline.agents.http.access import HttpAccess, UnusableAccess, urls_in

DELAY_SECONDS = 10.0
"""Time for which a record waits on the bus before it is written again."""

PLACE_BITS = 21
"""Bits of a document's version, below the timestamp in milliseconds, that say where the record came in."""

LINE_BITS = 9
"""Bits of these for the place of the record in its message. The others are the last ones of the offset."""

Text = Annotated[str, Field(strict=True, min_length=1)]


def _pattern(text: str) -> str:
    try:
        IndexPattern(text)
    except InvalidPattern as error:
        raise ValueError(str(error)) from error
    return text


def _url(text: str) -> str:
    try:
        urls_in(text, "OPENSEARCH")
    except UnusableAccess as error:
        raise ValueError(str(error).partition(": ")[2]) from error
    return text


def _template(file: Any, info: ValidationInfo) -> IndexTemplate:
    if not isinstance(file, str):
        raise ValueError("must be the name of a JSON file beside line.toml")
    try:
        return IndexTemplate.read((info.context or {}).get("folder", Path()) / file)
    except InvalidTemplate as error:
        raise ValueError(str(error)) from error


class OpenSearchEnd(OutsideEnd):
    """A table `[ends.NAME]` with `kind = "opensearch"`."""

    kind: Literal["opensearch"]
    index: Annotated[Text, AfterValidator(_pattern)]
    """The index or alias, or a pattern of indices with the time of a record."""
    id: Text | None = None
    """The field with the id of the document; None for the PREFIX of the line and the id of the record."""
    time: Text | None = None
    """The field with the time of the record; None for the timestamp of the source message."""
    template: Annotated[IndexTemplate | None, PlainValidator(_template)] = None
    """The index template in a JSON file beside `line.toml`."""
    url: Annotated[Text, AfterValidator(_url)] | None = None
    """Address of the cluster; None for `OPENSEARCH_URL`."""

    def open(self, name: str) -> AbstractAsyncContextManager[EndWriter]:
        """Return what opens the end; raise `UnusableAccess` if the environment does not say where the cluster is."""
        return self._opened(name, self._access())

    async def problem(self) -> str | None:
        """Return why records would wait for the cluster; None if it answers and lets this client in."""
        try:
            cluster = SearchCluster(self._access())
        except UnusableAccess as error:
            return str(error)
        try:
            await cluster.version()
        except (ClusterAway, RequestRefused) as error:
            return f"records wait: {error}"
        finally:
            await cluster.close()
        return None

    def _access(self) -> HttpAccess:
        return OpenSearchSettings().opensearch_access(self.url)

    @asynccontextmanager
    async def _opened(self, name: str, access: HttpAccess) -> AsyncIterator[EndWriter]:
        cluster = SearchCluster(access)
        try:
            yield DocumentWriter(self, BulkWriter(name, cluster, self.template))
        finally:
            await cluster.close()


class DocumentWriter:
    """Writes records as documents."""

    def __init__(self, end: OpenSearchEnd, writer: BulkWriter) -> None:
        self._end = end
        self._pattern = IndexPattern(end.index)
        self._writer = writer

    async def write(self, pack: Sequence[Outgoing]) -> Sequence[Answer]:
        """Write records and return an answer for each."""
        answers: list[Answer] = []
        documents, places = [], []
        for place, one in enumerate(pack):
            try:
                documents.append(self._document(one))
            except RefusedByEnd as refused:
                answers.append(refused)
            else:
                places.append(place)
                answers.append(None)
        for place, item in zip(places, await self._writer.write(documents), strict=True):
            answers[place] = _answer(item)
        return answers

    def _document(self, one: Outgoing) -> Document:
        """Return a record as a document; raise `RefusedByEnd` if it lacks what index or id are made of."""
        index = self._end.index
        if self._pattern.has_time:
            try:
                index = self._pattern.name(self._time(one))
            except NoSuchTime as error:
                raise RefusedByEnd(str(error)) from error
        source = orjson.dumps(one.record)
        if self._end.id is None:
            return Document(index, f"{one.prefix}-{one.id}", source)
        found = one.record.get(self._end.id)
        if found is None or isinstance(found, dict | list):
            raise RefusedByEnd(f"documents take their ids from the field {self._end.id!r}, which has no text or number")
        identity = found if isinstance(found, str) else orjson.dumps(found).decode()
        return Document(index, identity, source, _version(one))

    def _time(self, one: Outgoing) -> int:
        """Return the time of a record in milliseconds since the epoch; raise `RefusedByEnd` if it has none."""
        if self._end.time is None:
            if one.meta.timestamp is None:
                raise RefusedByEnd("its source message had no timestamp: name a field with `time` in line.toml")
            return round(one.meta.timestamp * 1_000)
        found = milliseconds(one.record.get(self._end.time))
        if found is None:
            raise RefusedByEnd(
                f"the index has the time in the field {self._end.time!r}, which is neither text in ISO 8601 nor a "
                "number of milliseconds since the epoch"
            )
        return found


def milliseconds(value: Any) -> int | None:
    """Return a time as OpenSearch reads it by default, in milliseconds since the epoch; None if it is none.

    Text without a time zone is UTC.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value)
        if not isinstance(value, str):
            return None
        at = datetime.fromisoformat(value)
        return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None


def _version(one: Outgoing) -> int:
    """Return the version of a document, which rises with the timestamp, offset and line of its source message.

    So the record that came last stays, in whatever order records with one id are written, and however often.
    """
    at = max(0, round((one.meta.timestamp or 0.0) * 1_000))
    line = one.id.rpartition("-")[2].partition(".")[2] or "0"  # "source-0-17.2" is the third line of a message
    place = (one.meta.offset & 0xFFF) << LINE_BITS | min(int(line), (1 << LINE_BITS) - 1)
    return min(at << PLACE_BITS | place, 2**63 - 1)


def _answer(item: Item) -> Answer:
    if item.fate is Fate.REFUSED:
        return RefusedByEnd(item.reason)
    return None if item.fate is Fate.WRITTEN else Delayed(item.reason, DELAY_SECONDS)
