"""The arrivals: every outcome is settled once, and no table shows it before the records are written."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Collection
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from msgspec.structs import replace

from metroline.agents.delivery.unit_of_work import confirmed_unit
from metroline.agents.kafka.producer import NotSent, TooLarge
from metroline.agents.outcome_recorder import MAX_SHOWN_DEAD
from metroline.agents.tables.latest import SLOTS
from metroline.agents.tables.plausible_offsets import ImplausibleOffset, PlausibleOffsets
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.kept_journeys import KeptJourneys
from metroline.routing.journeys.losses import loss_notices, lost_origin
from metroline.routing.journeys.replay import replay_request
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock
from metroline.routing.messages.envelope import Envelope, join
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import LossNotice, Replay
from metroline.routing.outcome import Cause, Ending, Outcome
from tests.support.bench import Bench, confirmed, endings_of, envelope, segments_of, until
from tests.support.desk import BEHIND_A, DEAD, DELIVERED, DROPPED, Desk


@pytest.fixture
def desk(bench: Bench) -> Desk:
    return Desk.on(bench)


@pytest.fixture
def recorded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write records at once, and table entries as soon as the records are confirmed."""
    monkeypatch.setattr("metroline.agents.outcome_writer.WRITE_SECONDS", 0.0)
    monkeypatch.setattr("metroline.agents.outcome_recorder.RECORD_SECONDS", 0.0)


