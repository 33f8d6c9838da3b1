"""Dead letters: replayed or discarded once, even if requested twice, with totals that stay correct."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import HEADER_BYTES
from metroline.routing.journeys.replay import discard_request, record_before, replay_request
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import Attempts, Replay
from metroline.routing.outcome import Ending
from tests.support.bench import Bench, Sent, endings_of, envelope, segments_of
from tests.support.desk import BEHIND_A, DEAD, DELIVERED, Desk

BY_ME = Replay(990.0, "me", "service_error: ValueError: no", '{"size":1}')


@pytest.fixture
def desk(bench: Bench) -> Desk:
    return Desk.on(bench)


def letter(strategy: str = "signpost", **segment: Any) -> Envelope:
    """Return a dead letter as it is stored on its topic."""
    tried = Attempts("a", ("x", "y"), 900.0)
    came: dict[str, Any] = {"history": BEHIND_A, "outcome": DEAD, "hops": 5, "attempts": tried}
    return envelope({"size": 1}, strategy=strategy, **(came | segment))


async def sent_by(desk: Desk, *incoming: Envelope) -> list[Sent]:
    """Return the messages that the arrivals sent in response to these, apart from table entries."""
    before = len(desk.bench.producer.sent)
    await desk.settle(*incoming)
    return [sent for sent in desk.bench.producer.sent[before:] if ".table." not in sent.topic]


@pytest.mark.parametrize(
    ("strategy", "to"),
    [("signpost", "service.a"), ("hard_wired", "service.a"), ("conductor", "conductor"), ("map_maker", "map-maker")],
)
async def test_a_replayed_letter_begins_anew_at_the_source(desk: Desk, strategy: str, to: str) -> None:
    await desk.settle(letter(strategy))
    [sent] = await sent_by(desk, replay_request(letter(strategy), BY_ME, None, b'{"size":11}'))

    assert (sent.topic, sent.records) == (f"test.{to}", [{"size": 11}])
    [anew] = segments_of([sent])
    assert (anew.entered, anew.history, anew.attempts, anew.hops, anew.generation) == (desk.bench.now, (), None, 1, 1)
    assert anew.replays == (BY_ME,)
    assert desk.counts() == {}, "it is under way again, and no longer dead"


def test_what_a_letter_remembers_of_its_replays_is_bounded() -> None:
    dead, line = letter(), b'{"size":1}'
    for number in range(100):
        by = Replay(990.0 + number, "me", "x" * 3_000, record_before(b"y" * 1_000_000))
        dead = replay_request(dead, by, None, line)
    [segment] = dead.segments
    assert [replay.at for replay in segment.replays] == [990.0, *(990.0 + number for number in range(93, 100))]
    assert [replay.before is not None for replay in segment.replays] == [True, *[False] * 5, True, True]
    assert str(segment.replays[0].before).endswith("y… (1000000 bytes)")
    assert len(dead.encode()) < HEADER_BYTES


async def test_its_new_outcome_counts_and_what_is_asked_twice_happens_once(desk: Desk) -> None:
    await desk.settle(letter())
    request = replay_request(letter(), BY_ME, None, b'{"size":2}')
    assert len(await sent_by(desk, request)) == 1
    assert await sent_by(desk, request) == []
    desk = desk.restarted()
    assert await sent_by(desk, request) == []

    again = letter(outcome=DELIVERED, generation=1, replays=(BY_ME,))
    await desk.settle(again, again, letter())
    assert desk.counts() == {("a", "delivered", ""): 1}
    assert desk.duplicates() == 2
    assert await sent_by(desk, request) == []


async def test_a_letter_goes_to_the_stop_that_is_named(desk: Desk) -> None:
    await desk.settle(letter())
    [sent] = await sent_by(desk, replay_request(letter(), BY_ME, "c", b'{"size":2}'))
    assert sent.topic == "test.service.c"
    [anew] = segments_of([sent])
    assert anew.chosen is not None
    assert (anew.chosen.by, anew.chosen.rule) == ("replay", None)


async def test_a_discarded_letter_counts_as_dropped_with_its_reason(desk: Desk) -> None:
    await desk.settle(letter())
    [sent] = await sent_by(desk, discard_request(letter(), BY_ME, "a test order"))
    assert endings_of([sent]) == {0: (Ending.DROPPED, "discarded: a test order")}
    await desk.settle(sent.envelope)
    assert desk.counts() == {("a", "dropped", "discarded: a test order"): 1}
    assert await sent_by(desk, discard_request(letter(), BY_ME, "again")) == []


async def test_a_letter_that_died_again_may_begin_anew_again(desk: Desk) -> None:
    await desk.settle(letter())
    await desk.settle(replay_request(letter(), BY_ME, None, b'{"size":2}'))
    second = letter(generation=1, replays=(BY_ME,))
    await desk.settle(second)
    [sent] = await sent_by(desk, replay_request(second, BY_ME, None, b'{"size":3}'))
    [anew] = segments_of([sent])
    assert (anew.generation, anew.replays) == (2, (BY_ME, BY_ME))


async def test_nothing_but_a_dead_letter_begins_anew(desk: Desk) -> None:
    delivered = letter(outcome=DELIVERED)
    await desk.settle(delivered)
    assert await sent_by(desk, replay_request(letter(), BY_ME, None, b"{}")) == []
    with pytest.raises(MetrolineError, match="only a dead letter"):
        await desk.settle(replay_request(delivered, BY_ME, None, b"{}"))
    assert desk.counts() == {("a", "delivered", ""): 1}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda asked: replace(asked, strategy="by magic"),
        lambda asked: replace(asked, segments=(replace(asked.segments[0], lines=(b"no json",)),)),
    ],
    ids=["strategy", "record"],
)
async def test_a_request_that_cannot_be_carried_out_takes_nothing_back(desk: Desk, spoil: object) -> None:
    await desk.settle(letter())
    assert callable(spoil)
    with pytest.raises(MetrolineError):
        await desk.settle(spoil(replay_request(letter(), BY_ME, None, b'{"size":1}')))
    assert desk.counts() == {("a", "dead", "service_error"): 1}
    assert len(await sent_by(desk, replay_request(letter(), BY_ME, None, b'{"size":1}'))) == 1
