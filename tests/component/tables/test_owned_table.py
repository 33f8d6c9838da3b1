"""An owned table: late entries of a partition's former owner change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from faust.types import TP, EventT
from hypothesis import given
from hypothesis import strategies as st

from metroline.agents.tables.entries import MAX_EPOCH, epoch_of
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.errors import MetrolineError
from tests.support.bench import Bench, Sent
from tests.support.worlds import examples

TOPIC = "test.table.outcomes"


def event(message: Sent) -> EventT[bytes]:
    told = SimpleNamespace(value=message.value, partition=message.partition, offset=7)
    return cast("EventT[bytes]", SimpleNamespace(key=message.key, value=message.value, message=told))


@dataclass
class Owner:
    """A worker with its copy of the table, and the entries that it has sent but that are not in the log yet."""

    bench: Bench
    table: OwnedTable
    read: int = 0
    unsent: list[Sent] = field(default_factory=list)

    @classmethod
    def make(cls) -> Owner:
        bench = Bench.make()
        table = bench.table("outcomes")
        table.epochs = {}
        return cls(bench, table)

    async def take_over(self, log: list[Sent], generation: int, batch: int = 3) -> None:
        """Become the owner of partition 0: read the log, and write the overruled entries again."""
        cast(Any, self.table.app).consumer_generation_id = generation
        await self.table.on_rebalance(set(), set(), set(), generation)
        while self.read < len(log):
            messages = log[self.read : self.read + batch]
            self.table.apply_changelog_batch([event(message) for message in messages])
            self.read += len(messages)
        await self.table.on_recovery_completed({TP(TOPIC, 0)}, set())
        await self.table.restore(self.bench.bus)
        self.collect()
        self.send(log)

    async def put(self, key: str, count: int) -> None:
        if self.table.epochs:
            await self.table.put(self.bench.bus, 0, f"0/{key}".encode(), {"count": count})
            self.collect()

    def collect(self) -> None:
        self.unsent += self.bench.producer.to(TOPIC)
        self.bench.producer.sent.clear()

    def send(self, log: list[Sent]) -> None:
        """Append the pending entries to the log."""
        log += self.unsent
        self.unsent = []

    def count(self, key: str) -> int:
        value = self.table.read(f"0/{key}".encode())
        return 0 if value is None else int(value["count"])


def last(log: Sequence[Sent], key: str) -> int:
    """Return the value of a key in the compacted log."""
    return next(int(orjson.loads(sent.value)["count"]) for sent in reversed(log) if sent.key == f"0/{key}".encode())


async def test_an_entry_that_a_former_owner_writes_late_is_overruled_and_then_no_longer_the_last() -> None:
    log: list[Sent] = []
    former, owner, successor = Owner.make(), Owner.make(), Owner.make()
    await former.take_over(log, 1)
    await former.put("a", 1)
    await owner.take_over(log, 2)
    await owner.put("a", 5)
    owner.send(log)
    former.send(log)
    assert last(log, "a") == 1

    await successor.take_over(log, 3)

    assert successor.count("a") == 5
    assert last(log, "a") == 5
    await owner.take_over(log, 4)
    assert owner.count("a") == 5


async def test_a_former_owner_that_owns_again_goes_by_what_was_written_meanwhile() -> None:
    log: list[Sent] = []
    former, owner = Owner.make(), Owner.make()
    await former.take_over(log, 1)
    await former.put("a", 1)
    former.unsent.clear()
    await owner.take_over(log, 2)
    await owner.put("a", 5)
    owner.send(log)

    await former.take_over(log, 3)

    assert former.count("a") == 5


async def test_epochs_rise_also_when_a_group_begins_anew() -> None:
    log: list[Sent] = []
    first, second = Owner.make(), Owner.make()
    await first.take_over(log, 40)
    await first.put("a", 1)
    first.send(log)
    await second.take_over(log, 1)

    assert second.table.epochs[0] > first.table.epochs[0] == epoch_of(log[-1].value)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 2), st.sampled_from("ab")),
        st.tuples(st.just("take over"), st.integers(0, 2), st.integers(1, 3)),
        st.tuples(st.just("send"), st.integers(0, 2), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
@examples(100)
async def test_whatever_comes_late_what_an_owner_wrote_is_not_lost(steps: list[tuple[str, int, Any]]) -> None:
    """Counts only rise, so a count that falls was lost.

    A late entry of a former owner may stand as long as no later owner has written. The messages that it counts were not
    acknowledged, so they are delivered again.
    """
    log: list[Sent] = []
    owners = [Owner.make() for _ in range(3)]
    current, generation, written = owners[0], 1, {"a": 0, "b": 0}
    await current.take_over(log, generation)
    for step, number, what in steps:
        one = owners[number]
        if step == "put":  # a former owner does not know that it has lost the partition
            await one.put(what, one.count(what) + 1)
            if one is current:
                one.send(log)
                written[what] = one.count(what)
        elif step == "send":
            one.send(log)
        else:
            current, generation = one, generation + 1
            await current.take_over(log, generation, batch=what)
            assert all(current.count(key) >= count for key, count in written.items())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"0/a", b"garbage \xff"),
        (b"0/a", b"[1]"),
        (b"0/a", b'{"count":9,"epoch":"x"}'),
        (b"0/a", b'{"count":9,"epoch":1e300}'),
        (b"0/a", b'{"count":9,"epoch":-1}'),
        (b"0/a", b'{"count":9,"epoch":281474976710656}'),
        (b"0/a", b'{"count":9,"epoch":340282366920938463463374607431768211456}'),
        (b"0/a", None),
        (b"0 /a", b'{"count":9,"epoch":99}'),
        (b"+0/a", b'{"count":9,"epoch":99}'),
        (b"1/a", b'{"count":9,"epoch":99}'),
        (b"garbage", b'{"count":9,"epoch":99}'),
        (b"0/\xff", b'{"count":9,"epoch":99}'),
        (None, b'{"count":9,"epoch":99}'),
    ],
)
async def test_an_entry_that_no_worker_wrote_is_left_out_and_named(
    caplog: pytest.LogCaptureFixture, key: bytes | None, value: Any
) -> None:
    owner = Owner.make()
    log = [Sent(TOPIC, one, text, 0, asyncio.Future()) for one, text in ((b"0/a", b'{"count":3}'), (key, value))]
    await owner.take_over(log, 1)

    assert owner.count("a") == 3
    assert [key for key, _ in owner.table.entries()] == ["0/a"]
    assert f"{TOPIC}[0] holds a message at offset 7 that is not of this line" in caplog.text


async def test_after_an_epoch_at_the_limit_what_owners_write_still_counts() -> None:
    log = [Sent(TOPIC, b"0/b", b'{"count":1,"epoch":%d}' % (MAX_EPOCH - 1), 0, asyncio.Future())]
    owner, next_owner = Owner.make(), Owner.make()
    await owner.take_over(log, 1)
    await owner.put("a", 3)
    owner.send(log)
    await next_owner.take_over(log, 2)

    assert next_owner.count("a") == 3


async def test_an_entry_that_the_table_does_not_accept_takes_no_place(caplog: pytest.LogCaptureFixture) -> None:
    def check(key: str, value: dict[str, Any]) -> None:
        if value["count"] > 5:
            raise MetrolineError("too many")

    owner = Owner.make()
    owner.table.check = check
    log = [Sent(TOPIC, b"0/a", b'{"count":%d}' % count, 0, asyncio.Future()) for count in (3, 9)]
    await owner.take_over(log, 1)

    assert owner.count("a") == 3
    assert "(too many)" in caplog.text
