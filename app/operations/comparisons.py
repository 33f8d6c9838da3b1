"""Runs comparisons of strategies for the pages of a worker: one at a time for the line, in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec import Struct
from msgspec.structs import replace

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.app.inputs.recent_records import RecordsUsed
from metroline.app.local.child_process import Child
from metroline.app.operations.comparison_runs import (
    Cancel,
    ComparisonBoard,
    ComparisonBusy,
    KeptRun,
    RunState,
    ask_to_cancel,
    fitted,
    forget,
    forget_old,
    keep,
    kept_table,
    topic_prefix,
)
from metroline.app.operations.journal_notes import Deed, note_deed
from metroline.app.operations.permission import Permission
from metroline.routing.errors import UsageError

MAX_SECONDS = 30 * 60.0
"""Time after which a comparison is ended."""

LOW_PRIORITY = 15
"""The niceness of the process and of its workers: the line's own workers come first."""

LOOK_SECONDS = 0.5
"""Time between two looks at the process."""

BEAT_SECONDS = 3.0
"""Time between two messages that say how far a run is, and between two looks for a wish to cancel it."""

END_SECONDS = 30.0
"""Time that the process has to end its workers and to delete its topics, when it is asked to end."""

HASTE_SECONDS = 5.0
"""Time it has, when the worker itself ends."""

TRIES = 5
"""Number of times that the end of a run is written before it is given up."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A comparison as somebody asks for it on a page."""

    records: int
    strategies: tuple[str, ...]
    chaining: bool
    rates: bool
    """True to find the highest rate that each strategy holds as well."""

    def options(self) -> Iterator[str]:
        """Yield the options of `metroline compare`."""
        yield from ("--recent", str(self.records), "--strategies", ",".join(self.strategies))
        if self.rates:
            yield from ("--rate", "max")
        if self.chaining:
            yield "--chaining"


@dataclass(frozen=True, slots=True)
class RunLine:
    """The line whose records are compared, as a worker has it."""

    where: str
    """The line's package or folder."""
    worker: str
    """Address of the worker."""
    environment: Mapping[str, str]
    """Variables of the process beside those of the worker."""
    code: str
    table: str
    """The current rules of the line."""
    rules_version: int
    ends: Sequence[str]
    machine: Mapping[str, str]


class Progress(Struct, frozen=True):
    """The state of the process, which it writes to a file."""

    step: str = ""
    done: int = 0
    total: int = 0
    records: RecordsUsed | None = None


class _Ended(Exception):
    """Raised to end a run with a state and a reason."""

    def __init__(self, state: RunState, note: str) -> None:
        super().__init__(note)
        self.state = state
        self.note = note


