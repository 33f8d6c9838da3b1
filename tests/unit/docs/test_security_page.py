"""The page about security names every topic of a line, and its commands grant what workers and operators need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.needs import groups_of, rights_of, shown_by_pages
from metroline.agents.membership.roles import Role

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text("utf-8")
TABLE = PAGE.partition("### Who writes to which topic")[2].partition("\n\n**")[0].partition("\nWhatever")[0]
TOPICS = Topics("orders", "orders.source")
COMMAND = re.compile(r"^acls --allow-principal User:(\w) (.+?)(?<!\\)$", re.MULTILINE | re.DOTALL)


def granted(who: str) -> list[tuple[set[str], str, str, bool]]:
    """Return the operations of each command for a user, the kind of resource, its name, and whether it is a prefix."""
    found = []
    for principal, words in COMMAND.findall(PAGE):
        resource = re.search(r"--(topic|group) (\S+)", words)
        if principal == who and resource is not None:
            operations = set(re.findall(r"--operation (\w+)", words))
            found.append((operations, resource[1], resource[2], "prefixed" in words))
    return found


def allows(who: str, operation: str, kind: str, name: str) -> bool:
    return any(
        operation in operations and kind == of and (name.startswith(given) if is_prefix else name == given)
        for operations, of, given, is_prefix in granted(who)
    )


@pytest.mark.parametrize("topic", [plan.name for plan in TOPICS.plans(4, ["NAME"], 1_000)])
def test_a_topic_has_a_row(topic: str) -> None:
    address = topic.removeprefix("orders")
    named = ".waiting." if address.startswith(".waiting.") else f"`{address}`"
    assert named in TABLE


def test_the_commands_for_workers_grant_what_they_need() -> None:
    role = Role.parse("all", ["price"])
    for topic, operations in [*rights_of(role, TOPICS, ["price"]).items(), *shown_by_pages(TOPICS, ()).items()]:
        assert all(allows("W", operation, "topic", topic) for operation in operations), topic
    for group in groups_of(role, TOPICS, 0):
        assert allows("W", "Read", "group", group), group


def test_nobody_else_may_write_to_inner_topics_but_the_operator_to_rules_arrivals_and_jobs() -> None:
    operator = {"orders.rules", "orders.arrivals", "orders.replay-jobs"}
    for who in ("U", "D", "O"):
        writes = {name for operations, kind, name, _ in granted(who) if kind == "topic" and "Write" in operations}
        assert writes == {"U": {"orders.source"}, "D": set(), "O": operator}[who]
