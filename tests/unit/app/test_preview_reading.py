"""The journeys that a line remembers are read up to a limit, and what is left out is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson
import pytest

from metroline.agents.kafka.topic_tail import Place, TopicTail
from metroline.agents.services.line import Line
from metroline.agents.tables.publication import Publication
from metroline.app.operations.letter import Group, Letter
from metroline.app.operations.rules_topic import PublishedRules
from metroline.app.preview.preview import Preview
from metroline.app.preview.reading import NothingPublished, Remembered, preview_of, read_remembered
from metroline.app.settings import Settings
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.rules.table import RulesTable
from tests.support.table_entries import journey

SETTINGS = Settings(broker_url="kafka://127.0.0.1:1")
LINE = Line.load("metroline.agents.lines.metrobus")
TOPICS = SETTINGS.topics(LINE)
TABLE = LINE.rules_text


class Message(NamedTuple):
    """An entry of the table `journeys` on its changelog."""

    key: bytes
    value: bytes | None
    partition: int = 0


class LettersDesk:
    """Dead letters in one group, a page of two at a time."""

    def __init__(self, count: int) -> None:
        dead = Outcome.dead(Cause.UNROUTABLE, "no rule after source holds")
        self.letters = [
            Letter(Envelope("signpost", Origin("source", 0), (Segment((at,), (b"{}",), 900.0, outcome=dead),)), 950.0)
            for at in range(count)
        ]
        self.pages = 0

    async def groups(self) -> list[Group]:
        return [Group("abc", ("source", "unroutable"), "", len(self.letters), 1.0, 1.0, "source-0-0")]

    async def chosen(self, *_: object) -> AsyncIterator[list[Letter]]:
        for at in range(0, len(self.letters), 2):
            self.pages += 1
            yield self.letters[at : at + 2]

    async def close(self) -> None:
        """Close nothing."""


def entry(number: int, *journeys: dict[str, Any]) -> Message:
    return Message(f"0/{number}".encode(), orjson.dumps({"number": number, "entries": journeys, "epoch": 1}))


class Topics(NamedTuple):
    """The contents of the topics of the line."""

    messages: list[Message]
    desk: LettersDesk
    versions: list[PublishedRules]


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    held = Topics([], LettersDesk(5), [PublishedRules(1, Publication(TABLE, 0, "me", 1.0))])

    async def read_topic(*_: object) -> AsyncIterator[Message]:
        for message in held.messages:
            yield message

    async def versions(*_: object) -> AsyncIterator[PublishedRules]:
        for version in held.versions:
            yield version

    async def under_way(*_: object) -> tuple[list[Any], bool]:
        return [], False

    for name, double in {
        "read_topic": read_topic,
        "published_versions": versions,
        "read_under_way": under_way,
        "Desk": lambda *_: held.desk,
    }.items():
        monkeypatch.setattr(f"metroline.app.preview.reading.{name}", double)
    return held


def remembered(limit: int = 100) -> Remembered:
    return asyncio.run(read_remembered(SETTINGS, LINE, TOPICS, limit))


def previewed(text: str) -> Preview:
    return asyncio.run(preview_of(SETTINGS, LINE, TOPICS, RulesTable.parse(text), remembered()))


def test_the_latest_journeys_are_read_each_once(topics: Topics) -> None:
    first, second = (journey() | {"id": f"source-0-{at}", "settled": 100.0 + at} for at in (1, 2))
    topics.messages.extend([entry(0, first, second), entry(1, second)])
    topics.messages.extend([Message(b"x", b"{}"), Message(b"0/2", b'{"epoch":1}'), Message(b"0/3", None)])
    assert [seen.id for seen in remembered().journeys] == ["source-0-2", "source-0-1"]
    some = remembered(1)
    assert [seen.id for seen in some.journeys] == ["source-0-2"]
    assert "1 earlier journey: the preview is of the latest 1" in some.unseen


def test_dead_letters_are_read_up_to_the_limit(topics: Topics) -> None:
    assert len(remembered().letters) == 5
    topics.desk.pages = 0
    some = remembered(2)
    assert (len(some.letters), topics.desk.pages) == (2, 1)
    assert "3 more dead letters" in some.unseen


def test_a_line_without_journeys_says_so(topics: Topics) -> None:
    assert "the ways of records: the line remembers no journeys yet" in remembered().unseen


def test_a_line_without_a_published_table_has_no_preview(topics: Topics) -> None:
    topics.versions.clear()
    with pytest.raises(NothingPublished, match="the line 'metrobus' has no published table"):
        remembered()


class SourceMessage:
    """A message of the source."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes:
        return b"a"

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 5

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


def test_the_source_message_decides_what_the_journey_leaves_open(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Place] = []

    def fetch(_: TopicTail, places: set[Place]) -> Any:
        asked.extend(places)
        yield SourceMessage(b'{"message_type_code":"ALTABC"}\n{"message_type_code":"ALTBAL"}')

    monkeypatch.setattr(TopicTail, "fetch", fetch)
    stops = [{"stop": "contact_point", "at": 1.0, "rule": "low balances need a contact", "by": "on-ramp", "version": 1}]
    record = {"message_type_code": "changed since"}
    one = journey() | {"id": "source-0-7.1", "stops": stops, "record": orjson.dumps(record).decode()}
    ended = {"outcome": "dropped", "reason": "no contact point", "rule": "nobody to write to"}
    topics.messages.append(entry(0, one | ended))
    text = TABLE.replace('match = { message_type_code = "ALTBAL" }', "when = 'message_type_code == \"ALTBAL\"'")
    found = previewed(text)
    assert asked == [(0, 7)]
    assert (found.journeys.unchanged, found.journeys.not_decided) == (1, 0)
    by_key = previewed(text.replace('message_type_code == "ALTBAL"', 'meta.key == "b"'))
    assert (by_key.journeys.changed, by_key.moves[0].to) == (1, "dead: unroutable")


def test_source_messages_that_are_gone_are_named(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TopicTail, "fetch", lambda *_: iter(()))
    stops = [{"stop": "contact_point", "at": 1.0, "rule": "low balances need a contact", "by": "on-ramp", "version": 1}]
    one = journey() | {"id": "source-0-7", "stops": stops, "record": "{}"}
    topics.messages.append(entry(0, one | {"outcome": "delivered", "reason": None, "rule": None}))
    found = previewed(TABLE.replace('match = { message_type_code = "ALTBAL" }', "when = \"meta.key == 'a'\""))
    assert found.journeys.not_decided == 1
    assert "1 message of the source that decisions need: not there any more, or beyond what is read" in found.unseen
