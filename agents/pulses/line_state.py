"""Adds up the pulses of all workers to the state of the line, and keeps a few minutes of it. No I/O and no clock."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from metroline.agents.delivery.journey_metrics import JOURNEY_BOUNDS, OTHER, STOP_BOUNDS
from metroline.agents.kafka.topics import ROUTERS
from metroline.agents.membership.roles import ON_RAMP, SERVICE, role_in
from metroline.agents.pulses.live_state import (
    FailureState,
    Freshness,
    Level,
    LiveEvent,
    LiveState,
    PlaceState,
    Point,
    RuleState,
    ScheduleState,
    Sums,
    TrackState,
    Trend,
    Verdict,
    WorkerState,
)
from metroline.agents.pulses.piling import CAUGHT_UP_SECONDS
from metroline.agents.pulses.pulse import PlaceFigures, Pulse, ScheduleSum
from metroline.agents.pulses.verdict import verdict_of
from metroline.agents.pulses.worker_history import SILENT_SECONDS, WorkerHistory, percentile
from metroline.agents.services.schedule import schedule_origin
from metroline.routing.addresses import ARRIVALS, SOURCE, service_address
from metroline.routing.outcome import Ending

Key = TypeVar("Key")

HISTORY_SECONDS = 180
"""Seconds of which points are kept, one a second."""

TREND_SECONDS = 20
"""Seconds over which the trend of what waits is taken."""

BURST_SECONDS = 2.0
"""Seconds of arrivals that may wait at any moment: as long as no more wait, their number neither grows nor drains."""

TREND_SHARE = 0.02
"""Change of what waits, per second and as a share of what arrives, from which it grows or drains."""

HANDOVER_SECONDS = 60.0
"""Time for which a partition may change hands until its counts of before are no longer taken for the present ones."""

FORGET_SECONDS = 600.0
"""Time after which a worker that is silent is forgotten."""

MAX_WORKERS = 1_000
"""Number of workers that are remembered. Anybody may write pulses."""

MAX_EVENTS = 100

NO_FIGURES = PlaceFigures()
NOT_KEPT = "the records that entered before some worker started are not known"
NOT_READ = "the workers that read some partitions have told nothing lately"


class LineState:
    """The latest figures of each worker, and the history of the line."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._workers: dict[str, WorkerHistory] = {}
        """By id; the latest process of each."""
        self._points: deque[Point] = deque(maxlen=HISTORY_SECONDS)
        self._waited: deque[tuple[float, dict[str, int]]] = deque(maxlen=HISTORY_SECONDS)
        """Records that waited at each place, by time."""
        self._events: deque[LiveEvent] = deque(maxlen=MAX_EVENTS)
        self._version = 0
        self._silent: set[str] = set()
        self._sent: dict[int, tuple[float, tuple[int, int]]] = {}
        self._ended: dict[int, tuple[float, tuple[int, int, int, int]]] = {}
        """The latest counts of each partition with their time: while a partition changes hands, nobody tells of it."""

    def observe(self, pulse: Pulse, now: float, *, is_live: bool = True) -> None:
        """Take a pulse that is read at the time `now`, in seconds since the epoch; not `is_live` if it is old."""
        known = self._workers.get(pulse.worker)
        at = now if is_live else min(now, pulse.at)
        if known is not None and pulse.started < known.latest.started:
            return  # one of an earlier process, which somebody repeats
        if pulse.is_last:
            self._leave(pulse, at)
            return
        if known is None or pulse.started > known.latest.started:
            if known is None and len(self._workers) >= MAX_WORKERS:
                return
            known = self._workers[pulse.worker] = WorkerHistory(pulse, now, is_live=is_live)
            self._event(min(at, pulse.started + known.skew), "joined", f"{pulse.url} started ({_role(pulse)})")
        else:
            known.add(pulse, now, is_live=is_live)
        if pulse.version > self._version:
            if self._version:
                self._event(at, "rules", f"version {pulse.version} of the rules took effect at {pulse.url}")
            self._version = pulse.version
        self._note_sums(pulse, at)
        if pulse.worker in self._silent:
            self._silent.discard(pulse.worker)
            self._event(at, "joined", f"{pulse.url} tells its figures again ({_role(pulse)})")
        if not self._points or at - self._points[-1].at >= 1:
            self._note_point(at)

    def _note_sums(self, pulse: Pulse, at: float) -> None:
        self._sent |= {one.partition: (at, (one.records, one.since)) for one in pulse.sent}
        self._ended |= {one.partition: (at, (one.delivered, one.dropped, one.dead, one.lost)) for one in pulse.ended}

    def _leave(self, pulse: Pulse, at: float) -> None:
        if self._workers.pop(pulse.worker, None) is not None:
            self._silent.discard(pulse.worker)
            self._event(at, "left", f"{pulse.url} stopped ({_role(pulse)})")

    def _event(self, at: float, kind: str, text: str) -> None:
        self._events.append(LiveEvent(round(at, 3), kind, text))

    def _note_silence(self, now: float) -> None:
        for id, worker in list(self._workers.items()):
            if worker.age(now) > FORGET_SECONDS:
                del self._workers[id]
            elif worker.is_silent(now) and id not in self._silent:
                self._silent.add(id)
                last = now - worker.age(now)
                self._event(last, "silent", f"{worker.latest.url} fell silent ({_role(worker.latest)})")

    def _alive(self, now: float) -> list[WorkerHistory]:
        return [worker for worker in self._workers.values() if not worker.is_silent(now)]

    def _telling(self, now: float) -> list[WorkerHistory]:
        """Return the workers whose figures count: those that were alive when anybody told something last.

        If all fall silent, nobody takes over from them, and their figures stay the latest ones, out of date.
        """
        return self._alive(now - min((worker.age(now) for worker in self._workers.values()), default=0.0))

    def _note_point(self, at: float) -> None:
        """Note the figures of the line at a time."""
        alive = self._alive(at)
        waiting = _waiting_records(alive)
        oldest = max((_oldest(worker) for worker in alive), default=0.0)
        entered = sum(worker.rate(lambda pulse: pulse.entered) for worker in alive)
        ended = {ending: sum(worker.rate(partial(_ended, ending)) for worker in alive) for ending in Ending}
        self._points.append(
            Point(
                at=round(at, 2),
                entered_per_second=round(entered, 2),
                delivered_per_second=round(ended[Ending.DELIVERED], 2),
                dropped_per_second=round(ended[Ending.DROPPED], 2),
                dead_per_second=round(ended[Ending.DEAD], 2),
                waiting=sum(waiting.values()),
                oldest=oldest,
            )
        )
        self._waited.append((at, waiting))

    def _arriving(self, address: str, alive: Iterable[WorkerHistory]) -> float:
        """Return the records that come to a place, per second."""
        return sum(worker.rate(partial(_came, address)) for worker in alive)

    def _chained(self, address: str, alive: Iterable[WorkerHistory]) -> float:
        """Return the records that come to a place in memory, per second."""
        return sum(worker.rate(lambda pulse: _figures(address, pulse).chained) for worker in alive)

    def _trend(self, address: str, arriving: float) -> tuple[Trend, float | None]:
        """Return what becomes of what waits at a place, and in how many seconds nothing waits, if it drains."""
        if not self._waited:
            return Trend.NOTHING, None
        now, waiting = self._waited[-1]
        seen = [(at, one.get(address, 0)) for at, one in self._waited if now - at <= TREND_SECONDS]
        left = waiting.get(address, 0)
        if not any(count for _, count in seen):
            return Trend.NOTHING, None
        slope = _slope(seen)
        if abs(slope) < max(1.0, TREND_SHARE * arriving) or left <= BURST_SECONDS * arriving:
            return (Trend.STEADY if left else Trend.NOTHING), None
        if slope > 0:
            return Trend.GROWING, None
        return Trend.DRAINING, round(left / -slope, 1)

    def snapshot(self, now: float, needed: Collection[str] = ()) -> LiveState:
        """Return the state of the line at a time, in seconds since the epoch.

        `needed` are the addresses to which records go by the present rules, whether a worker serves them or not.
        """
        self._note_silence(now)
        telling = self._telling(now)
        whole = _freshness(telling, now)
        journeys = _added(worker.grown_buckets(lambda pulse: pulse.durations) for worker in telling)
        schedules = _schedule_sums(telling)
        state = LiveState(
            line=self._line,
            at=round(now, 3),
            age=whole.age,
            is_stale=whole.is_stale,
            settled=_freshness([worker for worker in telling if ARRIVALS in worker.latest.parts], now),
            verdict=Verdict(Level.GOOD, ""),
            version=max((worker.latest.version for worker in telling), default=self._version),
            strategy=", ".join(sorted({worker.latest.strategy for worker in telling})),
            entered_per_second=_per_second(telling, lambda pulse: pulse.entered),
            delivered_per_second=_per_second(telling, partial(_ended, Ending.DELIVERED)),
            dropped_per_second=_per_second(telling, partial(_ended, Ending.DROPPED)),
            dead_per_second=_per_second(telling, partial(_ended, Ending.DEAD)),
            oldest=round(max((_oldest(worker) for worker in telling), default=0.0), 3),
            p50=_rounded(percentile(0.5, JOURNEY_BOUNDS, journeys)),
            p99=_rounded(percentile(0.99, JOURNEY_BOUNDS, journeys)),
            sums=self._sums(telling, schedules, now),
            schedules=tuple(map(_schedule, schedules)),
            workers=tuple(self._worker(worker, now) for worker in sorted(self._workers.values(), key=_order)),
            places=self._places(telling, now, needed),
            tracks=_tracks(telling),
            failures=_failures(telling),
            rules=_rules(telling),
            are_rules_complete=bool(telling) and all(map(_tells_all_rules, telling)),
            counted_since=min((round(one.latest.started + one.skew, 3) for one in telling), default=None),
            events=tuple(sorted(self._events, key=lambda event: -event.at)),
            points=tuple(self._points),
            unserved=self._unserved(self._alive(now), needed),
        )
        return replace(state, verdict=verdict_of(state))

    def _worker(self, worker: WorkerHistory, now: float) -> WorkerState:
        pulse = worker.latest
        return WorkerState(
            pulse.worker,
            pulse.url,
            pulse.group,
            pulse.parts,
            pulse.strategy,
            pulse.version,
            pulse.code,
            round(pulse.started + worker.skew, 3),
            round(worker.age(now), 2),
            worker.is_stale(now),
            worker.is_silent(now),
            pulse.problems,
            pulse.behind,
            pulse.source_behind,
            _per_second([worker], lambda one: one.entered),
            _per_second([worker], lambda one: sum(outcome.count for outcome in one.outcomes)),
        )

    def _unserved(self, alive: Sequence[WorkerHistory], needed: Collection[str]) -> tuple[str, ...]:
        """Return the places to which records go, or where some wait, and that no worker serves."""
        if not alive:
            return ()  # nothing is known
        played = {part for worker in alive for part in worker.latest.parts}
        waiting = {address for address, count in _waiting_records(alive).items() if count}
        asked = {router for router in ROUTERS if self._arriving(router, alive)}
        return tuple(sorted(one for one in {*needed, *waiting, *asked} if part_of(one) not in played))

    def _places(self, alive: Sequence[WorkerHistory], now: float, needed: Collection[str]) -> dict[str, PlaceState]:
        addresses = {*needed, *(address for worker in alive for address in worker.latest.places)}
        addresses |= {address for worker in alive for address in map(_address, worker.latest.parts) if address}
        waiting = _waiting_records(alive)
        return {address: self._place(address, waiting.get(address, 0), alive, now) for address in sorted(addresses)}

    def _place(self, address: str, waiting: int, alive: Sequence[WorkerHistory], now: float) -> PlaceState:
        figures = [worker.latest.places.get(address, NO_FIGURES) for worker in alive]
        serving = [worker for worker in alive if part_of(address) in worker.latest.parts]
        arriving = self._arriving(address, alive)
        trend, caught_up_in = self._trend(address, arriving)
        times = _added(worker.grown_buckets(partial(_times, address)) for worker in alive)
        calls = sum(worker.grown(partial(_handled, address)) for worker in alive)
        seconds = sum(worker.grown(partial(_seconds, address)) for worker in alive)
        stop = address.removeprefix(service_address(""))
        told_by = serving or alive
        return PlaceState(
            waiting=waiting,
            waiting_messages=sum(one.waiting for one in figures),
            oldest=_oldest_at(address, alive),
            trend=trend,
            chained_share=round(self._chained(address, alive) / arriving, 3) if arriving else 0.0,
            caught_up_in=caught_up_in,
            since=_behind_since(address, alive, now) if trend is not Trend.NOTHING else None,
            arriving_per_second=round(arriving, 2),
            handled_per_second=_per_second(alive, partial(_handled, address)),
            call_seconds=_rounded(seconds / calls) if calls else None,
            p50=_rounded(percentile(0.5, STOP_BOUNDS, times)),
            p99=_rounded(percentile(0.99, STOP_BOUNDS, times)),
            retries=sum(one.retries for one in figures),
            waits=sum(one.waits for one in figures),
            dropped=sum(_ended_at(stop, Ending.DROPPED, worker.latest) for worker in alive),
            dead=sum(_ended_at(stop, Ending.DEAD, worker.latest) for worker in alive),
            workers=len(serving),
            paused=next((one.paused for one in figures if one.paused), ""),
            age=round(max((worker.age(now) for worker in told_by), default=SILENT_SECONDS), 2),
            is_stale=any(worker.is_stale(now) for worker in told_by),
        )

    def _sums(self, alive: Sequence[WorkerHistory], schedules: Sequence[ScheduleSum], now: float) -> Sums:
        """Return the account of all records. Of two workers that tell about a partition, the one with more counts.

        Of a partition that changes hands, the counts before that: nothing is settled meanwhile.
        """
        sent: dict[int, tuple[int, int]] = {}
        ended: dict[int, tuple[int, int, int, int]] = {}
        for worker in alive:
            for one in worker.latest.sent:
                sent[one.partition] = max(sent.get(one.partition, (-1, 0)), (one.records, one.since))
            for each in worker.latest.ended:
                counts = (each.delivered, each.dropped, each.dead, each.lost)
                ended[each.partition] = max(ended.get(each.partition, counts), counts, key=sum)
        before = {one: at for one, (at, _) in self._ended.items() if one not in ended}
        before |= {one: at for one, (at, _) in self._sent.items() if one not in sent}
        sent = {one: told for one, (at, told) in self._sent.items() if now - at < FORGET_SECONDS} | sent
        ended = {one: told for one, (at, told) in self._ended.items() if now - at < FORGET_SECONDS} | ended
        is_old = any(HANDOVER_SECONDS < now - at < FORGET_SECONDS for at in before.values())
        endings = [*ended.values(), *((one.delivered, one.dropped, one.dead, 0) for one in schedules)]
        delivered, dropped, dead, lost = (sum(counts[place] for counts in endings) for place in range(4))
        scheduled = sum(one.entered for one in schedules)
        why = ""
        if not sent or is_old or ended.keys() != sent.keys() or any(worker.is_stale(now) for worker in alive):
            why = NOT_READ
        elif any(since for _, since in sent.values()):
            why = NOT_KEPT
        total = None if why else sum(records for records, _ in sent.values()) + scheduled
        under_way = None if total is None else max(0, total - delivered - dropped - dead)
        if total is not None:  # the counts of two workers are not of the same moment
            total = delivered + dropped + dead + (under_way or 0)
        return Sums(
            None if total is None else total + lost,
            delivered if endings else None,
            dropped if endings else None,
            dead if endings else None,
            lost if endings else None,
            under_way,
            sum(worker.latest.unaccounted for worker in alive) if alive else None,
            len(ended),
            why,
            scheduled,
        )


