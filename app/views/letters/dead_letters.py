"""Dead letters over HTTP: `/dead-letters/` lists them; `replay/` and `discard/` below it write.

Programs get JSON. Browsers get pages at the same addresses, whose forms write as programs do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, cast

import msgspec
import orjson
from aiohttp.web import AppKey
from aiohttp.web import Request as AiohttpRequest
from aiohttp.web import Response as AiohttpResponse
from faust import web
from msgspec import Meta
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metroline.agents.kafka.cluster import ClusterError
from metroline.app.markup.html import Markup, tag
from metroline.app.operations.dead_letters import send_requests
from metroline.app.operations.desk import MAX_PAGE, Desk, DeskBusy
from metroline.app.operations.edit_checks import check_edits
from metroline.app.operations.exact_json import exact_object
from metroline.app.operations.forecast import forecast
from metroline.app.operations.foreign_letters import ForeignDesk
from metroline.app.operations.letter import DeadLetterError, Group, Letter
from metroline.app.operations.letter_journal import LetterEntry, letter_journal
from metroline.app.operations.permission import NotPermitted, Permission
from metroline.app.operations.replays import Replays, discard
from metroline.app.operations.rereading import Rereading, read_again
from metroline.app.views.access.forms import BODY_SECONDS, FORM_TYPE
from metroline.app.views.access.visitor import permission_of
from metroline.app.views.form_bodies import body_of_form
from metroline.app.views.letters.answers import DiscardedAnswer, GroupAnswer, LetterAnswer, ReplayedAnswer
from metroline.app.views.letters.pages import PATH, done_page, gone_page, group_page, groups_page, letter_page
from metroline.app.views.operation import Either, Error, Operation, Parameter
from metroline.app.views.paging import BadRequest, Paging
from metroline.app.views.view import LineView, wants_html
from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.messages.envelope import Envelope

DESK = AppKey("desk", Desk)
"""The key under which the web application keeps the desk."""

MAX_IDS = 10_000
"""Number of dead letters that a request can name by their ids."""

blueprint = web.Blueprint("dead_letters")


class Selection(BaseModel):
    """The dead letters that a request is about, by their ids or their group."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str] = Field([], max_length=MAX_IDS)
    group: str | None = None
    rate: float = Field(100.0, ge=0.1, allow_inf_nan=False)
    """Dead letters a second. Default 100."""


class ForeignSelection(Selection):
    """Dead letters, of the line or of a topic of another system."""

    topic: str | None = None


class ReplayBody(Selection):
    """The body of a request to replay, with what is to change before."""

    fields: dict[str, Any] = Field({}, alias="set")
    record: dict[str, Any] | None = None
    to: str | None = None
    dry_run: bool = False


class DiscardBody(ForeignSelection):
    """The body of a request to discard."""

    reason: str = Field(min_length=1)


Body = TypeVar("Body", bound=BaseModel)
Answer = dict[str, object]


