"""Delivered records in the format of their end: what does not fit is a dead letter, counted once, and lost nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from metroline.agents.formats.codec import NotWritable, SchemaPending
from metroline.agents.formats.formatted_ends import FormattedEnds
from metroline.routing.addresses import END
from metroline.routing.journeys.dead_letter_messages import LETTER_HEADER
from metroline.routing.journeys.ends import End
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.plain import TOMBSTONE
from metroline.routing.outcome import Cause, Ending, Outcome
from tests.support.bench import Bench, envelope, until
from tests.support.desk import DEAD, DELIVERED, DROPPED, PLAIN_END, Desk


class Shouting:
    """Writes records in capitals; those with `bad` do not fit, and while it is away it writes none."""

    def __init__(self) -> None:
        self.is_away = False
        self.schemas: list[str | None] = []

    async def encode(self, lines: Sequence[bytes], schemas: Sequence[str | None]) -> list[bytes | NotWritable]:
        if self.is_away:
            raise SchemaPending("away")
        self.schemas += schemas
        return [NotWritable("schema 7: bad: no") if b"bad" in line else line.upper() for line in lines]


def desk_on(bench: Bench, encoder: Shouting, max_bytes: int = 1_000) -> Desk:
    return Desk.on(bench, PLAIN_END, FormattedEnds({END: encoder}, lambda: max_bytes))


def written(bench: Bench) -> list[bytes | None]:
    """Return the values of the messages at the ends."""
    sent = [message for messages in bench.producer.together for message in messages]
    return [value for value, *_, headers in sent if LETTER_HEADER not in dict(headers)]


async def test_records_are_written_in_the_format_and_those_that_do_not_fit_are_dead(bench: Bench) -> None:
    encoder = Shouting()
    desk = desk_on(bench, encoder)
    metadata = Metadata((b"a", b"b", b"c"), None, None, ("7", None, "8"))

    await desk.settle(envelope({"n": 1}, {"bad": 1}, {"n": 3}, outcome=DELIVERED, metadata=metadata))

    assert written(bench) == [b'{"N":1}', b'{"N":3}']
    assert encoder.schemas == ["7", None, "8"]
    [letter] = bench.producer.to("test.dead-letters")
    [segment] = letter.envelope.segments
    assert (segment.lines, segment.metadata) == ((b'{"bad":1}',), Metadata((b"b",), None, None, (None,)))
    assert segment.outcome is not None
    detail = "the end 'end': schema 7: bad: no"
    assert (segment.outcome.cause, segment.outcome.detail) == (Cause.NOT_ENCODABLE, detail)
    assert desk.counts() == {("source", "delivered", ""): 2, ("source", "dead", "not_encodable"): 1}


async def test_each_end_has_a_format_of_its_own(bench: Bench) -> None:
    encoder = Shouting()
    formats = FormattedEnds({"shipped": encoder}, lambda: 1_000)
    desk = Desk.on(bench, PLAIN_END | {"shipped": End()}, formats)

    await desk.settle(
        envelope({"n": 1}, {"bad": 2}, outcome=DELIVERED),
        envelope({"n": 3}, {"bad": 4}, first=5, outcome=Outcome.delivered("shipped")),
    )

    assert sorted(filter(None, written(bench))) == [b'{"N":3}', b'{"bad":2}', b'{"n":1}']
    [letter] = bench.producer.to("test.dead-letters")
    [segment] = letter.envelope.segments
    assert segment.outcome is not None
    assert segment.outcome.detail == "the end 'shipped': schema 7: bad: no"
    assert desk.counts() == {
        ("source", "delivered", ""): 2,
        ("source", "delivered", "shipped"): 1,
        ("source", "dead", "not_encodable"): 1,
    }


async def test_only_delivered_records_are_written_and_tombstones_have_no_value(bench: Bench) -> None:
    encoder = Shouting()
    desk = desk_on(bench, encoder)
    gone = envelope({}, first=7, outcome=DELIVERED)
    [segment] = gone.segments
    gone = replace(gone, segments=(replace(segment, lines=(TOMBSTONE,)),))

    await desk.settle(envelope({"bad": 1}, outcome=DROPPED), envelope({"bad": 1}, first=3, outcome=DEAD), gone)

    assert encoder.schemas == []
    assert written(bench) == [None]


async def test_a_message_that_would_be_too_large_is_a_dead_letter(bench: Bench) -> None:
    desk = desk_on(bench, Shouting(), max_bytes=8)

    await desk.settle(envelope({"n": 1}, {"n": 1_000}, outcome=DELIVERED))

    assert written(bench) == [b'{"N":1}']
    assert desk.counts()[("source", "dead", "not_encodable")] == 1
    [letter] = bench.producer.to("test.dead-letters")
    assert "the end 'end': the message would have 10 bytes, the maximum is 8" in str(
        letter.envelope.segments[0].outcome
    )


async def test_outcomes_wait_while_the_registry_is_away_and_none_is_dead(bench: Bench) -> None:
    encoder = Shouting()
    desk, encoder.is_away = desk_on(bench, encoder), True
    begun = asyncio.create_task(bench.begin(desk.arrivals.handle, envelope({"n": 1}, outcome=DELIVERED)))
    assert desk.arrivals.formats is not None
    await until(lambda: desk.arrivals.formats is not None and desk.arrivals.formats.is_waiting)

    assert not desk.arrivals.accepts(0), "what would come in memory goes by the bus"
    assert written(bench) == []

    encoder.is_away = False
    unit = await begun
    await until(unit.done)
    assert written(bench) == [b'{"N":1}']
    assert desk.arrivals.accepts(0)
    assert {ending for _, ending, _ in desk.counts()} == {Ending.DELIVERED}


async def test_outcomes_in_memory_go_to_the_topic_of_the_arrivals_while_the_registry_is_away(bench: Bench) -> None:
    encoder = Shouting()
    desk, encoder.is_away = desk_on(bench, encoder), True

    await bench.complete(desk.arrivals.handle_in_memory, envelope({"n": 1}, outcome=DELIVERED))

    [sent] = bench.producer.to("test.arrivals")
    assert sent.records == [{"n": 1}]
    assert desk.counts() == {}


async def test_an_envelope_whose_partition_was_reassigned_is_left_alone(bench: Bench) -> None:
    encoder = Shouting()
    desk, encoder.is_away = desk_on(bench, encoder), True

    class Discarded:
        is_discarded = True

    assert desk.arrivals.formats is not None
    assert await desk.arrivals.formats.written_patiently(envelope({"n": 1}, outcome=DELIVERED), Discarded()) is None
