"""The services of the line birdstrikes. routes.toml says where a report goes after each of them."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
from pydantic_settings import BaseSettings

from metroline import lookup, resource, service

regions = lookup("birdstrikes.regions")


class Settings(BaseSettings, env_prefix="BIRDSTRIKES_"):
    """The settings of the line."""

    archive: str = ":memory:"
    """BIRDSTRIKES_ARCHIVE: the file of the SQLite database in which reports are kept."""


class Report(msgspec.Struct):
    """The fields of a report that `clean` reads, and those that it adds."""

    date: str
    species: str
    birds_struck: str | None = None
    birds_seen: str | None = None
    on: str | None = None
    struck_at_least: int | None = None
    seen_at_least: int | None = None


@service(no_retry=(ValueError,))
def clean(report: Report) -> Report:
    """Turn texts into what rules can compare: the date into ISO 8601, ranges of birds into their lower bounds."""
    day = datetime.strptime(report.date, "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC)
    report.on = day.date().isoformat()
    report.struck_at_least = at_least(report.birds_struck)
    report.seen_at_least = at_least(report.birds_seen)
    return report


def at_least(birds: str | None) -> int | None:
    """Return the lower bound of a number of birds: 1 of "1", 2 of "2-10", 101 of "Over 100"."""
    if birds is None:
        return None
    if found := re.fullmatch(r"(\d+)(-\d+)?", birds):
        return int(found[1])
    if found := re.fullmatch(r"Over (\d+)", birds):
        return int(found[1]) + 1
    raise ValueError(f"no number of birds: {birds!r}")


@service(reads=["state"])
def locate(report):
    """Add the region of the FAA; it is null for reports without a state and from other countries."""
    report["region"] = regions.get(report["state"])
    return report


class Inspectors:
    """Stands for the HTTP client of the inspectors' system: a real one would be opened by `inspectors` below."""

    async def open_case(self, number: str, aircraft: str) -> str:
        """Open the case of a damaged aircraft, once for each number, and return its reference."""
        await asyncio.sleep(0.01)
        return f"{aircraft}/{number}"


@resource
async def inspectors() -> AsyncIterator[Inspectors]:
    """Open the client of the inspectors' system."""
    yield Inspectors()


@service(concurrency=8, timeout=5, attempts=8, pause_after=20)
async def inspect(report, inspectors):
    """Have the aircraft inspected. While the inspectors' system is down, the stop pauses instead of failing reports."""
    report["inspection"] = await inspectors.open_case(str(report["rownames"]), report["atype"])
    return report


@resource
async def archive(settings: Settings) -> AsyncIterator[sqlite3.Connection]:
    """Open the database of reports."""
    database = sqlite3.connect(settings.archive, check_same_thread=False)
    database.execute("CREATE TABLE IF NOT EXISTS reports (id TEXT PRIMARY KEY, day TEXT, region TEXT, species TEXT)")
    yield database
    database.close()


@service(batch=True, blocking=True, max_batch=1000, timeout=10)
def keep(reports, ids, archive):
    """Write reports to the archive, many at once. One that comes again is not written again."""
    rows = [(id, one["on"], one["region"], one["species"]) for id, one in zip(ids, reports, strict=True)]
    with archive:
        archive.executemany("INSERT INTO reports VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
    return reports