@pytest.fixture
def shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the journeys of every envelope."""
    monkeypatch.setattr("metroline.agents.shown_journeys.SHOW_SECONDS", 0.0)


def numbered(count: int, **segment: Any) -> Envelope:
    return envelope(*({"n": number} for number in range(count)), **segment)


async def test_each_outcome_goes_to_its_topic_and_is_counted_by_stop_and_reason(desk: Desk) -> None:
    await desk.settle(
        numbered(3, outcome=DELIVERED, history=BEHIND_A),
        numbered(2, first=10, outcome=DROPPED),
        numbered(1, first=20, outcome=DEAD, history=BEHIND_A),
    )

    sent = desk.bench.producer
    assert endings_of(sent.to("test.delivered")) == dict.fromkeys(range(3), (Ending.DELIVERED, None))
    assert endings_of(sent.to("test.dead-letters")) == {20: (Ending.DEAD, DEAD.reason)}
    assert desk.counts() == {
        ("a", "delivered", ""): 3,
        ("source", "dropped", "not wanted"): 2,
        ("a", "dead", "service_error"): 1,
    }
    assert desk.bench.bus.metrics.settled == {"delivered": 3, "dropped": 2, "dead": 1}


async def test_the_first_outcome_of_a_record_wins_and_later_ones_are_duplicates(desk: Desk) -> None:
    await desk.settle(
        numbered(3, outcome=DELIVERED),
        numbered(3, outcome=DELIVERED),
        numbered(4, first=2, outcome=DEAD),
    )

    assert list(endings_of(desk.bench.producer.to("test.delivered"))) == [0, 1, 2]
    assert list(endings_of(desk.bench.producer.to("test.dead-letters"))) == [3, 4, 5]
    assert desk.counts() == {("source", "delivered", ""): 3, ("source", "dead", "service_error"): 3}
    assert desk.duplicates() == 4


async def test_a_record_twice_in_one_envelope_is_settled_once(desk: Desk) -> None:
    twice = numbered(2, outcome=DELIVERED)
    segment = replace(twice.segments[0], ids=(7, 7))

    await desk.settle(replace(twice, segments=(segment, segment)))

    assert endings_of(desk.bench.producer.to("test.delivered")) == {7: (Ending.DELIVERED, None)}
    assert desk.duplicates() == 3


async def test_lines_of_one_message_are_records_of_their_own(desk: Desk) -> None:
    incoming = numbered(3, outcome=DELIVERED)
    lines = replace(incoming.segments[0], ids=((5, 0, 3), (5, 2, 3), (5, 0, 3)))

    await desk.settle(replace(incoming, segments=(lines,)))
    await desk.settle(replace(incoming, segments=(replace(lines, ids=((5, 1, 3), (5, 2, 3), (6, 0, 2))),)))

    assert sorted(endings_of(desk.bench.producer.to("test.delivered")), key=str) == [
        (5, 0, 3),
        (5, 1, 3),
        (5, 2, 3),
        (6, 0, 2),
    ]
    assert (desk.counts(), desk.duplicates()) == ({("source", "delivered", ""): 4}, 2)


async def test_what_was_settled_is_known_after_a_restart_and_after_a_rebalance(desk: Desk) -> None:
    await desk.settle(numbered(3, outcome=DELIVERED))

    after = desk.restarted()
    await after.settle(numbered(4, outcome=DELIVERED))
    after.arrivals.reset()
    await after.settle(numbered(5, outcome=DELIVERED))

    assert after.counts() == {("source", "delivered", ""): 5}
    assert after.duplicates() == 7


async def test_partitions_epochs_and_blocks_do_not_mix(desk: Desk) -> None:
    renewed = replace(numbered(1, outcome=DELIVERED), origin=numbered(1).origin._replace(name="source-1"))

    await desk.settle(
        numbered(1, outcome=DELIVERED),
        numbered(1, outcome=DELIVERED, partition=1),
        renewed,
        numbered(2, first=BLOCK_OFFSETS - 1, outcome=DELIVERED),
    )

    assert {key: block.counts.total() for key, block in desk.blocks()} == {
        "0/source/0": 2,
        "1/source/0": 1,
        "0/source-1/0": 1,
        "0/source/1": 1,
    }
    assert desk.duplicates() == 0
    partitions = {sent.partition for sent in desk.bench.producer.sent if (sent.key or b"").startswith(b"1/")}
    assert partitions == {1}, "an entry is written to the partition that its key begins with"


async def test_a_table_says_that_a_record_is_settled_only_after_the_record_was_written(desk: Desk) -> None:
    producer = desk.bench.producer
    producer.holds = True

    done = await desk.bench.begin(desk.arrivals.handle, numbered(1, outcome=DELIVERED))
    await until(lambda: len(producer.sent) == 1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert [sent.topic for sent in producer.sent] == ["test.delivered"]
    assert not desk.outcomes.data

    producer.sent[0].confirm()
    await until(lambda: len(producer.to("test.table.outcomes")) == 1)
    assert not done.done()
    await until(lambda: len(producer.sent) == 4)
    for sent in producer.sent[1:]:
        sent.confirm()
    await until(done.done)


@pytest.mark.usefixtures("recorded_at_once")
async def test_entries_are_written_in_the_order_of_the_envelopes(desk: Desk) -> None:
    producer = desk.bench.producer
    producer.holds = True
    made = [await desk.bench.begin(desk.arrivals.handle, numbered(1, outcome=DELIVERED))]
    await asyncio.sleep(0)  # its entry is on its way before the next envelope comes
    made.append(await desk.bench.begin(desk.arrivals.handle, numbered(2, first=1, outcome=DELIVERED)))
    await until(lambda: len(producer.to("test.delivered")) == 2)

    producer.holds = False
    producer.sent[1].confirm()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not producer.to("test.table.outcomes"), "the entry holds the first envelope's record, which is not written"
    producer.sent[0].confirm()
    await confirmed(made)

    written = [SettledBlock.decode(orjson.loads(sent.value)) for sent in producer.to("test.table.outcomes")]
    assert [block.counts.total() for block in written] == [1, 3]


@pytest.mark.usefixtures("recorded_at_once")
async def test_an_entry_of_an_earlier_envelope_does_not_say_what_a_later_one_brought(desk: Desk) -> None:
    """Both are settled in the same block in memory before the first entry is written."""
    producer = desk.bench.producer
    producer.holds = True
    await desk.bench.begin(desk.arrivals.handle, numbered(1, outcome=DELIVERED))
    await asyncio.sleep(0)  # its entry is on its way before the next envelope comes
    await desk.bench.begin(desk.arrivals.handle, numbered(2, first=1, outcome=DEAD))
    await until(lambda: len(producer.sent) == 3)

    producer.to("test.delivered")[0].confirm()
    await until(lambda: len(producer.to("test.table.outcomes")) == 1)

    [entry] = producer.to("test.table.outcomes")
    assert SettledBlock.decode(orjson.loads(entry.value)).counts.total() == 1


async def test_envelopes_that_come_while_an_entry_is_written_share_the_next_one(desk: Desk) -> None:
    producer = desk.bench.producer
    producer.holds = True
    made = [await desk.bench.begin(desk.arrivals.handle, numbered(1, outcome=DELIVERED))]
    await asyncio.sleep(0)
    for first in range(1, 10):
        made.append(await desk.bench.begin(desk.arrivals.handle, numbered(1, first=first, outcome=DELIVERED)))
    producer.holds = False
    for sent in list(producer.sent):
        sent.confirm()
    await confirmed(made)

    written = [SettledBlock.decode(orjson.loads(sent.value)) for sent in producer.to("test.table.outcomes")]
    assert [block.counts.total() for block in written] == [1, 10]


async def test_dropped_records_are_only_counted(desk: Desk) -> None:
    await desk.settle(numbered(2, outcome=DROPPED))

    shown = {"test.table.journeys", "test.journeys"}
    assert {sent.topic for sent in desk.bench.producer.sent} == {"test.table.outcomes", *shown}


async def test_an_envelope_without_an_outcome_is_a_stray_dead_letter(desk: Desk) -> None:
    mailbox = desk.bench.mailbox("arrivals")
    task = asyncio.create_task(desk.bench.agent_loop.run(mailbox.stream, desk.arrivals.handle))
    mailbox.put(numbered(2).encode())
    mailbox.close()
    await task

    [letter] = desk.bench.producer.to("test.arrivals")
    assert letter.envelope.origin == ("stray:arrivals", 0)
    await desk.settle(letter.envelope)
    assert len(desk.bench.producer.to("test.dead-letters")) == 1
    assert desk.counts() == {("source", "dead", "malformed_envelope"): 1}


async def test_a_stray_letter_of_another_topic_does_not_settle_a_record(desk: Desk) -> None:
    malformed_message = replace(numbered(1, outcome=DEAD), origin=numbered(1).origin._replace(name="stray:service.a"))

    await desk.settle(malformed_message, numbered(1, outcome=DELIVERED))

    assert list(endings_of(desk.bench.producer.to("test.delivered"))) == [0]


@pytest.mark.usefixtures("shown_at_once")
async def test_the_latest_journeys_and_letters_are_shown_and_bounded(desk: Desk) -> None:
    desk.bench.now = 1_234.0
    for number in range(SLOTS + 5):
        await desk.settle(numbered(1, first=number, outcome=DEAD, history=BEHIND_A, entered=900.0, hops=3))

    shown = list(desk.letters.latest(frozenset({0})))
    assert len(shown) == SLOTS
    newest = next(entry for entry in shown if entry["id"] == f"source-0-{SLOTS + 4}")
    visit = {"stop": "a", "at": 950.0, "rule": "all begin at a", "by": "on-ramp", "version": 1, "worked": None}
    assert newest["stops"] == [visit]
    assert (newest["outcome"], newest["reason"]) == ("dead", DEAD.reason)
    assert (newest["entered"], newest["settled"], newest["hops"]) == (900.0, 1_234.0, 3)
    assert orjson.loads(newest["record"]) == {"n": 0}
    assert len(list(desk.journeys.latest(frozenset({0})))) == SLOTS


async def test_journeys_are_shown_from_time_to_time_and_the_latest_ones_last(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.agents.shown_journeys.SHOW_SECONDS", 0.05)
    bench, producer = desk.bench, desk.bench.producer
    await desk.settle(numbered(1, outcome=DELIVERED))
    await confirmed(
        [
            await bench.begin(desk.arrivals.handle, numbered(1, first=number, outcome=DELIVERED))
            for number in range(1, 20)
        ]
    )
    async with asyncio.timeout(30):
        while len(producer.to("test.table.journeys")) < 2:
            await asyncio.sleep(0.01)

    ids = [entry["id"] for entry in desk.journeys.latest(frozenset({0}))]
    assert ids == ["source-0-0", "source-0-17", "source-0-18", "source-0-19"]


@pytest.mark.usefixtures("shown_at_once")
async def test_journeys_that_did_not_fail_are_kept_on_their_topic_with_their_number(desk: Desk) -> None:
    await desk.settle(
        numbered(3, outcome=DELIVERED, history=BEHIND_A),
        numbered(2, first=10, outcome=DROPPED, partition=1),
        numbered(1, first=20, outcome=DEAD),
    )
    await desk.settle(numbered(3, outcome=DELIVERED, history=BEHIND_A))  # they are settled already

    kept = [KeptJourneys.decode(sent.value, sent.partition) for sent in desk.bench.producer.to("test.journeys")]
    assert [(one.envelope.origin.partition, one.count, one.ended) for one in kept] == [
        (0, 3, (desk.bench.now,)),
        (1, 2, (desk.bench.now,)),
    ]
    [segment] = kept[0].envelope.segments
    assert (segment.ids, segment.history, segment.outcome) == ((0, 1, 2), BEHIND_A, DELIVERED)
    assert segment.lines[1] == b'{"n":1}'


@pytest.mark.usefixtures("shown_at_once")
async def test_of_more_journeys_than_are_kept_in_a_second_a_sample_is_kept_and_all_are_counted(bench: Bench) -> None:
    desk = Desk.on(bench, kept_per_second=5)
    await desk.settle(numbered(100, outcome=DELIVERED, history=BEHIND_A))
    await desk.settle(numbered(100, first=100, outcome=DELIVERED, history=BEHIND_A))
    bench.now += 60
    await desk.settle(numbered(2, first=300, outcome=DELIVERED), numbered(100, first=200, outcome=DELIVERED))

    kept = [KeptJourneys.decode(sent.value) for sent in bench.producer.to("test.journeys")]
    ids = [id for one in kept for segment in one.envelope.segments for id in segment.ids]
    assert ids[:5] == [0, 20, 40, 60, 80]
    assert len(ids) == 10, "they do not add up while nothing ends"
    assert sum(one.count for one in kept) == 302


@pytest.mark.usefixtures("shown_at_once")
async def test_journeys_that_the_brokers_do_not_take_are_left_out_and_hold_nothing_up(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    producer = desk.bench.producer
    producer.refuse = lambda sent: TooLarge("no") if sent.topic == "test.journeys" else None
    await desk.settle(numbered(3, outcome=DELIVERED))
    await asyncio.sleep(0)

    assert len(producer.to("test.journeys")) == 1
    assert desk.counts() == {("source", "delivered", ""): 3}
    assert "a message for test.journeys is left out (no)" in caplog.text


@pytest.mark.usefixtures("shown_at_once")
async def test_no_journeys_are_kept_if_none_are_wanted(bench: Bench) -> None:
    await Desk.on(bench, kept_per_second=0).settle(numbered(3, outcome=DELIVERED))
    assert bench.producer.to("test.journeys") == []


async def test_what_is_settled_while_much_is_settled_is_written_together(desk: Desk) -> None:
    bench = desk.bench
    units = [
        await bench.begin(desk.arrivals.handle, numbered(2, first=first, outcome=DELIVERED))
        for first in range(0, 20, 2)
    ]
    await confirmed(units)

    [delivered] = bench.producer.to("test.delivered")
    assert delivered.envelope.segments[0].ids[0] == 0
    assert len(delivered.envelope) == 20
    assert len(bench.producer.to("test.table.outcomes")) == 1
    assert desk.counts() == {("source", "delivered", ""): 20}


async def test_outcomes_beside_one_that_cannot_be_settled_are_written(desk: Desk) -> None:
    """All three arrive at once. The second has no outcome; it must not take the first one with it."""
    mailbox = desk.bench.mailbox("arrivals")
    together = (numbered(1, outcome=DELIVERED), numbered(1, first=1), numbered(1, first=2, outcome=DELIVERED))
    mailbox.put_together(*(one.encode() for one in together))
    mailbox.close()
    await desk.bench.agent_loop.run(mailbox.stream, desk.arrivals.handle)
    await until(lambda: len(desk.bench.producer.to("test.table.outcomes")) >= 1)

    assert sorted(endings_of(desk.bench.producer.to("test.delivered"))) == [0, 2]
    assert desk.counts() == {("source", "delivered", ""): 2}
    assert desk.duplicates() == 0
    [letter] = desk.bench.producer.to("test.arrivals")
    assert letter.envelope.origin == ("stray:arrivals", 0)


async def test_a_defect_while_outcomes_are_written_leaves_their_messages_open_and_the_next_ones_are_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = desk.bench
    with monkeypatch.context() as broken:
        broken.setattr("metroline.agents.outcome_recorder.summary", lambda *_: 1 / 0)
        unit = await bench.begin(desk.arrivals.handle, numbered(1, outcome=DELIVERED))
        await until(lambda: "ZeroDivisionError" in caplog.text)
    assert not unit.done()

    await desk.settle(numbered(1, first=1, outcome=DELIVERED))
    assert list(endings_of(bench.producer.to("test.delivered"))) == [0, 1]


async def test_a_block_whose_entry_is_yet_to_be_written_is_not_read_from_the_table(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.agents.arrivals.MAX_DECODED", 1)
    bench = desk.bench
    firsts = (0, BLOCK_OFFSETS, 1, BLOCK_OFFSETS + 1)
    await confirmed(
        [await bench.begin(desk.arrivals.handle, numbered(1, first=first, outcome=DELIVERED)) for first in firsts]
    )
    assert sum(block.counts.total() for _, block in desk.blocks()) == 4


async def test_records_that_are_written_together_still_fit_into_messages(desk: Desk) -> None:
    bench = desk.bench
    bench.limits = dataclasses.replace(bench.limits, pack_records=5)
    await confirmed(
        [await bench.begin(desk.arrivals.handle, numbered(4, first=n, outcome=DELIVERED)) for n in (0, 4, 8)]
    )

    assert [len(sent.envelope) for sent in bench.producer.to("test.delivered")] == [4, 4, 4]
    assert len(bench.producer.to("test.table.outcomes")) == 1


async def test_a_pack_of_letters_shows_some_of_them(desk: Desk) -> None:
    await desk.settle(numbered(200, outcome=DEAD))

    assert len(list(desk.letters.latest(frozenset({0})))) == MAX_SHOWN_DEAD


@pytest.mark.usefixtures("shown_at_once")
async def test_a_ring_finds_its_place_again(desk: Desk) -> None:
    for number in range(SLOTS + 2):
        await desk.settle(numbered(1, first=number, outcome=DELIVERED))

    after = desk.restarted()
    await after.settle(numbered(1, first=1_000, outcome=DELIVERED))

    ids = {entry["id"] for entry in after.journeys.latest(frozenset({0}))}
    assert ids == {f"source-0-{number}" for number in (*range(3, SLOTS + 2), 1_000)}


@pytest.mark.usefixtures("shown_at_once")
async def test_a_ring_of_another_partition_is_not_shown_nor_overwritten(desk: Desk) -> None:
    await desk.settle(numbered(1, outcome=DELIVERED), numbered(1, outcome=DELIVERED, partition=1))

    assert [entry["id"] for entry in desk.journeys.latest(frozenset({1}))] == ["source-1-0"]
    assert len(list(desk.journeys.latest(frozenset({0, 1})))) == 2


@pytest.mark.parametrize("owned_again", [False, True])
async def test_what_was_begun_before_the_partition_changed_hands_is_not_counted_and_comes_again(
    desk: Desk, owned_again: bool
) -> None:
    await desk.settle(numbered(3, outcome=DELIVERED))
    recorded = await desk.bench.begin(desk.arrivals.handle, numbered(4, first=3, outcome=DELIVERED))
    desk.outcomes.epochs = {0: 2} if owned_again else {}
    desk.arrivals.reset()

    late = await desk.bench.begin(desk.arrivals.handle, numbered(4, first=3, outcome=DELIVERED))
    if owned_again:
        await confirmed([late])
    else:
        await asyncio.sleep(0.1)
    assert not recorded.done()
    assert late.done() == owned_again
    assert desk.counts() == {("source", "delivered", ""): 7 if owned_again else 3}
    assert desk.duplicates() == 0


async def test_outcomes_that_were_not_written_to_the_bus_are_settled_like_others(desk: Desk) -> None:
    both = join([numbered(2, outcome=DELIVERED), numbered(3, outcome=DELIVERED, partition=1)])

    await desk.bench.complete(desk.arrivals.handle_in_memory, both)
    await desk.settle(numbered(1, outcome=DELIVERED), numbered(4, outcome=DEAD, partition=1))

    written = [(sent.partition, len(sent.envelope)) for sent in desk.bench.producer.to("test.delivered")]
    assert sorted(written) == [(0, 2), (1, 3)]
    assert desk.counts() == {("source", "delivered", ""): 5, ("source", "dead", "service_error"): 1}
    assert desk.duplicates() == 4
    assert not desk.bench.producer.to("test.arrivals")


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.usefixtures("recorded_at_once")
async def test_outcomes_in_memory_go_to_the_owner_of_their_partition_if_it_is_another_one_by_then(
    desk: Desk, is_written: bool
) -> None:
    producer = desk.bench.producer
    producer.holds = is_written
    done = await desk.bench.begin(desk.arrivals.handle_in_memory, numbered(2, outcome=DELIVERED, hops=0))
    if is_written:
        await until(lambda: len(producer.to("test.delivered")) == 1)
    producer.holds = False
    desk.outcomes.epochs.clear()
    for sent in producer.sent:
        sent.confirm()

    await until(done.done)
    assert len(producer.to("test.delivered")) == is_written
    [sent] = producer.to("test.arrivals")
    [segment] = sent.envelope.segments
    assert (segment.ids, segment.outcome, segment.hops) == ((0, 1), DELIVERED, 1)
    assert not producer.to("test.table.outcomes")
    assert not desk.arrivals.accepts(0)


async def test_an_envelope_of_the_bus_whose_partition_has_another_owner_is_left_to_it(desk: Desk) -> None:
    done = await desk.bench.begin(desk.arrivals.handle, numbered(2, outcome=DELIVERED))
    desk.outcomes.epochs.clear()
    await desk.arrivals.writer.finish(5.0)
    await asyncio.sleep(0)

    assert not done.done(), "its message comes again"
    assert not desk.bench.producer.sent


async def test_it_finishes_once_everything_is_written_or_time_is_up(desk: Desk) -> None:
    producer = desk.bench.producer
    producer.holds = True
    done = await desk.bench.begin(desk.arrivals.handle_in_memory, numbered(1, outcome=DELIVERED))
    began = time.monotonic()
    await desk.arrivals.writer.finish(0.05)
    assert 0.04 < time.monotonic() - began < 2.0
    assert not done.done()

    producer.holds = False
    for sent in producer.sent:
        sent.confirm()
    await desk.arrivals.writer.finish(5.0)
    assert done.done()


async def test_outcomes_in_memory_are_concluded_once_the_coordinator_knows_the_worker_as_a_member(desk: Desk) -> None:
    """A worker that stood still does not know that it has lost its partitions, and what it writes is overruled."""
    desk.is_member = False
    done = await desk.bench.begin(desk.arrivals.handle_in_memory, numbered(2, outcome=DELIVERED))
    other = await desk.bench.begin(desk.arrivals.handle, numbered(1, first=5, outcome=DELIVERED))
    await until(other.done)
    await asyncio.sleep(0.3)
    assert len(desk.bench.producer.to("test.table.outcomes")) >= 1
    assert not done.done()

    desk.is_member = True
    await until(done.done)
    assert not desk.bench.producer.to("test.arrivals")
    assert desk.bench.bus.metrics.settled == {"delivered": 3}


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.usefixtures("recorded_at_once")
async def test_an_epoch_that_ends_while_entries_are_written_leaves_the_outcomes_to_the_next_owner(
    desk: Desk, is_written: bool
) -> None:
    producer = desk.bench.producer
    if is_written:
        producer.refuse = lambda sent: NotSent("not yet") if sent.topic == "test.table.outcomes" else None
    else:
        producer.full.add("test.table.outcomes")
    both = numbered(2, first=BLOCK_OFFSETS - 1, outcome=DELIVERED)
    done = await desk.bench.begin(desk.arrivals.handle_in_memory, both)
    await until(lambda: len(producer.to("test.delivered")) == 1)
    for _ in range(20):
        await asyncio.sleep(0)

    desk.outcomes.epochs.clear()
    producer.full.clear()
    producer.refuse = lambda _: None

    await until(done.done)
    assert [segment.ids for segment in segments_of(producer.to("test.arrivals"))] == [both.segments[0].ids]
    assert not desk.bench.bus.metrics.settled


async def test_a_unit_is_released_once_if_epochs_end_one_after_the_other(desk: Desk) -> None:
    producer = desk.bench.producer
    producer.full.add("test.arrivals")
    producer.holds = True
    unit, done = confirmed_unit(desk.bench.bus.work_time)
    for partition in (0, 1):
        await desk.arrivals.handle_in_memory(numbered(1, outcome=DELIVERED, partition=partition), unit)
    del desk.outcomes.epochs[0]
    for _ in range(20):
        await asyncio.sleep(0)
    desk.outcomes.epochs.clear()
    producer.full.clear()
    producer.holds = False
    for sent in producer.sent:
        sent.confirm()

    await until(lambda: len(producer.to("test.arrivals")) == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not done.done(), "its creator has not released it"
    assert [sent.partition for sent in producer.to("test.arrivals")] == [0, 1]
    unit.release()
    await until(done.done)


async def test_an_entry_counts_no_record_that_is_settled_while_those_before_wait_to_be_sent(desk: Desk) -> None:
    producer = desk.bench.producer
    producer.full.add("test.arrivals")
    for partition in (1, 0):
        await desk.bench.begin(desk.arrivals.handle_in_memory, numbered(1, outcome=DELIVERED, partition=partition))
    del desk.outcomes.epochs[1]
    for _ in range(20):
        await asyncio.sleep(0)
    await desk.bench.begin(desk.arrivals.handle_in_memory, numbered(1, first=1, outcome=DELIVERED))

    await until(lambda: len(producer.to("test.table.outcomes")) == 1)
    assert desk.counts() == {("source", "delivered", ""): 1}
    producer.full.clear()
    await until(lambda: len(producer.to("test.delivered")) == 2)


async def test_outcomes_are_not_taken_in_memory_while_too_many_wait_to_be_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.agents.outcome_writer.MAX_HELD_BYTES", 10)
    desk.bench.producer.full.add("test.delivered")
    assert desk.arrivals.accepts(0)
    done = await desk.bench.begin(desk.arrivals.handle_in_memory, numbered(3, outcome=DELIVERED))
    assert not desk.arrivals.accepts(0)

    desk.bench.producer.full.clear()
    await until(done.done)
    assert desk.arrivals.accepts(0)
    assert not desk.arrivals.accepts(7), "another worker settles the records of this partition"


async def test_outcomes_whose_header_is_larger_than_a_message_are_written_in_parts(desk: Desk) -> None:
    limit = desk.bench.limits.message_bytes
    desk.bench.producer.refuse = lambda sent: TooLarge("too large") if len(sent.value) > limit else None
    parts = tuple(
        numbered(1, first=number, outcome=Outcome.dead(Cause.SERVICE_ERROR, f"{number}" + "x" * 4_000)).segments[0]
        for number in range(1_200)
    )
    many = Envelope("signpost", numbered(1).origin, parts)
    assert len(many.encode()) > limit

    await desk.bench.complete(desk.arrivals.handle_in_memory, many)

    assert len(endings_of(desk.bench.producer.to("test.dead-letters"))) == 1_200
    assert desk.counts() == {("source", "dead", "service_error"): 1_200}


async def test_no_entry_says_that_a_dead_letter_was_restarted_before_it_is_sent(desk: Desk) -> None:
    producer = desk.bench.producer
    await desk.settle(numbered(1, outcome=DEAD, history=BEHIND_A))
    [sent] = producer.to("test.dead-letters")
    request = replay_request(sent.envelope, Replay(1.0, "me", "x"), "a", sent.envelope.segments[0].lines[0])
    producer.full.add("test.service.a")
    asked = asyncio.create_task(desk.bench.begin(desk.arrivals.handle, request))
    await asyncio.sleep(0)
    done = await desk.bench.begin(desk.arrivals.handle_in_memory, numbered(1, first=1, outcome=DELIVERED))
    await asyncio.sleep(0.3)

    assert not done.done()
    assert desk.counts() == {("a", "dead", "service_error"): 1}
    producer.full.clear()
    await until(done.done)
    await confirmed([await asked])
    assert desk.counts() == {("source", "delivered", ""): 1}
    assert len(producer.to("test.service.a")) == 1


async def test_messages_that_were_deleted_unread_are_counted_as_lost_and_nothing_is_written(desk: Desk) -> None:
    notices = list(loss_notices(Origin("source", 0), BLOCK_OFFSETS - 2, BLOCK_OFFSETS + 3, 0.0))
    lost_at_a = list(loss_notices(Origin(lost_origin("service.a"), 0), 5, 6, 0.0))

    await desk.settle(numbered(1, first=BLOCK_OFFSETS, outcome=DELIVERED), *notices, *notices, *lost_at_a)

    assert {key: list(block.lost) for key, block in desk.blocks()} == {
        "0/source/0": [BLOCK_OFFSETS - 2, BLOCK_OFFSETS - 1],
        "0/source/1": [1, 2],
        "0/lost:service.a/0": [5],
    }
    assert desk.counts() == {("source", "delivered", ""): 1}
    assert desk.duplicates() == 0
    assert len(desk.bench.producer.to("test.delivered")) == 1
    assert not desk.bench.producer.to("test.dead-letters")


async def test_a_notice_that_names_too_much_is_no_notice(desk: Desk) -> None:
    (notice,) = loss_notices(Origin("source", 0), 5, 6, 0.0)
    [segment] = notice.segments
    many = replace(segment, ids=tuple(range(6)), lines=segment.lines * 6)

    for wrong in (replace(segment, request=LossNotice(2**40)), many):
        with pytest.raises(MetrolineError, match="names one stretch"):
            await desk.settle(replace(notice, segments=(wrong,)))


async def test_hops_that_nobody_made_leave_a_block_that_can_be_written(desk: Desk) -> None:
    await desk.settle(*[numbered(500, first=500 * pack, outcome=DELIVERED, hops=2**53 - 1) for pack in range(3)])
    assert desk.counts() == {("source", "delivered", ""): 1_500}


async def test_outcomes_at_offsets_that_the_topic_has_not_reached_are_refused_before_any_is_settled(
    desk: Desk,
) -> None:
    asked = []

    async def ends(partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        asked.append(partitions)
        return dict.fromkeys(partitions, 1_000)

    desk.arrivals.plausible = PlausibleOffsets({"source": "test.source", "service.a": "test.service.a"}, ends)
    await desk.settle(numbered(1, outcome=DELIVERED), numbered(1, first=999, outcome=DELIVERED))
    far = [numbered(1, first=first, outcome=DELIVERED) for first in (10**9, 10**12, 2**53 - 1)]
    stray = replace(far[0], origin=Origin("stray:service.a", 0))
    (lost,) = loss_notices(Origin("source", 0), 10**9, 10**9 + 1, 0.0)
    for wrong in (*far, stray, lost):
        with pytest.raises(ImplausibleOffset):
            await desk.settle(wrong)
    assert desk.counts() == {("source", "delivered", ""): 2}
    assert len(desk.outcomes.data) == 1
    assert len(asked) == 2, "each topic is asked for once a second"


async def test_strangers_cannot_begin_blocks_of_other_origins_without_end(desk: Desk) -> None:
    async def ends(partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {}

    desk.arrivals.plausible = PlausibleOffsets({"source": "test.source"}, ends)
    blocks = [
        replace(numbered(1, first=n * BLOCK_OFFSETS, outcome=DROPPED), origin=Origin("source-9", 0)) for n in range(3)
    ]
    await desk.settle(*blocks, *blocks)
    many = numbered(2_000, outcome=DROPPED)
    ids = tuple(number * BLOCK_OFFSETS for number in range(2_000))
    forged = replace(many, origin=Origin("source-9", 0), segments=(replace(many.segments[0], ids=ids),))
    with pytest.raises(ImplausibleOffset):
        await desk.settle(forged)
    assert len(desk.outcomes.data) == 3
