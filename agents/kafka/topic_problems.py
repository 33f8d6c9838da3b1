"""Compares the topics of a cluster with those that a line needs, and lists every difference that matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from metroline.agents.kafka.topic_admin import TopicPlan
from metroline.agents.kafka.topic_survey import FoundTopic, Survey

COMPACT, DELETE = "compact", "delete"
RETENTIONS = ("retention.ms", "retention.bytes")
FOREVER = "-1"

SLOW = ("segment.bytes", "segment.ms", "min.compaction.lag.ms", *RETENTIONS)
"""Settings that keep messages for longer than they are needed if they are larger than planned."""


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """A difference between a topic, or a group, and what the line needs."""

    topic: str
    text: str
    """The problem, with the name of the topic."""
    remedy: str
    """The way to solve it."""
    is_fatal: bool = True
    """False if the line works, though not as safely as it could."""

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Needs:
    """Topics, rights and groups that a worker needs."""

    source: TopicPlan
    """The source topic, of which only the name and the partitions count."""
    plans: Sequence[TopicPlan]
    """The topics of the line, without the source."""
    rights: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The operations that the worker's user must be allowed on each topic, as in `topic_survey.RIGHTS`."""
    groups: Sequence[str] = ()
    """The consumer groups that the worker joins."""
    purged: Sequence[str] = ()
    """The topics from which the worker deletes acknowledged messages."""
    shown: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The operations that its pages need on each topic that they show, some of which are other systems'."""

    @property
    def topics(self) -> list[str]:
        """The names of all topics of the line, the source first."""
        return [self.source.name, *(plan.name for plan in self.plans)]

    @property
    def others(self) -> list[str]:
        """The names of the topics of other systems."""
        own = set(self.topics)
        return [name for name in self.shown if name not in own]


def find_problems(needs: Needs, found: Survey, refused: Mapping[str, str]) -> list[TopicProblem]:
    """Return everything that is missing or wrong, the fatal problems first.

    `refused` has the reason why a topic could not be created or given more partitions, by its name. A topic that does
    not exist and is not in it is no problem: a worker will create it.
    """
    problems = [
        *_absent(needs, found, refused),
        *_unlike(needs, found, refused),
        *_forbidden(needs, found),
        *_unread(needs, found),
        *_unshown(needs, found),
        *_unpurged(needs, found),
        *_slow(needs, found),
    ]
    return sorted(problems, key=lambda problem: not problem.is_fatal)


def _absent(needs: Needs, found: Survey, refused: Mapping[str, str]) -> Iterator[TopicProblem]:
    for plan in (needs.source, *needs.plans):
        wanted = needs.rights.get(plan.name, frozenset()) | needs.shown.get(plan.name, frozenset())
        rights = " and ".join(sorted(wanted or {"Describe"}))
        if plan.name in found.hidden:
            yield TopicProblem(
                plan.name,
                f"the user has no right on the topic {plan.name}, or it does not exist",
                f"grant {rights} on it, and create it with {_described(plan)} if it does not exist",
            )
        elif plan.name not in found.topics and plan.name in refused:
            yield TopicProblem(
                plan.name,
                f"the topic {plan.name} does not exist and could not be created ({refused[plan.name]})",
                f"create it with {_described(plan)}, or grant the right Create on it",
            )


def _described(plan: TopicPlan) -> str:
    count = f"{plan.partitions} partition{'s' if plan.partitions > 1 else ''}"
    return ", ".join([count, *(f"{name}={value}" for name, value in sorted(plan.config.items()))])


def _unlike(needs: Needs, found: Survey, refused: Mapping[str, str]) -> Iterator[TopicProblem]:
    """Yield the differences of topics that exist."""
    for plan in needs.plans:
        topic = found.topics.get(plan.name)
        if topic is not None and plan.is_shared:
            yield from _message_size(plan, topic.config or {})
        elif topic is not None:
            yield from _partitions(plan, topic, refused)
            yield from _settings(plan, topic.config or {})


