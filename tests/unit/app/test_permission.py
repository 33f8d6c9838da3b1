"""Operations that write demand a permission, and nobody makes one but the command and the check at the doors."""

from __future__ import annotations

import ast
import getpass
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.publication import Publication
from metroline.app.operations.dead_letters import send_requests
from metroline.app.operations.permission import NotPermitted, Permission, user_name
from metroline.app.operations.rules_topic import publish
from metroline.routing.messages.envelope import Envelope
from tests.support.project import ROOT

APP = ROOT / "app"
MAKERS = {
    "Permission": {"operations/permission.py"},
    "of_command": {"operations/permission.py", "cli"},
    "of_job": {"operations/foreign_jobs.py"},
    "granted": {"operations/permission.py", "views/access/doors.py"},
}
"""The files, or folders, in which a permission is made in each of the ways."""

OTHER_PRODUCERS = {"inputs/source_loader.py"}
"""Files that write to Kafka, but not to a line: this one writes records to the source, as upstream clients do."""

NOBODY = Permission.refused(NotPermitted("nobody is logged in"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls in a piece of code, each with the last name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            yield (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")), node


def files() -> list[Path]:
    return sorted(APP.rglob("*.py"))


class NoCluster:
    """A cluster to which nothing may be written."""

    def producer(self, **_: Any) -> Any:
        raise AssertionError("something was about to be written")


CLUSTER = cast(Cluster, NoCluster())
TOPICS = Topics("orders", "orders.source", {})


async def no_requests() -> AsyncIterator[list[Envelope]]:
    yield []


async def test_nothing_is_sent_or_published_without_a_permission() -> None:
    with pytest.raises(NotPermitted, match="nobody is logged in"):
        async for _ in send_requests(CLUSTER, TOPICS, no_requests(), 100.0, NOBODY):
            pass
    with pytest.raises(NotPermitted, match="nobody is logged in"):
        await publish(CLUSTER, TOPICS, Publication("", 1, "eve", 0.0), NOBODY)


def test_who_demands_a_permission_gets_the_name_to_record() -> None:
    assert Permission.granted("ada over HTTP").demand() == "ada over HTTP"
    assert Permission.of_command().demand() == user_name()


def test_a_user_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user_name().startswith("user ")


@pytest.mark.parametrize("maker", MAKERS)
def test_a_permission_is_made_only_where_it_is_checked(maker: str) -> None:
    made = set()
    for file in files():
        path = file.relative_to(APP)
        for name, _ in calls(ast.parse(file.read_text("utf-8"))):
            if name == maker:
                made.add(path.parts[0] if path.parts[0] in MAKERS[maker] else path.as_posix())
    assert made <= MAKERS[maker], f"a permission is made elsewhere by {maker}"


def test_every_function_of_the_app_that_writes_to_a_line_demands_a_permission_first() -> None:
    found = []
    for file in files():
        path = file.relative_to(APP).as_posix()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if path in OTHER_PRODUCERS or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            lines = {name: call.lineno for name, call in reversed(list(calls(node)))}
            if "producer" in lines:
                found.append(path)
                assert lines.get("demand", lines["producer"]) < lines["producer"], f"{path}: {node.name} demands none"
    assert {"operations/dead_letters.py", "operations/rules_topic.py"} <= set(found)
