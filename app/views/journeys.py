"""The tables `journeys` and `dead_letters` as data: the latest ones, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.tables import LineTable
from app.views.spreading import spread
from app.views.times import iso

LISTED = 100
"""Journeys on a page."""


async def read(table: LineTable, partitions: frozenset[int]) -> list[dict[str, Any]]:
    """The latest journeys in the entries of these partitions."""
    latest: list[dict[str, Any]] = []
    async for _, value in spread(table.entries(partitions)):
        latest = sorted([*latest, *value["entries"]], key=lambda one: float(one["settled"]), reverse=True)[:LISTED]
    return [shown(journey) for journey in latest]


def merge(pages: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The latest journeys of several pages; one that two pages tell of stands once."""
    journeys = {(one["id"], one["settled"]): one for page in pages for one in page}
    return sorted(journeys.values(), key=lambda one: one["settled"] or "", reverse=True)[:LISTED]


def shown(journey: dict[str, Any]) -> dict[str, Any]:
    """A journey with times that a person reads, and how many seconds it took."""
    return journey | {
        "entered": iso(journey["entered"]),
        "settled": iso(journey["settled"]),
        "seconds": round(journey["settled"] - journey["entered"], 6),
        "stops": [visit | {"at": iso(visit["at"])} for visit in journey["stops"]],
    }