def _freshness(workers: Sequence[WorkerHistory], now: float) -> Freshness:
    """Return the age of figures that these workers count together."""
    ages = [worker.age(now) for worker in workers]
    return Freshness(
        round(max(ages), 2) if ages else None, not workers or any(worker.is_stale(now) for worker in workers)
    )


def _role(pulse: Pulse) -> str:
    return role_in(pulse.group)


def _order(worker: WorkerHistory) -> tuple[str, str, str]:
    return worker.latest.group, worker.latest.url, worker.latest.worker


def _address(part: str) -> str:
    """Return the address that a part of the line serves; empty for the routers, which are three."""
    if part.startswith(SERVICE):
        return service_address(part.removeprefix(SERVICE))
    return {ON_RAMP: SOURCE, ARRIVALS: ARRIVALS}.get(part, "")


def part_of(address: str) -> str:
    """Return the part of the line that serves an address."""
    if address in ROUTERS:
        return "router"
    return ON_RAMP if address == SOURCE else address.replace(service_address(""), SERVICE, 1)


def _ended(ending: str, pulse: Pulse) -> int:
    return sum(outcome.count for outcome in pulse.outcomes if outcome.ending == ending)


def _ended_at(stop: str, ending: str, pulse: Pulse) -> int:
    return sum(outcome.count for outcome in pulse.outcomes if (outcome.stop, outcome.ending) == (stop, ending))


