"""One version of a lookup: its file, mapped into memory for as long as someone reads it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING
from weakref import WeakValueDictionary

from metroline.agents.lookups.errors import LookupDamaged
from metroline.agents.lookups.footer import Label

if TYPE_CHECKING:
    import lmdb

Identity = tuple[int, int, int, int]
"""What tells one file from another under the same name: device, inode, size, and the time of the last change."""
SIZE = 2


def identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Here(threading.local):
    """A thread's own way into a version: a transaction of LMDB serves one thread, for as long as one likes."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self.get = environment.begin().get


class Version:
    """A version that is mapped; nobody closes it: its pages are given back when the last reader has left it."""

    def __init__(self, label: Label, which: Identity, environment: lmdb.Environment) -> None:
        self.label = label
        self.identity = which
        self.here = Here(environment)


class Versions:
    """The versions that this process has open, each once for all of its readers, as LMDB asks for."""

    def __init__(self) -> None:
        self._opening = threading.Lock()
        """Held while a file is mapped, which takes no time, and not while it is checked."""
        self._open: WeakValueDictionary[Identity, Version] = WeakValueDictionary()

    def at(self, path: Path) -> Version:
        """The version at `path`, checked to its last byte; raises `LookupDamaged`, or OSError where it cannot be read.

        LMDB opens by name. What it opened is what was checked if that is still what the name means, since nobody else
        gets the inode of a file that is held open.
        """
        while True:
            with path.open("rb") as file:
                which = identity(os.fstat(file.fileno()))
                if (known := self._open.get(which)) is not None:
                    return known
                label = _checked(file)
                if (opened := self._mapped(path, which, label)) is not None:
                    return opened

    def _mapped(self, path: Path, which: Identity, label: Label) -> Version | None:
        """The version that was checked; None, and nothing is left open, if there is another one at `path` by now."""
        with self._opening:
            if (known := self._open.get(which)) is not None:
                return known
            opened = Version(label, which, _mapped(path))
            if identity(path.stat()) != which:
                return None
            self._open[which] = opened
            return opened

    def before_fork(self) -> None:
        """A child would have what a thread of its parent has half opened, and could never open it."""
        self._opening.acquire()

    def after_fork(self) -> None:
        """Called in both; what is mapped stays so in a child."""
        self._opening.release()


def _checked(file: IO[bytes]) -> Label:
    label = Label.read(file)
    label.check(file)
    return label


def _mapped(path: Path) -> lmdb.Environment:
    import lmdb  # only for a lookup that is opened: a line without lookups does not load it

    try:
        return lmdb.open(str(path), subdir=False, readonly=True, create=False, lock=False, readahead=False)
    except lmdb.Error as error:
        raise LookupDamaged(f"LMDB says {error}") from error


versions = Versions()
