"""The answers about a draft of the rules: its problems, the way of a record, what it would change, and the forecast."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import orjson
from msgspec import Struct

from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.publication import Publication
from metroline.app.markup.times import iso
from metroline.app.operations.exact_json import exact_object
from metroline.app.operations.rehearsal import Rehearsal
from metroline.app.operations.rules_history import text_difference
from metroline.app.operations.rules_process import NoAnswer, RulesBusy, RulesProcess
from metroline.app.operations.table_checks import MAX_CHARACTERS as MAX_PROBLEM_CHARACTERS
from metroline.app.operations.table_checks import MAX_PROBLEMS
from metroline.app.preview import forecasts
from metroline.app.preview.preview import Preview
from metroline.app.views.rules import parts
from metroline.app.views.rules.drafts import Draft
from metroline.app.views.rules.parts import Answer, Meanwhile, Problem, Step
from metroline.routing.errors import InvalidRules
from metroline.routing.rules.meaning.difference import Meaning
from metroline.routing.rules.table import RulesTable

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

FILE = "table"
"""The name by which problems call the table in the form."""

PLACE = re.compile(rf"{FILE}:(?P<line>[0-9]+)(:[0-9]+)?: (?P<problem>.*)")
"""A problem, which begins with its place."""

STEPS_SECONDS = 20.0
"""Time that the way of a record may take, in seconds."""

PREVIEWED = 20_000
"""Number of the latest journeys, and of the dead letters, about which the preview of the page decides."""


class _Difference(Struct):
    """The part of what `metroline rules diff` writes that the page shows."""

    lines: list[str]
    warnings: list[str]
    meaning: Meaning | None


async def answer_about(worker: LineApp, process: RulesProcess, draft: Draft) -> Answer:
    """Return what is to be said about a draft: its problems, or the way of its record, or what it would change.

    Whoever calls has the turn of the process. Raise `NoAnswer`, and `UsageError` for a record that cannot be read.
    """
    try:
        table = await asyncio.to_thread(_read, draft.table, worker)
    except InvalidRules as error:
        return Answer(problems=problems_of(error.problems, draft.table), problem_count=len(error.problems))
    if not draft.is_about_record:
        return await _change(process, draft.table)
    record = orjson.dumps(exact_object(draft.record.encode()))
    steps = await _steps(worker, table, record)
    current = worker.live_rules.current
    if current is None or current.live.text == draft.table:
        return Answer(steps=steps)
    return Answer(steps=steps, live_steps=await _steps(worker, current.live, record))


def problems_of(problems: Sequence[str], table: str) -> list[Problem]:
    """Return the first of some problems, with their lines and the texts there."""
    lines = table.splitlines()
    return [_problem(one[:MAX_PROBLEM_CHARACTERS], lines) for one in problems[:MAX_PROBLEMS]]


async def meanwhile(publications: Mapping[int, Publication], draft: Draft, version: int) -> Meanwhile | None:
    """Return the version that was published since a draft was made; None if there is none."""
    published = publications.get(version)
    if draft.replaces == version or published is None:
        return None
    before = publications.get(draft.replaces)
    names = f"version {draft.replaces}", f"version {version}"
    lines: list[str] = []
    if before is not None:  # large tables take a while
        lines = await asyncio.to_thread(text_difference, before.text, published.text, *names)
    return Meanwhile(version, draft.replaces, published.by, iso(published.at), published.reason, lines)


async def forecast_of(process: RulesProcess, table: str) -> tuple[Forecast | None, str | None]:
    """Return the forecast of a table, or the reason why there is none; of a line without journeys neither."""
    try:
        async with asyncio.timeout(forecasts.SECONDS), process.turn(is_patient=True):
            answer = await process.ask("preview", table, "--limit", str(forecasts.JOURNEYS))
    except TimeoutError:
        return None, f"no forecast is kept with the table: it took longer than {forecasts.SECONDS:g} s"
    except (RulesBusy, NoAnswer) as error:
        return None, f"no forecast is kept with the table: {error}"
    return forecasts.forecast_of(msgspec.json.decode(answer, type=Preview)), None


def _read(text: str, worker: LineApp) -> RulesTable:
    return worker.line.network(text, FILE, worker.served_stops()).table


async def _steps(worker: LineApp, table: RulesTable, record: bytes) -> list[Step]:
    """Return the way of a record by a table."""
    rehearsal = dataclasses.replace(Rehearsal.of_line(worker.settings, worker.line, table), services=None)

    until = time.monotonic() + STEPS_SECONDS

    async def explained() -> list[Step]:
        steps = []
        async for one in rehearsal.explain(record):
            steps.append(parts.step_of(one))
            if time.monotonic() > until:
                raise NoAnswer(f"the way of the record took longer than {STEPS_SECONDS:g} s: try a smaller table")
        return steps

    return await asyncio.to_thread(asyncio.run, explained())


async def _change(process: RulesProcess, text: str) -> Answer:
    """Return the difference from the current version, and the preview. Raise `NoAnswer`."""
    found = msgspec.json.decode(await process.ask("diff", text), type=_Difference)
    if not found.lines:
        return Answer(is_same=True)
    lines = [found.lines[0], "+++ this table", *found.lines[2:]]  # in place of the name of a temporary file
    preview = msgspec.json.decode(await process.ask("preview", text, "--limit", str(PREVIEWED)), type=Preview)
    return Answer(lines=lines, warnings=found.warnings, meaning=found.meaning, preview=preview)


def _problem(problem: str, lines: list[str]) -> Problem:
    """Return a problem with its line and the text there."""
    first, _, rest = problem.partition("\n")
    found = PLACE.fullmatch(first)
    if found is None:
        return Problem(None, first, None, rest)
    line = int(found["line"])
    text = lines[line - 1][: parts.MAX_CHARACTERS] if 0 < line <= len(lines) else None
    return Problem(line, found["problem"], text, rest)