def _figures(address: str, pulse: Pulse) -> PlaceFigures:
    return pulse.places.get(address, NO_FIGURES)


def _came(address: str, pulse: Pulse) -> int:
    figures = _figures(address, pulse)
    return figures.records + figures.chained


def _handled(address: str, pulse: Pulse) -> int:
    return _figures(address, pulse).handled


def _seconds(address: str, pulse: Pulse) -> float:
    return _figures(address, pulse).seconds


def _times(address: str, pulse: Pulse) -> Sequence[int]:
    return _figures(address, pulse).times


def _oldest_at(address: str, alive: Iterable[WorkerHistory]) -> float | None:
    """Return the age of the oldest message at a place; None if some worker does not know the age of its own."""
    oldest = 0.0
    for worker in alive:
        pulse, figures = worker.latest, _figures(address, worker.latest)
        if figures.since and not figures.oldest and pulse.at - figures.since > CAUGHT_UP_SECONDS:
            return None  # a place where messages are known to be that young is not behind
        oldest = max(oldest, figures.oldest)
    return oldest


def _behind_since(address: str, alive: Iterable[WorkerHistory], now: float) -> float | None:
    """Return the time since which a place has been behind, by our clock; None if it is not."""
    since = min(filter(None, (_told_since(address, worker) for worker in alive)), default=now)
    return round(since, 3) if now - since >= CAUGHT_UP_SECONDS else None


