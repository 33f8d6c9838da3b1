"""Lookups in memory: dicts that take the place of lookups on disk, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import orjson

from metroline.agents.lookups.errors import InvalidLookup
from metroline.agents.lookups.footer import Footer
from metroline.agents.lookups.keys import require_key
from metroline.agents.lookups.mapped_file import MappedFile
from metroline.agents.lookups.reader import lookup

NOWHERE = (0, 0, 0, 0)
"""The identity of what is no file."""


@contextmanager
def lookups_in_memory(entries: Mapping[str, Mapping[Any, Any]]) -> Iterator[None]:
    """Let each lookup that is named have these entries, in the whole process, while the block runs.

    Keys and values are as in a lookup on disk: 1000 and "1000" are one key, and each value that is read is a new
    object. Raise `InvalidLookup` for a key or a value that no lookup can have.
    """
    with ExitStack() as replaced:
        for name, own in entries.items():
            replaced.enter_context(lookup(name).replaced(_Entries(name, own)))
        yield


class _Entries(MappedFile):
    """The entries of a dict, read as those of a mapped file."""

    def __init__(self, name: str, entries: Mapping[Any, Any]) -> None:
        self.reader = dict(_encoded(name, entries))
        self.footer = Footer(len(self.reader), "", None, "a test", "", "", "", 0, 0)
        self.identity = NOWHERE


def _encoded(name: str, entries: Mapping[Any, Any]) -> Iterator[tuple[bytes, bytes]]:
    if not isinstance(entries, Mapping):
        raise InvalidLookup(f"lookup {name}: its entries must be a dict, not {entries!r}")
    for key, value in entries.items():
        try:
            yield require_key(key), orjson.dumps(value)
        except InvalidLookup as error:
            raise InvalidLookup(f"lookup {name}: {error}") from error
        except TypeError as error:
            raise InvalidLookup(f"lookup {name}: the value of the key {key!r} is no JSON: {error}") from error
