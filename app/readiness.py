"""The conditions under which a worker is ready: it can take records and send them on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from metroline.agents.membership.heartbeat import SERVED_SECONDS
from metroline.agents.tables.line_table import LineTableManager

if TYPE_CHECKING:
    from metroline.agents.tables.live_rules import LiveRules
    from metroline.app.line_app import LineApp

NO_RULES = "there is no valid rules table yet"
REFUSED_RULES = "there is no valid rules table: version {} is not used: {}"
RECOVERING = "the tables are being recovered"
NOT_JOINED = "the consumer group {} is not joined, or a rebalance is under way"
NOT_SERVED = f"no broker confirmed a message for {SERVED_SECONDS:g} s"
FORMATS = "formats"
TOO_NEW = "a newer version of Metroline wrote to {}: upgrade this worker first"
NOT_WRITTEN = "messages could not be written to {}, and are sent again"


def conditions(app: LineApp) -> dict[str, str | None]:
    """Return the conditions of this worker's role by name, each with the reason why it fails, or None if it holds."""
    return dict(_conditions(app))


def is_reading(app: LineApp) -> bool:
    """Return whether a worker reads its partitions, except for those that it must leave to a newer version."""
    return not any(problem for name, problem in _conditions(app) if name != FORMATS)


def _conditions(app: LineApp) -> Iterator[tuple[str, str | None]]:
    yield "rules", _rules_problem(app.live_rules)
    yield "tables", None if app.tables.actives_ready else _recovery(app)
    yield "group", None if app.is_joined else NOT_JOINED.format(app.conf.id)
    for name, reader in (("on_ramp", app.on_ramp), ("waiting_rooms", app.waiting_rooms)):
        if reader is not None:
            yield name, None if reader.is_joined else NOT_JOINED.format(reader.group)
    yield "broker", _broker_problem(app)
    yield FORMATS, TOO_NEW.format(", ".join(app.stopped.names)) if app.stopped.names else None
    if app.formats.has_registry:
        yield "schema_registry", app.formats.problem


def _recovery(app: LineApp) -> str:
    left = cast(LineTableManager, app.tables).entries_left
    return f"{RECOVERING}, and {left} entries are left to read" if left else RECOVERING


def _rules_problem(rules: LiveRules) -> str | None:
    if rules.current is not None:
        return None
    refused = rules.refused()
    return REFUSED_RULES.format(max(refused), refused[max(refused)]) if refused else NO_RULES


def _broker_problem(app: LineApp) -> str | None:
    if not app.heartbeat.is_served:
        return NOT_SERVED
    failing = app.bus.failing_topics
    return NOT_WRITTEN.format(", ".join(failing)) if failing else None
