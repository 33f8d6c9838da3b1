"""The latest journeys of a stop and its groups of dead letters, for programs and for the panels of the first page."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar, cast

from aiohttp.web import Request as AiohttpRequest
from faust import web
from msgspec import Struct

from metroline.agents.kafka.cluster import ClusterError
from metroline.app.operations.desk import DeskBusy
from metroline.app.operations.journeys.archive import ArchiveBusy
from metroline.app.operations.journeys.query import Query
from metroline.app.operations.letter import Group
from metroline.app.views.journeys.pages import JOURNEYS
from metroline.app.views.journeys.structs import ListedJourney
from metroline.app.views.letters.dead_letters import DESK, groups_of
from metroline.app.views.operation import Operation, Parameter
from metroline.app.views.view import LineView
from metroline.routing.addresses import SOURCE

LISTED_JOURNEYS, LISTED_GROUPS = 5, 10

T = TypeVar("T")


class StopGroup(Struct, frozen=True):
    """A group of dead letters whose records died at the stop."""

    group: str
    kind: str
    reason: str
    """Reason of one of them."""
    count: int
    last: float
    """Time of the latest one, in seconds since the epoch."""

    @classmethod
    def of(cls, group: Group) -> StopGroup:
        kind = group.cause[1]
        return cls(group.id, kind, group.reason.removeprefix(f"{kind}: "), group.count, group.last)


class StopDetails(Struct, frozen=True):
    """A stop, its latest journeys that are kept, newest first, and its largest groups of dead letters."""

    stop: str
    journeys: list[ListedJourney]
    groups: list[StopGroup]
    problems: list[str]
    """The reasons why something is missing here."""


class StopDetailsView(LineView):
    """The details of a stop, or of the source: `?name=`. One that is left by now may still have journeys."""

    api = (
        Operation(
            "get",
            "The latest journeys of a stop and its groups of dead letters",
            StopDetails,
            (Parameter("name", "Name of the stop, or `source`"),),
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "")
        shared = cast(AiohttpRequest, request).app
        problems: list[str] = []
        query = Query(stop=None if name == SOURCE else name)
        found = await _tried(shared[JOURNEYS].archive.search(query, None, LISTED_JOURNEYS), problems)
        groups = await _tried(shared[DESK].groups(), problems)
        details = StopDetails(
            name,
            [] if found is None else list(map(ListedJourney.of, found.journeys)),
            [StopGroup.of(one) for one in groups_of(groups or [], stop=name)[:LISTED_GROUPS]],
            problems,
        )
        return self.json_of(details)


async def _tried(reading: Awaitable[T], problems: list[str]) -> T | None:
    """Return what is read; None, with the reason among the problems, if it cannot be read now."""
    try:
        return await reading
    except (ArchiveBusy, DeskBusy, ClusterError) as error:
        problems.append(str(error))
        return None
