"""`metroline dead-letters jobs | pause | resume | cancel`, and the progress of a replay job for who follows it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from metroline.agents.services.line import Line
from metroline.app.cli.console import print_rows, safe_console
from metroline.app.cli.options import json_option, line_option, write_json
from metroline.app.cli.progress import ReportProgress, progress_bars
from metroline.app.cli.terminal import say
from metroline.app.markup.numbers import count
from metroline.app.markup.times import iso
from metroline.app.operations.desk import Desk
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import JobBoard, ask_job, job_as_json, journal_of, parse_ramp, parse_share
from metroline.app.settings import Settings
from metroline.routing.errors import UsageError
from metroline.routing.journeys.replay_job_messages import Act, JobState, Start, Wish
from metroline.routing.journeys.replay_jobs import Job

LOOK_SECONDS = 0.5
"""Time between two looks at the progress of a job."""

HEADS = (
    *("job", "act", "state", "total", "replayed", "ended", "dead again", "under way", "left out"),
    *("started", "by", "reason"),
)
"""The columns of the list."""

DONE = {Act.REPLAY: "replayed", Act.DISCARD: "discarded"}


class RampType(click.ParamType):
    """The value of `--ramp`: the sizes of the steps, with commas between them."""

    name = "ramp"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N,N,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            return parse_ramp(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


class ShareType(click.ParamType):
    """The value of `--stop-at`: a share, as in `5%` or `0.05`."""

    name = "share"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "SHARE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_share(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


@click.command("jobs")
@click.argument("job", required=False, metavar="[JOB]")
@line_option
@json_option("the jobs")
def jobs(job: str | None, line: str | None, json_file: Path | None) -> None:
    """List replay jobs, or show one with its journal.

    \b
    Example: metroline dead-letters jobs
    """
    desk = _desk(line)
    shown = asyncio.run(_jobs(desk, job))
    if json_file is not None:
        told = [job_as_json(one) for one in shown]
        write_json(told[0] if job else told, json_file)
    elif job:
        _print_job(shown[0])
    elif not shown:
        say("no replay jobs")
    else:
        print_rows("replay jobs", HEADS, list(map(_row, shown)))


def _order(wish: Wish, done: str, help: str) -> click.Command:
    """Return the command that asks this of a job."""

    @click.command(str(wish), help=help)
    @click.argument("job", metavar="JOB")
    @click.option("--reason", default="", help="Reason, for the journal of the job.")
    @line_option
    @json_option("the job")
    def order(job: str, reason: str, line: str | None, json_file: Path | None) -> None:
        desk = _desk(line)

        async def ask() -> Job:
            board = JobBoard(desk.cluster, desk.topics)
            try:
                await ask_job(desk.cluster, desk.topics, board, job, wish, Permission.of_command(), reason)
                return await board.job(job)
            finally:
                await board.close()

        asked = asyncio.run(ask())
        if json_file is not None:
            write_json(job_as_json(asked), json_file)
        else:
            say(f"the replay job {job} is {done}")

    return order


pause = _order(
    Wish.PAUSE,
    "paused",
    "Pause a replay job: it sends nothing until it is resumed. What was sent goes on.\n\n\b\n"
    "Example: metroline dead-letters pause 3f8a1c02d7",
)
resume = _order(
    Wish.RESUME,
    "resumed",
    "Resume a replay job that was paused, or that stopped by itself. In the latter case, the ramp and the share that "
    "may be dead again begin anew.\n\n\b\n"
    "Example: metroline dead-letters resume 3f8a1c02d7",
)
cancel = _order(
    Wish.CANCEL,
    "cancelled",
    "Cancel a replay job for good. What was sent goes on; the other dead letters stay what they are.\n\n\b\n"
    "Example: metroline dead-letters cancel 3f8a1c02d7",
)

COMMANDS = (jobs, pause, resume, cancel)


def _desk(line: str | None) -> Desk:
    settings = Settings.read(line=line)
    return Desk(settings.cluster(), settings.topics(Line.load(settings.line)))


async def _jobs(desk: Desk, name: str | None) -> list[Job]:
    board = JobBoard(desk.cluster, desk.topics)
    try:
        return [await board.job(name)] if name else list((await board.jobs()).by_id.values())
    finally:
        await board.close()


def _row(job: Job) -> dict[str, str]:
    told = job_as_json(job)
    shown = {
        "job": job.id,
        "act": told["act"],
        "state": told["state"],
        "dead again": count(told["dead_again"]),
        "under way": count(told["under_way"]),
        "left out": count(sum(told["left_out"].values())),
        "started": iso(told["at"]) or "unknown time",
        "by": told["by"],
        "reason": told["reason"],
    }
    return shown | {name: count(told[name]) for name in ("total", "replayed", "ended")}


def _print_job(job: Job) -> None:
    told = job_as_json(job)
    say(f"replay job {job.id}: {_state(told)}")
    say(f"  {_figures(told)}")
    say("", "dead letters", f"  {_chosen(told)}", *_changes(told))
    ramp = ", ".join(map(count, told["ramp"]))
    share = f"{100 * told['stop_at']:g} %"
    pace = f"{told['rate']:g} a second"
    if job.act is Act.REPLAY:
        pace = f"steps of {ramp}, {pace}; stops when more than {share} are dead again"
    say("", "pace", f"  {pace}")
    say("", "journal (UTC)", *(f"  {iso(at)}  {entry}" for at, entry in journal_of(job)))
    if told["left_out"]:
        say("", "left out", *(f"  {count(number)}: {reason}" for reason, number in told["left_out"].items()))


def _chosen(told: dict[str, Any]) -> str:
    chosen = f"group {told['group']}" if told["group"] else f"{len(told['ids'])} named by their ids"
    if told["act"] == Act.DISCARD:
        return f"{chosen}, to be discarded"
    if told["topic"]:
        return f"{chosen} of {told['topic']}, to their own topics"
    return f"{chosen}, to {told['to'] or 'the source'}"


def _state(told: dict[str, Any]) -> str:
    note = told["note"] if told["is_taken_up"] else "no worker has taken it up yet"
    return f"{told['state']}: {note}" if note else str(told["state"])


def _changes(told: dict[str, Any]) -> list[str]:
    return [f"  set {name} = {value!r}" for name, value in told["set"].items()]


def _figures(told: dict[str, Any]) -> str:
    return (
        f"{count(told['replayed'])} of {count(told['total'])} {DONE[told['act']]}: {count(told['ended'])} "
        f"{'did not come back' if told['topic'] else 'delivered or dropped'}, "
        f"{count(told['dead_again'])} dead again, {count(told['under_way'])} under way; "
        f"{count(sum(told['left_out'].values()))} left out"
    )


def follow_job(desk: Desk, start: Start, json_file: Path | None, *, detach: bool) -> None:
    """Show the progress of a job until it ends or stops. The exit code is 1 unless everything in it was replayed."""
    say(f"replay job {start.job} has begun; `metroline dead-letters cancel {start.job}` ends it", err=True)
    job = asyncio.run(_started(desk, start.job))
    if not detach:
        with progress_bars(safe_console(stderr=True), MofNCompleteColumn()) as report:
            job = asyncio.run(_ended(desk, start.job, report))
    told = job_as_json(job)
    if json_file is not None:
        write_json(told, json_file)
    elif detach:
        say(start.job)
    else:
        say(f"the replay job is {_state(told)}", _figures(told))
    for reason, number in told["left_out"].items():
        say(f"{count(number)} left out: {reason}", err=True)
    if not detach and (job.state is not JobState.DONE or told["left_out"]):
        click.get_current_context().exit(1)


async def _look_again() -> None:
    await asyncio.sleep(LOOK_SECONDS)


async def _started(desk: Desk, name: str) -> Job:
    return (await _jobs(desk, name))[0]


async def _ended(desk: Desk, name: str, report: ReportProgress) -> Job:
    """Return a job once a worker has written that it has ended or stopped by itself."""
    board = JobBoard(desk.cluster, desk.topics)
    try:
        while True:
            job = await board.job(name)
            told = job_as_json(job)
            report("replayed", told["replayed"], told["total"])
            if job.is_closed or (job.state is JobState.STOPPED and not job.pending):
                return job
            await _look_again()
    finally:
        await board.close()
