"""The page `/rules/`: versions with who, when and why, a table to edit with its preview, and a record to try.

It writes nothing: tables are published by `metroline.app.operations.publishing`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any, cast
from urllib.parse import parse_qs

import msgspec
import orjson
from aiohttp.web import AppKey
from aiohttp.web import Request as AiohttpRequest
from faust import web
from msgspec import Struct

from metroline.agents.tables.publication import Publication
from metroline.app.operations.exact_json import exact_object
from metroline.app.operations.rehearsal import Rehearsal
from metroline.app.operations.rules_history import PastVersion, history_of, text_difference
from metroline.app.operations.rules_process import NoAnswer, RulesBusy, RulesProcess
from metroline.app.preview.forecasts import Check, Tally
from metroline.app.preview.preview import Preview
from metroline.app.views import rules_parts as parts
from metroline.app.views.forecast_check import check_of_line, tally_here
from metroline.app.views.operation import Operation, Parameter
from metroline.app.views.rule_uses import rule_uses
from metroline.app.views.rules_parts import Answer, Draft, Problem, RulesDesk, ShownVersion
from metroline.app.views.tables.table_list import SCATTER_GATHER
from metroline.app.views.view import LineView
from metroline.routing.errors import InvalidRules, UsageError
from metroline.routing.journeys.departures import Limits
from metroline.routing.rules.explain import Explained
from metroline.routing.rules.meaning.difference import Meaning
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable

LISTED = 50
"""Versions that the page lists, the newest ones."""

MAX_TABLE_CHARACTERS = 256 * 1024
"""Maximum length of a table that is looked at. Commands take longer ones."""

MAX_RECORD_BYTES = 256 * 1024
"""Maximum length of a record that is tried. With a table, and with what a form escapes, it fits into the body that the
gate lets in."""

PREVIEWED = 20_000
"""Number of the latest journeys, and of the dead letters, about which the preview of the page decides."""

MAX_FIELDS = 10
"""Number of fields that a form may have."""

FILE = "table"
"""The name by which problems call the table in the form."""

PLACE = re.compile(rf"{FILE}:(?P<line>[0-9]+)(:[0-9]+)?: (?P<problem>.*)")
"""A problem, which begins with its place."""

RULES_PROCESS = AppKey("rules_process", RulesProcess)
"""The key under which the web application keeps what looks at tables."""

blueprint = web.Blueprint("rules_desk")


class DraftBody(Struct, forbid_unknown_fields=True):
    """The body of a request about a table (by default the current one), or about the way of a record by it."""

    table: str = ""
    record: dict[str, Any] | str = ""


class _Difference(Struct):
    """The part of what `metroline rules diff` writes that the page shows."""

    lines: list[str]
    warnings: list[str]
    meaning: Meaning | None


class RulesView(LineView):
    """A page about the rules."""

    def page(
        self, request: web.Request, title: str, data: Struct, body: Any, status: HTTPStatus = HTTPStatus.OK
    ) -> web.Response:
        """Return the data of a page as JSON, or as HTML."""
        return self.answer(request, title, data, body, status)

    async def desk(self, request: web.Request) -> RulesDesk:
        """Return what the page shows of the rules, as this worker knows them."""
        live = self.worker.live_rules
        current, version = live.current, live.version
        publications, refused = live.publications(), live.refused()
        newest = sorted(islice(publications.items(), LISTED))
        history = await asyncio.to_thread(history_of, newest)
        return RulesDesk(
            version,
            "" if current is None else current.live.text,
            [_version(one, version, refused) for one in history],
            *await rule_uses(self.worker),
            await self._checked(request, version, publications.get(version)),
        )

    async def _checked(self, request: web.Request, version: int, publication: Publication | None) -> Check | None:
        """Return the forecast of the current version beside what happened on the line; None without one."""
        gather = cast(AiohttpRequest, request).app[SCATTER_GATHER]
        return None if publication is None else await check_of_line(self.worker, gather, version, publication)


@blueprint.route("/", name="desk")
class RulesDeskView(RulesView):
    """The versions and the form; posted, the answer about a table or a record, which changes nothing."""

    api = (
        Operation("get", "The rules: versions, uses, and the forecast beside what happened", RulesDesk),
        Operation(
            "post",
            "The problems of a table, the way of a record by it, or the preview of what it would change",
            Answer,
            body=DraftBody,
            others={HTTPStatus.BAD_REQUEST: Answer},
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        desk = await self.desk(request)
        return self.page(request, "Rules", desk, lambda: parts.show(desk, Draft(desk.text, ""), None))

    async def post(self, request: web.Request) -> web.Response:
        desk = await self.desk(request)
        draft, status = Draft(desk.text, ""), HTTPStatus.OK
        try:
            draft = await _draft(cast(AiohttpRequest, request), desk)
            process = cast(AiohttpRequest, request).app[RULES_PROCESS]
            async with process.turn():  # threads that check a table or follow a record take a processor, too
                answer = await self._answer(process, draft)
        except UsageError as error:
            status, answer = HTTPStatus.BAD_REQUEST, Answer(str(error))
        except (RulesBusy, NoAnswer) as error:
            status, answer = HTTPStatus.SERVICE_UNAVAILABLE, Answer(str(error))
        return self.page(request, "Rules", answer, lambda: parts.show(desk, draft, answer), status)

    async def _answer(self, process: RulesProcess, draft: Draft) -> Answer:
        """Return what is to be said about a draft: its problems, or the way of its record, or what it would change."""
        try:
            table = await asyncio.to_thread(self._table, draft.table, self.worker.served_stops())
        except InvalidRules as error:
            return Answer(problems=[_problem(one, draft.table) for one in error.problems])
        if draft.record.strip():
            record = orjson.dumps(exact_object(draft.record.encode()))
            steps = await asyncio.to_thread(asyncio.run, self._way(table, record))
            return Answer(steps=[parts.step_of(one) for one in steps])
        return await _change(process, draft.table)

    def _table(self, text: str, served: frozenset[str]) -> RulesTable:
        return Network.read(text, served, FILE, self.worker.line.ends).table

    async def _way(self, table: RulesTable, record: bytes) -> list[Explained]:
        settings = self.worker.settings
        limits = Limits(max_hops=settings.max_hops)
        rehearsal = Rehearsal(table, None, limits, settings.retry_policy, ends=settings.ends(self.worker.line))
        return [step async for step in rehearsal.explain(record)]


@blueprint.route("/{version}/", name="version")
class RulesVersionView(RulesView):
    """One version, with its difference from the one before it."""

    api = (
        Operation(
            "get",
            "A version of the rules",
            parts.VersionPage,
            (Parameter("version", "Number of the version"),),
            others={HTTPStatus.NOT_FOUND: Answer},
        ),
    )

    async def get(self, request: web.Request, version: str) -> web.Response:
        live = self.worker.live_rules
        publications = live.publications()
        known = [one for one in publications if str(one) == version]
        if not known:
            missing = Answer(error=f"the rules have no version {version}")
            return self.page(request, "Not found", missing, lambda: parts.warning(missing.error), HTTPStatus.NOT_FOUND)
        [number] = known
        publication = publications[number]
        before = publications.get(publication.replaces)
        names = f"version {publication.replaces}", f"version {version}"
        lines = await asyncio.to_thread(text_difference, before.text if before else "", publication.text, *names)
        row = _version(history_of([(number, publication)])[0], live.version, live.refused())
        page = parts.VersionPage(row, lines, publication.text)
        return self.page(request, f"Rules, version {version}", page, lambda: parts.show_version(page))


@blueprint.route("/{version}/seen/", name="seen")
class SeenView(RulesView):
    """The journeys of this worker since a version was published, which the page of the rules adds up."""

    api = (
        Operation(
            "get",
            "The journeys that this worker holds and that entered since a version of the rules was published",
            Tally,
            (Parameter("version", "Number of the version"),),
            others={HTTPStatus.NOT_FOUND: Answer},
        ),
    )

    async def get(self, request: web.Request, version: str) -> web.Response:
        found = [one for number, one in self.worker.live_rules.publications().items() if str(number) == version]
        if not found:
            return self.json_of(Answer(error=f"the rules have no version {version}"), HTTPStatus.NOT_FOUND)
        gather = cast(AiohttpRequest, request).app[SCATTER_GATHER]
        return self.json_of(await tally_here(self.worker, gather, found[0].at))


async def _change(process: RulesProcess, text: str) -> Answer:
    """Return the difference from the current version, and the preview. Raise `NoAnswer`."""
    found = msgspec.json.decode(await process.ask("diff", text), type=_Difference)
    if not found.lines:
        return Answer(is_same=True)
    lines = [found.lines[0], "+++ this table", *found.lines[2:]]  # in place of the name of a temporary file
    preview = msgspec.json.decode(await process.ask("preview", text, "--limit", str(PREVIEWED)), type=Preview)
    return Answer(lines=lines, warnings=found.warnings, meaning=found.meaning, preview=preview)


def _version(one: PastVersion, current: int, refused: Mapping[int, str]) -> ShownVersion:
    return parts.version_of(one, is_current=one.version == current, refused=refused.get(one.version))


def _problem(text: str, table: str) -> Problem:
    """Return a problem with its line and the text there."""
    first, _, rest = text.partition("\n")
    found = PLACE.fullmatch(first)
    if found is None:
        return Problem(None, first, None, rest)
    lines, line = table.splitlines(), int(found["line"])
    return Problem(line, found["problem"], lines[line - 1] if 0 < line <= len(lines) else None, rest)


async def _draft(request: AiohttpRequest, desk: RulesDesk) -> Draft:
    """Return the table and the record in the body of a request, which is a form or JSON; raise `UsageError`."""
    raw = await request.read()  # the gate has it already
    if request.content_type == "application/json":
        given: Mapping[str, Any] = exact_object(raw)
    elif request.content_type in ("application/x-www-form-urlencoded", "application/octet-stream"):
        given = _form(raw)
    else:
        raise UsageError(f"the body is {request.content_type}, not a form or JSON")
    unknown = given.keys() - {"table", "record"}
    if unknown:
        raise UsageError(f"unknown field {min(unknown)!r}; there are table and record")
    table, record = given.get("table", desk.text), given.get("record", "")
    if isinstance(record, dict):
        record = orjson.dumps(record).decode()
    if not isinstance(table, str) or not isinstance(record, str):
        raise UsageError("table is a text, and record a JSON object or its text")
    if len(table) > MAX_TABLE_CHARACTERS:
        raise UsageError(f"the table has {len(table):,} characters, the maximum here is {MAX_TABLE_CHARACTERS:,}")
    if len(record.encode()) > MAX_RECORD_BYTES:
        raise UsageError(f"the record is longer than {MAX_RECORD_BYTES:,} bytes")
    return Draft(table.replace("\r\n", "\n"), record)


def _form(raw: bytes) -> dict[str, str]:
    """Return the fields of a form."""
    try:
        fields = parse_qs(raw.decode(errors="replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise UsageError(f"the body is no form: {error}") from error
    return {name: values[-1] for name, values in fields.items()}
