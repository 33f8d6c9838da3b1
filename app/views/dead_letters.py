"""The failure desk over HTTP, as JSON: `/dead-letters/` lists, `replay/` and `discard/` below it write."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import orjson
from aiohttp.web import Request as AiohttpRequest
from faust import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metroline.app.operations.dead_letters import DeadLetters, chosen, grouped
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.replays import Replays, discard, forecast
from metroline.routing.errors import MetrolineError
from metroline.routing.strategies import RuleTables

if TYPE_CHECKING:
    from metroline.app.factory import LineApp

OVER_HTTP = "over HTTP"
"""Who asked, as a letter's history has it."""

blueprint = web.Blueprint("failure_desk")


class Asked(BaseModel):
    """What a request to write holds: letters by their ids, or all of a group."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str] = []
    group: str | None = None
    rate: float = Field(100.0, gt=0)
    """Letters a second."""


class AskedToReplay(Asked):
    fields: dict[str, Any] = Field({}, alias="set")
    record: dict[str, Any] | None = None
    to: str | None = None
    dry_run: bool = False


class AskedToDiscard(Asked):
    reason: str = Field(min_length=1)


class DeskView(web.View):
    """What the desk's pages share."""

    @property
    def worker(self) -> LineApp:
        return cast("LineApp", self.app)

    @property
    def desk(self) -> DeadLetters:
        return DeadLetters(self.worker.cluster, self.worker.line_topics)

    def told(self, data: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        return self.bytes(orjson.dumps(data), content_type="application/json", status=status)

    def refused(self, status: HTTPStatus, error: str) -> web.Response:
        return self.told({"error": error}, status)

    async def write(self, request: web.Request, kind: type[Asked], act: Callable[[Any], Any]) -> web.Response:
        """Carries out what was asked for, by who has the token."""
        token = self.worker.settings.metroline_token
        if token is None:
            return self.refused(HTTPStatus.FORBIDDEN, "writing over HTTP is off: set METROLINE_TOKEN to allow it")
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return self.refused(HTTPStatus.UNAUTHORIZED, "the header Authorization: Bearer TOKEN is missing or wrong")
        try:
            asked = kind.model_validate_json(await cast(AiohttpRequest, request).read())
            if bool(asked.ids) == bool(asked.group):
                raise DeadLetterError("name letters by their ids, or all of a cause by their group")
            return self.told(await act(asked))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
            return self.refused(HTTPStatus.BAD_REQUEST, wrong)
        except MetrolineError as error:
            return self.refused(HTTPStatus.CONFLICT, str(error))


@blueprint.route("/", name="list")
class Groups(DeskView):
    """The dead letters by cause."""

    async def get(self, request: web.Request) -> web.Response:
        """Groups or, with `?group=` or `?id=`, letters."""
        letters = await self.desk.read()
        group, one = request.query.get("group"), request.query.get("id")
        try:
            if group or one:
                return self.told([letter.as_json() for letter in chosen(letters, [one] if one else [], group)])
        except MetrolineError as error:
            return self.refused(HTTPStatus.NOT_FOUND, str(error))
        return self.told([found.as_json() for found in grouped(letters)])


@blueprint.route("/replay/", name="replay")
class Replay(DeskView):
    """Sends letters on their way again."""

    async def post(self, request: web.Request) -> web.Response:
        """What came of it: how many were sent or, for a dry run, where each would go."""
        return await self.write(request, AskedToReplay, self._replay)

    async def _replay(self, asked: AskedToReplay) -> Any:
        worker, desk = self.worker, self.desk
        if asked.to is not None and asked.to not in worker.served_stops():
            raise DeadLetterError(
                f"nobody serves the stop {asked.to!r}; there are {', '.join(sorted(worker.served_stops()))}"
            )
        letters = chosen(await desk.read(), asked.ids, asked.group)
        record = None if asked.record is None else orjson.dumps(asked.record)
        replays = Replays.of(letters, asked.fields, record, asked.to, OVER_HTTP)
        rule_tables: RuleTables = worker.rule_tables.rule_tables
        replays.check(rule_tables)
        if asked.dry_run:
            ways = {letter.id: forecast(rule_tables.live, line, asked.to) for letter, line in replays.lines}
            return {"would_go": ways}
        return {"replayed": [number async for number in desk.send(replays.requests, asked.rate)][-1]}


@blueprint.route("/discard/", name="discard")
class Discard(DeskView):
    """Counts letters as dropped on purpose."""

    async def post(self, request: web.Request) -> web.Response:
        """How many were."""
        return await self.write(request, AskedToDiscard, self._discard)

    async def _discard(self, asked: AskedToDiscard) -> Any:
        letters = chosen(await self.desk.read(), asked.ids, asked.group)
        requests = [discard(letter, asked.reason, OVER_HTTP) for letter in letters]
        return {"discarded": [number async for number in self.desk.send(requests, asked.rate)][-1]}
