"""Files of lookups, each mapped into memory once per process for as long as it is read."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING
from weakref import WeakValueDictionary

from metroline.agents.lookups.errors import LookupDamaged
from metroline.agents.lookups.footer import Footer

if TYPE_CHECKING:
    import lmdb

Identity = tuple[int, int, int, int]
"""Distinguishes files under the same name: device, inode, size in bytes, and time of the last change in ns."""

SIZE_FIELD = 2


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class ThreadReader(threading.local):
    """Reads a mapped file in an LMDB transaction of each thread: a transaction serves one thread only."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self.get = environment.begin().get


class MappedFile:
    """A mapped file of a lookup. It is unmapped when its last reader is garbage collected."""

    def __init__(self, footer: Footer, which: Identity, environment: lmdb.Environment) -> None:
        self.footer = footer
        self.identity = which
        self.reader = ThreadReader(environment)


class MappedFiles:
    """The mapped files of this process. LMDB requires that a process maps a file once."""

    def __init__(self) -> None:
        self._opening = threading.Lock()
        """Held while a file is mapped, which is fast, but not while it is checked."""
        self._open: WeakValueDictionary[Identity, MappedFile] = WeakValueDictionary()

    def at(self, path: Path) -> MappedFile:
        """Return the file at `path`, checked to its last byte; raise `LookupDamaged`, or OSError if it cannot be read.

        LMDB opens a file by name. It opened the checked file if the name still has that identity: the inode of a file
        that is held open cannot be reused.
        """
        while True:
            with path.open("rb") as file:
                which = identity_of(os.fstat(file.fileno()))
                if (known := self._open.get(which)) is not None:
                    return known
                footer = _checked(file)
                if (opened := self._mapped(path, which, footer)) is not None:
                    return opened

    def _mapped(self, path: Path, which: Identity, footer: Footer) -> MappedFile | None:
        """Map the checked file; return None, with nothing mapped, if another file is at `path` by now."""
        with self._opening:
            if (known := self._open.get(which)) is not None:
                return known
            opened = MappedFile(footer, which, _mapped(path))
            if identity_of(path.stat()) != which:
                return None
            self._open[which] = opened
            return opened

    def before_fork(self) -> None:
        """Wait for threads that are mapping a file: a child could never map what its parent has half mapped."""
        self._opening.acquire()

    def after_fork(self) -> None:
        """Allow mapping again, in parent and child. A child keeps what is mapped."""
        self._opening.release()


def _checked(file: IO[bytes]) -> Footer:
    footer = Footer.read(file)
    footer.check(file)
    return footer


def _mapped(path: Path) -> lmdb.Environment:
    import lmdb  # only for a lookup that is opened: a line without lookups does not load it

    try:
        return lmdb.open(str(path), subdir=False, readonly=True, create=False, lock=False, readahead=False)
    except lmdb.Error as error:
        raise LookupDamaged(f"LMDB says {error}") from error


mapped_files = MappedFiles()
