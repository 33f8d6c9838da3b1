"""Checks of a line by itself: its services, its rules, its options and its lookups."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.agents.lookups import lookup
from metroline.agents.services.line import Line
from metroline.app.diagnosis.finding import Finding, error, ok
from metroline.app.markup.numbers import counted
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidLineOptions, InvalidRules, MetrolineError
from metroline.routing.rules.network import Network


def load_line(where: str) -> tuple[Line | None, list[Finding]]:
    """Return a line with what was found about it; None if it cannot be loaded."""
    try:
        line = Line.load(where)
        network = Network.of(line.rules_table())
        network.validate(line.stops, str(line.rules_file))
    except (InvalidRules, InvalidLineOptions) as problem:
        return None, [
            error("line", text.partition("\n")[0], "metroline check shows the place") for text in problem.problems
        ]
    except MetrolineError as problem:
        return None, [error("line", str(problem))]
    rules, stops = counted(len(network.table.rules), "rule"), counted(len(line.stops), "service")
    return line, [ok("line", f"{line.name}: {stops}, {rules}"), *_lookups(line)]


def check_own_settings(settings: Settings, line: Line) -> Iterator[Finding]:
    """Yield whether the environment fits the line's own settings, if a worker of this role reads them."""
    try:
        if line.settings is None or not settings.played(line).stops:
            return
        line.check_settings()
    except MetrolineError as problem:
        yield error("line settings", str(problem), "set them as for the worker: its services take them")
    else:
        yield ok("line settings", "the environment fits the settings of the line")


def _lookups(line: Line) -> Iterator[Finding]:
    """Yield the state of the lookups that the line's code names, apart from those that workers build themselves."""
    built = {table.name for table in line.tables}
    for name in sorted(line.lookups - built):
        try:
            lookup(name).open()
            yield ok("lookups", f"{name} is there")
        except MetrolineError as problem:
            yield error("lookups", str(problem))
