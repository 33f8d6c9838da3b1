"""The forecast of a version beside what happened on the whole line: each worker counts the journeys that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import json
from msgspec.structs import replace

from metroline.agents.tables.publication import Publication
from metroline.app.preview.forecasts import Check, Tally, compare
from metroline.app.preview.seen import Seen
from metroline.app.views.tables.catalog import TABLES
from metroline.app.views.tables.cooperative import entries_of
from metroline.app.views.tables.journeys import StoredEntry
from metroline.app.views.tables.scatter_gather import ScatterGather

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

JOURNEYS = TABLES["journeys"]


async def check_of_line(app: LineApp, gather: ScatterGather, version: int, publication: Publication) -> Check | None:
    """Compare the forecast of a version with the journeys that all workers hold; None if it has no forecast."""
    if publication.forecast is None:
        return None
    others = await gather.others(JOURNEYS, f"/rules/{version}/seen/", lambda body: json.decode(body, type=Tally))
    here = await tally_here(app, gather, publication.at)
    missing = sorted([*others.missing, *others.lacking])
    return replace(compare(publication.forecast, Tally.total([here, *others.pages.values()])), missing=missing)


async def tally_here(app: LineApp, gather: ScatterGather, since: float) -> Tally:
    """Count the journeys that this worker holds and that entered since a time, in seconds since the epoch."""
    journeys = app.line_tables.journeys
    if journeys is None:
        return Tally()
    found: list[Seen] = []
    async for _, entry in entries_of(journeys.table, gather.partitions_here(JOURNEYS), StoredEntry):
        found += [seen for one in entry.entries if (seen := Seen.of_journey(one)) is not None]
    return Tally.of(since, found)