def _told_since(address: str, worker: WorkerHistory) -> float | None:
    """Return the time since which a place of a worker has been behind.

    A worker of an earlier release does not tell it. It is then as long as its oldest message has waited, at least.
    """
    pulse, figures = worker.latest, _figures(address, worker.latest)
    if figures.since:
        return figures.since + worker.skew
    if figures.waiting and figures.oldest > CAUGHT_UP_SECONDS:
        return pulse.at - figures.oldest + worker.skew
    return None


def _oldest(worker: WorkerHistory) -> float:
    pulse = worker.latest
    return max([pulse.source_behind, *(one.oldest for one in pulse.places.values())])


def _per_second(workers: Iterable[WorkerHistory], count: Callable[[Pulse], float]) -> float:
    return round(sum(worker.rate(count) for worker in workers), 2)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _added(histograms: Iterable[Sequence[int]]) -> list[int]:
    """Return the sum of histograms, bucket by bucket."""
    total: list[int] = []
    for counts in histograms:
        total += [0] * (len(counts) - len(total))
        for index, count in enumerate(counts):
            total[index] += count
    return total


def _slope(seen: Sequence[tuple[float, int]]) -> float:
    """Return how fast a figure grows, per second, by least squares."""
    if len(seen) < 3:
        return 0.0
    mean_at, mean = sum(at for at, _ in seen) / len(seen), sum(count for _, count in seen) / len(seen)
    spread = sum((at - mean_at) ** 2 for at, _ in seen)
    return sum((at - mean_at) * (count - mean) for at, count in seen) / spread if spread else 0.0


