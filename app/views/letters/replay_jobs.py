"""Replay jobs over HTTP: `/dead-letters/jobs/` lists them; `start/` and `ask/` below it write orders."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from aiohttp.web import HTTPSeeOther
from faust import web
from pydantic import BaseModel, ConfigDict, Field

from metroline.app.markup.html import markup, tag
from metroline.app.operations.desk import PAGE, Desk
from metroline.app.operations.foreign_jobs import check_foreign
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import (
    JobAnswer,
    ask_job,
    check_job,
    job_as_json,
    journal_of,
    new_job,
    some_letters,
    start_job,
)
from metroline.app.operations.rereading import Rereading, read_again
from metroline.app.views.letters.answers import ReplayedAnswer
from metroline.app.views.letters.dead_letters import Answer, DeadLettersView, ForeignSelection, ReplayBody, blueprint
from metroline.app.views.letters.pages import JOBS_PATH, PATH, job_page, jobs_grid, link
from metroline.app.views.operation import Either, Error, Operation, Parameter
from metroline.app.views.view import wants_html
from metroline.routing.journeys.replay_job_messages import JobState, Start, StartDiscard, StartForeign, Wish
from metroline.routing.journeys.replay_jobs import Job

ORDERS = {
    JobState.RUNNING: (Wish.PAUSE, Wish.CANCEL),
    JobState.PAUSED: (Wish.RESUME, Wish.CANCEL),
    JobState.STOPPED: (Wish.RESUME, Wish.CANCEL),
}
"""The orders that a job takes in each state."""


class StartBody(ForeignSelection):
    """The body of a request to start a job."""

    fields: dict[str, Any] = Field({}, alias="set")
    to: str | None = None
    ramp: list[int] | None = None
    stop_at: float | None = None
    patience: float | None = None
    reason: str = ""
    discard: bool = False
    """True to discard the letters, for the reason, rather than to replay them."""
    dry_run: bool = False
    """True to start nothing, and to return where the first letters would go."""


class AskBody(BaseModel):
    """The body of a request to pause, resume or cancel a job."""

    model_config = ConfigDict(extra="forbid", strict=True)

    job: str
    wish: Literal["pause", "resume", "cancel"]
    reason: str = ""


class JobsView(DeadLettersView):
    """A page about replay jobs."""

    def to_job(self, request: web.Request, answer: web.Response, name: str | None) -> web.Response:
        """Return the answer to an order; a browser goes to the page of its job."""
        if wants_html(request) and name is not None:
            raise HTTPSeeOther(f"{JOBS_PATH}?job={name}")
        return self.shown(request, answer)


@blueprint.route("/jobs/", name="jobs")
class JobList(JobsView):
    """All replay jobs or, with `?job=`, one of them."""

    api = (
        Operation(
            "get",
            "All replay jobs or, with `job`, one of them",
            Either((list[JobAnswer], JobAnswer)),
            (Parameter("job", "Id of the only job to show"),),
            others={HTTPStatus.NOT_FOUND: Error},
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        return await self.read(request, self._get(request))

    async def _get(self, request: web.Request) -> web.Response:
        board = self.worker.job_board
        if name := request.query.get("job"):
            return self._one(request, await board.job(name))
        jobs = list((await board.jobs()).by_id.values())[::-1]
        if not wants_html(request):
            return self.respond([job_as_json(job) for job in jobs])
        shown = jobs_grid(jobs) if jobs else tag("p", "There are no replay jobs.")
        body = markup([shown, tag("p", link(PATH, "Dead letters"))])
        return self.answer(request, "Replay jobs", {}, lambda: body)

    def _one(self, request: web.Request, job: Job) -> web.Response:
        if not wants_html(request):
            return self.respond(job_as_json(job))
        orders = [str(wish) for wish in ORDERS.get(job.state, ())]
        body = job_page(request, job, journal_of(job), orders)
        return self.answer(request, f"Replay job {job.id}", {}, lambda: body)


@blueprint.route("/jobs/start/", name="start-job")
class StartJob(JobsView):
    """Starts a job; returns it."""

    api = (
        Operation(
            "post",
            "Start a job that replays or discards dead letters",
            Either((JobAnswer, ReplayedAnswer)),
            body=StartBody,
        ),
    )

    async def post(self, request: web.Request) -> web.Response:
        started: list[str] = []

        async def start(desk: Desk, asked: StartBody, permission: Permission) -> Answer:
            if asked.dry_run:
                return await self._ways(desk, asked, permission)
            job = await self._start(desk, asked, permission)
            started.append(str(job["job"]))
            return job

        answer = await self.write(request, StartBody, start)
        return self.to_job(request, answer, started[0] if started else None)

    async def _ways(self, desk: Desk, asked: StartBody, permission: Permission) -> Answer:
        """Return where the first letters of a job would go."""
        if asked.topic is None:
            chosen = {"ids": asked.ids, "group": asked.group, "set": asked.fields, "to": asked.to, "dry_run": True}
            return await self.replay(desk, ReplayBody.model_validate(chosen), permission)
        foreign = self.foreign_desk(asked.topic)
        letters = await foreign.fetched((await foreign.chosen(asked.ids, asked.group))[:PAGE])
        refused = await foreign.refusals({one.letter.topic for one in letters})
        would_go = {one.id: one.letter.topic for one in letters if one.letter.topic not in refused}
        still_dead = {one.id: refused[one.letter.topic] for one in letters if one.letter.topic in refused}
        return {"would_go": would_go, "still_dead": still_dead, "topic": asked.topic}

    async def _start(self, desk: Desk, asked: StartBody, permission: Permission) -> Answer:
        worker = self.worker
        if asked.to is not None and asked.to not in worker.served_stops():
            served = ", ".join(sorted(worker.served_stops()))
            raise DeadLetterError(f"no worker serves the stop {asked.to!r}; the stops are {served}")
        if asked.discard and asked.topic is not None:
            raise DeadLetterError("letters of another system are discarded at once: POST /dead-letters/discard/")
        kind = StartDiscard if asked.discard else Start if asked.topic is None else StartForeign
        own = {} if asked.topic is None else {"topic": asked.topic}
        pace = {"ramp": asked.ramp and tuple(asked.ramp), "stop_at": asked.stop_at, "patience": asked.patience}
        job = new_job(
            permission.by,
            kind,
            group=asked.group,
            ids=tuple(asked.ids),
            to=asked.to,
            fields=asked.fields,
            rate=asked.rate,
            reason=asked.reason,
            **own,
            **{name: value for name, value in pace.items() if value is not None},
        )
        if isinstance(job, StartForeign):
            await check_foreign(self.foreign_desk(job.topic), job)
        else:
            letters = await some_letters(desk, job)
            reread = Rereading() if asked.discard else await read_again(worker.settings, worker.line, letters)
            check_job(job, letters, reread, worker.live_rules.rule_tables, worker.line.services)
        await start_job(worker.cluster, worker.line_topics, job, permission)
        return job_as_json(await worker.job_board.job(job.job))


@blueprint.route("/jobs/ask/", name="ask-job")
class AskJob(JobsView):
    """Pauses, resumes or cancels a job; returns it."""

    api = (Operation("post", "Pause, resume or cancel a replay job", JobAnswer, body=AskBody),)

    async def post(self, request: web.Request) -> web.Response:
        asked: list[str] = []

        async def ask(desk: Desk, body: AskBody, permission: Permission) -> Answer:
            worker, wish = self.worker, Wish(body.wish)
            board = worker.job_board
            await ask_job(worker.cluster, worker.line_topics, board, body.job, wish, permission, body.reason)
            asked.append(body.job)
            return job_as_json(await worker.job_board.job(body.job))

        answer = await self.write(request, AskBody, ask)
        return self.to_job(request, answer, asked[0] if asked else None)
