"""Dead letters of messages that could not be read: read again when they are replayed, and counted once throughout."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from metroline.agents.services.line import Line
from metroline.app.operations.letter import DeadLetterError, Letter
from metroline.app.operations.replays import Replays
from metroline.app.operations.rereading import TOO_LONG, Rereading, read_again
from metroline.app.settings import Settings
from metroline.routing.journeys.dead_letters import KEPT_BYTES, kept
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from tests.support.bench import Bench, segments_of
from tests.support.desk import Desk
from tests.support.fake_registry import FakeRegistry

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "size", "type": "int"}]}
SEVEN = b"\0\0\0\0\x07"
FULL = Metadata((b"k",), ((("from", b"here"),),), (1_700_000_000_000,), (None,))


@pytest.fixture
async def registry(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeRegistry]:
    """Run a registry, and set the line's source to Avro."""
    fake = FakeRegistry()
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", fake.url)
    monkeypatch.setenv("SOURCE_FORMAT", "avro")
    async with fake.running():
        yield fake


def letter(raw: bytes, offset: int = 0, cause: Cause = Cause.MALFORMED_RECORD) -> Letter:
    """Return the dead letter of a source message."""
    segment = Segment((offset,), (kept(raw),), 900.0, outcome=Outcome.dead(cause, "why"), metadata=FULL)
    return Letter(Envelope("signpost", Origin("source", 0), (segment,)), 950.0)


async def read(*letters: Letter) -> Rereading:
    return await read_again(Settings.read(), Line.load("metroline.agents.lines.metrobus"), letters)


async def test_a_schema_that_was_registered_since_lets_the_record_go_on_as_the_same(
    registry: FakeRegistry, bench: Bench
) -> None:
    desk, dead = Desk.on(bench), letter(SEVEN + b"\x06")
    await desk.settle(dead.envelope)
    registry.add(7, ORDER)

    replays = Replays.of([dead], {}, None, None, "me", await read(dead))
    bench.producer.sent.clear()
    await desk.settle(*replays.requests, *replays.requests)

    sent = [one for one in bench.producer.sent if ".table." not in one.topic]
    [anew] = segments_of(sent)
    assert (anew.ids, anew.lines, anew.generation) == ((0,), (b'{"size":3}',), 1)
    assert anew.metadata == Metadata(FULL.keys, FULL.headers, FULL.timestamps, ("7",))
    assert anew.replays[0].before == kept(SEVEN + b"\x06").decode(), "its history keeps what came"
    assert desk.counts() == {}, "it is under way again, and no longer dead"


async def test_what_still_cannot_be_read_stays_dead_and_the_others_are_replayed(registry: FakeRegistry) -> None:
    registry.add(7, ORDER)
    good, unknown, bad = letter(SEVEN + b"\x06"), letter(b"\0\0\0\0\x09x", 1), letter(b"no avro", 2)
    long = letter(SEVEN + bytes(KEPT_BYTES), 3)

    reread = await read(good, unknown, bad, long)
    replays = Replays.of([good, unknown, bad, long], {"size": 4}, None, None, "me", reread)

    assert replays.lines == [(good, b'{"size":4}')]
    assert list(replays.still_dead) == ["source-0-3", "source-0-1", "source-0-2"]
    assert replays.still_dead["source-0-1"] == "the schema registry has no schema 9: Schema not found"
    assert replays.still_dead["source-0-3"] == TOO_LONG
    with pytest.raises(DeadLetterError, match=r"source-0-1 holds no record, .* \(the schema registry has no schema 9"):
        Replays.of([unknown, bad], {}, None, None, "me", reread)


async def test_nothing_is_replayed_while_the_registry_is_away(registry: FakeRegistry) -> None:
    registry.status = 503

    with pytest.raises(DeadLetterError, match=r"cannot be read again without the schema registry: .* answered 503"):
        await read(letter(SEVEN + b"\x06"))


async def test_only_source_messages_that_could_not_be_read_are_read_again(registry: FakeRegistry) -> None:
    assert await read(letter(SEVEN + b"\x06", cause=Cause.TOO_LARGE)) == Rereading()
    assert registry.asked == []


async def test_a_source_that_is_json_by_now_reads_messages_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_FORMAT", "json")

    reread = await read(letter(b'{"size": 1}'), letter(b'{"size": 1}\n{"size": 2}', 1), letter(b"", 2))

    assert reread.records["source-0-0"].line == b'{"size": 1}'
    assert reread.problems == {"source-0-1": "it holds several records", "source-0-2": "the message is empty"}
