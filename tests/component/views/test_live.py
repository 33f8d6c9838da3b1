"""The live figures of the line, as a worker tells them and as it answers with them."""

from __future__ import annotations

from itertools import count
from typing import Any, cast

import orjson
import pytest

from metroline.agents.membership.signatures import Signatures
from metroline.agents.on_ramp import OnRamp
from metroline.agents.pulses.live_state import LiveState
from metroline.agents.pulses.pulse import Pulse
from metroline.agents.pulses.pulse_figures import MAX_PATIENCE_SECONDS, EndedSums
from metroline.agents.tables.outcome_counts import OutcomeCounts
from metroline.agents.tables.owned_table import OwnedTable
from metroline.app.own_pulse import OwnPulse
from metroline.routing.messages.itinerary import Provenance
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import DELIVERED, Cause, Outcome
from tests.support.live_figures import NOW, Told
from tests.support.table_entries import block
from tests.support.web_worker import HTML, Start, WebWorker


def told(one: WebWorker) -> Pulse:
    """Return the pulse of a worker as others read it."""
    outcomes = one.app.line_tables.outcomes
    ended = None if outcomes is None else EndedSums(OutcomeCounts(outcomes), lambda: one.app.owned_partitions, "source")
    signatures = Signatures("metrobus.pulses", "a key of sixteen or more")
    return Pulse.decode(OwnPulse(one.app, ended)(False).encode(signatures), signatures)


async def test_a_worker_tells_what_its_metrics_count(start: Start) -> None:
    one = await start()
    metrics = one.app.bus.metrics
    history = (Visit("rating", 100.2, "to rating", "signpost", 1), Visit("money", 100.7, None, "signpost", 1))
    metrics.entering(4, 0.5)
    metrics.journeys.entered += 40
    metrics.sent("service.rating", 40, 1_000)
    metrics.handed_on("service.money", 40)
    metrics.journeys.at_stop("rating").add(40, 0.5, is_retry=False)
    segment = Segment((1, 2), (b"{}", b"{}"), 100.0, history, Provenance("end", "signpost", 1), outcome=DELIVERED)
    metrics.journeys.settled(segment, 101.0)
    failed = Segment((3,), (b"{}",), 100.0, history[:1], None, outcome=Outcome.dead(Cause.TIMEOUT, "after 3 s"))
    metrics.journeys.settled(failed, 101.0)

    pulse = told(one)
    assert pulse.url == one.url
    assert (pulse.entered, pulse.strategy, pulse.version) == (40, one.app.settings.routing_strategy, 0)
    assert pulse.code
    assert any(problem.startswith("rules: ") for problem in pulse.problems)
    rating, money, source = (pulse.places[at] for at in ("service.rating", "service.money", "source"))
    assert (rating.records, rating.messages, rating.handled, rating.seconds) == (40, 1, 40, 0.5)
    assert (money.records, money.chained) == (0, 40)
    assert (source.messages, source.records) == (4, 40)
    assert sum(rating.times) == 3
    assert sum(money.times) == 2
    assert {(one.start, one.end, one.is_end): one.count for one in pulse.tracks} == {
        ("source", "rating", False): 3,
        ("rating", "money", False): 2,
        ("money", "delivered", True): 2,
        ("rating", "dead", True): 1,
    }
    assert {(one.ending, one.stop, one.cause): one.count for one in pulse.outcomes} == {
        ("delivered", "money", ""): 2,
        ("dead", "rating", "timeout"): 1,
    }
    assert {one.rule: one.count for one in pulse.rules} == {"to rating": 3, "end": 2}