def _waiting_records(alive: Iterable[WorkerHistory]) -> dict[str, int]:
    """Return the records that wait at each place: its messages, times what messages to it hold on average."""
    waiting: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    records: Counter[str] = Counter()
    for worker in alive:
        for address, figures in worker.latest.places.items():
            waiting[address] += figures.waiting
            messages[address] += figures.messages
            records[address] += figures.records
    return {
        address: round(count * max(1.0, records[address] / messages[address] if messages[address] else 1.0))
        for address, count in waiting.items()
    }


def _schedule_sums(alive: Iterable[WorkerHistory]) -> list[ScheduleSum]:
    """Return the sums of each schedule. Of two workers that tell about one, the one that is further counts."""
    found: dict[str, ScheduleSum] = {}
    for one in (one for worker in alive for one in worker.latest.schedules):
        found[one.schedule] = max(found.get(one.schedule, one), one, key=_progress)
    return [one for _, one in sorted(found.items())]


def _progress(one: ScheduleSum) -> tuple[int, int]:
    return one.entered, one.delivered + one.dropped + one.dead


def _schedule(one: ScheduleSum) -> ScheduleState:
    id = "" if one.last is None else f"{schedule_origin(one.schedule)}-0-{one.last // 60:.0f}"
    result = one.result or ("under way" if id else "")
    href = f"/journeys/{quote(id)}" if id else ""
    counts = (one.entered, one.delivered, one.dropped, one.dead)
    return ScheduleState(one.schedule, one.last, one.next, result, href, *counts)


