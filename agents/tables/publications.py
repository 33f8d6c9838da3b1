"""The published versions that a worker holds: each is decoded when it is asked for, and the latest ones are kept so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import orjson

from metroline.agents.tables.line_table import LineTable
from metroline.agents.tables.publication import Publication

KEPT, KEPT_BYTES = 64, 16 * 1024 * 1024
"""Number and bytes of the versions that are kept decoded, of those that were asked for last. A page lists 50."""


class Publications(Mapping[int, Publication]):
    """The versions in a table by their numbers, newest first."""

    def __init__(self, table: LineTable) -> None:
        """Take the table `rules`."""
        self._table = table
        self._decoded: dict[int, tuple[bytes, Publication]] = {}
        """Decoded versions with their entries, the one that was asked for last at the end."""
        self._size = 0

    def __getitem__(self, version: int) -> Publication:
        encoded: bytes | None = self._table.data.get(str(version).encode())
        if not encoded:
            raise KeyError(version)
        kept = self._decoded.pop(version, None)
        if kept is not None:
            self._size -= len(kept[0])
        if kept is None or kept[0] != encoded:  # versions do not change, but a topic may be created anew
            kept = encoded, Publication.of_json(orjson.loads(encoded))
        self._decoded[version] = kept
        self._size += len(encoded)
        while len(self._decoded) > KEPT or (self._size > KEPT_BYTES and len(self._decoded) > 1):
            oldest = next(iter(self._decoded))
            self._size -= len(self._decoded.pop(oldest)[0])
        return kept[1]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted((int(key) for key, encoded in self._table.data.items() if encoded), reverse=True))

    def __len__(self) -> int:
        return sum(map(bool, self._table.data.values()))

    def latest(self, most: int) -> dict[int, Publication]:
        """Return up to `most` versions, newest first."""
        return {version: self[version] for version in islice(self, most)}

    def named(self, number: str) -> int | None:
        """Return the version with this number as it stands in an address; None if there is none."""
        return next((version for version in self if str(version) == number), None)
