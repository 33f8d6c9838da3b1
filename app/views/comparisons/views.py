"""Comparisons of strategies over HTTP: `/compare/` lists the last runs, and `start/` and `cancel/` below it write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from aiohttp.web import AppKey, HTTPSeeOther
from aiohttp.web import Request as AiohttpRequest
from faust import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metroline.agents.kafka.cluster import ClusterError
from metroline.app.compare.comparison import Comparison
from metroline.app.inputs.recent_records import MAX_RECORDS
from metroline.app.markup.html import Markup
from metroline.app.operations.comparison_runs import KeptRun, UnknownRun, machine_facts
from metroline.app.operations.comparisons import Comparisons, Order, RunLine
from metroline.app.operations.exact_json import exact_object
from metroline.app.operations.permission import NotPermitted, Permission
from metroline.app.views.access.forms import BODY_SECONDS, FORM_TOKEN, FORM_TYPE, BadForm, form_of
from metroline.app.views.access.visitor import permission_of
from metroline.app.views.comparisons.pages import (
    LATEST,
    MAX_BESIDE,
    PATH,
    RunAnswer,
    StartState,
    beside_page,
    extra,
    list_page,
    refused,
    run_page,
)
from metroline.app.views.operation import Error, Operation, Parameter
from metroline.app.views.view import LineView, wants_html
from metroline.routing.errors import InvalidRules, MetrolineError, UsageError
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES, strategy_named

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

COMPARISONS = AppKey("comparisons", Comparisons)
"""The key under which the web application keeps the comparisons."""

NOT_CONFIRMED = (
    "the services of the line are called again with these records, with all that they do to the world outside: confirm "
    "it with services_run_again"
)

MAX_AGE = 3.0
"""Age in seconds up to which pages show runs as they were read, so that many tabs cost no more than one."""

NO_RULES = "this worker has no rules yet, by which records could be compared: try again when it has started"

UNREADABLE = "its results cannot be read"

blueprint = web.Blueprint("comparisons")


class StartBody(BaseModel):
    """The body of a request to start a comparison on recent records of the line."""

    model_config = ConfigDict(extra="forbid", strict=True)

    records: int = Field(1_000, ge=1, le=MAX_RECORDS)
    strategies: list[str] = Field(list(STRATEGIES), min_length=1, max_length=len(STRATEGIES))
    chaining: bool = False
    rates: bool = False
    """True to measure the highest rate that each strategy holds as well."""
    services_run_again: bool = False
    """True to confirm that the services of the line are called again with these records."""


class CancelBody(BaseModel):
    """The body of a request to cancel a comparison."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str


class NoRules(MetrolineError):
    """Raised when a worker has no rules yet, by which records could be compared."""


Body = TypeVar("Body", bound=BaseModel)


