"""A line in memory: takes the records of tests from address to address, as the bus does, with the code of a worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metroline.agents.lookups.in_memory import lookups_in_memory
from metroline.agents.services.line import Line
from metroline.agents.stops.open_resources import OpenResources
from metroline.app.inputs.lookup_builds import prepare_possible_lookups
from metroline.app.operations.rehearsal import NotCalled, Passage, Rehearsal, SkippingClock
from metroline.app.settings import Settings
from metroline.app.testing.journey import Journey, journey_of
from metroline.app.testing.lines import load_line, with_stand_ins
from metroline.app.testing.messages import Message
from metroline.routing.addresses import stop_of
from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.entry import enter
from metroline.routing.journeys.tombstones import Tombstones
from metroline.routing.messages.record_ids import Origin
from metroline.routing.spelling import suggestion
from metroline.routing.strategies import strategy_named

ORIGIN = Origin("test", 0)
"""The origin of the records of tests. Their ids differ from those of every record of a line."""


class UnfinishedJourney(MetrolineError):
    """Raised when the journey of a record cannot be followed to its outcome, as where a lookup is missing."""


def in_memory_line(
    line: str | os.PathLike[str] | Line,
    *,
    services: Mapping[str, Callable[..., Any]] | None = None,
    rules: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> InMemoryLine:
    """Return a line that takes records in memory. The arguments are those of `run_line`."""
    loaded = load_line(line, None if rules is None else Path(rules))
    own = loaded.line.settings
    for name in settings or {}:
        if name not in Settings.model_fields:
            if own is not None and name in own.model_fields:
                raise UsageError(
                    f"{name!r} is a setting of the line, not of Metroline: give them all as a resource, "
                    'resources={"settings": Settings(...)}'
                )
            raise UsageError(f"there is no setting {name!r}{suggestion(name, Settings.model_fields)}")
    read = Settings.read(**{**(settings or {}), "line": str(loaded.line.rules_file.parent)})
    rehearsal = replace(Rehearsal.of_line(read, loaded.line, loaded.table), origin=ORIGIN)
    return InMemoryLine(loaded.line, rehearsal, read.tombstones(loaded.line)).with_stand_ins(services or {})


@dataclass(frozen=True, slots=True)
class InMemoryLine:
    """A line that takes records in memory."""

    line: Line
    rehearsal: Rehearsal
    tombstones: Tombstones

    def with_stand_ins(self, services: Mapping[str, Callable[..., Any]]) -> InMemoryLine:
        """Return the line with functions in place of some services; raise `UsageError` for a stop without a service."""
        known = self.rehearsal.services or self.line.services
        return replace(self, rehearsal=replace(self.rehearsal, services=with_stand_ins(known, services)))

    @contextmanager
    def looking_up(self, lookups: Mapping[str, Mapping[Any, Any]]) -> Iterator[None]:
        """Prepare the lookups of the line, in place of which `lookups` has some with their entries, in this block."""
        with lookups_in_memory(lookups):
            problems = prepare_possible_lookups(self.line, without=frozenset(lookups))
            try:
                yield
            except UnfinishedJourney as error:
                for problem in problems:
                    error.add_note(problem)
                raise

    def resources(self, given: Mapping[str, Any]) -> OpenResources:
        """Return the resources of the line, in place of which `given` has some; raise `UsageError` for unknown ones.

        Each is opened when a service that takes it is called first.
        """
        for name in given:
            if name not in self.line.resources:
                raise UsageError(f"the line has no resource {name!r}{suggestion(name, self.line.resources)}")
        return OpenResources(self.line.resources, given)

    async def journeys(
        self,
        messages: Sequence[tuple[bytes | None, Message]],
        strategy: str,
        began: float,
        resources: OpenResources,
    ) -> list[Journey]:
        """Return the journeys of the records in messages, which come in at the time `began`, under a strategy."""
        rehearsal = replace(self.rehearsal, strategy=strategy_named(strategy), resources=resources)
        found: list[Journey] = []
        for number, (value, message) in enumerate(messages):
            entered = rehearsal.departures()
            enter(
                entered,
                [number],
                [value],
                rehearsal.strategy,
                rehearsal.rule_tables,
                began,
                metadata=message.metadata(began),
                tombstones=self.tombstones,
            )
            for departures in _one_by_one(rehearsal, entered):
                found.append(await _journey(replace(rehearsal, clock=SkippingClock(began)), departures, began))
        return found


def _one_by_one(rehearsal: Rehearsal, entered: Departures) -> Iterator[Departures]:
    """Yield the first step of each record of a message by itself, in the order of the records."""
    steps = [
        (segment.ids[place], address, segment.part([place]))
        for address, segments in entered.by_address.items()
        for segment in segments
        for place in range(len(segment.ids))
    ]
    for _, address, segment in sorted(steps, key=lambda step: step[0]):
        departures = rehearsal.departures()
        departures.by_address[address] = [segment]
        yield departures


async def _journey(rehearsal: Rehearsal, departures: Departures, began: float) -> Journey:
    passages: list[Passage] = []
    try:
        async for passage in rehearsal.walk(departures):
            passages.append(passage)
    except NotCalled as error:
        stop = stop_of(passages[-1].address)
        raise UnfinishedJourney(f"the stop {stop!r}: {error}") from None  # the text has the cause
    assert rehearsal.clock is not None
    return journey_of(rehearsal.strategy.name, rehearsal.origin, passages, rehearsal.clock.now - began)
