"""The failure desk: the dead letters of a line as they stand on the bus, by cause, and what is done about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.app.compare.evidence import read_outcomes_table, read_topic
from metroline.routing.addresses import ARRIVALS, SOURCE, SWITCH
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.dead_letters import MALFORMED_ORIGIN
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.replay import discard_request, replay_request, restart
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, block_key, offset_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decider, Decision
from metroline.routing.messages.record_ids import RecordId, id_of, id_text
from metroline.routing.messages.segment import Replay
from metroline.routing.outcome import Cause, Ending, Outcome
from metroline.routing.records.source_messages import read_message
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables


class DeskError(MetrolineError):
    """Raised when a letter cannot be found, or nothing can be done about it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: an envelope with one record, and when it was settled (seconds since the epoch)."""

    envelope: Envelope
    settled: float

    @property
    def id(self) -> str:
        return id_text(self.envelope.origin, self.record_id)

    @property
    def record_id(self) -> RecordId:
        return self.envelope.segments[0].ids[0]

    @property
    def line(self) -> bytes:
        return self.envelope.segments[0].lines[0]

    @property
    def reason(self) -> str:
        outcome = self.envelope.segments[0].outcome
        return (outcome and outcome.reason) or ""

    @property
    def cause(self) -> tuple[str, ...]:
        """Stop, kind and, where a service raised, the type and the place; what letters are grouped by."""
        segment = self.envelope.segments[0]
        outcome = segment.outcome or Outcome(Ending.DEAD)
        told = (segment.last_stop, outcome.cause or "")
        if outcome.error is not None:
            return (*told, outcome.error.type, outcome.error.place)
        return (*told, outcome.rule or "") if outcome.cause is Cause.RULE_ERROR else told

    @property
    def group(self) -> str:
        return blake2b("\0".join(self.cause).encode(), digest_size=3).hexdigest()

    @property
    def is_replayable(self) -> bool:
        """Whether it is a record's, whole; a message that is no envelope is not."""
        return not self.envelope.origin.name.startswith(MALFORMED_ORIGIN)

    @property
    def is_cut(self) -> bool:
        """Whether its record is only what was kept of bytes that are no record, or too large."""
        record = orjson.loads(self.line)
        return isinstance(record, dict) and record.keys() == {"raw"}

    def as_json(self) -> dict[str, Any]:
        """Everything that is known of it."""
        segment = self.envelope.segments[0]
        return {
            "id": self.id,
            "group": self.group,
            "reason": self.reason,
            "rule": segment.outcome and segment.outcome.rule,
            "settled": self.settled,
            "entered": segment.entered,
            "strategy": self.envelope.strategy,
            "generation": segment.generation,
            "hops": segment.hops,
            "stops": [visit._asdict() for visit in segment.history],
            "attempts": list(segment.attempts.causes) if segment.attempts else [],
            "replays": [replay._asdict() for replay in segment.replays],
            "record": orjson.loads(self.line),
        }


@dataclass(slots=True)
class Group:
    """Letters of one cause."""

    id: str
    cause: tuple[str, ...]
    reason: str
    """Of its first letter."""
    letters: list[Letter] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        times = [letter.settled for letter in self.letters]
        stop, kind, *more = self.cause
        return {
            "group": self.id,
            "stop": stop,
            "kind": kind,
            "where": " at ".join(filter(None, more)),
            "count": len(self.letters),
            "first": min(times),
            "last": max(times),
            "example": self.letters[0].id,
            "reason": self.reason,
        }


