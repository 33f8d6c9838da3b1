"""`metroline test`: the cases of a line, in memory, under every strategy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click

from metroline.app.cli.console import print_rows
from metroline.app.cli.options import FILE, NEW_FILE, json_option, replace_text, write_json, write_text
from metroline.app.cli.terminal import say
from metroline.app.markup.numbers import counted
from metroline.app.testing import case_updates
from metroline.app.testing.case_results import CaseResult, report_of, results_of
from metroline.app.testing.cases import FILE as CASES_FILE
from metroline.app.testing.cases import Case, Cases
from metroline.app.testing.in_memory_line import in_memory_line
from metroline.app.testing.junit import junit_xml
from metroline.routing.errors import UsageError
from metroline.routing.spelling import suggestion
from metroline.routing.strategies import STRATEGIES, strategy_named


@click.command("test")
@click.argument("line", envvar="LINE")
@click.option(
    "--case", "named", metavar="TEXT", multiple=True, help="Only cases whose names contain this text. Default: all."
)
@click.option(
    "--strategies",
    metavar="NAME,...",
    default=",".join(STRATEGIES),
    show_default=True,
    help="Strategies under which each case is taken through the line.",
)
@click.option(
    "--rules", type=FILE, help="Test this rules table in place of the line's own, for example before it is published."
)
@click.option(
    "--update",
    is_flag=True,
    help="Write into cases.toml what became of the cases that failed. Comments stay. Look at the difference before you "
    "commit it.",
)
@click.option("--junit", type=NEW_FILE, help="Write the results to this file as JUnit XML, for a CI server.")
@json_option("the results")
def test(
    line: str,
    named: Sequence[str],
    strategies: str,
    rules: Path | None,
    update: bool,
    junit: Path | None,
    json_file: Path | None,
) -> None:
    """Test the cases of a line, in memory, under every strategy.

    LINE is a package or a folder; its cases are in the file cases.toml there. Each case has a record, and the journey
    that it is expected to make: stops, outcome, reason, and the fields that change. It is the code of a worker that
    runs, with the services of the line, and no broker is needed. The exit code is 1 if a case failed.

    \b
    Example: metroline test shop --junit results.xml
    """
    names = [strategy_named(name.strip()).name for name in strategies.split(",") if name.strip()]
    made = in_memory_line(line, rules=rules)
    cases = Cases.read(_from_here(made.line.rules_file.parent / CASES_FILE))
    chosen = _chosen(cases, named)
    results = asyncio.run(results_of(made, cases, chosen, names or list(STRATEGIES)))
    if update and not all(result.has_passed for result in results):
        cases = _update(cases, results)
        chosen = _chosen(cases, named)
        results = asyncio.run(results_of(made, cases, chosen, names or list(STRATEGIES)))
    if junit is not None:
        write_text(junit_xml(made.line.name, cases.file, results), junit)
    if json_file is not None:
        write_json([result.as_json() for result in results], json_file)
    if str(json_file) != "-":
        _print(cases, results)
    if not all(result.has_passed for result in results):
        click.get_current_context().exit(1)


def _from_here(file: Path) -> Path:
    """Return the path of a file from the current folder, if it is below that: people and CI servers read it."""
    here = Path.cwd().resolve()
    return file.relative_to(here) if file.is_relative_to(here) else file


def _chosen(cases: Cases, named: Sequence[str]) -> list[Case]:
    """Return the cases whose names contain one of these texts; raise `UsageError` for a text that none contains."""
    for text in named:
        if not any(text in case.name for case in cases.cases):
            known = suggestion(text, [case.name for case in cases.cases])
            raise UsageError(f"--case {text}: no case in {cases.file} has a name with this text{known}")
    return [case for case in cases.cases if not named or any(text in case.name for text in named)]


def _update(cases: Cases, results: Sequence[CaseResult]) -> Cases:
    text = case_updates.updated(cases, results)
    if text != cases.text:
        replace_text(text, cases.file)
        say(f"{cases.file} is updated", err=True)
    return Cases.parse(text, cases.file)


def _print(cases: Cases, results: Sequence[CaseResult]) -> None:
    """Print a table of the cases, and the journeys of those that failed."""
    by_case = [(case, list(own)) for case, own in groupby(results, lambda result: result.case)]
    heads = ("result", "case", "stops", "outcome")
    print_rows(str(cases.file), heads, [_row(case, own) for case, own in by_case])
    for case, own in by_case:
        if report := list(report_of(cases, case, own)):
            say("", *report)
    say("")
    failed = sum(not all(result.has_passed for result in own) for _, own in by_case)
    strategies = len({result.strategy for result in results})
    verdict = f"{failed} failed" if failed else "all passed"
    say(f"{counted(len(by_case), 'case')} under {strategies} strateg{'y' if strategies == 1 else 'ies'}: {verdict}")


def _row(case: Case, results: Sequence[CaseResult]) -> dict[str, str]:
    shown = next((result for result in results if not result.has_passed), results[0])
    journey = shown.journey
    return {
        "result": "passed" if shown.has_passed else "FAILED",
        "case": case.name,
        "stops": "" if journey is None else " → ".join(journey.stops),
        "outcome": "unknown" if journey is None else journey.ending,
    }