class ComparisonsView(LineView):
    """A page about comparisons."""

    def comparisons(self, request: web.Request) -> Comparisons:
        return cast(AiohttpRequest, request).app[COMPARISONS]

    def page(self, request: web.Request, title: str, data: object, body: Callable[[], Markup]) -> web.Response:
        return self.answer(request, title, data, body, extra=extra())

    def refuse(self, request: web.Request, status: HTTPStatus, error: str) -> web.Response:
        return self.answer(request, "Not done", Error(error), lambda: refused(error), status)

    async def kept(self, request: web.Request) -> list[KeptRun]:
        """Return the runs of the line as they are known now, the latest first; raise `ClusterError`."""
        return (await self.comparisons(request).board.runs(MAX_AGE)).newest()

    async def write(
        self, request: web.Request, body: type[Body], act: Callable[[Body, Permission], Awaitable[KeptRun]]
    ) -> web.Response:
        """Carry out a request to write, for whoever has the permission; a browser goes to the page of the run."""
        permission = permission_of(request)
        try:
            run = await act(body.model_validate(await _asked(request)), permission)
        except TimeoutError:
            return self.refuse(request, HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {BODY_SECONDS:g} s")
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
            return self.refuse(request, HTTPStatus.BAD_REQUEST, problems)
        except (BadForm, UsageError) as error:
            return self.refuse(request, HTTPStatus.BAD_REQUEST, str(error))
        except ClusterError as error:
            return self.refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except NotPermitted:
            raise  # answered at the door
        except UnknownRun as error:
            return self.refuse(request, HTTPStatus.NOT_FOUND, str(error))
        except MetrolineError as error:
            return self.refuse(request, HTTPStatus.CONFLICT, str(error))
        if wants_html(request):
            raise HTTPSeeOther(f"{PATH}{run.id}/")
        return self.answer(request, "Comparison", answer_of(run), Markup)


@blueprint.route("/", name="list")
class ComparisonList(ComparisonsView):
    """The last runs and the form that starts one or, with `?runs=`, some of them beside each other."""

    api = (
        Operation(
            "get",
            "The last comparisons of strategies, without their results, or those in `runs` with them",
            list[RunAnswer],
            (Parameter("runs", "Ids of the comparisons to show, separated by commas"),),
            others={HTTPStatus.NOT_FOUND: Error},
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        try:
            kept = await self.kept(request)
            if chosen := _ids(cast(AiohttpRequest, request).query.getall("runs", [])):
                return await self._beside(request, kept, chosen)
            answers = [answer_of(run, with_results=False) for run in kept]
            if not wants_html(request):
                return self.page(request, "Comparisons", answers, Markup)
            done = [run for run in kept if run.has_results][:LATEST]
            latest = await asyncio.to_thread(lambda: [answer_of(run) for run in done])
            start = start_state(self.worker)
            return self.page(request, "Comparisons", {}, lambda: list_page(request, answers, latest, start))
        except ClusterError as error:
            return self.refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except UsageError as error:
            return self.refuse(request, HTTPStatus.BAD_REQUEST, str(error))
        except MetrolineError as error:
            return self.refuse(request, HTTPStatus.NOT_FOUND, str(error))

    async def _beside(self, request: web.Request, kept: list[KeptRun], chosen: Sequence[str]) -> web.Response:
        by_id = {run.id: run for run in kept}
        missing = [name for name in chosen if name not in by_id]
        if missing:
            raise UnknownRun(f"there is no comparison {missing[0]!r}")
        answers = await asyncio.to_thread(lambda: [answer_of(by_id[name]) for name in chosen])
        return self.page(request, "Comparisons", answers, lambda: beside_page(answers))


@blueprint.route("/{run:[0-9a-f]+}/", name="run")
class ComparisonView(ComparisonsView):
    """One run, in the look of a report."""

    api = (
        Operation(
            "get",
            "A comparison of strategies with its results",
            RunAnswer,
            (Parameter("run", "Id of the comparison"),),
            others={HTTPStatus.NOT_FOUND: Error},
        ),
    )

    async def get(self, request: web.Request, run: str) -> web.Response:
        try:
            found = await self.comparisons(request).board.run(run, MAX_AGE)
        except ClusterError as error:
            return self.refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except UnknownRun as error:
            return self.refuse(request, HTTPStatus.NOT_FOUND, str(error))
        answer = await asyncio.to_thread(answer_of, found)
        if not wants_html(request):
            return self.page(request, "Comparison", answer, Markup)
        body = await asyncio.to_thread(lambda: run_page(request, answer, network_of(found)))
        return self.page(request, f"Comparison {found.id}", {}, lambda: body)


@blueprint.route("/start/", name="start")
class StartComparison(ComparisonsView):
    """Starts a comparison on recent records of the line; returns it."""

    api = (Operation("post", "Start a comparison on recent records of the line", RunAnswer, body=StartBody),)

    async def post(self, request: web.Request) -> web.Response:
        async def start(asked: StartBody, permission: Permission) -> KeptRun:
            names = tuple(dict.fromkeys(strategy_named(name).name for name in asked.strategies))
            if not asked.services_run_again:
                raise UsageError(NOT_CONFIRMED)
            order = Order(asked.records, names, asked.chaining, asked.rates)
            return await self.comparisons(request).start(order, await run_line(self.worker), permission)

        return await self.write(request, StartBody, start)


@blueprint.route("/cancel/", name="cancel")
class CancelComparison(ComparisonsView):
    """Cancels a comparison, whichever worker runs it; returns it as it was."""

    api = (Operation("post", "Cancel a comparison that was started on a page", RunAnswer, body=CancelBody),)

    async def post(self, request: web.Request) -> web.Response:
        async def cancel(asked: CancelBody, permission: Permission) -> KeptRun:
            return await self.comparisons(request).cancel(asked.run, permission)

        return await self.write(request, CancelBody, cancel)


def answer_of(run: KeptRun, *, with_results: bool = True) -> RunAnswer:
    """Return a run for programs and people."""
    comparison, state, note = None, run.state, run.note
    if with_results:
        try:
            comparison = msgspec.json.decode(run.comparison, type=Comparison | None)
        except (msgspec.DecodeError, ValueError, RecursionError):  # not JSON, not UTF-8, or nested too deeply
            note = UNREADABLE
        if comparison is not None and not comparison.runs:
            comparison, note = None, UNREADABLE
    return RunAnswer(
        id=run.id,
        state=state,
        by=run.by,
        at=run.at,
        updated=run.updated,
        started_from=run.started_from,
        worker=run.worker,
        command=run.command,
        strategies=run.strategies,
        chaining=run.chaining,
        rate=run.rate,
        asked=run.asked,
        records=run.records,
        code=run.code,
        rules_version=run.rules_version,
        machine=run.machine,
        step=run.step,
        done=run.done,
        total=run.total,
        note=note,
        comparison=comparison,
    )


async def run_line(worker: LineApp) -> RunLine:
    """Return the line of a worker as a comparison needs it; raise `NoRules` if it has none yet."""
    settings, line, topics = worker.settings, worker.line, worker.line_topics
    current = worker.live_rules.current
    if current is None:
        raise NoRules(NO_RULES)
    environment = {
        "LINE": settings.line,
        "PREFIX": topics.prefix,
        "SOURCE": topics.source,
        "BROKER_URL": settings.broker_url,
        "LOG_FORMAT": "text",  # the last line of the output is the reason of a failure
    }
    return RunLine(
        settings.line,
        str(worker.conf.canonical_url),
        environment,
        await asyncio.to_thread(line.identity),
        current.live.text,
        current.live.version,
        sorted(line.ends),
        machine_facts(settings.broker_url),
    )


def start_state(worker: LineApp) -> StartState:
    """Return what the form says about the line of a worker."""
    called = worker.line.stops - worker.line.options.outside.keys()  # ends in other systems have a stand-in
    return StartState(worker.line_topics.source, sorted(called), worker.live_rules.version)


def network_of(run: KeptRun) -> Network | None:
    """Return the network of the rules of a run; None if they were not kept, or if they cannot be read any more."""
    return _network(run.table, tuple(run.ends))


@lru_cache(maxsize=8)
def _network(table: str, ends: tuple[str, ...]) -> Network | None:
    if not table:
        return None
    try:
        return Network.of(RulesTable.parse(table, ends=frozenset(ends)))
    except InvalidRules:
        return None


def _ids(given: Sequence[str]) -> list[str]:
    """Return the ids in the parameter `runs`, which may come several times; raise `UsageError` for too many."""
    found = list(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))
    if len(found) > MAX_BESIDE:
        raise UsageError(f"at most {MAX_BESIDE} comparisons are shown beside each other")
    return found


async def _asked(request: web.Request) -> dict[str, Any]:
    """Return the object in the body of a request; a form stands for one. Raise `UsageError` or `TimeoutError`."""
    asked = cast(AiohttpRequest, request)
    if asked.content_type != FORM_TYPE:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await asked.read()
        try:
            return exact_object(raw)
        except UsageError as error:
            raise UsageError(f"body: {error}") from error
    fields = {name: value for name, value in (await form_of(request)).items() if value.strip()}
    fields.pop(FORM_TOKEN, None)  # which the check of the login has read
    if "run" in fields:
        return dict(fields)
    chosen = [name for name in STRATEGIES if fields.pop(name, None)]
    records = fields.pop("records", "0").strip()
    count = int(records) if records.isascii() and records.isdigit() and len(records) < 10 else records
    return {"records": count, "strategies": chosen, **{name: value == "true" for name, value in fields.items()}}
