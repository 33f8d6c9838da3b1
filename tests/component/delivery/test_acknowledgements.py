"""Acknowledgements: in order for each partition, each after all output of its message is confirmed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import pytest
from faust.types import EventT

from metroline.agents.delivery.acknowledgements import AckTracker, batches_of
from metroline.agents.delivery.unit_of_work import UnitOfWork, WorkTime
from metroline.agents.kafka.producer import Confirmation
from tests.support.bench import Mailbox, until

TIME = WorkTime(lambda: 1_000.0)


def promise() -> Confirmation:
    return asyncio.get_running_loop().create_future()


async def taken(tracker: AckTracker, event: EventT[bytes]) -> UnitOfWork:
    pending = await tracker.track(event)
    assert pending is not None
    return pending


async def opened(
    tracker: AckTracker, mailbox: Mailbox, count: int, partition: int = 0
) -> list[tuple[UnitOfWork, Confirmation]]:
    """Take `count` messages of a partition, each of which waits for one confirmation."""
    found = []
    for _ in range(count):
        pending, confirmation = await taken(tracker, mailbox.event(b"", partition)), promise()
        finish(pending, [confirmation])
        found.append((pending, confirmation))
    return found


def finish(unit: UnitOfWork, confirmations: Iterable[Confirmation]) -> None:
    """Let a unit of work follow these confirmations, and release it."""
    for confirmation in confirmations:
        unit.follow(confirmation)
    unit.release()


async def turn() -> None:
    """Let the tasks that are ready run."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_the_order_of_confirmations_a_partition_is_acknowledged_in_order(seed: int) -> None:
    tracker, mailbox = AckTracker(TIME), Mailbox("test.service.a")
    messages = [
        (partition, offset, confirmation)
        for partition in (0, 1)
        for offset, (_, confirmation) in enumerate(await opened(tracker, mailbox, 10, partition))
    ]
    random.Random(seed).shuffle(messages)
    confirmed: dict[int, set[int]] = {0: set(), 1: set()}

    for partition, offset, confirmation in messages:
        confirmation.set_result(None)
        await turn()
        confirmed[partition].add(offset)
        first_open = next(number for number in range(11) if number not in confirmed[partition])
        assert mailbox.acknowledged.get(partition, []) == list(range(first_open))

    assert mailbox.acknowledged == {0: list(range(10)), 1: list(range(10))}


async def test_a_message_waits_for_all_that_was_made_from_it() -> None:
    tracker, mailbox = AckTracker(TIME), Mailbox("test.service.a")
    pending, made = await taken(tracker, mailbox.event(b"")), [promise(), promise(), promise()]
    finish(pending, made)

    for confirmation in made:
        assert not mailbox.acknowledged
        confirmation.set_result(None)
        await turn()

    assert mailbox.acknowledged == {0: [0]}


async def test_a_message_from_which_nothing_was_made_is_acknowledged_at_once() -> None:
    tracker, mailbox = AckTracker(TIME), Mailbox("test.service.a")

    finish(await taken(tracker, mailbox.event(b"")), [])

    assert mailbox.acknowledged == {0: [0]}


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_what_failed_is_never_acknowledged_nor_is_anything_behind_it(how: str) -> None:
    tracker, mailbox = AckTracker(TIME), Mailbox("test.service.a")
    messages = await opened(tracker, mailbox, 4)

    messages[1][1].cancel() if how == "cancelled" else messages[1][1].set_exception(RuntimeError("no"))
    for place in (0, 2, 3):
        messages[place][1].set_result(None)
    await turn()

    assert mailbox.acknowledged == {0: [0]}


async def test_it_takes_no_more_than_its_bound_until_one_is_done() -> None:
    tracker, mailbox = AckTracker(TIME, limit=3), Mailbox("test.service.a")
    messages = await opened(tracker, mailbox, 3)
    fourth = asyncio.create_task(tracker.track(mailbox.event(b"")))
    await turn()
    assert not fourth.done()

    messages[1][1].set_result(None)
    await turn()
    assert not fourth.done(), "the first one is still open, so the second one is not acknowledged"
    messages[0][1].set_result(None)

    await until(fourth.done)
    assert mailbox.acknowledged == {0: [0, 1]}


async def test_it_holds_no_more_bytes_than_its_bound_but_any_message_alone() -> None:
    tracker, mailbox = AckTracker(TIME, max_bytes=10), Mailbox("test.service.a")
    large = await taken(tracker, mailbox.event(b"x" * 100))
    second = asyncio.create_task(tracker.track(mailbox.event(b"x" * 6)))
    await turn()
    assert not second.done()

    large.release()
    await until(second.done)
    third = asyncio.create_task(tracker.track(mailbox.event(b"x" * 4)))
    fourth = asyncio.create_task(tracker.track(mailbox.event(b"x")))
    await until(third.done)
    await turn()
    assert not fourth.done()
    fourth.cancel()


async def test_a_message_that_failed_is_logged_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    tracker, mailbox = AckTracker(TIME), Mailbox("test.service.a")
    mailbox.event(b"", 3)
    unit, made = await taken(tracker, mailbox.event(b"", 3)), [promise(), promise()]
    finish(unit, made)

    for confirmation in made:
        confirmation.set_exception(RuntimeError("no"))
    await turn()

    [logged] = caplog.messages
    assert (
        logged == "cannot acknowledge the messages of test.service.a[3] at offsets 1 to 1, which will be handled again"
    )


async def test_what_is_open_when_partitions_change_hands_is_not_acknowledged_and_holds_up_nothing() -> None:
    tracker, mailbox = AckTracker(TIME, limit=2), Mailbox("test.service.a")
    open_before = await opened(tracker, mailbox, 2)
    taking = asyncio.create_task(tracker.track(mailbox.event(b"")))
    await turn()

    tracker.reset()
    assert all(unit.is_discarded for unit, _ in open_before)
    assert await taking is None, "it comes again behind those that are open: alone it would be acknowledged before them"
    open_before[0][1].set_result(None)
    again = await taken(tracker, mailbox.event(b""))
    finish(again, [])
    await turn()

    assert mailbox.acknowledged == {0: [3]}


@pytest.mark.parametrize("seed", range(20))
async def test_messages_of_several_partitions_are_acknowledged_together_and_each_partition_in_order(seed: int) -> None:
    random_ = random.Random(seed)
    tracker, mailbox = AckTracker(TIME), Mailbox("test.service.a")
    handed: list[tuple[dict[int, int], Confirmation]] = []
    for _ in range(12):
        partitions = random_.sample(range(4), random_.randint(1, 4))
        event = mailbox.event_of_each({partition: [b""] * random_.randint(1, 3) for partition in partitions})
        last = {batch.partition: batch.offsets[-1] for batch in batches_of(event)}
        confirmation = promise()
        finish(await taken(tracker, event), [confirmation])
        handed.append((last, confirmation))
    order = list(range(len(handed)))
    random_.shuffle(order)
    done: set[int] = set()

    for number in order:
        handed[number][1].set_result(None)
        await turn()
        done.add(number)
        expected: dict[int, list[int]] = {}
        held: set[int] = set()
        """Partitions with messages before that are not acknowledged."""
        for place, (last, _) in enumerate(handed):
            if place in done and not held.intersection(last):
                for partition, offset in last.items():
                    expected.setdefault(partition, []).append(offset)
            else:
                held.update(last)
        assert mailbox.acknowledged == expected