def _partitions(plan: TopicPlan, topic: FoundTopic, refused: Mapping[str, str]) -> Iterator[TopicProblem]:
    if topic.partitions == plan.partitions:
        return
    if plan.partitions == 1:
        yield TopicProblem(
            plan.name,
            f"the topic {plan.name} has {topic.partitions} partitions and must have 1",
            "delete it while the line is stopped, and create it with 1 partition",
        )
    elif topic.partitions > plan.partitions:
        yield TopicProblem(
            plan.name,
            f"the topic {plan.name} has {topic.partitions} partitions, its source has {plan.partitions}",
            "give the line another PREFIX, or delete its topics while it is stopped",
        )
    elif plan.name in refused:
        yield TopicProblem(
            plan.name,
            f"the topic {plan.name} has {topic.partitions} partitions, its source has {plan.partitions}, and none "
            f"could be added ({refused[plan.name]})",
            f"add partitions (kafka-topics.sh --alter --topic {plan.name} --partitions {plan.partitions}), or grant "
            "the right Alter on it",
        )


def _settings(plan: TopicPlan, config: Mapping[str, str]) -> Iterator[TopicProblem]:
    policy, wanted = config.get("cleanup.policy"), plan.config.get("cleanup.policy", DELETE)
    if policy is not None and not _is_kept_as(wanted, policy, config):
        yield _setting(plan.name, "cleanup.policy", policy, wanted, "or else entries that count would be deleted")
    yield from _message_size(plan, config)
    for name in RETENTIONS:
        kept = config.get(name)
        if plan.config.get(name) == FOREVER and kept is not None and kept != FOREVER:
            reason = "or else records that wait for longer than that are lost"
            yield _setting(plan.name, name, kept, FOREVER, reason, is_fatal=False)


def _message_size(plan: TopicPlan, config: Mapping[str, str]) -> Iterator[TopicProblem]:
    size, needed = config.get("max.message.bytes"), plan.config.get("max.message.bytes")
    if size is None or needed is None or int(size) >= int(needed):
        return
    is_table = plan.config.get("cleanup.policy") == COMPACT
    reason = "or else larger records become dead letters"
    if plan.is_shared:
        reason = "or else a larger record cannot be delivered, and all others of its partition wait"
    elif is_table:
        reason = "or else some entries would not fit"
    yield _setting(plan.name, "max.message.bytes", size, needed, reason, is_fatal=is_table)


def size_limit(needs: Needs, found: Survey, planned: int) -> int:
    """Return the size, in bytes, of a message that all topics of records accept: `planned`, unless one accepts less."""
    found_sizes = [
        int((found.topics[plan.name].config or {}).get("max.message.bytes", planned))
        for plan in needs.plans
        if plan.name in found.topics and not plan.is_shared and _holds_records(plan)
    ]
    return min([planned, *found_sizes])


def _holds_records(plan: TopicPlan) -> bool:
    return "max.message.bytes" in plan.config and plan.config.get("cleanup.policy") != COMPACT


def _is_kept_as(wanted: str, policy: str, config: Mapping[str, str]) -> bool:
    """Return whether a cleanup policy does what is wanted: one that also deletes must have no reason to."""
    named = set(policy.replace(" ", "").split(","))
    if wanted == COMPACT and named == {COMPACT, DELETE}:
        return all(config.get(name, FOREVER) == FOREVER for name in RETENTIONS)
    return named == {wanted}


def _setting(topic: str, name: str, value: str, wanted: str, reason: str, is_fatal: bool = True) -> TopicProblem:
    command = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={wanted}"
    remedy = f"run {command}, {reason}"
    return TopicProblem(topic, f"the topic {topic} has {name}={value} instead of {wanted}", remedy, is_fatal)