class DeadLettersView(LineView):
    """A page about dead letters."""

    def desk(self, request: web.Request) -> Desk:
        return cast(AiohttpRequest, request).app[DESK]

    def foreign_desk(self, topic: str) -> ForeignDesk:
        """Return the desk of a topic of another system; raise `DeadLetterError` unless `line.toml` names it."""
        desks = self.worker.foreign_desks
        if topic not in desks:
            named = ", ".join(desks) or "none"
            raise DeadLetterError(f"{topic:.249} is not among the topics of [dead_letters] in line.toml: {named}")
        return desks[topic]

    def respond(
        self, data: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
    ) -> web.Response:
        body = msgspec.json.encode(data, enc_hook=_readable)
        return self.bytes(body, content_type="application/json", status=status, headers=headers)

    def refuse(self, status: HTTPStatus, error: str) -> web.Response:
        return self.respond({"error": error.encode(errors="replace").decode()}, status)

    async def write(
        self, request: web.Request, body: type[Body], act: Callable[[Desk, Body, Permission], Awaitable[Answer]]
    ) -> web.Response:
        """Carry out a request to write, for whoever has the permission."""
        desk, permission = self.desk(request), permission_of(request)
        try:
            asked = body.model_validate(await _object_in(cast(AiohttpRequest, request)))
            desk.expire()
            if isinstance(asked, Selection) and bool(asked.ids) == bool(asked.group):
                raise DeadLetterError("select dead letters either by their ids or by their group")
            return self.respond(await act(desk, asked, permission))
        except TimeoutError:
            return self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {BODY_SECONDS:g} s")
        except BadRequest as error:
            return self.refuse(HTTPStatus.BAD_REQUEST, str(error))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
            return self.refuse(HTTPStatus.BAD_REQUEST, problems)
        except (DeskBusy, ClusterError) as error:
            return self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except NotPermitted:
            raise  # answered at the door
        except MetrolineError as error:
            return self.refuse(HTTPStatus.CONFLICT, str(error))
        finally:
            desk.expire()

    def shown(self, request: web.Request, answer: web.Response) -> web.Response:
        """Return the answer to a request to read or write, for a browser as a page."""
        told = cast(AiohttpResponse, answer)
        if not wants_html(request) or told.content_type != "application/json":
            return answer
        data = orjson.loads(cast(bytes, told.body))
        if told.status != HTTPStatus.OK:
            refused = tag("p", data["error"], class_="warning")
            return self.answer(request, "Not done", data, lambda: refused, told.status)
        return self.answer(request, "Done", data, lambda: self.show_done(data))

    def show_done(self, data: dict[str, Any]) -> Markup:
        """Return what has been done, as a page shows it."""
        return done_page(data)

    def page(self, shown: Iterable[Any], following: str | None) -> web.Response:
        """Return a page, with the address of the next one (RFC 8288) if there is one."""
        headers = {} if following is None else {"Link": f'<{following}>; rel="next"'}
        return self.respond([one.as_json() for one in shown], headers=headers)

    async def read(self, request: web.Request, answer: Awaitable[web.Response]) -> web.Response:
        """Return the answer to a request to read, or the reason why there is none."""
        try:
            return self.shown(request, await answer)
        except BadRequest as error:
            refused = self.refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (DeskBusy, ClusterError) as error:
            refused = self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except MetrolineError as error:
            refused = self.refuse(HTTPStatus.NOT_FOUND, str(error))
        return self.shown(request, refused)

    async def sent(self, requests: AsyncIterator[list[Envelope]], rate: float, permission: Permission) -> int:
        """Send requests to the arrivals, `rate` per second; return their number."""
        worker, sent = self.worker, 0
        async for confirmed in send_requests(worker.cluster, worker.line_topics, requests, rate, permission):
            sent = confirmed
        return sent

    async def replay(self, desk: Desk, asked: ReplayBody, permission: Permission) -> Answer:
        """Send dead letters on their way again, or return where they would go."""
        worker = self.worker
        if asked.to is not None and asked.to not in worker.served_stops():
            served = ", ".join(sorted(worker.served_stops()))
            raise DeadLetterError(f"no worker serves the stop {asked.to!r}; the stops are {served}")
        rule_tables, last = worker.live_rules.rule_tables, worker.line.last
        still_dead = dict[str, str]()

        async def checked() -> AsyncIterator[Replays]:
            async for letters in desk.chosen(asked.ids, asked.group):
                replays = await self._edited(asked, letters, permission.by)
                replays.check(rule_tables)
                check_edits(replays, worker.line.services, rule_tables, asked.to)
                still_dead.update(replays.still_dead)
                yield replays

        answer: Answer = {}
        if asked.dry_run:
            async for replays in checked():
                answer["would_go"] = {
                    one.id: forecast(rule_tables, one, line, asked.to, last) for one, line in replays.lines
                }
                break  # a whole page of them tells where the others go
        else:
            requests = (replays.requests async for replays in checked())
            answer["replayed"] = await self.sent(requests, asked.rate, permission)
        return answer | {"still_dead": still_dead} if still_dead else answer

    async def _edited(self, asked: ReplayBody, letters: list[Letter], by: str) -> Replays:
        record = None if asked.record is None else orjson.dumps(asked.record)
        worker = self.worker
        reread = Rereading() if record is not None else await read_again(worker.settings, worker.line, letters)
        return Replays.of(letters, asked.fields, record, asked.to, by, reread)


async def _object_in(request: AiohttpRequest) -> dict[str, Any]:
    """Return the JSON object in the body of a request; raise `BadRequest` or `TimeoutError`."""
    async with asyncio.timeout(BODY_SECONDS):
        raw = await request.read()
    try:
        return body_of_form(raw) if request.content_type == FORM_TYPE else exact_object(raw)
    except UsageError as error:
        raise BadRequest(f"body: {error}") from error


