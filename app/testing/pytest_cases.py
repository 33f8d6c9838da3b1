"""The cases of a line as tests of pytest: those in `cases.toml` are collected like a file of tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metroline.app.testing.case_results import report_of, results_of
from metroline.app.testing.cases import Case, Cases
from metroline.app.testing.in_memory_line import in_memory_line
from metroline.routing.errors import MetrolineError
from metroline.routing.strategies import STRATEGIES


class CasesFailed(Exception):
    """Raised when a case fails; the text says how it differs from what is expected, and has its journey."""


class CasesFile(pytest.File):
    """The `cases.toml` of a line."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each case."""
        try:
            cases = Cases.read(self.path)
        except MetrolineError as error:
            raise self.CollectError("\n".join(getattr(error, "problems", (str(error),)))) from error
        for case in cases.cases:
            yield CaseTest.from_parent(self, name=case.name, case=case, cases=cases)


class CaseTest(pytest.Item):
    """A case, which is taken through the line under every strategy."""

    def __init__(self, *, case: Case, cases: Cases, **more: Any) -> None:
        super().__init__(**more)
        self.case = case
        self.cases = cases

    def runtest(self) -> None:
        """Take the case through the line; raise `CasesFailed` if a journey is not as expected."""
        line = in_memory_line(_line_in(self.path.parent))
        results = asyncio.run(results_of(line, self.cases, [self.case], list(STRATEGIES)))
        if not all(result.has_passed for result in results):
            raise CasesFailed("\n".join(report_of(self.cases, self.case, results)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any, **__: Any) -> Any:
        """Return the text of a failure: that of a case needs no traceback."""
        if isinstance(excinfo.value, (CasesFailed, MetrolineError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the place of the case and its name."""
        return self.path, self.case.line - 1, self.name


def _line_in(folder: Path) -> str:
    """Return the folder of a line or, if it is a package, its dotted name, importable as pytest makes tests."""
    parts: list[str] = []
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if not parts:
        return str(folder)
    if len(parts) > 1 and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return ".".join(parts) if len(parts) > 1 else str(folder / parts[0])
