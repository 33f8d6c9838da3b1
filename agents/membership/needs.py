"""The rights and consumer groups that a worker needs, which follow from its role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from metroline.agents.kafka.topics import ROUTERS, TABLES, Topics
from metroline.agents.membership.roles import ON_RAMP, Role
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS, service_address

READ, WRITE = "Read", "Write"


def rights_of(role: Role, topics: Topics, stops: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the operations that a worker must be allowed on each topic, under Kafka's names."""
    rights: dict[str, set[str]] = defaultdict(set)
    for topic in _read(role, topics):
        rights[topic].add(READ)
    for topic in _written(role, topics, stops):
        rights[topic].add(WRITE)
    return {topic: frozenset(of_topic) for topic, of_topic in rights.items()}


def shown_by_pages(topics: Topics, others: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the operations that the pages of a worker need, whatever its role, on each topic that they show.

    `others` are the topics with dead letters of other systems.
    """
    shown = (topics.source, topics.journeys, topics.dead_letters, topics.changelog("outcomes"), *others)
    return dict.fromkeys(shown, frozenset({READ}))


def purged_by(role: Role, topics: Topics) -> dict[str, tuple[str, ...]]:
    """Return the topics whose messages are of no use once they are acknowledged, by the group that reads them."""
    purged = {role.group(topics.prefix): tuple(topic for part in sorted(role.parts) for topic in topics.read_by(part))}
    if role.plays(ARRIVALS):
        purged[topics.waiting_group] = tuple(map(topics.at, WAITING_ROOMS))
    return purged


def groups_of(role: Role, topics: Topics, epoch: int) -> list[str]:
    """Return the consumer groups that a worker joins; `epoch` is that of the source."""
    groups = [role.group(topics.prefix)]
    if role.plays(ON_RAMP):
        groups.append(topics.on_ramp_group(epoch))
    if role.plays(ARRIVALS):
        groups.append(topics.waiting_group)
    return groups


def _shared(topics: Topics) -> Iterator[str]:
    """Yield the topics that every worker reads and writes."""
    yield from (topics.workers, topics.pulses, topics.journal, topics.worker_journal)
    yield from (topics.replay_jobs, topics.comparisons)


def _read(role: Role, topics: Topics) -> Iterator[str]:
    yield from (topics.rules, topics.changelog("rules"), *_shared(topics))
    for part in sorted(role.parts):
        yield from topics.read_by(part)
    if role.plays(ON_RAMP):
        yield topics.source
    if role.plays(ARRIVALS):
        yield from map(topics.changelog, TABLES)
        yield from map(topics.at, WAITING_ROOMS)
        yield topics.dead_letters  # for the jobs that replay them
        yield from [topics.schedules] if topics.has_schedules else []


def _written(role: Role, topics: Topics, stops: Collection[str]) -> Iterator[str]:
    yield from (topics.changelog("rules"), *_shared(topics))
    yield from map(topics.at, (*ROUTERS, *map(service_address, sorted(stops)), ARRIVALS, *WAITING_ROOMS))
    if role.plays(ARRIVALS):
        yield from (topics.delivered, *topics.ends.values(), topics.dead_letters, topics.journeys)
        yield from map(topics.changelog, TABLES)
        yield from [topics.schedules] if topics.has_schedules else []
