"""Creates the topics of a line before a worker subscribes to any of them, or finds what is wrong with those there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.tansu import is_embedded
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_problems import Needs, TopicProblem, find_problems, size_limit
from metroline.agents.kafka.topic_survey import Survey, survey
from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.needs import groups_of, purged_by, rights_of, shown_by_pages
from metroline.agents.services.line import Line
from metroline.app.line_settings import InvalidSettings
from metroline.app.settings import Settings
from metroline.routing.journeys.departures import Limits

OVERHEAD_BYTES = 1_024
"""Bytes of a message that are left to its headers and its batch."""

log = logging.getLogger(__name__)


class UnusableTopics(ClusterError):
    """Raised when topics of the line are missing or wrong, or the user lacks a right; it lists everything."""

    def __init__(self, problems: Sequence[TopicProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Inspection:
    """The topics of a line as a worker finds them."""

    message_bytes: int
    """Size limit of a message of the source topic, in bytes."""
    line_bytes: int
    """Size limit of a message that all topics of the line accept, in bytes."""
    problems: Sequence[TopicProblem]
    to_create: Sequence[str]
    """The topics that do not exist and that a worker may create."""

    @property
    def are_usable(self) -> bool:
        """True if a worker can run on these topics."""
        return not any(problem.is_fatal for problem in self.problems)


async def provision(settings: Settings, line: Line) -> Limits:
    """Create the topics and partitions that are missing. Return the limits of envelopes.

    Raise `UnusableTopics` if some cannot be created or used, `ClusterError` if no broker answers, and `InvalidSettings`
    if PACK_BYTES is more than a message of the source topic or of the line's topics may have.
    """
    found = await inspect(settings, line, is_trial=False)
    if not found.are_usable:
        raise UnusableTopics(found.problems)
    for problem in found.problems:
        log.warning("%s", problem)
    fits = min(found.message_bytes, found.line_bytes - OVERHEAD_BYTES)
    if settings.pack_bytes > fits:
        raise InvalidSettings(f"PACK_BYTES: {settings.pack_bytes} is more than the {fits} that a message may hold")
    return Limits(settings.pack_bytes, settings.pack_records, found.line_bytes - OVERHEAD_BYTES, settings.max_hops)


async def inspect(settings: Settings, line: Line, *, is_trial: bool) -> Inspection:
    """Create what is missing, and compare the topics with what a worker of this role needs; raise `ClusterError`.

    With `is_trial` nothing is created: the brokers are only asked whether it could be.
    """
    cluster, topics, replication = settings.cluster(), settings.topics(line), settings.topic_replication_factor
    admin = TopicAdmin(cluster)
    count = await _count(admin, topics.source)  # the first question: its error says why no broker answers
    can_try = not is_trial or not await is_embedded(cluster)  # which takes a trial for an order
    refused: dict[str, str] = {}
    if count is None and can_try:
        missing = TopicPlan(topics.source, settings.source_partitions)
        refused = await admin.create_missing([missing], replication, is_trial=is_trial)
        count = await _count(admin, topics.source)
    message_bytes = await admin.message_bytes(topics.source)
    needs = _needs(settings, line, count or settings.source_partitions, message_bytes)
    if can_try:  # without a source, the number of partitions is only a guess
        refused |= await _fit(admin, needs, replication, is_trial or count is None)
    found = await survey(cluster, [*needs.topics, *needs.others], needs.groups)
    problems = [*find_problems(needs, found, refused), *await _unpublished(admin, topics, found)]
    reported = {problem.topic for problem in problems}
    to_create = [name for name in needs.topics if name not in found.topics and name not in reported]
    return Inspection(message_bytes, size_limit(needs, found, 2 * message_bytes), problems, to_create)


async def _count(admin: TopicAdmin, topic: str) -> int | None:
    """Return the number of partitions of a topic; None if it does not exist."""
    return (await admin.partitions([topic])).get(topic)


def _needs(settings: Settings, line: Line, partitions: int, message_bytes: int) -> Needs:
    """Return what a worker with these settings needs, if the source has this many partitions and this size limit."""
    topics, role = settings.topics(line), settings.played(line)
    purged = purged_by(role, topics).values() if settings.purges else ()
    return Needs(
        TopicPlan(topics.source, partitions),
        list(topics.plans(partitions, line.stops, message_bytes)),
        rights_of(role, topics, line.stops),
        groups_of(role, topics, settings.source_epoch),
        [topic for read in purged for topic in read],
        shown_by_pages(topics, line.options.dead_letters.topics),
    )


async def _fit(admin: TopicAdmin, needs: Needs, replication: int, is_trial: bool) -> dict[str, str]:
    """Create missing topics and partitions. Return the topics for which that was refused, with the reason."""
    refused = await admin.create_missing(needs.plans, replication, is_trial=is_trial)
    existing = await admin.partitions(needs.topics)
    own = [plan for plan in needs.plans if not plan.is_shared]
    too_few = {plan.name: plan.partitions for plan in own if 0 < existing.get(plan.name, 0) < plan.partitions}
    return refused | (await admin.add_partitions(too_few, is_trial=is_trial) if too_few else {})


async def _unpublished(admin: TopicAdmin, topics: Topics, found: Survey) -> list[TopicProblem]:
    """Return a problem if there are no rules yet and the user may not publish them."""
    rules = found.topics.get(topics.rules)
    if rules is None or rules.rights is None or "Write" in rules.rights or "Read" not in rules.rights:
        return []
    partition = TopicPartition(topics.rules, 0)
    if (await admin.high_watermarks([partition]))[partition]:
        return []
    return [
        TopicProblem(
            topics.rules,
            f"the topic {topics.rules} holds no rules yet, and the user lacks the right Write on it",
            "publish the first ones with `metroline rules publish`, or grant the right",
        )
    ]


class Provisioning:
    """Provisions the topics of a line once, and knows the limits of its envelopes afterwards."""

    def __init__(self, settings: Settings, line: Line, limits: Limits | None = None) -> None:
        """Take the limits if the topics are provisioned already."""
        self._settings = settings
        self._line = line
        self._limits = limits

    async def run(self) -> None:
        """Provision the topics unless that is done; raise `ClusterError` or `InvalidSettings`."""
        if self._limits is None:
            self._limits = await provision(self._settings, self._line)

    def limits(self) -> Limits:
        """Return the limits of envelopes."""
        assert self._limits is not None, "nothing is sent before the topics are provisioned"
        return self._limits
