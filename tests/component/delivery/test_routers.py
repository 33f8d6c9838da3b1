"""Conductor, map maker and switch: they choose the next stops and pass the bytes of a record on unchanged."""

from __future__ import annotations

import orjson
import pytest
from msgspec.structs import replace

from metroline.agents.routers import RouterAgent
from metroline.routing.journeys.deciders import Conductor, MapMaker, Router, Switch
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decider, Decision, Provenance
from metroline.routing.messages.segment import Visit
from metroline.routing.outcome import Ending
from tests.support.bench import RULES, Bench, endings_of, envelope, segments_of

BEHIND_A = (Visit("a", 950.0, "all begin at a", "conductor", 1),)


async def routed(bench: Bench, router: type[Router], incoming: Envelope) -> None:
    await bench.complete(RouterAgent(bench.agent_loop, bench.rule_tables, router()).handle, incoming)


async def test_the_conductor_decides_after_the_stop_that_the_record_has_left(bench: Bench) -> None:
    await routed(bench, Conductor, envelope({"size": 1}, strategy="conductor"))
    await routed(bench, Conductor, envelope({"size": 99}, {"size": 1}, strategy="conductor", history=BEHIND_A))

    assert [sent.topic for sent in bench.producer.sent] == ["test.service.a", "test.service.b", "test.service.c"]
    assert [segment.chosen for segment in segments_of(bench.producer.sent)] == [
        Provenance("all begin at a", "conductor", 1),
        Provenance("big ones to b", "conductor", 1),
        Provenance("the others to c", "conductor", 1),
    ]


async def test_the_conductor_ends_journeys_at_the_end_of_the_line(bench: Bench) -> None:
    behind_c = (*BEHIND_A, Visit("c", 960.0, "the others to c", "conductor", 1))

    await routed(bench, Conductor, envelope({"size": 1}, strategy="conductor", history=behind_c))

    assert endings_of(bench.producer.to("test.arrivals")) == {0: (Ending.DELIVERED, None)}


async def test_a_record_is_passed_on_as_the_bytes_that_came(bench: Bench) -> None:
    line = b'{"size" : 1,   "pi":3.140, "big":18446744073709551615}'
    incoming = envelope({"size": 1}, strategy="conductor", history=BEHIND_A)
    incoming = replace(incoming, segments=(replace(incoming.segments[0], lines=(line,)),))

    await routed(bench, Conductor, incoming)

    assert [segment.lines for segment in segments_of(bench.producer.sent)] == [(line,)]


async def test_where_no_rule_reads_the_record_the_conductor_does_not_either(bench: Bench) -> None:
    incoming = envelope({"size": 1}, strategy="conductor")
    incoming = replace(incoming, segments=(replace(incoming.segments[0], lines=(b"not even JSON",)),))

    await routed(bench, Conductor, incoming)

    assert bench.producer.sent[0].topic == "test.service.a"


async def test_the_map_maker_sends_the_whole_way_with_the_record(bench: Bench) -> None:
    await routed(bench, MapMaker, envelope({"size": 99}, strategy="map_maker"))

    [segment] = segments_of(bench.producer.to("test.service.a"))
    assert segment.chosen == Provenance("all begin at a", "map-maker", 1)
    assert segment.itinerary is not None
    to_b, end = segment.itinerary.legs
    assert isinstance(to_b, Decision)
    assert isinstance(end, Decision)
    assert (to_b.stop, to_b.reads) == ("b", frozenset({"size"}))
    assert end.outcome is not None
    assert end.outcome.ending is Ending.DELIVERED


async def test_records_with_one_plan_travel_together(bench: Bench) -> None:
    await routed(bench, MapMaker, envelope(*({"size": size} for size in (1, 99, 2, 98)), strategy="map_maker"))

    assert sorted(segment.ids for segment in segments_of(bench.producer.to("test.service.a"))) == [(0, 2), (1, 3)]
    assert len(bench.producer.sent) == 1


async def test_a_plan_ends_where_it_comes_to_a_stop_again_and_there_the_switch_decides(bench: Bench) -> None:
    bench.publish(RULES + '[[rules]]\nafter = "b"\nto = "a"\n', replaces=1)

    await routed(bench, MapMaker, envelope({"size": 99}, strategy="map_maker"))

    [segment] = segments_of(bench.producer.sent)
    assert segment.itinerary is not None
    assert segment.itinerary.legs[-1] is Decider.SWITCH


async def test_the_switch_plans_anew_from_where_the_record_is(bench: Bench) -> None:
    await routed(bench, Switch, envelope({"size": 99}, strategy="map_maker", history=BEHIND_A))

    [segment] = segments_of(bench.producer.to("test.service.b"))
    assert segment.chosen == Provenance("big ones to b", "switch", 1)
    assert segment.history == BEHIND_A


async def test_routers_go_by_the_version_that_is_live_when_the_record_comes(bench: Bench) -> None:
    await routed(bench, Conductor, envelope({"size": 1}, strategy="conductor", history=BEHIND_A))
    bench.publish(RULES.replace('to = "c"', 'to = "b"'), replaces=1)
    await routed(bench, Conductor, envelope({"size": 1}, strategy="conductor", history=BEHIND_A))

    assert [sent.topic for sent in bench.producer.sent] == ["test.service.c", "test.service.b"]
    assert [segment.chosen and segment.chosen.version for segment in segments_of(bench.producer.sent)] == [1, 2]


@pytest.mark.parametrize("router", [Conductor, Switch])
@pytest.mark.parametrize("line", [b"{", b"[1]", b"7", b"null"])
async def test_a_line_that_is_no_record_is_a_dead_letter_and_its_neighbours_go_on(
    bench: Bench, router: type[Router], line: bytes
) -> None:
    incoming = envelope({"size": 1}, {"size": 2}, strategy="conductor", history=BEHIND_A)
    lines = (incoming.segments[0].lines[0], line)

    await routed(bench, router, replace(incoming, segments=(replace(incoming.segments[0], lines=lines),)))

    [(ending, reason)] = endings_of(bench.producer.to("test.arrivals")).values()
    assert (ending, str(reason).partition(":")[0]) == (Ending.DEAD, "malformed_record")
    assert bench.producer.to("test.service.c")[0].records == [{"size": 1}]


@pytest.mark.parametrize("router", [Conductor, MapMaker])
async def test_errors_of_rules_and_records_without_a_way_are_dead_letters_of_their_own(
    bench: Bench, router: type[Router]
) -> None:
    bench.publish('[[rules]]\nname = "by size"\nafter = "source"\nwhen = "size > 10"\nto = "a"\n', replaces=1)
    records = ({"size": 11}, {"size": "large"}, {"size": 1}, {"size": None})

    await routed(bench, router, envelope(*records, strategy="conductor"))

    letters = endings_of(bench.producer.to("test.arrivals"))
    assert {number: str(reason).partition(":")[0] for number, (_, reason) in letters.items()} == {
        1: "rule_error",
        2: "unroutable",
        3: "unroutable",
    }
    assert "by size" in str(letters[1][1])
    assert orjson.loads(next(iter(segments_of(bench.producer.to("test.service.a")))).lines[0]) == {"size": 11}
