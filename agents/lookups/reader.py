"""What a service looks things up in: `accounts = lookup("accounts")`, `accounts.get(key)`."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from time import monotonic
from typing import Any
from weakref import WeakSet

from orjson import loads

from metroline.agents.lookups.errors import LookupDamaged, LookupMissing
from metroline.agents.lookups.footer import Label
from metroline.agents.lookups.keys import encoded
from metroline.agents.lookups.mapped_file import SIZE, Here, Identity, Version, identity, versions
from metroline.agents.lookups.paths import checked, file_of, folder

LOOK_SECONDS = 1.0
"""How often a reader looks whether there is a new version, at most."""

AT_ONCE_BYTES = 16 << 20
"""Up to how large a new version is checked and opened where it is noticed: 2 ms. A larger one is opened in a thread."""

__tracebackhide__ = True
"""Where a service raises in here, it is the service's own line that is told (`routing.failure`)."""

log = logging.getLogger(__name__)


class Lookup:
    """A read-only table on disk, by key. It is opened when it is first used, by any thread of any process.

    A key is text or a whole number, and 1000 is the same key as "1000"; anything else (None, True, 1.5) is in none.
    Each value is a fresh object, which a service may change. A version that is built meanwhile is read from about a
    second later on; one that is damaged is not, which the log says.
    """

    def __init__(self, name: str, where: Path | None = None) -> None:
        self.name = checked(name)
        self._where = where
        self._version: Version | None = None
        self._here: Here
        self._look_at = float("-inf")
        self._seen: Identity | None = None
        """What was last at the path."""
        self._looking = threading.Lock()
        _lookups.add(self)

    def get(self, key: object, default: Any = None) -> Any:
        """The value for a key, or `default`; raises `LookupMissing` or `LookupDamaged` where there is none to read."""
        if monotonic() >= self._look_at:
            self._look()
        try:
            if type(key) is str:
                found = self._here.get(key.encode())
            elif type(key) is int:
                found = self._here.get(b"%d" % key)
            elif (name := encoded(key)) is not None:
                found = self._here.get(name)
            else:
                return default
        except _refused_keys():
            return default
        return default if found is None else loads(found)

    def open(self) -> None:
        """Opens it now, and raises what there is to raise; otherwise that is done when it is first used."""
        if monotonic() >= self._look_at:
            self._look()

    def __getitem__(self, key: object) -> Any:
        found = self.get(key, self)
        if found is self:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        self.open()
        name = encoded(key)
        return name is not None and self._here.get(name) is not None

    def __len__(self) -> int:
        return self.label.entries

    def __bool__(self) -> bool:
        """True, also for an empty one, and without opening it."""
        return True

    def __repr__(self) -> str:
        return f"lookup({self.name!r})"

    @property
    def label(self) -> Label:
        """What the version that is read now says of itself."""
        self.open()
        assert self._version is not None
        return self._version.label

    @property
    def path(self) -> Path:
        return file_of(self.name, folder() if self._where is None else self._where)

    def _look(self) -> None:
        """Opens the first version, or one that is new; while that is done others read on."""
        if self._version is None:
            with self._looking:
                if self._version is None:
                    self._read(self._opened(self.path))
            return
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._look_at = monotonic() + LOOK_SECONDS
            which = _identity_at(self.path)
            if which == self._seen:
                return
            self._seen = which
            if which is None:
                log.warning("lookup %s: %s is gone; the version that was read stays", self.name, self.path)
            elif which == self._version.identity:
                return
            elif which[SIZE] <= AT_ONCE_BYTES:
                self._renew()
            else:
                threading.Thread(target=self._renew, name=f"lookup {self.name}", daemon=True).start()
        finally:
            self._looking.release()

    def _renew(self) -> None:
        """Changes over to the version that is there now, unless it cannot be read."""
        try:
            self._read(self._opened(self.path))
        except (LookupDamaged, LookupMissing) as error:
            log.warning("%s; the version that was read stays", error)
            if isinstance(error.__cause__, OSError):  # it may pass: this version is looked at again
                self._seen = None

    def _read(self, version: Version) -> None:
        self._here, self._version = version.here, version
        self._seen = version.identity
        self._look_at = monotonic() + LOOK_SECONDS

    def _opened(self, path: Path) -> Version:
        try:
            return versions.at(path)
        except FileNotFoundError as error:
            raise LookupMissing(
                f"there is no lookup {self.name!r} in {path.parent}: build it with `metroline lookup build {self.name} "
                "FILE --key COLUMN`"
            ) from error
        except (LookupDamaged, OSError) as error:
            raise LookupDamaged(
                f"lookup {self.name}: {path} is damaged or cannot be read: {error}; build it again"
            ) from error

    def after_fork(self) -> None:
        """A thread that was looking is not there in a child."""
        self._looking = threading.Lock()
        self._seen = None


def _refused_keys() -> tuple[type[Exception], ...]:
    """Return the errors for a key that is too long or has half of a surrogate pair.

    It is called when an error is raised, so that importing this module does not load LMDB.
    """
    from lmdb import BadValsizeError

    return BadValsizeError, ValueError


def _identity_at(path: Path) -> Identity | None:
    try:
        return identity(path.stat())
    except OSError:
        return None


_lookups: WeakSet[Lookup] = WeakSet()
_named: dict[str, Lookup] = {}


def lookup(name: str) -> Lookup:
    """The lookup of this name in the folder LOOKUP_DIR, the same for each call; it is opened when it is first used."""
    if name not in _named:
        _named.setdefault(name, Lookup(name))
    return _named[name]


def _after_fork() -> None:
    versions.after_fork()
    for one in _lookups:
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=versions.before_fork, after_in_parent=versions.after_fork, after_in_child=_after_fork)
