"""The answers about journeys for programs."""

from __future__ import annotations

from msgspec import Struct

from metroline.app.operations.journeys.archive import Stock
from metroline.app.operations.journeys.ended_journey import EndedJourney
from metroline.app.operations.journeys.memory import Held
from metroline.app.operations.journeys.whereabouts import Whereabouts
from metroline.app.operations.letter_journal import LetterEntry
from metroline.routing.journeys.timeline import Timeline
from metroline.routing.outcome import Ending, Outcome


class ListedJourney(Struct, frozen=True):
    """A journey in a list. Times are in seconds since the epoch."""

    id: str
    outcome: str
    reason: str | None
    rule: str | None
    """The rule that decided the outcome, if one did."""
    entered: float
    ended: float
    seconds: float
    stops: list[str]
    strategy: str
    generation: int
    """Number of times that the record was a dead letter before and was replayed."""

    @classmethod
    def of(cls, journey: EndedJourney) -> ListedJourney:
        segment = journey.segment
        outcome = segment.outcome or Outcome(Ending.DEAD)
        return cls(
            journey.id,
            outcome.ending.value,
            outcome.reason,
            outcome.rule,
            segment.entered,
            journey.ended,
            round(max(0.0, journey.ended - segment.entered), 6),
            list(segment.stops),
            journey.strategy,
            segment.generation,
        )


class StockOf(Struct, frozen=True):
    """The journeys of one kind that can be searched, those that ended in the same time, and the earliest time."""

    searchable: int
    ended: int
    since: float | None

    @classmethod
    def of(cls, held: Held) -> StockOf:
        return cls(held.journeys, held.ended, held.since)


class Searchable(Struct, frozen=True):
    """The journeys that can be searched."""

    kept: StockOf
    """Delivered and dropped ones, of which workers keep a sample if there are many."""
    failed: StockOf
    """Dead letters, of which all are kept."""
    is_complete: bool
    """False while there is more to read."""
    has_older: bool
    """True if there are older ones, which only their ids find."""

    @classmethod
    def of(cls, stock: Stock) -> Searchable:
        return cls(StockOf.of(stock.kept), StockOf.of(stock.failed), stock.is_read, stock.has_forgotten)


class JourneysPage(Struct, frozen=True):
    """Journeys that fit a query, the newest first."""

    journeys: list[ListedJourney]
    next: str | None
    """Address of the next page; None if all journeys were searched."""
    searched: int
    """Number of journeys that were looked at for this page."""
    failures: int
    """Number of those for which the condition could not be evaluated."""
    failure: str
    """The reason for the first of them."""
    searchable: Searchable


class JourneyPage(Struct, frozen=True):
    """The journeys of a record, the newest first, or where the record is: as `metroline trace --json` writes them."""

    id: str
    journeys: list[Timeline]
    whereabouts: Whereabouts | None
    more: int = 0
    """Number of journeys that are left out: a message may hold very many records."""
    done: list[LetterEntry] = []
    """All that was done to the record while it was a dead letter, the oldest entry first."""
