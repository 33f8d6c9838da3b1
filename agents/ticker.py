"""The clock of a line: has the records of its schedules enter, each tick once over all workers and restarts.

The worker that owns the first partition of the outcomes does it. Before it does anything, it reads the topic of the
ticks that are done; it notes a tick there once the record is on the bus. A worker that takes over, or that was frozen
and wakes up, therefore goes on behind the last tick. A crash between the two has the tick enter again, under the same
id: the id is made from the tick, so its outcome counts once. A note also says how many ticks have entered, so that the
sums of the line include them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiokafka.errors import KafkaError
from confluent_kafka import Message
from mode import Service

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import confirmed_unit
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.services.schedule import MINUTE_MS, PARTITION, Clock, Schedule, schedule_origin
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.entry import enter
from metroline.routing.messages.header_checks import natural
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.strategies import Strategy

LOOK_SECONDS = 1.0
"""Time between two looks at the clock. A tick is no finer than a minute."""

MAX_AHEAD_MINUTES = 5
"""Time that the clock of another worker may be ahead. A later tick has not come yet, and was forged."""

HEADER = "metroline-schedule"
"""The header with the name of the schedule, which records have as those of source messages have theirs."""


@dataclass(frozen=True, slots=True)
class Done:
    """The ticks of a schedule that are done. All times are in minutes since the epoch."""

    tick: int
    """Nothing is due up to this tick."""
    entered: int = 0
    """The number of ticks whose records entered the line."""
    last: int | None = None
    """The latest of these."""


def decode_tick(message: Message) -> tuple[str, Done]:
    """Return the schedule and the note of a message; raise `MetrolineError`, `TypeError` or `ValueError`."""
    key = message.key()
    value: Any = orjson.loads(message.value() or b"")
    if key is None or not isinstance(value, dict):
        raise MetrolineError("it is no tick of a schedule")
    last = value.get("last")
    done = Done(natural(value.get("tick")), natural(value.get("entered", 0)), None if last is None else natural(last))
    if done.last is not None and done.last > done.tick:
        raise MetrolineError(f"the minute {done.last}, in which a record entered, comes after {done.tick}")
    return key if isinstance(key, str) else key.decode(), done


class Ticker(Service):
    """Has the records of schedules enter the line."""

    def __init__(
        self,
        bus: Bus,
        rules: LiveRules,
        strategy: Strategy,
        schedules: Sequence[Schedule],
        tail: TopicTail,
        owner: Callable[[], int | None],
        clock: Callable[[], float],
        foreign: ForeignMessages | None = None,
        **kwargs: Any,
    ) -> None:
        """`owner` returns the epoch in which this worker is the one that does it; None if it is not."""
        super().__init__(**kwargs)
        self._bus = bus
        self._rules = rules
        self._strategy = strategy
        self._schedules = schedules
        self._tail = tail
        self._owner = owner
        self._clock = clock
        self._foreign = foreign or ForeignMessages()
        self._done: dict[str, Done] = {}
        """The ticks that are done, by the name of their schedule."""
        self._epoch: int | None = None
        """The epoch in which this worker read the topic last."""

    @Service.task
    async def _tick_regularly(self) -> None:
        await self._rules.ready()
        failed = ""
        async for _ in regularly(self, LOOK_SECONDS):
            try:
                await self.look()
                failed = ""
            except (MetrolineError, KafkaError, OSError) as error:
                if str(error) != failed:  # once a second otherwise
                    self.log.warning("the schedules wait: %s", error)
                failed = str(error)
            except Exception:
                self.log.exception("the schedules were not looked at")

    async def on_stop(self) -> None:
        """End what is being read."""
        self._tail.is_stopped = True

    async def look(self) -> None:
        """Have the records enter that are due; raise `MetrolineError` or `KafkaError` if the brokers do not answer."""
        epoch, now = self._owner(), int(self._clock() // 60)
        if epoch is None:
            return
        if epoch == self._epoch and not any(self._is_due(schedule, now) for schedule in self._schedules):
            return
        await self._read(now)
        self._epoch = epoch
        for schedule in self._schedules:
            await self._follow(schedule, now, epoch)

    def _is_due(self, schedule: Schedule, now: int) -> bool:
        done = self._done.get(schedule.name)
        return done is None or (done.tick < now and schedule.crontab.next_after(done.tick) <= now)

    async def _follow(self, schedule: Schedule, now: int, epoch: int) -> None:
        """Have the records of a schedule enter that are due, unless another worker becomes the one that does it."""
        if schedule.name not in self._done:  # it begins now: earlier ticks are none of it
            await self._note(schedule, Done(now))
        while (due := schedule.due(self._done[schedule.name].tick, now)) is not None:
            if due.skipped:
                self.log.warning(
                    "the schedule %s missed ticks before %s; by `missed` in line.toml, they are not made up for",
                    schedule.name,
                    schedule.crontab.shown(due.until),
                )
            for tick in due.ticks:
                if self.should_stop or self._owner() != epoch:
                    return
                await self._enter(schedule, tick)
                await self._note(schedule, Done(tick, self._done[schedule.name].entered + 1, tick))
            if not due.ticks:
                await self._note(schedule, replace(self._done[schedule.name], tick=due.until))

    async def _enter(self, schedule: Schedule, tick: int) -> None:
        """Send the record of a tick, and wait until the brokers have it."""
        limits = self._bus.limits
        origin = Origin(schedule_origin(schedule.name), PARTITION)
        departures = Departures(self._strategy.name, origin, limits.max_hops, limits.record_bytes)
        metadata = Metadata.of([None], [[(HEADER, schedule.name.encode())]], [tick * MINUTE_MS])
        tables = self._rules.rule_tables
        enter(departures, [tick], [schedule.line(tick)], self._strategy, tables, self._clock(), metadata=metadata)
        unit, confirmation = confirmed_unit(self._bus.work_time)
        await self._bus.dispatch_by_bus(departures, unit)
        unit.release()
        await confirmation
        self.log.info("schedule %s: the record of %s entered", schedule.name, schedule.crontab.shown(tick))

    async def _note(self, schedule: Schedule, done: Done) -> None:
        """Note which ticks are done, and wait until the brokers have it."""
        note = {
            "tick": done.tick,
            "scheduled_at": schedule.crontab.shown(done.tick),
            "entered": done.entered,
            "last": done.last,
        }
        topic, key = self._bus.topics.schedules, schedule.name.encode()
        await (await self._bus.produce(topic, PARTITION, orjson.dumps(note), key=key))
        self._done[schedule.name] = done

    async def _read(self, now: int) -> None:
        """Read which ticks are done. The latest tick counts, not the last message: a frozen worker may write late."""
        names = {schedule.name for schedule in self._schedules}
        for portion in await asyncio.to_thread(lambda: list(self._tail.read())):
            if not portion:
                self._done.clear()
            for message in portion:
                try:
                    name, done = decode_tick(message)
                    if done.tick > now + MAX_AHEAD_MINUTES:
                        raise MetrolineError(f"the minute {done.tick} has not come yet")
                except (MetrolineError, TypeError, ValueError) as error:
                    offset = message.offset() or 0
                    problem = MetrolineError(f"it is no tick of a schedule: {error}")
                    self._foreign.leave_out(self._tail.topic, PARTITION, offset, problem)
                else:
                    if name not in names and not done.entered:
                        continue  # no schedule of the line, and none whose records count
                    self._done[name] = max(done, self._done.get(name, done), key=lambda one: (one.tick, one.entered))

    @property
    def clocks(self) -> tuple[Clock, ...]:
        """The schedules, those that the line had once included; none if another worker follows them."""
        if self._epoch is None or self._owner() != self._epoch:
            return ()
        crontabs = {one.name: one.crontab for one in self._schedules}
        done = sorted(self._done.items())
        return tuple(
            Clock(name, one.entered, one.last, crontabs[name].next_after(one.tick) if name in crontabs else None)
            for name, one in done
        )
