"""Writes the results of cases as JUnit XML, which CI servers read (https://github.com/testmoapp/junitxml)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from metroline.app.markup.escaping import escape
from metroline.app.testing.case_results import CaseResult


def junit_xml(line: str, file: Path, results: Sequence[CaseResult]) -> str:
    """Return the results as an XML document: a test case for each case and strategy."""
    return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', *_suites(line, file, results), ""])


def _suites(line: str, file: Path, results: Sequence[CaseResult]) -> Iterator[str]:
    failed = sum(not result.has_passed for result in results)
    seconds = sum(result.seconds for result in results)
    counts = f'tests="{len(results)}" failures="{failed}" errors="0" skipped="0" time="{seconds:.6f}"'
    yield f"<testsuites {counts}>"
    yield f'  <testsuite name="{escape(line)}" {counts}>'
    for result in results:
        yield from _case(line, file, result)
    yield "  </testsuite>"
    yield "</testsuites>"


def _case(line: str, file: Path, result: CaseResult) -> Iterator[str]:
    head = (
        f'    <testcase classname="{escape(line)}.{escape(result.strategy)}" name="{escape(result.case.name)}" '
        f'file="{escape(file)}" line="{result.case.line}" time="{result.seconds:.6f}"'
    )
    if result.has_passed:
        yield f"{head}/>"
        return
    text = "\n".join([*result.differences, "", str(result.journey or "")]).rstrip()
    yield f"{head}>"
    yield f'      <failure message="{escape("; ".join(result.differences))}">{escape(text)}</failure>'
    yield "    </testcase>"