def _tracks(alive: Sequence[WorkerHistory]) -> tuple[TrackState, ...]:
    counts: Counter[tuple[str, str, bool]] = Counter()
    for worker in alive:
        for track in worker.latest.tracks:
            counts[track.start, track.end, track.is_end] += track.count
    rates = _rates(alive, lambda pulse: {(one.start, one.end, one.is_end): one.count for one in pulse.tracks})
    return tuple(TrackState(*track, count, round(rates[track], 2)) for track, count in sorted(counts.items()))


def _failures(alive: Sequence[WorkerHistory]) -> tuple[FailureState, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for worker in alive:
        for one in worker.latest.outcomes:
            if one.ending == Ending.DEAD:
                counts[one.stop, one.cause] += one.count
    rates = _rates(
        alive,
        lambda pulse: {(one.stop, one.cause): one.count for one in pulse.outcomes if one.ending == Ending.DEAD},
    )
    return tuple(FailureState(*where, count, round(rates[where], 2)) for where, count in counts.most_common())


def _rules(alive: Sequence[WorkerHistory]) -> tuple[RuleState, ...]:
    counts: Counter[str] = Counter()
    for worker in alive:
        for one in worker.latest.rules:
            counts[one.rule] += one.count
    rates = _rates(alive, lambda pulse: {one.rule: one.count for one in pulse.rules})
    return tuple(RuleState(rule, count, round(rates[rule], 2)) for rule, count in counts.most_common())


def _tells_all_rules(worker: WorkerHistory) -> bool:
    """Return whether a worker tells of every rule that held. What is counted together as another rule is none."""
    told = worker.latest.rules
    return len(told) >= worker.latest.rules_held and all(one.rule != OTHER for one in told)


def _rates(alive: Iterable[WorkerHistory], counts: Callable[[Pulse], dict[Key, int]]) -> dict[Key, float]:
    """Return how fast each of several counts grows."""
    rates: dict[Key, float] = defaultdict(float)
    for worker in alive:
        for key, rate in worker.rates(counts).items():
            rates[key] += rate
    return rates
