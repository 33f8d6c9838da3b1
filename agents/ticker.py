"""The clock of a line: has the records of its schedules enter, each tick once over all workers and restarts.

The worker that owns the first partition of the outcomes does it. Before it does anything, it reads the topic of the
ticks that are done; it notes a tick there once the record is on the bus. A worker that takes over, or that was frozen
and wakes up, therefore goes on behind the last tick. A crash between the two has the tick enter again, under the same
id: the id is made from the tick, so its outcome counts once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
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
from metroline.agents.services.schedule import MINUTE_MS, Schedule
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

PARTITION = 0
"""The partition in which the records of schedules travel. Every line has it."""

HEADER = "metroline-schedule"
"""The header with the name of the schedule, which records have as those of source messages have theirs."""


def schedule_origin(name: str) -> str:
    """Return the name of the origin of the records of a schedule. Their offsets are minutes since the epoch."""
    return f"schedule.{name}"


def decode_tick(message: Message) -> tuple[str, int]:
    """Return the schedule and the tick of a message; raise `MetrolineError`, `TypeError` or `ValueError`."""
    key = message.key()
    value: Any = orjson.loads(message.value() or b"")
    if key is None or not isinstance(value, dict):
        raise MetrolineError("it is no tick of a schedule")
    return key if isinstance(key, str) else key.decode(), natural(value.get("tick"))


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
        self._done: dict[str, int] = {}
        """The latest tick that is done, by the name of its schedule."""
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
        return done is None or (done < now and schedule.crontab.next_after(done) <= now)

    async def _follow(self, schedule: Schedule, now: int, epoch: int) -> None:
        """Have the records of a schedule enter that are due, unless another worker becomes the one that does it."""
        if schedule.name not in self._done:  # it begins now: earlier ticks are none of it
            await self._note(schedule, now)
        while (due := schedule.due(self._done[schedule.name], now)) is not None:
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
                await self._note(schedule, tick)
            await self._note(schedule, due.until)

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

    async def _note(self, schedule: Schedule, tick: int) -> None:
        """Note that a tick is done, and wait until the brokers have it."""
        if tick <= self._done.get(schedule.name, -1):
            return
        value = orjson.dumps({"tick": tick, "scheduled_at": schedule.crontab.shown(tick)})
        await (await self._bus.produce(self._bus.topics.schedules, PARTITION, value, key=schedule.name.encode()))
        self._done[schedule.name] = tick

    async def _read(self, now: int) -> None:
        """Read which ticks are done. The latest tick counts, not the last message: a frozen worker may write late."""
        names = {schedule.name for schedule in self._schedules}
        for portion in await asyncio.to_thread(lambda: list(self._tail.read())):
            if not portion:
                self._done.clear()
            for message in portion:
                try:
                    name, tick = decode_tick(message)
                    if tick > now + MAX_AHEAD_MINUTES:
                        raise MetrolineError(f"the minute {tick} has not come yet")
                except (MetrolineError, TypeError, ValueError) as error:
                    offset = message.offset() or 0
                    problem = MetrolineError(f"it is no tick of a schedule: {error}")
                    self._foreign.leave_out(self._tail.topic, PARTITION, offset, problem)
                else:
                    if name in names:  # others were schedules of the line once, or never
                        self._done[name] = max(tick, self._done.get(name, -1))

    @property
    def done(self) -> Mapping[str, int]:
        """The latest tick of each schedule that is done, in minutes since the epoch, as far as this worker knows."""
        return self._done
