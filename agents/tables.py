"""Faust tables that are written once per envelope, with every update confirmed before the envelope is acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import faust
import orjson

from agents.topics import Topics

if TYPE_CHECKING:
    from agents.bus import Bus, Confirmation


class LineTable(faust.Table[bytes, bytes]):
    """A table whose keys begin with the partition and whose changelog is named without the role.

    Faust writes the changelog of `table[key] = value` without waiting for it, so the source offset may be committed
    before it is; `put` gives the confirmation to wait for.
    """

    def _changelog_topic_name(self) -> str:
        topics: Topics = cast(Any, self.app).line_topics
        return topics.changelog(self.name)

    async def put(self, bus: Bus, partition: int, key: bytes, value: Any) -> Confirmation:
        """Sets a value (anything that JSON holds) for a key of this partition."""
        encoded = orjson.dumps(value)
        self.data[key] = encoded
        return await bus.ship(self.changelog_topic_name, partition, encoded, key=key)

    def read(self, key: bytes) -> Any:
        """The value of a key, or None."""
        encoded = self.data.get(key)
        return None if encoded is None else orjson.loads(encoded)

    def entries(self, partitions: frozenset[int] | None = None) -> Iterator[tuple[str, Any]]:
        """Keys and values, of these partitions only: the memory store keeps what it wrote for partitions now lost."""
        for key, encoded in list(self.data.items()):
            name = key.decode()
            if encoded and (partitions is None or int(name.partition("/")[0]) in partitions):
                yield name, orjson.loads(encoded)


class LineGlobalTable(LineTable, faust.GlobalTable):
    """A table of which every worker holds the whole."""