def _forbidden(needs: Needs, found: Survey) -> Iterator[TopicProblem]:
    for name, rights in needs.rights.items():
        topic = found.topics.get(name)
        if topic is not None and topic.rights is not None and (lacking := sorted(rights - topic.rights)):
            yield _right(name, "topic", " and ".join(lacking))
    for group in needs.groups:
        if group in found.closed_groups:
            yield _right(group, "group", "Read")


def _right(name: str, kind: str, right: str) -> TopicProblem:
    command = f"kafka-acls.sh --add --allow-principal User:… --operation {right.replace(' and ', ' --operation ')}"
    return TopicProblem(
        name, f"the user lacks the right {right} on the {kind} {name}", f"grant it ({command} --{kind} {name})"
    )


def _unread(needs: Needs, found: Survey) -> Iterator[TopicProblem]:
    names = [plan.name for plan in needs.plans if plan.name in found.topics and found.topics[plan.name].config is None]
    if names:
        yield TopicProblem(
            names[0],
            f"the settings of the topics {', '.join(names)} could not be checked",
            "grant the right DescribeConfigs on them, or compare them with docs/deployment.md",
            is_fatal=False,
        )


def _unshown(needs: Needs, found: Survey) -> Iterator[TopicProblem]:
    """Yield a problem if pages cannot show what is on some topics; the records of the line go on all the same."""
    names = [
        name
        for name, rights in needs.shown.items()
        if (topic := found.topics.get(name)) is not None
        and topic.rights is not None
        and rights - needs.rights.get(name, frozenset()) - topic.rights
    ]
    if names:
        yield TopicProblem(
            names[0],
            f"the user lacks the right Read on the topics {', '.join(names)}, so the pages of this worker lack what is "
            "on them",
            "grant it on each, or look at the pages of another worker",
            is_fatal=False,
        )
    for name in needs.others:
        if name in found.hidden:
            hidden = (
                f"the user has no right on the topic {name}, or it does not exist, although [dead_letters] names it"
            )
            yield TopicProblem(
                name, hidden, "grant Read on it, create it, or leave it out of line.toml", is_fatal=False
            )
        elif name not in found.topics:
            absent = f"there is no topic {name}, although [dead_letters] in line.toml names it"
            yield TopicProblem(name, absent, "create it, or leave it out there", is_fatal=False)


def _unpurged(needs: Needs, found: Survey) -> Iterator[TopicProblem]:
    """Yield a problem if topics without a retention would grow for ever."""
    names = [
        name
        for name in needs.purged
        if (topic := found.topics.get(name)) is not None
        and topic.rights is not None
        and "Delete" not in topic.rights
        and (topic.config or {}).get("retention.ms") == FOREVER
    ]
    if names:
        yield TopicProblem(
            names[0],
            f"the user lacks the right Delete on the topics {', '.join(names)}, so acknowledged messages stay there",
            "grant it, or set ACKNOWLEDGED_MESSAGES=keep and give the topics a retention that is long enough",
            is_fatal=False,
        )


def _slow(needs: Needs, found: Survey) -> Iterator[TopicProblem]:
    """Yield a problem for each setting with which brokers delete and compact late, with all topics that have it."""
    for name in SLOW:
        names: dict[str, list[str]] = {}
        for plan in needs.plans:
            topic, wanted = found.topics.get(plan.name), plan.config.get(name, FOREVER)
            value = (topic.config or {}).get(name) if topic is not None else None
            if wanted != FOREVER and value is not None and (value == FOREVER or int(value) > int(wanted)):
                names.setdefault(wanted, []).append(plan.name)
        for wanted, topics in names.items():
            yield TopicProblem(
                topics[0],
                f"the topics {', '.join(topics)} have a larger {name} than {wanted}, "
                "so brokers delete and compact late",
                f"run kafka-configs.sh --alter --entity-type topics --entity-name … --add-config {name}={wanted} for "
                "each, or else they fill the disks, and workers read for long before they are ready",
                is_fatal=False,
            )
