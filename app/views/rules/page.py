"""The page `/rules/`: versions with who, when and why, a table to edit with its preview, and a record to try.

It writes nothing: `rules_publishing` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from aiohttp.web import AppKey
from aiohttp.web import Request as AiohttpRequest
from faust import web
from msgspec import Struct
from msgspec.structs import replace

from metroline.agents.tables.publication import Publication
from metroline.app.markup.html import markup, tag
from metroline.app.operations.rules_history import LineCounts, PastVersion, history_of, text_difference
from metroline.app.operations.rules_process import NoAnswer, RulesBusy, RulesProcess
from metroline.app.preview.forecasts import Check, Tally
from metroline.app.views.operation import Operation, Parameter
from metroline.app.views.rules import parts
from metroline.app.views.rules.answers import answer_about, meanwhile
from metroline.app.views.rules.drafts import QUESTION, Draft, check_size, draft_of, fields_of
from metroline.app.views.rules.forecast_check import check_of_line, tally_here
from metroline.app.views.rules.forms import show
from metroline.app.views.rules.parts import Answer, RulesDesk, ShownVersion
from metroline.app.views.rules.uses import rule_uses
from metroline.app.views.tables.table_list import SCATTER_GATHER
from metroline.app.views.view import LineView
from metroline.routing.errors import UsageError

LISTED = 50
"""Versions that the page lists, the newest ones."""

RULES_PROCESS = AppKey("rules_process", RulesProcess)
"""The key under which the web application keeps what looks at tables."""

LINE_COUNTS = AppKey("line_counts", LineCounts)
"""The key under which the web application keeps how the versions that were listed differ."""

LATE = "the body did not come in time"

EXTRA = markup(
    [
        tag("link", rel="stylesheet", href="/static/rules_page.css"),
        tag("script", type="module", src="/static/rules_page.js"),
    ]
)
"""The script that checks the table while it is edited, and the colours of the editor."""

blueprint = web.Blueprint("rules_desk")


class DraftBody(Struct, forbid_unknown_fields=True):
    """The body of a request about a table (by default the current one), or about the way of a record by it."""

    table: str = ""
    record: dict[str, Any] | str = ""


class RulesView(LineView):
    """A page about the rules."""

    def page(
        self, request: web.Request, title: str, data: Struct, body: Any, status: HTTPStatus = HTTPStatus.OK
    ) -> web.Response:
        """Return the data of a page as JSON, or as HTML."""
        return self.answer(request, title, data, body, status, EXTRA)

    def shown(
        self, request: web.Request, desk: RulesDesk, draft: Draft, answer: Answer, status: HTTPStatus = HTTPStatus.OK
    ) -> web.Response:
        """Return an answer about a draft; for a browser with the form, in which all stays as it was typed."""
        return self.page(request, "Rules", answer, lambda: show(request, desk, draft, answer), status)

    async def desk(self, request: web.Request) -> RulesDesk:
        """Return what the page shows of the rules, as this worker knows them."""
        live = self.worker.live_rules
        current, version = live.current, live.version
        publications, refused = live.publications, live.refused()
        newest = sorted(publications.latest(LISTED + 1).items())  # the last one is what the one before it changed
        counts = cast(AiohttpRequest, request).app[LINE_COUNTS]
        history = (await asyncio.to_thread(history_of, newest, counts))[:LISTED]
        return RulesDesk(
            version,
            "" if current is None else current.live.text,
            [version_row(one, version, refused) for one in history],
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
        draft = Draft(desk.text, "", desk.version)
        return self.page(request, "Rules", desk, lambda: show(request, desk, draft, None))

    async def post(self, request: web.Request) -> web.Response:
        desk = await self.desk(request)
        draft = Draft(desk.text, "", desk.version)
        try:
            draft = draft_of(await fields_of(request, QUESTION), desk.text, desk.version)
            check_size(draft)
            process = cast(AiohttpRequest, request).app[RULES_PROCESS]
            async with process.turn():  # threads that check a table or follow a record take a processor, too
                answer = await answer_about(self.worker, process, draft)
        except UsageError as error:
            return self.shown(request, desk, draft, Answer(str(error)), HTTPStatus.BAD_REQUEST)
        except TimeoutError:
            return self.shown(request, desk, draft, Answer(LATE), HTTPStatus.REQUEST_TIMEOUT)
        except (RulesBusy, NoAnswer) as error:
            return self.shown(request, desk, draft, Answer(str(error)), HTTPStatus.SERVICE_UNAVAILABLE)
        newer = await meanwhile(self.worker.live_rules.publications, draft, desk.version)
        draft = replace(draft, replaces=desk.version)
        is_previewed = answer.preview is not None
        draft = replace(draft, previewed=draft.mark if is_previewed else "")
        return self.shown(request, desk, draft, replace(answer, meanwhile=newer))


@blueprint.route("/{version:[0-9]+}/", name="version")
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
        publications = live.publications
        number = publications.named(version)
        if number is None:
            missing = Answer(error=f"the rules have no version {version}")
            return self.page(request, "Not found", missing, lambda: parts.warning(missing.error), HTTPStatus.NOT_FOUND)
        publication = publications[number]
        before = publications.get(publication.replaces)
        names = f"version {publication.replaces}", f"version {version}"
        lines = await asyncio.to_thread(text_difference, before.text if before else "", publication.text, *names)
        pair = [(number, publication)] if before is None else [(publication.replaces, before), (number, publication)]
        history = await asyncio.to_thread(history_of, pair, cast(AiohttpRequest, request).app[LINE_COUNTS])
        page = parts.VersionPage(version_row(history[0], live.version, live.refused()), lines, publication.text)
        return self.page(request, f"Rules, version {version}", page, lambda: parts.show_version(page))


@blueprint.route("/{version:[0-9]+}/seen/", name="seen")
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
        publications = self.worker.live_rules.publications
        number = publications.named(version)
        if number is None:
            return self.json_of(Answer(error=f"the rules have no version {version}"), HTTPStatus.NOT_FOUND)
        gather = cast(AiohttpRequest, request).app[SCATTER_GATHER]
        return self.json_of(await tally_here(self.worker, gather, publications[number].at))


def version_row(one: PastVersion, current: int, refused: Mapping[int, str]) -> ShownVersion:
    """Return a version as the list shows it."""
    return parts.version_of(one, is_current=one.version == current, refused=refused.get(one.version))