class Desk:
    """Reads the dead letters that are dead still, and asks the arrivals to reopen them."""

    def __init__(self, cluster: Cluster, topics: Topics) -> None:
        self.cluster = cluster
        self.topics = topics

    async def letters(self) -> list[Letter]:
        """All letters that were neither replayed nor discarded, in the order in which they were settled."""
        blocks = await self._blocks()
        found: dict[str, Letter] = {}
        async for message in read_topic(self.cluster, self.topics.dead_letters):
            envelope = Envelope.decode(message.value)
            for segment in envelope.segments:
                for place, record in enumerate(segment.ids):
                    key = block_key(envelope.origin, offset_of(record) // BLOCK_OFFSETS)
                    block = blocks.get(key)
                    if block is None or not block.is_dead(record, segment.generation):
                        continue
                    alone = Envelope(envelope.strategy, envelope.origin, (segment.part([place]),))
                    letter = Letter(alone, message.timestamp / 1_000)
                    found.setdefault(letter.id, letter)
        return sorted(found.values(), key=lambda letter: letter.settled)

    async def _blocks(self) -> dict[bytes, SettledBlock]:
        entries = await read_outcomes_table(self.cluster, self.topics)
        return {key: SettledBlock.decode(orjson.loads(value)) for key, value in entries.items()}

    async def send(self, requests: Sequence[Envelope], rate: float) -> AsyncIterator[int]:
        """Hands requests to the arrivals in order, so many a second; yields how many are confirmed."""
        async with self.cluster.producing(max_request_size=8 * 1024 * 1024) as producer:
            began = time.monotonic()
            for number, request in enumerate(requests):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                topic, partition = self.topics.at(ARRIVALS), request.origin.partition
                await producer.send_and_wait(topic, request.encode(), partition=partition)
                yield number + 1


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """The letters by cause, the most frequent first."""
    groups: dict[str, Group] = {}
    for letter in letters:
        group = groups.setdefault(letter.group, Group(letter.group, letter.cause, letter.reason))
        group.letters.append(letter)
    return sorted(groups.values(), key=lambda group: -len(group.letters))


def chosen(letters: Sequence[Letter], ids: Sequence[str], group: str | None) -> list[Letter]:
    """The letters of these ids or this group; raises `DeskError` where there are none."""
    if group is not None:
        found = [letter for letter in letters if letter.group == group]
        if not found:
            groups = ", ".join(one.id for one in grouped(letters)) or "no dead letters"
            raise DeskError(f"there is no group {group!r}; there are {groups}")
        return found
    by_id = {letter.id: letter for letter in letters}
    for name in ids:
        if name not in by_id:
            id_of(name)
            raise DeskError(f"{name} is no dead letter: it has another outcome, is under way, or never came")
    return [letter for letter in letters if letter.id in ids]


def edited(letter: Letter, fields: dict[str, Any], record: bytes | None = None) -> bytes:
    """The letter's record with these fields set, or another record in its place; raises `DeskError`."""
    if not letter.is_replayable:
        raise DeskError(f"{letter.id} is no record but a message that could not be read: look at it, then discard it")
    if record is None and letter.is_cut:
        raise DeskError(f"{letter.id} holds no record but what was kept of bytes that are none: give one with --record")
    found = orjson.loads(letter.line) if record is None else record
    if isinstance(found, dict):
        return orjson.dumps(found | fields) if fields else letter.line
    (line, *more) = read_message(found)
    if line.record is None or more:
        raise DeskError(f"the record for {letter.id} is none: {line.problem or 'it is several'}")
    return orjson.dumps(line.record | fields) if fields else line.line


@dataclass(frozen=True, slots=True)
class Replays:
    """Letters that are to begin anew, each with the line that it begins as, and what is asked of the arrivals."""

    lines: list[tuple[Letter, bytes]]
    requests: list[Envelope]

    @classmethod
    def of(
        cls, letters: Sequence[Letter], fields: dict[str, Any], record: bytes | None, stop: str | None, by: str
    ) -> Replays:
        """Edits the records; raises `DeskError` for one that cannot begin anew so."""
        if record is not None and len(letters) != 1:
            raise DeskError(f"a record is for one letter, not for {len(letters)}")
        lines = [(letter, edited(letter, fields, record)) for letter in letters]
        return cls(lines, [_replayed(letter, line, stop, by) for letter, line in lines])

    def check(self, rule_tables: RuleTables) -> None:
        """Raises what the arrivals would say of the requests."""
        for request in self.requests:
            departures = Departures(request.strategy, request.origin, max_hops=1_000_000)
            for segment in request.segments:
                restart(departures, rule_tables, segment, time.time())


def _replayed(letter: Letter, line: bytes, stop: str | None, by: str) -> Envelope:
    before = letter.line.decode(errors="replace") if line != letter.line else None
    return replay_request(letter.envelope, Replay(time.time(), by, letter.reason, before), stop, line)


def discarded(letter: Letter, reason: str, by: str) -> Envelope:
    """The request to count a letter as dropped."""
    return discard_request(letter.envelope, Replay(time.time(), by, letter.reason), reason)


def forecast(book: RulesTable, line: bytes, stop: str | None) -> str:
    """Where a record would go now and by which rules, as far as can be told before services change it."""
    record = orjson.loads(line)
    first = [f"{stop} (as asked)"] if stop else []
    plan = book.plan(stop or SOURCE, record)
    if isinstance(plan, Decision):
        return " -> ".join([*first, _told(plan)])
    return " -> ".join([*first, *(_told(leg) for leg in plan.legs)])


def _told(leg: Decision | Decider) -> str:
    if isinstance(leg, Decider):
        return "then as its content will be" if leg.value == SWITCH else leg.value
    if leg.outcome is None:
        return f"{leg.stop} ({leg.rule})"
    outcome: Outcome = leg.outcome
    return f"{outcome.ending}{f': {outcome.reason}' if outcome.reason else ''}"
