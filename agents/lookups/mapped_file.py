"""Files of lookups, each mapped into memory once per process for as long as it is read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary, finalize

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


class EntryReader(Protocol):
    """Reads the bytes of an entry by those of its key."""

    @property
    def get(self) -> Callable[[bytes], bytes | None]: ...


class MappedFile:
    """A mapped file of a lookup. It is unmapped when its last user is garbage collected: hold it while you read."""

    def __init__(self, footer: Footer, which: Identity, environment: lmdb.Environment) -> None:
        self.footer = footer
        self.identity = which
        self.reader: EntryReader = ThreadReader(environment)


class MappedFiles:
    """The mapped files of this process. LMDB requires that a process maps a file once."""

    def __init__(self) -> None:
        self._changing = threading.RLock()
        """Held while a file is mapped or unmapped, which is fast, but not while it is checked.

        A finalizer takes it, which may run wherever the garbage collector does.
        """
        self._open: WeakValueDictionary[Identity, MappedFile] = WeakValueDictionary()
        self._environments: dict[Identity, lmdb.Environment] = {}
        """All that LMDB has mapped: `_open`, and files whose last user is gone but that are not unmapped yet."""

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
        with self._changing:
            self._unmap_unused()
            if (known := self._open.get(which)) is not None:
                return known
            environment = _mapped(path)
            try:
                if identity_of(path.stat()) != which:
                    return None
                opened = self._open[which] = MappedFile(footer, which, environment)
                self._environments[which] = environment
            finally:
                if which not in self._environments:
                    environment.close()
            finalize(opened, self._unmap_unused).atexit = False
            return opened

    def _unmap_unused(self) -> None:
        """Unmap the files without a user. LMDB lets other threads run meanwhile, and refuses them the file."""
        with self._changing:
            for which in list(self._environments):  # a copy: a finalizer may run in here, and change it
                if which not in self._open and (environment := self._environments.pop(which, None)) is not None:
                    environment.close()

    def before_fork(self) -> None:
        """Wait for threads that map or unmap: a child could never map what is half mapped or half unmapped."""
        self._changing.acquire()

    def after_fork(self) -> None:
        """Allow changes again, in parent and child. A child keeps what is mapped and has users."""
        try:
            self._unmap_unused()
        finally:
            self._changing.release()


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
