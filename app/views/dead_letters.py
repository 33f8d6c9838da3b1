"""Dead letters over HTTP, as JSON: `/dead-letters/` lists them; `replay/` and `discard/` below it write."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar, cast

import orjson
from aiohttp.web import Request as AiohttpRequest
from faust import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metroline.app.operations import dead_letters
from metroline.app.operations.dead_letters import chosen, grouped
from metroline.app.operations.forecast import forecast
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.replays import Replays, discard
from metroline.app.operations.rereading import Rereading, read_again
from metroline.app.views.view import LineView
from metroline.routing.errors import MetrolineError
from metroline.routing.strategies import RuleTables

OVER_HTTP = "over HTTP"
"""Who replayed or discarded, in the history of a dead letter."""

blueprint = web.Blueprint("dead_letters")


class Selection(BaseModel):
    """The dead letters that a request is about, by their ids or their group."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str] = []
    group: str | None = None
    rate: float = Field(100.0, gt=0)
    """Dead letters a second. Default 100."""


class ReplayBody(Selection):
    """The body of a request to replay, with what is to change before."""

    fields: dict[str, Any] = Field({}, alias="set")
    record: dict[str, Any] | None = None
    to: str | None = None
    dry_run: bool = False


class DiscardBody(Selection):
    """The body of a request to discard."""

    reason: str = Field(min_length=1)


Body = TypeVar("Body", bound=Selection)
Answer = dict[str, object]


class DeadLettersView(LineView):
    """A page about dead letters, for programs alone."""

    @property
    def letters(self) -> dead_letters.DeadLetters:
        return dead_letters.DeadLetters(self.worker.cluster, self.worker.line_topics)

    def respond(self, data: object, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        return self.bytes(orjson.dumps(data), content_type="application/json", status=status)

    def refuse(self, status: HTTPStatus, error: str) -> web.Response:
        return self.respond({"error": error}, status)

    async def write(
        self, request: web.Request, body: type[Body], act: Callable[[Body], Awaitable[Answer]]
    ) -> web.Response:
        """Carry out a request to write that bears the token; refuse any other."""
        token = self.worker.settings.metroline_token
        if token is None:
            return self.refuse(HTTPStatus.FORBIDDEN, "writing over HTTP is off: set METROLINE_TOKEN to allow it")
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return self.refuse(HTTPStatus.UNAUTHORIZED, "the header Authorization: Bearer TOKEN is missing or wrong")
        try:
            asked = body.model_validate_json(await cast(AiohttpRequest, request).read())
            if bool(asked.ids) == bool(asked.group):
                raise DeadLetterError("select dead letters either by their ids or by their group")
            return self.respond(await act(asked))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
            return self.refuse(HTTPStatus.BAD_REQUEST, problems)
        except MetrolineError as error:
            return self.refuse(HTTPStatus.CONFLICT, str(error))


@blueprint.route("/", name="list")
class DeadLetters(DeadLettersView):
    """The groups of dead letters by cause or, with `?group=` or `?id=`, the dead letters themselves."""

    async def get(self, request: web.Request) -> web.Response:
        letters = await self.letters.read()
        group, one = request.query.get("group"), request.query.get("id")
        try:
            if group or one:
                return self.respond([letter.as_json() for letter in chosen(letters, [one] if one else [], group)])
        except MetrolineError as error:
            return self.refuse(HTTPStatus.NOT_FOUND, str(error))
        return self.respond([found.as_json() for found in grouped(letters)])


@blueprint.route("/replay/", name="replay")
class Replay(DeadLettersView):
    """Sends dead letters on their way again; returns their number or, for a dry run, where each would go."""

    async def post(self, request: web.Request) -> web.Response:
        return await self.write(request, ReplayBody, self._replay)

    async def _replay(self, asked: ReplayBody) -> Answer:
        worker = self.worker
        if asked.to is not None and asked.to not in worker.served_stops():
            served = ", ".join(sorted(worker.served_stops()))
            raise DeadLetterError(f"no worker serves the stop {asked.to!r}; the stops are {served}")
        letters = chosen(await self.letters.read(), asked.ids, asked.group)
        record = None if asked.record is None else orjson.dumps(asked.record)
        reread = Rereading() if record is not None else await read_again(worker.settings, worker.line, letters)
        replays = Replays.of(letters, asked.fields, record, asked.to, OVER_HTTP, reread)
        rule_tables: RuleTables = worker.live_rules.rule_tables
        replays.check(rule_tables)
        still_dead = {"still_dead": dict(replays.still_dead)} if replays.still_dead else {}
        if asked.dry_run:
            ways = {letter.id: forecast(rule_tables, letter, line, asked.to) for letter, line in replays.lines}
            return {"would_go": ways, **still_dead}
        return {
            "replayed": [number async for number in self.letters.send(replays.requests, asked.rate)][-1],
            **still_dead,
        }


@blueprint.route("/discard/", name="discard")
class Discard(DeadLettersView):
    """Counts dead letters as dropped on purpose; returns their number."""

    async def post(self, request: web.Request) -> web.Response:
        return await self.write(request, DiscardBody, self._discard)

    async def _discard(self, asked: DiscardBody) -> Answer:
        letters = chosen(await self.letters.read(), asked.ids, asked.group)
        requests = [discard(letter, asked.reason, OVER_HTTP) for letter in letters]
        return {"discarded": [number async for number in self.letters.send(requests, asked.rate)][-1]}
