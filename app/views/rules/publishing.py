"""Checks a rules table while it is typed, publishes it, and publishes an earlier one again, at `/rules/`.

The tables are written by `metroline.app.operations.publishing`, which demands the permission.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from aiohttp.web import AppKey
from aiohttp.web import Request as AiohttpRequest
from aiokafka.errors import KafkaError
from faust import web
from msgspec import Struct
from msgspec.structs import replace

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.tables.publication import Publication
from metroline.app.operations.permission import Permission
from metroline.app.operations.publishing import Grounds, NotPublished, Outdated, Published, publish_table
from metroline.app.operations.rules_history import history_of, text_difference
from metroline.app.operations.rules_process import NoAnswer, RulesBusy
from metroline.app.operations.rules_topic import PublishedRules, Unconfirmed
from metroline.app.operations.table_checker import TableChecker
from metroline.app.views.access.visitor import permission_of
from metroline.app.views.operation import Error, Operation, Parameter
from metroline.app.views.rules.answers import FILE, answer_about, forecast_of, meanwhile, problems_of
from metroline.app.views.rules.drafts import (
    Draft,
    check_reason,
    check_size,
    draft_of,
    fields_of,
    is_form,
    reason_in,
    version_in,
)
from metroline.app.views.rules.forms import PublishedAnswer, RollbackPage, show_published, show_rollback
from metroline.app.views.rules.page import LATE, LINE_COUNTS, RULES_PROCESS, RulesView, version_row
from metroline.app.views.rules.parts import Answer, Meanwhile, Problem, RulesDesk, warning
from metroline.routing.errors import InvalidRules, MetrolineError, UsageError
from metroline.routing.rules.table import RulesTable

CHECKER = AppKey("table_checker", TableChecker)
"""The key under which the web application keeps what checks tables while they are typed."""

APPLIED_SECONDS = 3.0
"""Time to wait until this worker decides by a version that was published here."""

POLL_SECONDS = 0.05

NOT_PREVIEWED = "Not published yet: this is the preview of the table. Publish it if this is what it is to change."

blueprint = web.Blueprint("rules_publishing")


class CheckBody(Struct, forbid_unknown_fields=True):
    """The body of a request to check a table."""

    table: str


class PublishBody(Struct, forbid_unknown_fields=True):
    """The body of a request to publish a table."""

    table: str
    reason: str
    replaces: int | None = None
    """The version that the table was made from; by default the current one, whichever it is."""


class RollbackBody(Struct, forbid_unknown_fields=True):
    """The body of a request to publish an earlier version again."""

    reason: str = ""
    """The reason; by default `back to version N`."""
    replaces: int | None = None


class CheckAnswer(Struct, frozen=True):
    """The problems of a table; none if it is valid."""

    problems: list[Problem]
    count: int
    """Number of all problems: a long list is cut."""


REFUSED = (MetrolineError, KafkaError, TimeoutError)
"""The errors by which a table is not published, or not known to be."""

REFUSALS = {HTTPStatus.BAD_REQUEST: Answer, HTTPStatus.CONFLICT: Answer}


class PublishingView(RulesView):
    """A page that publishes."""

    async def publish(
        self, text: str, file: str, permission: Permission, reason: str, replaces: int | None, request: web.Request
    ) -> PublishedAnswer:
        """Publish a table with its forecast, and wait until this worker decides by it, if that is soon."""
        permission.demand()
        worker = self.worker
        table = await asyncio.to_thread(RulesTable.parse, text, file=file, ends=worker.line.ends)
        process = cast(AiohttpRequest, request).app[RULES_PROCESS]
        current = worker.live_rules.current
        is_current = current is not None and current.live.text == text
        if not is_current:
            self._refuse_outdated(replaces)
        forecast, problem = (None, None) if is_current else await forecast_of(process, text)
        grounds = Grounds(reason, forecast)

        def publish() -> Published:
            """Publish from a thread of its own: a large table takes a processor for a while."""
            return asyncio.run(publish_table(worker.settings, worker.line, table, file, permission, grounds, replaces))

        done = await asyncio.to_thread(publish)
        await self._applied(done.version)
        is_new = done.replaces is not None
        warnings = [*done.warnings, *([problem] if problem and is_new else [])]
        return PublishedAnswer(is_new, done.version, done.replaces, warnings)

    def _refuse_outdated(self, replaces: int | None) -> None:
        """Raise `Outdated` if a later version is known here than the one that a table was made from.

        What is not known here yet is found as it is published, but after a forecast, which takes a while.
        """
        rules = self.worker.live_rules
        if replaces is None or replaces >= rules.latest:
            return
        current = PublishedRules(rules.latest, rules.publications[rules.latest])
        raise Outdated(f"version {current.version} by {current.publication.by} is current, not {replaces}", current)

    async def _applied(self, version: int) -> None:
        deadline = time.monotonic() + APPLIED_SECONDS
        live = self.worker.live_rules
        while live.latest < version and time.monotonic() < deadline:  # noqa: ASYNC110 - Faust's table sends no event
            await asyncio.sleep(POLL_SECONDS)


@blueprint.route("/check/", name="check")
class RulesCheckView(RulesView):
    """The check of a table, for a field in which somebody types."""

    api = (
        Operation(
            "post",
            "The problems of a table",
            CheckAnswer,
            body=CheckBody,
            others={HTTPStatus.BAD_REQUEST: Error, HTTPStatus.REQUEST_TIMEOUT: Error},
        ),
    )

    async def post(self, request: web.Request) -> web.Response:
        try:
            given = await fields_of(request, ("table",))
            draft = draft_of(given, "", 0)
            check_size(draft)
            checker, line = cast(AiohttpRequest, request).app[CHECKER], self.worker.line
            found = await checker.check(draft.table, self.worker.served_stops(), line.ends, line.last)
        except UsageError as error:
            return self._refuse(request, str(error), HTTPStatus.BAD_REQUEST)
        except TimeoutError:
            return self._refuse(request, LATE, HTTPStatus.REQUEST_TIMEOUT)
        except (RulesBusy, NoAnswer) as error:
            return self._refuse(request, str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        answer = CheckAnswer(problems_of(found.problems, draft.table), found.count)
        body = Answer(problems=answer.problems) if answer.problems else Answer(error="The table has no problem.")
        return self.page(request, "Rules", answer, lambda: warning(body.error or f"{answer.count} problems"))

    def _refuse(self, request: web.Request, error: str, status: HTTPStatus) -> web.Response:
        return self.page(request, "Rules", Error(error), lambda: warning(error), status)


@blueprint.route("/publish/", name="publish")
class RulesPublishView(PublishingView):
    """A table becomes the current version; a browser that has not seen its preview gets that first."""

    api = (
        Operation(
            "post",
            "Publish a table",
            PublishedAnswer,
            body=PublishBody,
            others=REFUSALS,
        ),
    )

    async def post(self, request: web.Request) -> web.Response:
        permission = permission_of(request)
        desk = await self.desk(request)
        draft = Draft(desk.text, "", desk.version)
        try:
            given = await fields_of(request, ("table", "reason", "replaces"))
            draft = draft_of(given, desk.text, desk.version)
            if "table" not in given:
                raise UsageError("table is missing")
            check_size(draft)
            check_reason(draft.reason)
            if is_form(request) and draft.previewed != draft.mark:
                return await self._previewed(request, desk, draft)
            replaces = draft.replaces if given.get("replaces") is not None else None
            done = await self.publish(draft.table, FILE, permission, draft.reason, replaces, request)
        except REFUSED as error:
            answer, status = await refusal(error, draft.table, self.worker.live_rules.publications, draft.replaces)
            if answer.meanwhile is not None:
                draft = replace(draft, replaces=answer.meanwhile.version, previewed="")
            return self.shown(request, await self.desk(request), draft, answer, status)
        return self.page(request, "Rules", done, lambda: show_published(done))

    async def _previewed(self, request: web.Request, desk: RulesDesk, draft: Draft) -> web.Response:
        """Return the preview of a table in place of publishing it."""
        process = cast(AiohttpRequest, request).app[RULES_PROCESS]
        asked = replace(draft, ask="preview")
        async with process.turn():
            answer = await answer_about(self.worker, process, asked)
        newer = await meanwhile(self.worker.live_rules.publications, draft, desk.version)
        draft = replace(draft, replaces=desk.version)
        if answer.preview is not None:
            answer = replace(answer, error=NOT_PREVIEWED)
            draft = replace(draft, previewed=draft.mark)
        return self.shown(request, desk, draft, replace(answer, meanwhile=newer), HTTPStatus.CONFLICT)


@blueprint.route("/{version:[0-9]+}/rollback/", name="rollback")
class RulesRollbackView(PublishingView):
    """An earlier version becomes the current table again, as a new version."""

    api = (
        Operation(
            "get",
            "The changes that publishing an earlier version again would make",
            RollbackPage,
            (Parameter("version", "Number of the version"),),
            others={HTTPStatus.NOT_FOUND: Answer},
        ),
        Operation(
            "post",
            "Publish an earlier version again, as a new one",
            PublishedAnswer,
            (Parameter("version", "Number of the version"),),
            body=RollbackBody,
            others={**REFUSALS, HTTPStatus.NOT_FOUND: Answer},
        ),
    )

    async def get(self, request: web.Request, version: str) -> web.Response:
        page = await self._page(request, version)
        if page is None:
            return self._missing(request, version)
        return self._asked(request, page)

    async def post(self, request: web.Request, version: str) -> web.Response:
        permission = permission_of(request)
        page = await self._page(request, version)
        if page is None:
            return self._missing(request, version)
        replaces: int | None = None
        try:
            given = await fields_of(request, ("reason", "replaces"))
            reason = reason_in(given) or page.reason
            page = replace(page, reason=reason)
            check_reason(reason)
            replaces = version_in(given, page.current) if given.get("replaces") is not None else None
            file = f"version {version}"
            done = await self.publish(page.text, file, permission, reason, replaces, request)
        except REFUSED as error:
            base = page.current if replaces is None else replaces
            answer, status = await refusal(error, page.text, self.worker.live_rules.publications, base)
            kept = page.reason
            page = await self._page(request, version) or page
            return self._asked(request, replace(page, reason=kept), answer, status)
        return self.page(request, "Rules", done, lambda: show_published(done))

    async def _page(self, request: web.Request, version: str) -> RollbackPage | None:
        """Return the page about a version; None if there is none of this number."""
        live = self.worker.live_rules
        number = live.publications.named(version)
        if number is None:
            return None
        publication = live.publications[number]
        current, names = live.current, (f"version {live.version}", f"version {version}")
        text = "" if current is None else current.live.text
        lines = await asyncio.to_thread(text_difference, text, publication.text, *names)
        counts = cast(AiohttpRequest, request).app[LINE_COUNTS]
        [past] = await asyncio.to_thread(history_of, [(number, publication)], counts)
        row = version_row(past, live.version, live.refused())
        return RollbackPage(row, live.version, lines, publication.text, f"back to version {version}")

    def _asked(
        self,
        request: web.Request,
        page: RollbackPage,
        answer: Answer | None = None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> web.Response:
        title = f"Roll back to version {page.version.version}?"
        return self.page(request, title, answer or page, lambda: show_rollback(request, page, answer), status)

    def _missing(self, request: web.Request, version: str) -> web.Response:
        answer = Answer(error=f"the rules have no version {version}")
        return self.page(request, "Not found", answer, lambda: warning(answer.error), HTTPStatus.NOT_FOUND)


async def refusal(
    error: Exception, table: str, publications: Mapping[int, Publication], made_from: int
) -> tuple[Answer, HTTPStatus]:
    """Return the answer to somebody whose table is not published, with its status; raise what the door answers."""
    match error:
        case UsageError():
            return Answer(str(error)), HTTPStatus.BAD_REQUEST
        case InvalidRules():
            told = "The table is not published: it has problems."
            problems = problems_of(error.problems, table)
            return Answer(told, problems=problems, problem_count=len(error.problems)), HTTPStatus.BAD_REQUEST
        case Outdated():
            return await _outdated(error, publications, made_from), HTTPStatus.CONFLICT
        case NotPublished():
            return Answer(f"Not published: {error}"), HTTPStatus.CONFLICT
        case RulesBusy() | NoAnswer() | ClusterError() | KafkaError():
            return Answer(f"Not published: {error}"), HTTPStatus.SERVICE_UNAVAILABLE
        case Unconfirmed() | TimeoutError():
            return Answer(str(Unconfirmed())), HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            raise error  # `NotPermitted`, first of all


async def _outdated(error: Outdated, publications: Mapping[int, Publication], made_from: int) -> Answer:
    """Return the answer about a table that was made from a version that is not the current one any more."""
    if error.current is None:
        return Answer(f"Not published: {error}")
    current = error.current
    known = {version: publications[version] for version in (made_from,) if version in publications}
    known[current.version] = current.publication
    newer: Meanwhile | None = await meanwhile(known, Draft("", "", made_from), error.current.version)
    told = f"Not published: version {error.current.version} by {error.current.publication.by} came first."
    return Answer(told, meanwhile=newer)
