"""Builds a version of a lookup beside the one that is read, and replaces that by a rename."""

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
from metroline.agents.lookups.external_sort import Entry, SortedRuns, batches
from metroline.agents.lookups.footer import Footer, checksum_of
from metroline.agents.lookups.paths import file_of

BATCH_BYTES = 4 << 20
"""Approximate size of a transaction, which stays in memory until its end."""

SPARE_BYTES = 16 << 20
"""Size of the memory map beyond the upper bound of the entries."""

FULL_DISK_BYTES = 1 << 20
"""Free space below which a disk counts as full: LMDB writes more at a time."""

Progress = Callable[[str, int, int], None]
"""Takes the name of a step, the entries done and the entries in all."""


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """The origin of a lookup's entries; see `Footer` for the fields."""

    key: str
    value: str | None
    source: str
    maker: str = ""
    digest: str = ""


@contextmanager
def lock(name: str, where: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a lookup's build, which the system releases however this process ends.

    If another process holds it, wait, or raise `LookupNotBuilt` unless `wait`.
    """
    try:
        where.mkdir(parents=True, exist_ok=True)
        file = (where / f".{name}.lock").open("ab")
    except OSError as error:
        raise LookupNotBuilt(
            f"{where} cannot be written to: {error.strerror}; LOOKUP_DIR names another folder"
        ) from error
    with file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise LookupNotBuilt(
                    f"lookup {name} is being built by another process: wait until it is done"
                ) from error
            except OSError as error:
                raise LookupNotBuilt(f"{where} cannot be locked: {error.strerror}") from error
        yield


def build(name: str, where: Path, entries: Iterable[Entry], info: BuildInfo, report: Progress) -> Footer:
    """Build a lookup, whose lock the caller holds; raise `LookupNotBuilt`, in which case the old version stays."""
    scratch = where / f".{name}.building"
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a build that died
        scratch.mkdir()
        runs = SortedRuns(scratch)
        runs.add(entries)
        new = scratch / "new"
        _write(new, runs, info, report)
        footer = _seal(new, runs.count, info, datetime.now(UTC))
        new.replace(file_of(name, where))
        _sync_folder(where)
        return footer
    except (OSError, lmdb.Error) as error:
        raise LookupNotBuilt(
            f"lookup {name} was not built: {where}: {_reason(error, where)}; what was there before stays"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _reason(error: OSError | lmdb.Error, where: Path) -> str:
    """Return the reason of a failure. LMDB reports a full disk as an I/O error if part of a write succeeded."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    free = shutil.disk_usage(where).free
    return f"{error}" if free > FULL_DISK_BYTES else f"No space left on device (LMDB: {error})"


def _write(new: Path, runs: SortedRuns, info: BuildInfo, report: Progress) -> None:
    """Write the database from its first page to its last. In the order of the keys, its pages are full."""
    entries = _unique(runs.merged(), info)
    size = runs.max_database_bytes + SPARE_BYTES
    with lmdb.open(
        str(new), subdir=False, lock=False, sync=False, metasync=False, map_size=size, mode=0o644
    ) as database:
        done = 0
        for batch in batches(entries, BATCH_BYTES):
            with database.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti(batch, append=True)
            done += len(batch)
            report("writing", done, runs.count)


def _unique(entries: Iterable[Entry], info: BuildInfo) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values; raise `LookupNotBuilt` if a key occurs twice."""
    last, last_line = None, 0
    for key, line, value in entries:
        if key == last:
            raise LookupNotBuilt(
                f"{info.source}:{line}: the key {key.decode()!r} was on line {last_line} already: each may come once"
            )
        last, last_line = key, line
        yield key, value


def _seal(new: Path, count: int, info: BuildInfo, now: datetime) -> Footer:
    """Append the footer to the database, and sync both to disk."""
    with new.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        footer = Footer(
            entries=count,
            key=info.key,
            value=info.value,
            source=info.source,
            built_at=now.isoformat(timespec="seconds"),
            maker=info.maker,
            digest=info.digest,
            size=size,
            checksum=checksum_of(file, size),
        )
        file.seek(size)
        file.write(footer.encode())
        file.flush()
        os.fsync(file.fileno())
    return footer


def _sync_folder(where: Path) -> None:
    """Sync a folder, so that a rename in it is durable. Some file systems cannot do that."""
    folder = os.open(where, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)
