"""Says in one sentence whether all is well, the worst thing first. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

from metroline.agents.pulses.live_state import Kind, Level, LiveState, PlaceState, Trend, Verdict
from metroline.routing.addresses import service_address

LONG_SECONDS = 60.0
"""Age of the oldest waiting message from which a place is named."""

SILENT_NAMED_SECONDS = 120.0
"""Time for which a worker that fell silent is named. Later, it stands only among what changed."""

LATE_SECONDS = 180.0
"""Time after which a tick of a schedule is late. A worker that takes over needs less."""

NAMED = 3
"""Things of one kind that are named."""

WHOLE, TENTH = Decimal("1"), Decimal("0.1")
"""The units to which figures are rounded."""

Finding = tuple[Level, Kind, str]


def verdict_of(state: LiveState) -> Verdict:
    """Return the verdict on a state. Its own verdict is not read."""
    is_known = not all(worker.is_silent for worker in state.workers)
    kinds = (_unknown, *((_standing, _late, _lost, _piling, _failing, _differing) if is_known else ()))
    found = [finding for kind in kinds for finding in kind(state)]
    found.sort(key=lambda finding: finding[0] is not Level.BAD)  # which keeps the order otherwise
    if not found:
        return Verdict(Level.GOOD, _fine(state))
    level, kind, text = found[0]
    return Verdict(level, text, tuple(text for *_, text in found[1:]), kind)


def _fine(state: LiveState) -> str:
    out = state.delivered_per_second + state.dropped_per_second + state.dead_per_second
    if not (state.entered_per_second or out or any(place.waiting for place in state.places.values())):
        return "All trains run. Nothing comes in, and nothing waits."
    flow = f"{rate(state.entered_per_second)} records/s in, {rate(out)}/s out"
    known = ", as far as it is known" if any(place.oldest is None for place in state.places.values()) else ""
    return f"All trains run. {flow}, nothing waits longer than {duration(state.oldest)}{known}."


def _unknown(state: LiveState) -> Iterator[Finding]:
    if not state.workers:
        yield Level.BAD, Kind.UNKNOWN, "No worker has told its figures: it is not known how the line is."
        return
    if all(worker.is_silent for worker in state.workers):
        age = duration(min(worker.age for worker in state.workers))
        yield Level.BAD, Kind.UNKNOWN, f"No worker has told its figures for {age}: those below are out of date."
        return
    silent = [worker.url for worker in state.workers if worker.is_silent and worker.age < SILENT_NAMED_SECONDS]
    stale = [worker for worker in state.workers if worker.is_stale and not worker.is_silent]
    if silent and not all(worker.is_stale for worker in state.workers):
        lost = {part for worker in state.workers if worker.is_silent for part in worker.parts} - _played(state)
        told = f"{_some(silent)} fell silent{'' if lost else '; others take over what it did'}."
        yield Level.NOTICE, Kind.SILENT, told
    if stale:
        age = duration(max(worker.age for worker in stale))
        have = "has" if len(stale) == 1 else "have"
        told = f"{_some([one.url for one in stale])} {have} told nothing for {age}: figures are out of date."
        yield Level.BAD, Kind.UNKNOWN, told


def _played(state: LiveState) -> set[str]:
    """Return the parts of the line that some worker plays."""
    return {part for worker in state.workers if not worker.is_silent for part in worker.parts}


def _standing(state: LiveState) -> Iterator[Finding]:
    for address, place in state.places.items():
        if place.paused:
            yield Level.BAD, Kind.STANDING, f"The stop {_name(address)} is paused: {place.paused}."
    for address in state.unserved:
        waiting = state.places[address].waiting if address in state.places else 0
        what = f", where {_records(waiting)} wait" if waiting else ": records that come there wait"
        yield Level.BAD, Kind.STANDING, f"No worker serves {_name(address)}{what}."
    for worker in state.workers:
        if worker.problems and not worker.is_silent:
            yield Level.BAD, Kind.STANDING, f"{worker.url} is not ready: {'; '.join(worker.problems)}."


def _late(state: LiveState) -> Iterator[Finding]:
    late = [one for one in state.schedules if one.next is not None and state.at - one.next > LATE_SECONDS]
    for one in late[:NAMED]:
        due = duration(state.at - (one.next or 0))
        told = f"The schedule {one.name} has been due for {due}, and its record did not enter."
        yield Level.BAD, Kind.SCHEDULE, told
    failed = [one.name for one in state.schedules if one.result == "dead"]
    if failed:
        yield Level.NOTICE, Kind.SCHEDULE, f"The last run of {_some(failed)} is a dead letter."


def _lost(state: LiveState) -> Iterator[Finding]:
    if state.sums.unaccounted:
        yield Level.BAD, Kind.LOST, f"{_records(state.sums.unaccounted)} have no outcome and are nowhere under way."
    if state.sums.lost:
        told = f"{state.sums.lost:,} messages of the source were deleted before they were read."
        yield Level.NOTICE, Kind.LOST, told


def _piling(state: LiveState) -> Iterator[Finding]:
    waits = {address: _longest(place, state.at) for address, place in state.places.items()}
    longest = sorted(state.places, key=lambda address: -waits[address])
    growing = [address for address in longest if state.places[address].trend is Trend.GROWING]
    others = [address for address in longest if address not in growing and waits[address] >= LONG_SECONDS]
    for address in [*growing[:NAMED], *others[:NAMED]]:
        yield Level.NOTICE, Kind.PILING, _backlog(_name(address), state.places[address], state.at)


def _longest(place: PlaceState, at: float) -> float:
    """Return for how long records wait at a place, at the least, as far as it is known."""
    if place.oldest is not None:
        return place.oldest
    return at - place.since if place.since is not None else 0.0


def _backlog(name: str, place: PlaceState, at: float) -> str:
    """Return a sentence on what waits at a place, for how long it has been behind, and what becomes of that."""
    if place.trend is Trend.NOTHING:
        return f"{name.capitalize()} has records that wait for {duration(_longest(place, at))}."
    age = "since a time that is not known" if place.oldest is None else f"for up to {duration(place.oldest)}"
    course = {Trend.GROWING: "grows", Trend.DRAINING: "shrinks", Trend.STEADY: "stays the same"}[place.trend]
    since = f"; {name} has been behind for {duration(at - place.since)}" if place.since is not None else ""
    done = f"; caught up in about {duration(place.caught_up_in)}" if place.caught_up_in is not None else ""
    return f"{_records(place.waiting)} wait at {name} {age}, and their number {course}{since}{done}."


def _failing(state: LiveState) -> Iterator[Finding]:
    failing = [one for one in state.failures if one.per_second > 0]
    if failing:
        causes = _some([f"{one.cause} at {_name(service_address(one.stop))}" for one in failing])
        told = f"Records fail, {rate(sum(one.per_second for one in failing))}/s: {causes}."
        yield Level.NOTICE, Kind.FAILING, told


def _differing(state: LiveState) -> Iterator[Finding]:
    alive = [worker for worker in state.workers if not worker.is_silent]
    versions = sorted({worker.version for worker in alive})
    if len(versions) > 1:
        told = f"Workers decide by different rules: versions {', '.join(map(str, versions))}."
        yield Level.NOTICE, Kind.DIFFERING, told
    if len({worker.code for worker in alive}) > 1:
        yield Level.NOTICE, Kind.DIFFERING, "Workers run different code of the line."


def _name(address: str) -> str:
    is_stop = address.startswith(service_address(""))
    return address.removeprefix(service_address("")) if is_stop else f"the {address.replace('-', ' ')}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def rate(per_second: float) -> str:
    """Return a rate as people read it."""
    return rounded(per_second) if per_second >= 10 or per_second == 0 else rounded(per_second, TENTH)


def duration(seconds: float) -> str:
    """Return a length of time as people read it."""
    if 0 < seconds < 0.1:
        return f"{rounded(seconds * 1000)} ms"
    if seconds < 10:
        return f"{rounded(seconds, TENTH)} s"
    if seconds < 120:
        return f"{rounded(seconds)} s"
    return f"{rounded(seconds / 60)} min" if seconds < 7_200 else f"{rounded(seconds / 3600)} h"


def rounded(number: float, unit: Decimal = WHOLE) -> str:
    """Return a number in whole units, with commas between the thousands. Halves go up, as in browsers."""
    return f"{Decimal(number).quantize(unit, ROUND_HALF_UP):,}"
