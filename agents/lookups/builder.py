"""Builds a version of a lookup beside the one that is read, and changes over to it by a rename."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import lmdb

if sys.platform != "win32":
    import fcntl  # there is none on Windows

from metroline.agents.lookups.errors import LookupNotBuilt
from metroline.agents.lookups.external_sort import Entry, Runs, batches
from metroline.agents.lookups.footer import Label, checksum_of
from metroline.agents.lookups.paths import file_of

BATCH_BYTES = 4 << 20
"""How much is written in a transaction, about: it stays in memory until its end."""
SPARE_BYTES = 16 << 20
ROOM_BYTES = 1 << 20
"""A disk with less than that is full for what LMDB writes at a time."""

Progress = Callable[[str, int, int], None]
"""Told what goes on, how far it has come, and how far it goes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the entries of a lookup come from; see `Label`."""

    key: str
    value: str | None
    source: str
    maker: str = ""
    digest: str = ""


@contextmanager
def alone(name: str, where: Path, *, wait: bool) -> Iterator[None]:
    """Nobody else builds this lookup meanwhile. The system gives the lock back however this process ends."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        lock = (where / f".{name}.lock").open("ab")
    except OSError as error:
        raise LookupNotBuilt(
            f"{where} cannot be written to: {error.strerror}; LOOKUP_DIR names another folder"
        ) from error
    with lock:
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise LookupNotBuilt(
                    f"lookup {name} is being built by another process: wait until it is done"
                ) from error
            except OSError as error:
                raise LookupNotBuilt(f"{where} cannot be locked: {error.strerror}") from error
        yield


def build(name: str, where: Path, entries: Iterable[Entry], origin: Origin, told: Progress) -> Label:
    """Builds a lookup; whoever calls holds its lock. Raises `LookupNotBuilt`, and then the old version stays."""
    scratch = where / f".{name}.building"
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a build that died
        scratch.mkdir()
        runs = Runs(scratch)
        runs.add(entries)
        new = scratch / "new"
        _write(new, runs, origin, told)
        label = _seal(new, runs.count, origin, datetime.now(UTC))
        new.replace(file_of(name, where))
        _sync_folder(where)
        return label
    except (OSError, lmdb.Error) as error:
        raise LookupNotBuilt(
            f"lookup {name} was not built: {where}: {_reason(error, where)}; what was there before stays"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _reason(error: OSError | lmdb.Error, where: Path) -> str:
    """Of a full disk LMDB says that there was an input/output error, if part of what it wrote still found room."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    free = shutil.disk_usage(where).free
    return f"{error}" if free > ROOM_BYTES else f"No space left on device (LMDB: {error})"


def _write(new: Path, runs: Runs, origin: Origin, told: Progress) -> None:
    """Writes the database once, from its first page to its last: in the order of the keys its pages are full."""
    entries = _unlike(runs.merged(), origin)
    size = runs.most_bytes + SPARE_BYTES
    with lmdb.open(
        str(new), subdir=False, lock=False, sync=False, metasync=False, map_size=size, mode=0o644
    ) as database:
        done = 0
        for batch in batches(entries, BATCH_BYTES):
            with database.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti(batch, append=True)
            done += len(batch)
            told("writing", done, runs.count)


def _unlike(entries: Iterable[Entry], origin: Origin) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values; raises `LookupNotBuilt` for a key that comes twice."""
    last, last_line = None, 0
    for key, line, value in entries:
        if key == last:
            raise LookupNotBuilt(
                f"{origin.source}:{line}: the key {key.decode()!r} was on line {last_line} already: each may come once"
            )
        last, last_line = key, line
        yield key, value


def _seal(new: Path, count: int, origin: Origin, now: datetime) -> Label:
    """Puts the label behind the database, and both on the disk."""
    with new.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        label = Label(
            entries=count,
            key=origin.key,
            value=origin.value,
            source=origin.source,
            built_at=now.isoformat(timespec="seconds"),
            maker=origin.maker,
            digest=origin.digest,
            size=size,
            checksum=checksum_of(file, size),
        )
        file.seek(size)
        file.write(label.encode())
        file.flush()
        os.fsync(file.fileno())
    return label


def _sync_folder(where: Path) -> None:
    """A rename is on the disk once its folder is; some file systems cannot be asked for that."""
    folder = os.open(where, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)
