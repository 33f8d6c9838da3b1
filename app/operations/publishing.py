"""Publishes a rules table, for whoever changes the rules of a live line: a table that would harm it is refused."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.membership.worker import LiveWorkers
from metroline.agents.services.line import Line
from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.publication import Publication
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import PublishedRules, Written, publish_and_look, read_published
from metroline.app.settings import Settings
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import InvalidRules, MetrolineError
from metroline.routing.rules.coverage import warnings_of_change
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import label_of
from metroline.routing.rules.table import RulesTable
from metroline.routing.rules.toml_lines import line_of_rule
from metroline.routing.strategies import STRATEGIES


class NotPublished(MetrolineError):
    """Raised when a table could not be published, or when a line has no published table."""


class Outdated(NotPublished):
    """Raised when another table was published since the one that is to be published was made."""

    def __init__(self, reason: str, current: PublishedRules | None) -> None:
        """Take the version that is current now."""
        super().__init__(reason)
        self.current = current


@dataclass(frozen=True, slots=True)
class Published:
    """The result of publishing a table."""

    version: int
    """The version of the table."""
    replaces: int | None
    """The version that it replaces; None if nothing was published, since the table is current already."""
    warnings: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the result as `--json` writes it."""
        return {"published": self.replaces is not None} | asdict(self)


@dataclass(frozen=True, slots=True)
class Grounds:
    """The reason for which a table is published, and what it is expected to do."""

    reason: str = ""
    forecast: Forecast | None = None
    """The forecast of what the table will do, which is kept beside it."""


async def publish_table(
    settings: Settings,
    line: Line,
    table: RulesTable,
    file: str,
    permission: Permission,
    grounds: Grounds,
    replaces: int | None = None,
) -> Published:
    """Publish a table that was read from `file`, unless it is current already.

    `replaces` is the version that it was made from; None to replace the current one, whichever it is. Raise
    `NotPublished` if no worker is alive, `Outdated` if `replaces` is not the current version, and `InvalidRules` if the
    table leads to a stop that no live worker serves or to an end that some live worker does not know, or has a rule
    after an end.
    """
    cluster, topics = settings.cluster(), settings.topics(line)
    current = await read_published(cluster, topics)
    if current is not None and current.text == table.text:
        return Published(current.version, None, [])
    workers = await live_workers(cluster, topics.workers, settings.cluster_key)
    if not workers.alive(time.time()):
        raise NotPublished(f"no worker of the line {topics.prefix!r} is alive at {settings.broker_url}: start it first")
    Network.of(table).validate(workers.stops(time.time()), file, line.last)
    _refuse_unknown_ends(table, workers, file)
    if current is None:
        raise NotPublished("there is no first version yet: a worker publishes the line's file when it starts")
    if replaces is not None and replaces != current.version:
        raise Outdated(
            f"version {current.version} by {current.publication.by} is current, not {replaces}: look at "
            "`metroline rules diff`, then publish again",
            current,
        )
    publication = Publication(
        table.text, current.version, permission.demand(), time.time(), grounds.reason, grounds.forecast
    )
    written = await publish_and_look(cluster, topics, publication, permission)
    if written.version is None:
        raise Outdated(
            "somebody else published at the same moment: look at `metroline rules diff`, then publish again",
            written.current,
        )
    warnings = [f"warning: {warning}" for warning in warnings_of_change(current.text, table)]
    return Published(written.version, current.version, _replaced_since(written) + warnings + _fixed_rules(workers))


def _replaced_since(written: Written) -> list[str]:
    """Return a warning if somebody else has replaced a version in the moment since it was published."""
    current = written.current
    if current is None or current.version == written.version:
        return []
    return [f"warning: version {current.version} by {current.publication.by} has replaced it in the same moment"]


def _refuse_unknown_ends(table: RulesTable, workers: LiveWorkers, file: str) -> None:
    """Raise `InvalidRules` if a rule leads to an end that some live worker does not know.

    Of an end in another system, which some worker serves as a stop, those that play the arrivals have to know: with an
    older line.toml they would make dead letters of what is in the other system already.
    """
    problems = []
    now = time.time()
    outside = workers.ends(now) - table.ends
    for index, rule in enumerate(table.rules):
        if rule.to is None or rule.to not in table.ends | outside:
            continue
        if urls := workers.without_end(rule.to, now, ARRIVALS if rule.to in outside else None):
            at = f"{file}:{line_of_rule(table.text, index, 'to')}: {label_of(index, rule)}"
            problems.append(f"{at}: no end {rule.to!r} is known to {', '.join(urls)}: restart with the new line.toml")
    if problems:
        raise InvalidRules(tuple(problems))


def _fixed_rules(workers: LiveWorkers) -> list[str]:
    """Return a warning that names the workers whose strategy does not use published tables."""
    urls = sorted({worker.url for worker in workers.alive(time.time()) if not STRATEGIES[worker.strategy].needs_live})
    if not urls:
        return []
    return [f"journeys that begin at {', '.join(urls)} by hard_wired keep to their line's file: change it and restart"]