class Comparisons:
    """Starts, follows and cancels the comparisons of a line."""

    def __init__(self, board: ComparisonBoard) -> None:
        self.board = board
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def start(self, order: Order, line: RunLine, permission: Permission) -> KeptRun:
        """Start a comparison and return it.

        Raise `ComparisonBusy`, which says who runs one, if one runs on the line already, and `NotPermitted`.
        """
        by = permission.demand()
        runs = await self.board.runs()
        _refuse_second(runs.open())
        if self._is_closing or (self._task is not None and not self._task.done()):
            raise ComparisonBusy("the comparison before this one is being ended: try again in a moment")
        run = _new_run(order, line, by)
        await keep(self.board.cluster, self.board.topic, run, permission)
        try:
            first = (await self.board.runs()).open()
        except ClusterError:
            await forget(self.board.cluster, self.board.topic, [run.id], permission)
            raise
        if first is not None and first.id != run.id:
            await forget(self.board.cluster, self.board.topic, [run.id], permission)
            _refuse_second(first)
        log.info("%s started the comparison %s on %s recent records", by, run.id, order.records)
        self._task = asyncio.create_task(self._carry_out(run, order, line, permission))
        await note_deed(self.board.cluster, self.board.topics, permission, Deed.COMPARED, run=run.id)
        return run

    async def cancel(self, name: str, permission: Permission) -> KeptRun:
        """Cancel a comparison, whichever worker runs it; raise `UnknownRun`, `UsageError` or `NotPermitted`."""
        by = permission.demand()
        run = await self.board.run(name)
        if run.state is not RunState.RUNNING or not run.worker:
            what = "only those that were started on a page can be cancelled" if not run.worker else f"it is {run.state}"
            raise UsageError(f"the comparison {name} cannot be cancelled: {what}")
        await ask_to_cancel(self.board.cluster, self.board.topic, name, Cancel(by, time.time()), permission)
        await note_deed(self.board.cluster, self.board.topics, permission, Deed.CANCELLED, run=name)
        return run

    async def close(self) -> None:
        """End the comparison of this worker, if one runs, and say so on the topic."""
        self._is_closing = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.board.close()

    async def _carry_out(self, run: KeptRun, order: Order, line: RunLine, permission: Permission) -> None:
        """Run the process to its end, and keep what came of it."""
        try:
            await self._clear_up(run, permission)
            with tempfile.TemporaryDirectory(prefix="metroline-") as folder:
                ended = await self._run(run, order, line, Path(folder), permission)
        except asyncio.CancelledError:
            ended = replace(run, state=RunState.INTERRUPTED, note="the worker that ran it was stopped")
        except Exception as error:  # whatever it is, the run has ended, and everybody is to see it
            log.exception("the comparison %s failed", run.id)
            ended = replace(run, state=RunState.FAILED, note=str(error)[:2_000])
        log.info("the comparison %s is %s%s", run.id, ended.state, f": {ended.note}" if ended.note else "")
        await self._keep_end(replace(ended, updated=time.time(), step="", done=0, total=0), permission)

    async def _keep_end(self, run: KeptRun, permission: Permission) -> None:
        for attempt in range(1 if self._is_closing else TRIES):
            try:
                await keep(self.board.cluster, self.board.topic, run, permission)
                if not self._is_closing:
                    await forget_old(self.board, permission)
                return
            except ClusterError as error:
                log.warning("the end of the comparison %s is not written: %s", run.id, error)
                await asyncio.sleep(2.0**attempt)

    async def _clear_up(self, run: KeptRun, permission: Permission) -> None:
        """Note the end of runs whose worker was killed, and delete the topics that earlier runs have left."""
        cluster, runs = self.board.cluster, await self.board.runs()
        ended = [one for one in runs.newest() if one.id != run.id and one.state is not RunState.RUNNING]
        for one in ended:
            if one.state is not runs.by_id[one.id].state:
                await keep(cluster, self.board.topic, one, permission)
        prefixes = tuple(f"{topic_prefix(one.id)}." for one in ended)
        async with cluster.admin() as admin:
            left = [name for name in await admin.list_topics() if name.startswith(prefixes)]
        if left:
            await TopicAdmin(cluster).delete(left)

    async def _run(self, run: KeptRun, order: Order, line: RunLine, folder: Path, permission: Permission) -> KeptRun:
        result, progress, output = (folder / name for name in ("result.json", "progress.json", "output"))
        rules = folder / f"version {line.rules_version}"
        await asyncio.to_thread(rules.write_text, line.table, "utf-8")
        files = {"--rules": rules, "--progress": progress, "--json": result}
        command = [sys.executable, "-m", "metroline", "compare", *order.options(), "--run", run.id, "--no-keep"]
        command += [word for option, file in files.items() for word in (option, str(file))]
        child = await asyncio.to_thread(Child.start, command, output, None, {**os.environ, **line.environment})
        state, note, patience = RunState.DONE, "", END_SECONDS
        try:
            with suppress(psutil.Error):  # it has ended already
                psutil.Process(child.pid).nice(LOW_PRIORITY)
            await self._follow(run, child, progress, permission)
        except _Ended as end:
            state, note = end.state, end.note
        except asyncio.CancelledError:
            patience = HASTE_SECONDS
            raise
        finally:
            await _stopped(child, patience)
        latest = _with_progress(run, progress)
        if state is not RunState.DONE:
            return replace(latest, state=state, note=note)
        if not result.exists():
            return replace(latest, state=RunState.FAILED, note=_reason(child, output))
        found: dict[str, Any] = msgspec.json.decode(result.read_bytes())
        return replace(latest, state=RunState.DONE, comparison=fitted(found))

    async def _follow(self, run: KeptRun, child: Child, file: Path, permission: Permission) -> None:
        """Write how the run gets on, until the process ends; raise `_Ended` if it is to be ended."""
        until, beat = time.monotonic() + MAX_SECONDS, time.monotonic()
        while child.exit_code is None:
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() > until:
                raise _Ended(RunState.FAILED, f"it was ended after {MAX_SECONDS / 60:g} minutes")
            if time.monotonic() - beat < BEAT_SECONDS:
                continue
            beat = time.monotonic()
            run = replace(_with_progress(run, file), updated=time.time())
            try:
                runs = await self.board.runs()
                cancel, kept = runs.cancels.get(run.id), runs.by_id.get(run.id)
                if cancel is not None:
                    raise _Ended(RunState.CANCELLED, f"cancelled by {cancel.by}")
                if kept is not None and kept.state is not RunState.RUNNING:  # this worker was silent for too long
                    raise _Ended(kept.state, kept.note)
                await keep(self.board.cluster, self.board.topic, run, permission)
            except ClusterError as error:  # the comparison itself will end if the brokers are gone
                log.warning("the progress of the comparison %s is not written: %s", run.id, error)


def _new_run(order: Order, line: RunLine, by: str) -> KeptRun:
    now = time.time()
    shown = shlex.join(["metroline", "rules", "show", "--version", str(line.rules_version), "--line", line.where])
    compared = shlex.join(["metroline", "compare", "--line", line.where, *order.options(), "--rules", "rules.toml"])
    return KeptRun(
        id=uuid.uuid4().hex[:10],
        state=RunState.RUNNING,
        by=by[:200],
        at=now,
        updated=now,
        started_from="page",
        worker=line.worker,
        command=f"{shown} > rules.toml && {compared}"[:2_000],
        strategies=list(order.strategies),
        chaining=order.chaining,
        rate="max" if order.rates else "",
        asked=order.records,
        code=line.code,
        rules_version=line.rules_version,
        table=kept_table(line.table),
        ends=sorted(line.ends),
        machine=dict(line.machine),
        step="starting",
    )


def _refuse_second(run: KeptRun | None) -> None:
    if run is not None:
        raise ComparisonBusy(
            f"{run.by} runs the comparison {run.id} on this line: wait until it has ended, or cancel it"
        )


def _with_progress(run: KeptRun, file: Path) -> KeptRun:
    """Return a run with what its process has written about it so far."""
    try:
        told = msgspec.json.decode(file.read_bytes(), type=Progress)
    except (OSError, msgspec.DecodeError):  # it has not written yet
        return run
    records = told.records or run.records
    return replace(run, step=told.step, done=told.done, total=told.total, records=records)


def _reason(child: Child, output: Path) -> str:
    """Return why the process has failed, in one line."""
    lines = [line for line in output.read_text("utf-8", "replace").splitlines() if line.strip()]
    return (lines[-1] if lines else child.last_words()).removeprefix("error: ")[:2_000]


async def _stopped(child: Child, patience: float) -> None:
    """End the process and all that it has started, and wait for that even if the worker ends meanwhile."""
    stopping = asyncio.ensure_future(asyncio.to_thread(child.stop, patience))
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        await stopping
        raise
