"""Problems with the topics of a cluster: each names its topic and says what to do about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metroline.agents.kafka.topic_admin import TopicPlan
from metroline.agents.kafka.topic_problems import Needs, find_problems, size_limit
from metroline.agents.kafka.topic_survey import FoundTopic, Survey
from metroline.agents.kafka.topics import Topics

SOURCE = TopicPlan("s", 4)
FOREVER = TopicPlan("kept", 4, {"retention.ms": "-1", "max.message.bytes": "2000"})
TABLE = TopicPlan("table", 4, {"cleanup.policy": "compact"})
SINGLE = TopicPlan("rules", 1, {"cleanup.policy": "compact"})
NEEDS = Needs(
    SOURCE, [FOREVER, TABLE, SINGLE], {"s": frozenset({"Read"}), "kept": frozenset({"Read", "Write"})}, ["group"]
)
RIGHT = {
    "s": FoundTopic(4, None, {}),
    "kept": FoundTopic(4, None, {"retention.ms": "-1", "max.message.bytes": "2000", "cleanup.policy": "delete"}),
    "table": FoundTopic(4, None, {"cleanup.policy": "compact"}),
    "rules": FoundTopic(1, None, {}),
}


def problems(refused: dict[str, str] | None = None, **topics: FoundTopic | None) -> list[str]:
    found = {name: topic for name, topic in (RIGHT | topics).items() if topic is not None}
    return list(map(str, find_problems(NEEDS, Survey(found), refused or {})))


def test_topics_as_they_should_be_have_no_problems() -> None:
    assert problems() == []


def test_a_missing_topic_is_a_problem_only_if_it_could_not_be_created() -> None:
    assert problems(kept=None) == []
    assert problems({"kept": "no right"}, kept=None) == [
        "the topic kept does not exist and could not be created (no right): create it with 4 partitions, "
        "max.message.bytes=2000, retention.ms=-1, or grant the right Create on it"
    ]


@pytest.mark.parametrize(
    ("topic", "found", "said"),
    [
        ("kept", FoundTopic(5, None, {}), "the topic kept has 5 partitions, its source has 4: give the line another"),
        ("rules", FoundTopic(4, None, {}), "the topic rules has 4 partitions and must have 1: delete it"),
        ("kept", FoundTopic(4, None, {"cleanup.policy": "compact"}), "cleanup.policy=compact instead of delete"),
        ("table", FoundTopic(4, None, {"cleanup.policy": "delete"}), "cleanup.policy=delete instead of compact"),
        (
            "table",
            FoundTopic(4, None, {"cleanup.policy": "compact,delete", "retention.ms": "1"}),
            "cleanup.policy=compact,delete instead of compact",
        ),
        ("kept", FoundTopic(4, None, {"max.message.bytes": "1999"}), "max.message.bytes=1999 instead of 2000"),
        ("kept", FoundTopic(4, None, {"retention.ms": "1"}), "retention.ms=1 instead of -1"),
        ("kept", FoundTopic(4, frozenset({"Read"}), {}), "the user lacks the right Write on the topic kept: grant it"),
        ("table", FoundTopic(4, None, None), "the settings of the topics table could not be checked"),
    ],
)
def test_a_difference_is_one_line_with_the_name_of_the_topic(topic: str, found: FoundTopic, said: str) -> None:
    (problem,) = problems(None, **{topic: found})

    assert said in problem


def test_too_few_partitions_are_a_problem_if_none_could_be_added() -> None:
    few = replace(RIGHT["kept"], partitions=3)

    assert problems(kept=few) == []
    assert "kafka-topics.sh --alter --topic kept --partitions 4" in problems({"kept": "no right"}, kept=few)[0]


def test_a_compacted_topic_that_never_deletes_is_as_good() -> None:
    config = {"cleanup.policy": "compact, delete", "retention.ms": "-1", "retention.bytes": "-1"}

    assert problems(table=FoundTopic(4, None, config)) == []


def test_hidden_topics_and_groups_are_named_with_the_rights_that_are_missing() -> None:
    found = Survey(
        {name: topic for name, topic in RIGHT.items() if name != "kept"}, frozenset({"kept"}), frozenset({"group"})
    )

    hidden, group = map(str, find_problems(NEEDS, found, {}))

    assert hidden.startswith(
        "the user has no right on the topic kept, or it does not exist: grant Read and Write on it"
    )
    assert group.startswith("the user lacks the right Read on the group group: grant it")


def test_a_topic_that_is_kept_for_longer_than_planned_is_a_warning() -> None:
    plans = [TopicPlan("pulses", 1, {"retention.ms": "600"}), TopicPlan("journeys", 4, {"retention.bytes": "900"})]
    needs = Needs(SOURCE, [*plans, FOREVER])
    kept = {"pulses": FoundTopic(1, None, {"retention.ms": "601"}), "journeys": FoundTopic(4, None, {})}
    forever = {
        "pulses": FoundTopic(1, None, {"retention.ms": "600"}),
        "journeys": FoundTopic(4, None, {"retention.bytes": "-1"}),
    }

    [longer] = find_problems(needs, Survey(RIGHT | kept), {})
    [larger] = find_problems(needs, Survey(RIGHT | forever), {})

    assert (longer.is_fatal, larger.is_fatal) == (False, False)
    assert str(longer).startswith(
        "the topics pulses have a larger retention.ms than 600, so brokers delete and compact late"
    )
    assert str(larger).startswith("the topics journeys have a larger retention.bytes than 900, so brokers")


def test_pages_that_a_missing_right_leaves_empty_are_warned_of_and_keep_no_worker_out() -> None:
    read = frozenset({"Read"})
    needs = replace(NEEDS, shown={"s": read, "table": read, "rules": read, "theirs": read})
    blind = dict(
        RIGHT, s=FoundTopic(4, frozenset({"Describe"}), {}), table=FoundTopic(4, frozenset(), RIGHT["table"].config)
    )
    found = Survey(blind | {"theirs": FoundTopic(9, frozenset({"Write"}), {})})

    fatal, shown = find_problems(needs, found, {})

    assert str(fatal).startswith("the user lacks the right Read on the topic s: grant it")
    assert not shown.is_fatal
    assert str(shown).startswith(
        "the user lacks the right Read on the topics table, theirs, so the pages of this worker"
    )


def test_a_topic_with_dead_letters_of_others_that_is_not_there_is_warned_of() -> None:
    needs = replace(NEEDS, shown={"kept": frozenset({"Read"}), "dlq": frozenset({"Read"})})

    [missing] = find_problems(needs, Survey(RIGHT), {})
    [hidden] = find_problems(needs, Survey(RIGHT, frozenset({"dlq"})), {})

    assert (missing.is_fatal, hidden.is_fatal) == (False, False)
    assert str(missing).startswith("there is no topic dlq, although [dead_letters] in line.toml names it: create it")
    assert str(hidden).startswith("the user has no right on the topic dlq, or it does not exist, although [dead_l")


def test_what_keeps_no_worker_out_comes_last() -> None:
    found = dict(RIGHT, kept=FoundTopic(5, None, {"retention.ms": "1"}))

    assert [one.is_fatal for one in find_problems(NEEDS, Survey(found), {})] == [True, False]


def test_a_topic_of_others_may_have_any_partitions_and_policy_and_a_small_size_is_only_warned_of() -> None:
    needs = replace(NEEDS, plans=[TopicPlan("theirs", 4, {"max.message.bytes": "2000"}, is_shared=True)])
    config = {"max.message.bytes": "1999", "cleanup.policy": "compact"}
    found = Survey(RIGHT | {"theirs": FoundTopic(2, None, config)})
    [problem] = find_problems(needs, found, {})
    assert not problem.is_fatal
    assert str(problem).startswith("the topic theirs has max.message.bytes=1999 instead of 2000: run ")


def test_topics_that_brokers_clean_late_are_one_warning_for_each_setting() -> None:
    wanted = {"segment.bytes": "1000", "min.compaction.lag.ms": "60"}
    needs = Needs(SOURCE, [TopicPlan(name, 4, wanted) for name in ("a", "b", "c")])
    late = {"segment.bytes": "1001", "min.compaction.lag.ms": "61"}
    found = Survey({"a": FoundTopic(4, None, late), "b": FoundTopic(4, None, late), "c": FoundTopic(4, None, wanted)})

    segments, lag = find_problems(needs, found, {})

    assert not segments.is_fatal
    assert str(segments).startswith("the topics a, b have a larger segment.bytes than 1000, so brokers delete and")
    assert "--add-config segment.bytes=1000" in segments.remedy
    assert str(lag).startswith("the topics a, b have a larger min.compaction.lag.ms than 60, ")


def test_no_message_of_a_line_is_larger_than_a_segment_of_its_topic() -> None:
    for source_bytes in (1_000_000, 100_000_000):
        for plan in Topics("p", "p.source").plans(4, ["a"], source_bytes):
            if {"segment.bytes", "max.message.bytes"} <= plan.config.keys():
                assert int(plan.config["segment.bytes"]) >= int(plan.config["max.message.bytes"])


def test_topics_of_records_may_accept_less_than_planned_and_then_records_are_limited() -> None:
    """The owners of the source may raise its limit at any time, and that must not keep the line from starting."""
    plans = [FOREVER, TopicPlan("table", 4, {"cleanup.policy": "compact", "max.message.bytes": "900"})]
    needs = Needs(SOURCE, [*plans, TopicPlan("workers", 1)])
    small, table = FoundTopic(4, None, {"max.message.bytes": "1500"}), FoundTopic(4, None, {"max.message.bytes": "800"})
    found = Survey({"kept": small, "table": table, "workers": FoundTopic(1, None, {"max.message.bytes": "10"})})

    entries, records = find_problems(needs, found, {})

    assert (entries.topic, entries.is_fatal) == ("table", True)
    assert (records.topic, records.is_fatal) == ("kept", False)
    assert "larger records become dead letters" in records.remedy
    assert size_limit(needs, found, 2_000) == 1_500
    assert size_limit(needs, Survey({}), 2_000) == 2_000


def test_a_topic_that_would_grow_for_ever_is_a_problem_unless_it_has_a_retention() -> None:
    needs = Needs(SOURCE, [FOREVER], purged=["kept"])
    grows = replace(RIGHT["kept"], rights=frozenset({"Read", "Write"}))
    ends = replace(grows, config={"retention.ms": "60000"})
    may = replace(grows, rights=frozenset({"Delete"}))

    (problem,) = find_problems(needs, Survey({"kept": grows}), {})

    assert str(problem).startswith("the user lacks the right Delete on the topics kept, so acknowledged messages stay")
    assert not problem.is_fatal
    assert find_problems(needs, Survey({"kept": may}), {}) == []
    assert "Delete" not in "".join(map(str, find_problems(needs, Survey({"kept": ends}), {})))
