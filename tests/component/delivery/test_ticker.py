"""The clock of a line: each tick enters once, over turns, restarts, another owner and crashes in between."""

from __future__ import annotations

from collections.abc import Callable, Generator
from random import Random
from typing import Any, cast

import orjson
import pytest

from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.services.crontab import Crontab
from metroline.agents.services.schedule import Clock, Schedule
from metroline.agents.ticker import Ticker
from metroline.routing.messages.envelope import Envelope
from metroline.routing.strategies import strategy_named
from tests.support.bench import Bench, Sent
from tests.support.forgeries.operations import forged_tick

HOURLY = Schedule("hourly", Crontab("0 * * * *"), {"n": 1})
TOPIC = "test.schedules"


class Written:
    """Messages on the topic of ticks, of which each reader remembers how far it has read."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.extra: list[tuple[bytes | None, bytes | None]] = []
        self.seen = 0

    def all(self) -> list[tuple[bytes | None, bytes | None]]:
        return self.extra + [(one.key, one.value) for one in self.bench.producer.to(TOPIC)]


class Tail:
    """Stands for the reader of the topic of ticks."""

    topic = TOPIC
    is_stopped = False

    def __init__(self, written: Written) -> None:
        self.written = written
        self.next = 0

    def read(self) -> Generator[list[Any], None, None]:
        new = self.written.all()[self.next :]
        self.next += len(new)
        if new:
            yield [Tick(*one) for one in new]


class Tick:
    """A message on the topic of ticks."""

    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def offset(self) -> int:
        return 7


def ticker(bench: Bench, written: Written, *schedules: Schedule, owner: Callable[[], int | None] = lambda: 1) -> Ticker:
    tail = cast(TopicTail, Tail(written))
    strategy = strategy_named("signpost")
    return Ticker(bench.bus, bench.rule_tables, strategy, schedules or (HOURLY,), tail, owner, lambda: bench.now)


def entered(bench: Bench) -> list[tuple[str, Any]]:
    """Return the id and the record of everything that was sent to a stop."""
    found = []
    for sent in bench.producer.sent:
        if sent.topic != TOPIC:
            envelope = Envelope.decode(sent.value)
            [segment] = envelope.segments
            found.append((f"{envelope.origin.name}-{segment.ids[0]}", orjson.loads(segment.lines[0])))
    return found


async def look_at(bench: Bench, clock: Ticker, now: float) -> None:
    """Have a ticker look at the clock; the brokers confirm everything at once."""
    bench.now = now
    await clock.look()


@pytest.fixture(autouse=True)
def confirming(bench: Bench) -> None:
    produce = bench.producer.send

    async def send(topic: str, key: bytes | None, value: bytes, partition: int) -> Any:
        answer = await produce(topic, key, value, partition)
        if not answer.done():
            answer.set_result(None)
        return answer

    bench.producer.send = send  # type: ignore[method-assign]


async def test_a_tick_enters_once_with_an_id_that_is_made_from_it(bench: Bench) -> None:
    written = Written(bench)
    clock = ticker(bench, written)
    await look_at(bench, clock, 1_800)
    assert entered(bench) == [], "a schedule begins with its next tick"
    for now in (3_599, 3_600, 3_601, 3_659, 7_199):
        await look_at(bench, clock, now)
    record = {"n": 1, "schedule": "hourly", "scheduled_at": "1970-01-01T01:00:00+00:00"}
    assert entered(bench) == [("schedule.hourly-60", record)]


async def test_another_owner_goes_on_behind_the_last_tick(bench: Bench) -> None:
    written = Written(bench)
    first, second = ticker(bench, written), ticker(bench, written)
    await look_at(bench, first, 1_800)
    await look_at(bench, first, 3_600)
    await look_at(bench, second, 3_610)
    await look_at(bench, second, 7_200)
    await look_at(bench, first, 7_201)
    assert [name for name, _ in entered(bench)] == ["schedule.hourly-60", "schedule.hourly-120"]


async def test_who_is_not_the_owner_does_nothing(bench: Bench) -> None:
    clock = ticker(bench, Written(bench), owner=lambda: None)
    await look_at(bench, clock, 1_800)
    await look_at(bench, clock, 7_200)
    assert bench.producer.sent == []


async def test_who_loses_the_ownership_between_two_ticks_stops_there(bench: Bench) -> None:
    epochs = iter([1, 1, 2])
    written = Written(bench)
    written.extra.append((b"hourly", b'{"tick": 60}'))
    schedule = Schedule("hourly", Crontab("0 * * * *"), {}, "all")
    await look_at(bench, ticker(bench, written, schedule, owner=lambda: next(epochs)), 4 * 3_600)
    assert [name for name, _ in entered(bench)] == ["schedule.hourly-120"]


async def test_a_tick_whose_note_is_missing_enters_again_under_its_id(bench: Bench) -> None:
    def refuse(sent: Sent) -> BaseException | None:
        if sent.topic == TOPIC:
            raise RuntimeError("the worker ends here")
        return None

    written = Written(bench)
    written.extra.append((b"hourly", b'{"tick": 0}'))
    bench.producer.refuse = refuse
    with pytest.raises(RuntimeError):
        await look_at(bench, ticker(bench, written), 3_600)
    bench.producer.sent = [one for one in bench.producer.sent if one.topic != TOPIC]  # it never arrived
    bench.producer.refuse = lambda sent: None
    await look_at(bench, ticker(bench, written), 3_620)
    names = [name for name, _ in entered(bench)]
    assert names == ["schedule.hourly-60", "schedule.hourly-60"]


async def test_missed_ticks_are_made_up_for_as_each_schedule_says(bench: Bench) -> None:
    schedules = [Schedule(name, Crontab("0 * * * *"), {}, name) for name in ("latest", "all", "skip")]
    written = Written(bench)
    written.extra += [(one.name.encode(), b'{"tick": 60}') for one in schedules]
    clock = ticker(bench, written, *schedules)
    await look_at(bench, clock, 4 * 3_600 + 600)
    await look_at(bench, clock, 4 * 3_600 + 601)
    assert [name for name, _ in entered(bench)] == [
        "schedule.latest-240",
        "schedule.all-120",
        "schedule.all-180",
        "schedule.all-240",
    ]


async def test_a_late_note_of_a_frozen_worker_and_garbage_change_nothing(bench: Bench) -> None:
    written = Written(bench)
    written.extra += [
        (b"hourly", b'{"tick": 120}'),
        (b"hourly", b'{"tick": 60}'),
        (b"hourly", b'{"tick": -5}'),
        (b"hourly", b'{"tick": "x"}'),
        (b"hourly", b'{"tick": 99999999999}'),
        (b"hourly", b"[]"),
        (b"\xff", b'{"tick": 1}'),
        (None, b"garbage"),
        (b"hourly", None),
    ]
    await look_at(bench, ticker(bench, written), 7_300)
    assert entered(bench) == []


@pytest.mark.parametrize("seed", range(3))
async def test_forgeries_on_its_topic_keep_no_schedule_from_its_ticks(bench: Bench, seed: int) -> None:
    random, written = Random(seed), Written(bench)
    for _ in range(300):
        forged = forged_tick(random, "hourly")
        written.extra.append((forged.key, forged.value))
    bench.now = 10 * 3600.0 + 60
    made = ticker(bench, written)
    await made.look()
    bench.now += 3600.0
    await made.look()
    assert [name for name, _ in entered(bench)][-1:] == ["schedule.hourly-660"]
    assert [clock.name for clock in made.clocks] == ["hourly"], "names that are no schedule are not remembered"


async def test_the_owner_says_how_many_ticks_entered_when_the_last_did_and_when_the_next_is_due(bench: Bench) -> None:
    written = Written(bench)
    written.extra.append((b"once", b'{"tick": 30, "entered": 7, "last": 30}'))
    clock = ticker(bench, written)
    assert not clock.clocks, "it has not read the topic yet"
    await look_at(bench, clock, 1_800)
    once = Clock("once", 7, 30, None)
    assert clock.clocks == (Clock("hourly", 0, None, 60), once), "a schedule that is gone counts, and is not due"
    await look_at(bench, clock, 3_600)
    await look_at(bench, clock, 7_200)
    assert clock.clocks == (Clock("hourly", 2, 120, 180), once)
    again = ticker(bench, written)
    await look_at(bench, again, 7_300)
    assert again.clocks == clock.clocks, "the counts survive the worker"


async def test_a_worker_that_does_not_follow_the_schedules_says_nothing_of_them(bench: Bench) -> None:
    epoch: list[int | None] = [1]
    clock = ticker(bench, Written(bench), owner=lambda: epoch[0])
    await look_at(bench, clock, 1_800)
    assert clock.clocks
    for other in (None, 2):
        epoch[0] = other
        assert not clock.clocks


async def test_a_tick_that_is_not_made_up_for_is_none_that_entered(bench: Bench) -> None:
    written = Written(bench)
    written.extra.append((b"skip", b'{"tick": 60, "entered": 1, "last": 60}'))
    clock = ticker(bench, written, Schedule("skip", Crontab("0 * * * *"), {}, "skip"))
    await look_at(bench, clock, 4 * 3_600 + 600)
    assert clock.clocks == (Clock("skip", 1, 60, 300),)
    assert entered(bench) == []
