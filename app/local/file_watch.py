"""Watches files for changes of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_HASHED_BYTES = 1 << 20
"""Size up to which the content of a file is compared, in bytes; a larger one has changed if its time or size has."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was at a look."""

    modified: int
    """Nanoseconds since the epoch."""
    size: int
    digest: bytes
    """A digest of the content; empty if the file is large."""

    def differs(self, other: FileState | None) -> bool:
        """Return whether the content is another one, as far as is known."""
        if other is None:
            return True
        if self.digest and other.digest:
            return self.digest != other.digest
        return (self.modified, self.size) != (other.modified, other.size)


States = dict[Path, FileState]


class FileWatch:
    """Finds which files have changed since they were last accepted. A file that appears or disappears has changed."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        """`files` returns the files that there are now; it is called at each look."""
        self._files = files
        self._accepted = self._look({})
        self._seen = self._accepted
        self._refused: States | None = None

    def changed(self) -> frozenset[Path]:
        """Return the files that differ from the accepted ones, once two looks in a row find them alike.

        A file that is being written is thus not taken half. Files that were refused are returned again only after a
        further change.
        """
        before, self._seen = self._seen, self._look(self._seen)
        if _differences(before, self._seen) or (
            self._refused is not None and not _differences(self._refused, self._seen)
        ):
            return frozenset()
        return _differences(self._accepted, self._seen)

    def has_moved_on(self) -> bool:
        """Return whether the files differ from those that the last call of `changed` saw."""
        return bool(_differences(self._seen, self._look(self._seen)))

    def accept(self) -> None:
        """Take the files that `changed` saw last for the present ones, and those that are watched only since then."""
        self._accepted = self._seen = {**self._look(self._seen), **self._seen}
        self._refused = None

    def refuse(self) -> None:
        """Keep the accepted files, and report no change until those that `changed` saw last change again.

        Those that are watched only since then count as seen.
        """
        self._refused = self._seen = {**self._look(self._seen), **self._seen}

    def distrust(self) -> None:
        """Accept no files: after a further change, all of them are returned."""
        self._accepted, self._refused = {}, self._seen

    def _look(self, before: States) -> States:
        states = {}
        for file in self._files():
            try:
                states[file] = _state(file, before.get(file))
            except OSError:  # it has just gone
                continue
        return states


def _state(file: Path, before: FileState | None) -> FileState:
    found = file.stat()
    if before is not None and (found.st_mtime_ns, found.st_size) == (before.modified, before.size):
        return before
    is_small = found.st_size <= MAX_HASHED_BYTES
    digest = hashlib.blake2b(file.read_bytes(), digest_size=16).digest() if is_small else b""
    return FileState(found.st_mtime_ns, found.st_size, digest)


def _differences(before: States, after: States) -> frozenset[Path]:
    gone = before.keys() - after.keys()
    return frozenset(gone | {file for file, state in after.items() if state.differs(before.get(file))})
