"""The preview of a rules table: what would change for the journeys and dead letters of a line, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from metroline.app.preview.seen import Seen
from metroline.app.preview.ways import LOOPS, Ahead, NewTable, NewWay, Turn, UnderWay
from metroline.routing.outcome import Ending
from metroline.routing.rules.network import Network

EXAMPLES = 3
"""Ids that stand for the journeys that change alike."""

MAX_MOVES = 1_000
"""Number of different changes that a preview lists. Further ones are counted."""


class Move(Struct, frozen=True):
    """Journeys that leave their way after the same stop, in the same direction."""

    after: str
    before: str
    """The next stop until now, or the outcome."""
    rule_before: str | None
    to: str
    """The next stop by the new table, or the outcome."""
    rule: str | None
    count: int
    outcome: str
    """The outcome by the new table, of most of them."""
    supposed: int
    """Those of them whose further way depends on what services do, or on a record that is taken to be known."""
    examples: list[str]


class NotDecided(Struct, frozen=True):
    """Journeys whose decision after a stop cannot be made again."""

    after: str
    reason: str
    count: int
    example: str


class Load(Struct, frozen=True):
    """The visits of a stop by the same journeys, until now and by the new table."""

    stop: str
    before: int
    after: int
    journeys: int = 0
    """The journeys that come to it by the new table, each counted once however often it comes."""


class Outcomes(Struct, frozen=True):
    """Journeys with the same outcome, until now and by the new table."""

    outcome: str
    before: int
    after: int


class Sums(Struct, frozen=True):
    """Sums over journeys, or over dead letters."""

    seen: int
    unchanged: int
    """Those that take the same way to the same outcome."""
    changed: int
    """Those that go another way, or have another outcome."""
    not_decided: int
    """Those of which it is not known."""
    supposed: int
    """Those among the others whose way depends on what services do, or on a record as it may have been in between."""
    delivered: int
    """Those that are delivered by the new table, and were not."""
    dropped: int
    """Those that the new table drops, and that were not dropped."""
    unroutable: int
    """Those for which no rule of the new table holds, and for which one held."""
    failing: int
    """Those for which a rule of the new table cannot be evaluated, or that become dead letters otherwise."""
    looping: int
    """Those that come back to a stop again and again unless a service changes them."""


class Preview(Struct, frozen=True):
    """The effects that a new table would have."""

    replaces: int
    """The version that is current."""
    since: float | None
    """Time when the earliest of the journeys was settled, in seconds since the epoch; None if there are none."""
    until: float | None
    journeys: Sums
    letters: Sums
    """The dead letters; `delivered` are those that would go through now."""
    under_way: Sums
    """The records that are under way, as far as they are on the bus."""
    moves: list[Move]
    letter_moves: list[Move]
    under_way_moves: list[Move]
    outcomes: list[Outcomes]
    """The outcomes of the journeys. Those that are not decided count as they were."""
    load: list[Load]
    starved: list[str]
    """The stops that journeys visited, and that none visits by the new table."""
    not_decided: list[NotDecided]
    unseen: list[str]
    """The gaps in what the preview knows, a sentence each."""


@dataclass(slots=True)
class _Tally:
    """Counts what becomes of journeys, one after another."""

    counts: Counter[str] = field(default_factory=Counter)
    numbers: Counter[Turn] = field(default_factory=Counter)
    supposed: Counter[Turn] = field(default_factory=Counter)
    outcomes: dict[Turn, Counter[str]] = field(default_factory=dict)
    examples: dict[Turn, list[str]] = field(default_factory=dict)
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown_examples: dict[tuple[str, str], str] = field(default_factory=dict)
    ended_before: Counter[str] = field(default_factory=Counter)
    ended_after: Counter[str] = field(default_factory=Counter)
    before: Counter[tuple[str, ...]] = field(default_factory=Counter)
    after: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, name: str, stops: tuple[str, ...], outcome: str, way: NewWay) -> None:
        """Count a record, given its id, its stops and its outcome until now, with its way by the new table."""
        self.counts["seen"] += 1
        self.ended_before[outcome] += 1
        self.ended_after[way.outcome] += 1
        self.before[stops] += 1
        self.after[way.stops] += 1
        if way.unknown is not None:
            key = (way.unknown_after, str(way.unknown))
            self.counts["not_decided"] += 1
            self.unknown[key] += 1
            self.unknown_examples.setdefault(key, name)
            return
        self.counts["supposed"] += way.is_supposed
        if way.turn is None:
            self.counts["unchanged"] += 1
        else:
            self._change(name, outcome, way, way.turn)

    def _change(self, name: str, outcome: str, way: NewWay, turn: Turn) -> None:
        self.counts["changed"] += 1
        kind = _kind(outcome, way.outcome)
        if kind is not None:
            self.counts[kind] += 1
        self.numbers[turn] += 1
        self.supposed[turn] += way.is_supposed
        self.outcomes.setdefault(turn, Counter())[way.outcome] += 1
        examples = self.examples.setdefault(turn, [])
        if len(examples) < EXAMPLES:
            examples.append(name)

    def sums(self) -> Sums:
        return Sums(**{name: self.counts[name] for name in Sums.__struct_fields__})

    def listed(self) -> list[Move]:
        """Return the changes, the most frequent ones first."""
        return [
            Move(
                turn.after,
                turn.before,
                turn.rule_before,
                turn.to,
                turn.rule,
                count,
                self.outcomes[turn].most_common(1)[0][0],
                self.supposed[turn],
                self.examples[turn],
            )
            for turn, count in self.numbers.most_common(MAX_MOVES)
        ]

    def ends(self) -> list[Outcomes]:
        """Return the outcomes, the most frequent ones first."""
        names = dict.fromkeys([name for name, _ in (self.ended_before + self.ended_after).most_common()])
        return [Outcomes(name, self.ended_before[name], self.ended_after[name]) for name in names]

    def undecided(self) -> list[NotDecided]:
        return [NotDecided(*key, count, self.unknown_examples[key]) for key, count in self.unknown.most_common()]


def _kind(before: str, after: str) -> str | None:
    """Return the sum in which a new outcome counts; None if it is one of the kind that it was."""
    if after == LOOPS:
        return "looping"
    if after.partition(":")[0] == before.partition(":")[0] == Ending.DROPPED:
        return None
    if after.startswith(Ending.DELIVERED):
        return None if before.startswith(Ending.DELIVERED) else "delivered"
    if after.startswith(Ending.DROPPED):
        return "dropped"
    if after == before:
        return None
    return "unroutable" if after == "dead: unroutable" else "failing"


Followed = tuple[Seen, NewWay]
"""A journey with its way by the new table."""


def preview(
    new: NewTable,
    replaces: int,
    journeys: Iterable[Followed],
    letters: Iterable[Followed] = (),
    unseen: Iterable[str] = (),
    under_way: Iterable[tuple[UnderWay, Ahead, NewWay]] = (),
) -> Preview:
    """Return the sums over journeys and dead letters that were followed by a new table.

    `replaces` is the version that is current, and `unseen` what the preview does not know of.
    """
    about, dead, open_ = _Tally(), _Tally(), _Tally()
    since, until = float("inf"), float("-inf")
    for seen, way in journeys:
        about.add(seen.id, seen.shape.stops, seen.shape.outcome, way)
        since, until = min(since, seen.settled), max(until, seen.settled)
    for seen, way in letters:
        dead.add(seen.id, seen.shape.stops, seen.shape.outcome, way)
    for one, old, way in under_way:
        open_.add(one.id, old.stops, old.outcome, way)
    load = _load(about, new)
    has_any = bool(about.counts["seen"])
    return Preview(
        replaces,
        since if has_any else None,
        until if has_any else None,
        about.sums(),
        dead.sums(),
        open_.sums(),
        about.listed(),
        dead.listed(),
        open_.listed(),
        about.ends(),
        load,
        [one.stop for one in load if one.before and not one.after],
        sorted(about.undecided() + dead.undecided(), key=lambda one: -one.count),
        list(unseen),
    )


def _load(tally: _Tally, new: NewTable) -> list[Load]:
    """Return the visits of every stop that a journey visits or the new table names."""
    before, after = _visits(tally.before), _visits(tally.after)
    once = _visits(tally.after, frozenset)
    stops = dict.fromkeys([*Network.of(new.table).stops, *before, *after])
    return [Load(stop, before[stop], after[stop], once[stop]) for stop in stops]


def _visits(
    ways: Counter[tuple[str, ...]], counted: Callable[[tuple[str, ...]], Iterable[str]] = tuple
) -> Counter[str]:
    """Return the visits by stop. With `frozenset`, a way that comes to a stop again counts there once."""
    visits: Counter[str] = Counter()
    for stops, count in ways.items():
        for stop in counted(stops):
            visits[stop] += count
    return visits