@blueprint.route("/", name="list")
class DeadLetters(DeadLettersView):
    """The groups of dead letters by cause or, with `?group=` or `?id=`, the dead letters themselves.

    Both are paged: `?limit=` is the length of a page, and the header `Link` has the address of the next one.
    """

    api = (
        Operation(
            "get",
            "Groups of dead letters by cause or, with `group` or `id`, dead letters",
            Either((list[GroupAnswer], list[LetterAnswer])),
            (
                Parameter("id", "Id of the only dead letter to list"),
                Parameter("group", "Id of the group whose dead letters are listed"),
                Parameter("stop", "Stop at which the records of the groups died"),
                Parameter("kind", "Kind of the cause of the groups, as in `service_error`"),
                Parameter("after", "Id of the last group or dead letter of the page before"),
                Parameter("limit", "Length of the page", Annotated[int, Meta(ge=1, le=MAX_PAGE)]),
            ),
            others={HTTPStatus.NOT_FOUND: Error},
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        return await self.read(request, self._get(request))

    async def _get(self, request: web.Request) -> web.Response:
        query, desk = request.query, self.desk(request)
        if one := query.get("id"):
            return await self._letter(request, desk, one)
        if group := query.get("group"):
            return await self._group(request, desk, group, Paging.of(PATH, query, "group"))
        paging = Paging.of(PATH, query, "stop", "kind")
        shown, following = paging.cut(groups_of(await desk.groups(), **paging.chosen))
        if not wants_html(request):
            return self.page(shown, following)
        jobs, has_foreign = (await self.worker.job_board.jobs()).open, bool(self.worker.foreign_desks)
        body = groups_page(shown, following, jobs, paging.chosen, has_foreign=has_foreign)
        return self.answer(request, "Dead letters", {}, lambda: body)

    async def _group(self, request: web.Request, desk: Desk, group: str, paging: Paging) -> web.Response:
        page = await desk.page(group, paging.after, paging.limit)
        following = paging.next(page.next)
        if not wants_html(request):
            return self.page(page.letters, following)
        body = group_page(request, group, page.letters, following, self.worker.served_stops())
        return self.answer(request, f"Dead letters {group}", {}, lambda: body)

    async def _letter(self, request: web.Request, desk: Desk, name: str) -> web.Response:
        if not wants_html(request):
            return self.page(await desk.named([name]), None)
        entries = letter_journal(await self.worker.job_board.jobs(), name)
        is_dead = await desk.asked(lambda index: index.reference(name) is not None)
        if entries and not is_dead:
            return self.answer(request, f"Dead letter {name}", {}, lambda: gone_page(name, entries))
        letters = await desk.named([name])
        if not letters:
            raise DeadLetterError(f"{name} was deleted from the topic of dead letters")
        body = letter_page(request, letters[0], entries, self.worker.served_stops())
        return self.answer(request, f"Dead letter {letters[0].id}", {}, lambda: body)


def groups_of(groups: Iterable[Group], stop: str = "", kind: str = "") -> list[Group]:
    """Return the groups whose records died at a stop, and of a kind of cause; an empty text stands for any."""
    return [one for one in groups if one.cause[0] == (stop or one.cause[0]) and one.cause[1] == (kind or one.cause[1])]


def _readable(value: object) -> str:
    """Return what JSON cannot hold as text."""
    return str(value).encode(errors="replace").decode()


@blueprint.route("/replay/", name="replay")
class Replay(DeadLettersView):
    """Sends dead letters on their way again; returns their number or, for a dry run, where each would go."""

    api = (Operation("post", "Send dead letters on their way again", ReplayedAnswer, body=ReplayBody),)

    async def post(self, request: web.Request) -> web.Response:
        return self.shown(request, await self.write(request, ReplayBody, self.replay))


@blueprint.route("/discard/", name="discard")
class Discard(DeadLettersView):
    """Counts dead letters as dropped on purpose; returns their number."""

    api = (Operation("post", "Count dead letters as dropped on purpose", DiscardedAnswer, body=DiscardBody),)

    async def post(self, request: web.Request) -> web.Response:
        return self.shown(request, await self.write(request, DiscardBody, self._discard))

    async def _discard(self, desk: Desk, asked: DiscardBody, permission: Permission) -> Answer:
        if asked.topic is not None:
            foreign = self.foreign_desk(asked.topic)
            places = await foreign.chosen(asked.ids, asked.group)
            await foreign.discard(places, asked.reason, permission)
            return {"discarded": len(places)}
        requests = (
            [discard(letter, asked.reason, permission.by) for letter in letters]
            async for letters in desk.chosen(asked.ids, asked.group)
        )
        return {"discarded": await self.sent(requests, asked.rate, permission)}


@blueprint.route("/journal/", name="journal")
class Journal(DeadLettersView):
    """All that was done to a dead letter, also when it is gone."""

    api = (
        Operation(
            "get",
            "All that was done to a dead letter: replays, edits and discards, the oldest first",
            list[LetterEntry],
            (Parameter("id", "Id of the dead letter, which may be gone"),),
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        return await self.read(request, self._get(request))

    async def _get(self, request: web.Request) -> web.Response:
        name = request.query.get("id", "")
        entries = letter_journal(await self.worker.job_board.jobs(), name)
        return self.answer(request, f"Dead letter {name}", entries, lambda: gone_page(name, entries))
