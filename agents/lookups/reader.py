"""Reads lookups: `accounts = lookup("accounts")`, then `accounts.get(key)`."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from weakref import WeakSet

from orjson import loads

from metroline.agents.lookups.errors import LookupDamaged, LookupMissing
from metroline.agents.lookups.footer import Footer
from metroline.agents.lookups.keys import encode_key
from metroline.agents.lookups.mapped_file import (
    SIZE_FIELD,
    Identity,
    MappedFile,
    identity_of,
    mapped_files,
)
from metroline.agents.lookups.paths import check_name, file_of, folder

CHECK_SECONDS = 1.0
"""Minimum time between two checks for a new version."""

MAX_INLINE_BYTES = 16 << 20
"""Size up to which a new version is opened by the reader that notices it, in 2 ms. A thread opens a larger one."""

__tracebackhide__ = True
"""If a service raises in here, its dead letter names the line of the service (see `routing.service_errors`)."""

log = logging.getLogger(__name__)


class Lookup:
    """A read-only table on disk. It is opened when it is first used, and can be read by any thread and process.

    A key is text or an integer, and 1000 is the same key as "1000". No lookup contains any other key (None, True, 1.5).
    Each value is a new object, which a service may change. A new version is read about a second after it was built. A
    damaged one is not: the log says so, and the old version stays.
    """

    def __init__(self, name: str, where: Path | None = None) -> None:
        self.name = check_name(name)
        self._where = where
        self._version: MappedFile | None = None
        self._check_at = float("-inf")
        self._seen: Identity | None = None
        """The file that was last seen at the path."""
        self._checking = threading.Lock()
        _lookups.add(self)

    def get(self, key: object, default: Any = None) -> Any:
        """Return the value of a key, or `default`; raise `LookupMissing` or `LookupDamaged` if there is no version."""
        if monotonic() >= self._check_at:
            self._check()
        version = self._version
        assert version is not None
        try:
            if type(key) is str:
                found = version.reader.get(key.encode())
            elif type(key) is int:
                found = version.reader.get(b"%d" % key)
            elif (name := encode_key(key)) is not None:
                found = version.reader.get(name)
            else:
                return default
        except _refused_keys():
            return default
        return default if found is None else loads(found)

    def open(self) -> None:
        """Open the lookup now instead of when it is first used; raise `LookupMissing` or `LookupDamaged`."""
        if monotonic() >= self._check_at:
            self._check()

    def __getitem__(self, key: object) -> Any:
        found = self.get(key, self)
        if found is self:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        version, name = self._current(), encode_key(key)
        return name is not None and version.reader.get(name) is not None

    def __len__(self) -> int:
        return self.footer.entries

    def __bool__(self) -> bool:
        """Return True, even if the lookup is empty, without opening it."""
        return True

    def __repr__(self) -> str:
        return f"lookup({self.name!r})"

    @property
    def footer(self) -> Footer:
        """The footer of the version that is read now."""
        return self._current().footer

    @property
    def path(self) -> Path:
        """The file of the lookup."""
        return file_of(self.name, folder() if self._where is None else self._where)

    def _current(self) -> MappedFile:
        self.open()
        assert self._version is not None
        return self._version

    def _check(self) -> None:
        """Open the first version, or a new one. Other threads read on meanwhile."""
        if self._version is None:
            with self._checking:
                if self._version is None:
                    self._read(self._opened(self.path))
            return
        if not self._checking.acquire(blocking=False):
            return
        try:
            self._check_at = monotonic() + CHECK_SECONDS
            which = _identity_at(self.path)
            if which == self._seen:
                return
            self._seen = which
            if which is None:
                log.warning("lookup %s: %s is gone; the version that was read stays", self.name, self.path)
            elif which == self._version.identity:
                return
            elif which[SIZE_FIELD] <= MAX_INLINE_BYTES:
                self._renew()
            else:
                threading.Thread(target=self._renew, name=f"lookup {self.name}", daemon=True).start()
        finally:
            self._checking.release()

    def _renew(self) -> None:
        """Switch to the version at the path, unless it cannot be read."""
        try:
            self._read(self._opened(self.path))
        except (LookupDamaged, LookupMissing) as error:
            log.warning("%s; the version that was read stays", error)
            if isinstance(error.__cause__, OSError):  # may be temporary: try this version again
                self._seen = None

    def _read(self, version: MappedFile) -> None:
        self._version = version
        self._seen = version.identity
        self._check_at = monotonic() + CHECK_SECONDS

    def _opened(self, path: Path) -> MappedFile:
        try:
            return mapped_files.at(path)
        except FileNotFoundError as error:
            raise LookupMissing(
                f"there is no lookup {self.name!r} in {path.parent}: build it with `metroline lookup build {self.name} "
                "FILE --key COLUMN`"
            ) from error
        except (LookupDamaged, OSError) as error:
            raise LookupDamaged(
                f"lookup {self.name}: {path} is damaged or cannot be read: {error}; build it again"
            ) from error

    @contextmanager
    def replaced(self, version: MappedFile) -> Iterator[None]:
        """Read this version while the block runs, and look for no other."""
        before = self._version, self._check_at
        self._version, self._check_at = version, float("inf")
        try:
            yield
        finally:
            self._version, self._check_at = before

    def after_fork(self) -> None:
        """Replace the lock in a child: the thread that held it does not exist there."""
        self._checking = threading.Lock()
        self._seen = None


def _refused_keys() -> tuple[type[Exception], ...]:
    """Return the errors for a key that is too long or has half of a surrogate pair.

    It is called when an error is raised, so that importing this module does not load LMDB.
    """
    from lmdb import BadValsizeError

    return BadValsizeError, ValueError


def _identity_at(path: Path) -> Identity | None:
    try:
        return identity_of(path.stat())
    except OSError:
        return None


_lookups: WeakSet[Lookup] = WeakSet()
_named: dict[str, Lookup] = {}


def lookup(name: str) -> Lookup:
    """Return the lookup of this name in the folder LOOKUP_DIR; the same object for each call."""
    if name not in _named:
        _named.setdefault(name, Lookup(name))
    return _named[name]


def _after_fork() -> None:
    mapped_files.after_fork()
    for one in _lookups:
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=mapped_files.before_fork, after_in_parent=mapped_files.after_fork, after_in_child=_after_fork
    )