async def test_a_worker_tells_since_when_its_source_is_behind(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await start()
    monkeypatch.setattr(OnRamp, "ahead", 7)
    own = OwnPulse(one.app, None)
    one.app.bus.metrics.entering(4, 50.0)
    first = own(False)
    one.app.bus.metrics.entering(4, 30.0)
    later = own(False)
    assert (first.places["source"].waiting, first.places["source"].since) == (7, round(first.at - 50.0, 3))
    assert later.places["source"].since == first.places["source"].since, "it has not caught up"
    one.app.bus.metrics.entering(4, 0.5)
    assert own(False).places["source"].since == 0


async def test_a_worker_tells_the_outcomes_of_its_partitions(start: Start) -> None:
    one = await start()
    one.put(one.outcomes, {"0/source/0": block(5, 2), "0/source/1": block(4), "1/source/0": block(99)})
    cast(OwnedTable, one.outcomes).epochs[0] = 1
    ended = told(one).ended
    assert [each.partition for each in ended] == [0]
    assert (ended[0].delivered, ended[0].dropped, ended[0].dead, ended[0].lost) == (9, 2, 0, 0)


async def test_a_worker_without_the_arrivals_tells_no_outcomes(start: Start) -> None:
    pulse = told(await start("service:log"))
    assert pulse.ended == ()
    assert pulse.parts == ("service:log",)
    assert "source" not in pulse.places


async def test_programs_get_the_state_of_the_line(start: Start) -> None:
    one = await start()
    one.app.pulses = cast(Any, Told(told(one)))
    response = await one.get("/api/live")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    state = orjson.loads(await response.read())
    assert [worker["url"] for worker in state["workers"]] == [one.url]
    assert state["verdict"]["level"] == "bad", "it has no rules yet"
    assert state["age"] == 0.5
    assert set(state) == set(LiveState.__struct_fields__)


async def test_while_the_brokers_do_not_answer_the_state_is_out_of_date_and_says_why(start: Start) -> None:
    one = await start()
    state = await one.json("/api/live")
    assert state["is_stale"]
    assert state["verdict"]["text"] == "The brokers do not answer this worker: no broker confirmed a message for 10 s."
    assert state["verdict"]["more"][0] == "No worker has told its figures: it is not known how the line is."
    await one.app.pulses.close()


async def test_sums_over_a_large_table_are_renewed_less_often_but_at_once_for_other_partitions(start: Start) -> None:
    one = await start()
    one.put(one.outcomes, {"0/source/0": block(5), "1/source/0": block(7)})
    epochs = cast(OwnedTable, one.outcomes).epochs
    epochs[0] = 1
    now, used = [0.0], count(0.0, 0.02)
    sums = EndedSums(
        OutcomeCounts(one.outcomes), lambda: one.app.owned_partitions, "source", lambda: now[0], lambda: next(used)
    )

    def settled() -> int:
        return sum(each.delivered + each.dropped + each.dead for each in sums.latest())

    assert settled() == 5
    one.put(one.outcomes, {"0/source/0": block(8)})
    now[0] += 3.9
    assert settled() == 5
    epochs[1] = 1
    assert settled() == 15
    one.put(one.outcomes, {"0/source/0": block(9)})
    now[0] += 4.1
    assert settled() == 16
    used = count(0.0, 1e6)
    now[0] += 4.1
    one.put(one.outcomes, {"0/source/0": block(10)})
    assert settled() == 17
    now[0] += MAX_PATIENCE_SECONDS
    one.put(one.outcomes, {"0/source/0": block(11)})
    assert settled() == 18


async def test_published_versions_are_among_what_changed(start: Start) -> None:
    one = await start()
    one.app.pulses = cast(Any, Told(told(one)))
    published = {"rules": one.app.line.rules_text, "replaces": 0, "by": "alice", "at": NOW - 5}
    one.put(one.app.line_tables.rules, {"1": published})
    events = (await one.json("/api/live"))["events"]
    text = "version 1 of the rules was published by alice"
    assert {"at": NOW - 5, "kind": "published", "text": text, "href": "/rules/1/"} in events
    assert [event["at"] for event in events] == sorted((event["at"] for event in events), reverse=True)


async def test_the_page_has_its_map_once_there_are_rules(start: Start) -> None:
    one = await start()
    one.app.pulses = cast(Any, Told(told(one)))
    assert '<svg class="linemap' not in await (await one.get("/", HTML)).text()
    published = {"rules": one.app.line.rules_text, "replaces": 0, "by": "alice", "at": NOW - 5}
    one.put(one.app.line_tables.rules, {"1": published})
    cast(Any, one.app.tables).actives_ready = True
    response = await one.get("/", HTML)
    text = await response.text()
    assert '<svg class="linemap live"' in text
    assert 'href="#stop-contact_point"' in text
    assert 'id="stop-contact_point"' in text
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"].replace("style-src 'self' 'unsafe-inline'", "")
