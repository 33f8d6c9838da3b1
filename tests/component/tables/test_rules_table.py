"""The table of the rules: an entry is applied once its publication was read, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from faust.types import EventT

from metroline.agents.tables.line_table import LineGlobalTable
from metroline.agents.tables.published_versions import PublishedVersions
from tests.support.bench import Bench

PUBLICATION = b'{"rules": "", "replaces": 1, "by": "a test", "at": 0.0}'


class SlowTopic:
    """A topic of the rules that answers once it is told to."""

    def __init__(self, publication: bytes | None) -> None:
        self.publication = publication
        self.may_answer = asyncio.Event()

    async def find(self, version: int) -> bytes | None:
        await self.may_answer.wait()
        return self.publication


def entry(key: bytes = b"2", offset: int = 5) -> EventT[bytes]:
    message = SimpleNamespace(value=b"{}", partition=0, offset=offset)
    return cast("EventT[bytes]", SimpleNamespace(key=key, value=b"{}", message=message))


@pytest.fixture
def topic() -> SlowTopic:
    return SlowTopic(PUBLICATION)


@pytest.fixture
def table(bench: Bench, topic: SlowTopic) -> LineGlobalTable:
    table = cast(LineGlobalTable, bench.rules)
    table.published = cast(PublishedVersions, topic)
    return table


async def test_an_entry_gets_its_publication_from_the_topic(table: LineGlobalTable, topic: SlowTopic) -> None:
    topic.may_answer.set()
    await table.on_changelog_event(entry())
    table.apply_changelog_batch([entry()])
    assert table.data[b"2"] == PUBLICATION


async def test_an_entry_that_a_rebalance_applies_while_the_brokers_are_away_is_applied_later(
    table: LineGlobalTable, topic: SlowTopic
) -> None:
    reading = asyncio.create_task(table.on_changelog_event(entry()))
    await asyncio.sleep(0)
    table.apply_changelog_batch([entry()])
    assert b"2" not in table.data

    topic.may_answer.set()
    await reading
    assert table.data[b"2"] == PUBLICATION


@pytest.mark.parametrize("is_early", [True, False])
async def test_an_entry_of_no_version_is_left_out_and_counted(
    bench: Bench, table: LineGlobalTable, topic: SlowTopic, is_early: bool
) -> None:
    topic.publication = None
    reading = asyncio.create_task(table.on_changelog_event(entry()))
    await asyncio.sleep(0)
    if is_early:
        table.apply_changelog_batch([entry()])
    topic.may_answer.set()
    await reading
    if not is_early:
        table.apply_changelog_batch([entry()])
    assert b"2" not in table.data
