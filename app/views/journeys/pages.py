"""`/journeys/` searches journeys, and `/journeys/ID` tells those of a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, cast
from urllib.parse import quote, urlencode

from aiohttp.web import AppKey, HTTPSeeOther
from aiohttp.web import Request as AiohttpRequest
from faust import web
from msgspec import Meta

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.tables.publication import NotAPublication, Publication
from metroline.app.markup.html import Markup, tag
from metroline.app.operations.journeys.archive import MAX_PAGE, PAGE, ArchiveBusy, Cursor, JourneyArchive, Wanted
from metroline.app.operations.journeys.ended_journey import EndedJourney
from metroline.app.operations.journeys.query import Query
from metroline.app.operations.journeys.telling import JourneyTeller
from metroline.app.operations.journeys.whereabouts import Whereabouts, whereabouts
from metroline.app.operations.letter_journal import letter_journal
from metroline.app.views.journeys.listing import Asked, form, show_list
from metroline.app.views.journeys.structs import JourneyPage, JourneysPage, ListedJourney, Searchable
from metroline.app.views.journeys.timelines import show_timelines
from metroline.app.views.operation import Either, Error, Operation, Parameter
from metroline.app.views.view import LineView, wants_html
from metroline.routing.errors import UsageError
from metroline.routing.journeys.timeline import Timeline
from metroline.routing.messages.record_ids import id_of

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

MAX_TOLD = 20
"""Journeys of one id that are told on a page."""

MAX_LOOKING = 2
"""Number of requests that read source messages, or look for records under way, at a time. Another one is refused."""

blueprint = web.Blueprint("journeys")


@dataclass(slots=True)
class Journeys:
    """All that the pages of journeys share."""

    app: LineApp
    archive: JourneyArchive
    teller: JourneyTeller = field(init=False)
    looking: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        app = self.app
        self.teller = JourneyTeller(app.cluster, app.line_topics, app.settings, app.line, self._text_of)

    def _text_of(self, version: int) -> str | None:
        """Return the text of a published version of the rules; None if this worker does not have it."""
        published = self.app.line_tables.rules.read(str(version).encode())
        try:
            return None if published is None else Publication.of_json(published).text
        except NotAPublication:
            return None

    async def look(self, wanted: Wanted) -> Whereabouts:
        """Return where a record is; raise `ArchiveBusy` if too many others look for records."""
        app = self.app
        with self._turn():
            return await whereabouts(
                app.cluster,
                app.line_topics,
                app.line.stops,
                wanted,
                app.settings.source_epoch,
                app.line.options.schedules,
            )

    async def tell(self, journeys: Sequence[EndedJourney]) -> list[Timeline]:
        """Return the timelines of journeys; raise `ArchiveBusy` if too many others look for records."""
        with self._turn():
            return await self.teller.tell(journeys)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self.looking >= MAX_LOOKING:
            raise ArchiveBusy("too many others look for records: try again in a moment")
        self.looking += 1
        try:
            yield
        finally:
            self.looking -= 1


JOURNEYS = AppKey("journeys", Journeys)
"""The key under which the web application keeps what the pages of journeys share."""


NOT_TOLD = {HTTPStatus.NOT_FOUND: Either((JourneyPage, Error))}


class JourneysView(LineView):
    """A page about journeys."""

    def journeys(self, request: web.Request) -> Journeys:
        return cast(AiohttpRequest, request).app[JOURNEYS]

    def refuse(self, request: web.Request, status: HTTPStatus, error: str, asked: Asked) -> web.Response:
        """Return the reason for which there is no answer, and the form with what was asked."""
        error = error.encode(errors="replace").decode()

        def show() -> Markup:
            return Markup(form(asked, self.worker.line.stops) + tag("p", error, class_="warning"))

        return self.answer(request, "Journeys", Error(error), show, status=status)

    async def tell(self, request: web.Request, name: str) -> web.Response:
        """Return the journeys of the record with an id."""
        wanted = Wanted.of(name)
        shared = self.journeys(request)
        found = await shared.archive.find(wanted.text)
        done = letter_journal(await self.worker.job_board.jobs(), wanted.text)
        if not found:
            page = JourneyPage(wanted.text, [], await shared.look(wanted), 0, done)
        else:
            told = await shared.tell(found[:MAX_TOLD])
            page = JourneyPage(wanted.text, told, None, max(0, len(found) - MAX_TOLD), done)
        status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
        return self.answer(request, f"Journey {wanted.text}", page, lambda: show_timelines(page), status=status)


@blueprint.route("/", name="list")
class JourneyList(JourneysView):
    """The journeys that fit a query: `?where=`, `?outcome=`, `?stop=`, or those of a record: `?id=`.

    `?find=` takes either, an id or a condition. A browser then comes straight to the only journey that fits.
    """

    api = (
        Operation(
            "get",
            "Search the journeys that are kept or, with `id`, tell those of a record",
            Either((JourneysPage, JourneyPage)),
            (
                Parameter("id", "Id of a record"),
                Parameter("find", "Id of a record, or a condition as in `where`"),
                Parameter("where", "Condition in CEL over the fields of the record, `meta` and `journey`"),
                Parameter("outcome", "Outcome of the journeys: delivered, dropped or dead"),
                Parameter("stop", "Stop that the journeys visited"),
                Parameter("after", "Place after which the page begins"),
                Parameter("limit", "Length of the page", Annotated[int, Meta(ge=1, le=MAX_PAGE)]),
            ),
            others=NOT_TOLD,
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        query = request.query
        asked = Asked(*(query.get(name, "").strip() for name in ("where", "outcome", "stop")))
        try:
            text = query.get("find", "").strip()
            if name := query.get("id") or (text if is_id(text) else ""):
                return await self.tell(request, name)
            asked = replace(asked, where=text or asked.where)
            page = await self._search(request, asked)
        except UsageError as error:
            return self.refuse(request, HTTPStatus.BAD_REQUEST, str(error), asked)
        except (ArchiveBusy, ClusterError) as error:
            return self.refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), asked)
        if text and wants_html(request) and page.next is None and len(page.journeys) == 1:
            raise HTTPSeeOther(f"/journeys/{quote(page.journeys[0].id, safe='')}")
        return self.answer(request, "Journeys", page, lambda: show_list(page, asked, self.worker.line.stops))

    async def _search(self, request: web.Request, asked: Asked) -> JourneysPage:
        wanted = Query.of(asked.where, asked.outcome, asked.stop)
        after, limit = request.query.get("after"), _limit(request.query.get("limit"))
        cursor = Cursor.parse(after) if after else None
        found = await self.journeys(request).archive.search(wanted, cursor, limit)
        more = {
            **{name: value for name, value in vars_of(asked).items() if value},
            **({"limit": str(limit)} if limit != PAGE else {}),
        }
        following = None if found.next is None else f"/journeys/?{urlencode({**more, 'after': str(found.next)})}"
        return JourneysPage(
            list(map(ListedJourney.of, found.journeys)),
            following,
            found.searched,
            found.failures,
            found.failure,
            Searchable.of(found.stock),
        )


@blueprint.route("/{name}", name="bare")
@blueprint.route("/{name}/", name="journey")
class JourneyOfRecord(JourneysView):
    """The journeys of the record with an id."""

    api = (
        Operation(
            "get", "The journeys of a record", JourneyPage, (Parameter("name", "Id of the record"),), others=NOT_TOLD
        ),
    )

    async def get(self, request: web.Request, name: str) -> web.Response:
        try:
            return await self.tell(request, name)
        except UsageError as error:
            return self.refuse(request, HTTPStatus.NOT_FOUND, str(error), Asked())
        except (ArchiveBusy, ClusterError) as error:
            return self.refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), Asked())


def is_id(text: str) -> bool:
    """Return whether a text is the id of a record, and not a condition."""
    try:
        id_of(text)
    except UsageError:
        return False
    return not any(map(str.isspace, text))


def vars_of(asked: Asked) -> dict[str, str]:
    """Return the fields of the form by their names."""
    return {"where": asked.where, "outcome": asked.outcome, "stop": asked.stop}


def _limit(asked: str | None) -> int:
    """Return the length of a page; raise `UsageError` unless it is a number from 1 to `MAX_PAGE`."""
    if not asked:
        return PAGE
    if not (asked.isascii() and asked.isdigit() and len(asked) < 9 and 1 <= int(asked) <= MAX_PAGE):
        raise UsageError(f"limit is a number from 1 to {MAX_PAGE}")
    return int(asked)
