"""A stop: whatever its service does to a record, the record goes on or ends with a cause."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from metroline import Drop, Meta, Retry, service
from metroline.agents.services.service import Record
from metroline.agents.stops.stop import Stop
from metroline.routing.errors import InvalidLine
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Itinerary, Provenance
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.segment import Visit
from metroline.routing.outcome import Ending
from metroline.routing.rules.table import RulesTable
from tests.support.bench import RULES, Bench, endings_of, envelope, segments_of


async def handled(bench: Bench, handler: Any, incoming: Envelope, **more: Any) -> None:
    """Let a stop handle an envelope to completion."""
    await bench.complete(bench.stop(handler, **more).handle, incoming)


def as_it_is(record: Record) -> Record:
    return record


async def test_records_leave_for_the_stop_that_their_rule_names_and_travel_together(bench: Bench) -> None:
    def grow(record: Record) -> Record:
        record["size"] *= 2
        return record

    await handled(bench, grow, envelope({"size": 1}, {"size": 9}, {"size": 2}, {"size": 8}))

    [to_b], [to_c] = bench.producer.to("test.service.b"), bench.producer.to("test.service.c")
    assert to_b.records == [{"size": 18}, {"size": 16}]
    assert to_c.records == [{"size": 2}, {"size": 4}]
    assert [segment.ids for segment in segments_of([to_b, to_c])] == [(1, 3), (0, 2)]
    assert len(bench.producer.sent) == 2


async def test_history_names_the_stop_and_who_chose_it(bench: Bench) -> None:
    await handled(bench, as_it_is, envelope({"size": 1}, chosen=Provenance("all begin at a", "on-ramp", 1)))

    [segment] = segments_of(bench.producer.sent)
    assert segment.history == (Visit("a", bench.now, "all begin at a", "on-ramp", 1, worked=0.0),)
    assert segment.chosen == Provenance("the others to c", "a", 1)
    assert segment.hops == 2


async def test_a_service_that_raises_gives_a_dead_letter_that_names_what_and_where(bench: Bench) -> None:
    def charge(record: Record) -> Record:
        record["touched"] = True
        if record["size"] == 2:
            raise ValueError("no such card")
        return record

    await handled(bench, charge, envelope({"size": 1}, {"size": 2}, {"size": 3}))

    [letter] = bench.producer.to("test.arrivals")
    [(ending, reason)] = endings_of([letter]).values()
    assert ending is Ending.DEAD
    assert reason is not None
    assert reason.startswith("service_error: ValueError: no such card (test_stop.py:")
    assert reason.endswith("in charge)")
    assert letter.records == [{"size": 2}], "a record that could not be handled ends as it came"
    assert bench.producer.to("test.service.c")[0].records == [
        {"size": 1, "touched": True},
        {"size": 3, "touched": True},
    ]


@pytest.mark.parametrize("way", ["plain", "blocking", "async"])
async def test_a_service_that_asks_for_it_is_handed_the_records_id(bench: Bench, way: str) -> None:
    seen = {}

    @service(name="a", blocking=way == "blocking")
    def note(record: Record, id: str) -> Record:
        seen[record["n"]] = id
        return record

    @service(name="a")
    async def note_later(record: Record, *, id: str) -> Record:
        seen[record["n"]] = id
        return record

    function: Any = note_later if way == "async" else note
    mark = function.__metroline__
    incoming = envelope({"n": 1}, {"n": 2})
    packed = replace(incoming.segments[0], ids=(4, (5, 3, 9)))
    stop = Stop(bench.agent_loop, bench.rule_tables, mark, RetryPolicy())
    await bench.complete(stop.handle, replace(incoming, segments=(packed,)))

    assert seen == {1: "source-0-4", 2: "source-0-5.3"}


@pytest.mark.parametrize("strategy", ["hard_wired", "conductor", "map_maker", "signpost"])
async def test_a_service_that_names_what_it_reads_is_handed_that_and_its_records_go_the_same_way(
    bench: Bench, strategy: str
) -> None:
    seen: list[Record] = []

    def grow(record: Record) -> Any:
        seen.append(dict(record))
        if record["n"] == 3:
            return Drop("three")
        if record["n"] == 4:
            raise ValueError("four")
        record["size"] = record.pop("n") * 7
        return record

    records = [{"n": n, "text": f"{n} é", "size": 100, "rest": [n, {"n": n}]} for n in range(5)]
    itinerary = None
    if strategy == "map_maker":
        planned = RulesTable.parse(RULES, 1).plans("a", [{"size": 100}])[0]
        assert isinstance(planned, Itinerary)
        itinerary = planned
    made = []
    for reads in (None, frozenset({"n", "missing"})):
        bench.producer.sent.clear()
        await handled(bench, grow, envelope(*records, strategy=strategy, itinerary=itinerary), reads=reads)
        made.append(
            {
                (sent.topic, segment.ids, segment.outcome, str(segment.itinerary)): [*map(orjson.loads, segment.lines)]
                for sent in bench.producer.sent
                for segment in sent.envelope.segments
            }
        )

    assert made[0] == made[1]
    assert seen[: len(records)] == records
    assert seen[len(records) :] == [{"n": n} for n in range(5)]


async def test_a_line_that_is_no_record_is_a_dead_letter_where_only_some_fields_are_read_too(bench: Bench) -> None:
    good = envelope(*[{"n": n} for n in range(40)])
    [segment] = good.segments
    lines = list(segment.lines)
    lines[3], lines[35] = b'{"n":3,', b"[]"

    await handled(
        bench, as_it_is, replace(good, segments=(replace(segment, lines=tuple(lines)),)), reads=frozenset("n")
    )

    endings = endings_of(bench.producer.to("test.arrivals"))
    assert sorted(map(str, endings)) == ["3", "35"]
    assert all((reason or "").startswith("malformed_record") for _, reason in endings.values())
    assert sum(len(one.records) for one in bench.producer.to("test.service.c")) == 38


async def test_lines_that_are_no_records_do_not_shift_those_beside_them(bench: Bench) -> None:
    def note(record: Record) -> Record:
        return record | {"seen": record["n"]}

    good = envelope(*[{"n": n} for n in range(4)])
    [segment] = good.segments
    odd = replace(segment, lines=(b'{"n":0}', b'{"n":1}{"n":2}', b'{"n":3}', b""))

    await handled(bench, note, replace(good, segments=(odd,)), reads=frozenset("n"))

    assert set(endings_of(bench.producer.to("test.arrivals"))) == {1, 3}
    [sent] = bench.producer.to("test.service.c")
    assert sent.records == [{"n": 0, "seen": 0}, {"n": 3, "seen": 3}]


async def test_the_time_of_a_service_that_raises_counts(bench: Bench) -> None:
    def fail(record: Record) -> Record:
        bench.now += 1.0
        raise ValueError("no answer")

    await handled(bench, fail, envelope(*[{"n": n} for n in range(10)]), pack_seconds=2.5)

    assert len(endings_of(bench.producer.to("test.arrivals"))) == 3
    [back] = bench.producer.to("test.service.a")
    assert [record["n"] for record in back.records] == list(range(3, 10))


async def test_a_service_that_misses_a_field_which_it_was_not_handed_is_told_so(bench: Bench) -> None:
    for missed, hint in (
        ("b", "KeyError: 'b'; of the fields of the record, it receives a ("),
        ("a", "KeyError: 'a' ("),
    ):
        bench.producer.sent.clear()
        await handled(bench, lambda record, name=missed: record[name], envelope({"b": 1}), reads=frozenset("a"))
        [(ending, reason)] = endings_of(bench.producer.to("test.arrivals")).values()
        assert ending is Ending.DEAD
        assert str(reason).startswith(f"service_error: {hint}")


def test_what_is_read_may_come_from_a_generator() -> None:
    function = service(name="a", reads=(name for name in ["a", "b"]))(as_it_is)
    assert function.__metroline__.reads == {"a", "b"}  # type: ignore[attr-defined]


def takes_nothing() -> None: ...


def takes_more(record: Record, *rest: object, meta: Meta, limit: int = 3, **options: object) -> Record:
    return record


def test_a_function_that_takes_no_record_is_refused_when_the_line_is_loaded() -> None:
    with pytest.raises(InvalidLine, match="must take the record"):
        service(takes_nothing)  # type: ignore[type-var]


def test_a_function_may_have_other_parameters_that_need_no_value() -> None:
    assert service(takes_more).__metroline__.takes_meta  # type: ignore[attr-defined]


@pytest.mark.parametrize("reads", ["n", [1], [None]])
def test_what_is_read_is_a_list_of_names(reads: Any) -> None:
    with pytest.raises(InvalidLine, match="reads must be a list of names"):
        service(reads=reads)(as_it_is)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (TimeoutError("slow"), "retries_exhausted: slow"),
        (None, "retries_exhausted"),
        (404, "retries_exhausted: 404"),
        ("no \ud800 text", "retries_exhausted: no ? text"),
    ],
)
async def test_a_retry_may_give_any_object_as_its_reason(bench: Bench, reason: Any, shown: str) -> None:
    await handled(bench, lambda record: Retry(reason) if record["size"] else record, envelope({"size": 0}, {"size": 1}))

    assert endings_of(bench.producer.to("test.arrivals")) == {1: (Ending.DEAD, shown)}
    assert [one["size"] for sent in bench.producer.to("test.service.c") for one in sent.records] == [0]


async def test_a_drop_with_a_strange_reason_ends_its_record_alone(bench: Bench) -> None:
    reasons: list[Any] = [404, "no \ud800 text", "x" * 10_000, "gift"]

    await handled(bench, lambda record: Drop(reasons[record["size"]]), envelope(*[{"size": size} for size in range(4)]))

    sent = [Envelope.decode(message.value) for message in bench.producer.sent]
    outcomes = {
        record: segment.outcome for one in sent for segment in one.segments for record in segment.ids if segment.outcome
    }
    assert [outcome.ending for _, outcome in sorted(outcomes.items())] == [Ending.DEAD, *[Ending.DROPPED] * 3]
    assert outcomes[0].reason == "bad_return: Drop(404): the reason must be a string"
    assert outcomes[1].reason == "no ? text"
    assert len(outcomes[2].reason or "") < 10_000


@pytest.mark.parametrize(
    ("answer", "named"),
    [(None, "NoneType"), ([{"size": 1}], "list"), ("ok", "str"), (True, "bool"), (Drop, "type")],
)
async def test_an_answer_that_is_none_is_a_dead_letter_that_names_its_type(
    bench: Bench, answer: object, named: str
) -> None:
    await handled(bench, lambda record: answer, envelope({"size": 1}))

    [letter] = bench.producer.sent
    assert letter.topic == "test.arrivals"
    assert endings_of([letter]) == {0: (Ending.DEAD, f"bad_return: {named}, not a dict, Drop, Retry or Wait")}


async def test_a_kind_of_dict_is_a_dict(bench: Bench) -> None:
    await handled(bench, OrderedDict, envelope({"size": 11}))

    [sent] = bench.producer.sent
    assert (sent.topic, sent.records) == ("test.service.b", [{"size": 11}])


async def test_drop_ends_a_journey_with_its_reason_and_the_record_as_it_came(bench: Bench) -> None:
    def refuse(record: Record) -> Drop:
        record["size"] = 0
        return Drop("not wanted")

    await handled(bench, refuse, envelope({"size": 1}))

    assert endings_of(bench.producer.to("test.arrivals")) == {0: (Ending.DROPPED, "not wanted")}
    assert bench.producer.sent[0].records == [{"size": 1}]


async def test_retry_without_attempts_left_is_a_dead_letter_with_its_reason(bench: Bench) -> None:
    await handled(bench, lambda record: Retry("busy"), envelope({"size": 1}))

    assert endings_of(bench.producer.to("test.arrivals")) == {0: (Ending.DEAD, "retries_exhausted: busy")}


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), 2**64, {1: "a key that is no text"}, "\ud800", b"bytes"],
    ids=lambda value: repr(value)[:20],
)
async def test_what_json_cannot_hold_is_a_dead_letter_and_its_neighbours_go_on(bench: Bench, value: object) -> None:
    def spoil(record: Record) -> Record:
        if record["size"] == 2:
            record["odd"] = value
        return record

    await handled(bench, spoil, envelope({"size": 1}, {"size": 2}, {"size": 3}))

    [letter] = bench.producer.to("test.arrivals")
    [(ending, reason)] = endings_of([letter]).values()
    assert (ending, str(reason).partition(":")[0]) == (Ending.DEAD, "not_encodable")
    assert letter.records == [{"size": 2}]
    assert bench.producer.to("test.service.c")[0].records == [{"size": 1}, {"size": 3}]


async def test_a_record_that_holds_itself_is_a_dead_letter(bench: Bench) -> None:
    def tie(record: Record) -> Record:
        record["me"] = record
        return record

    await handled(bench, tie, envelope({"size": 1}))

    assert endings_of(bench.producer.sent)[0][0] is Ending.DEAD


@pytest.mark.parametrize("how", ["exit", "cancelled"])
async def test_not_even_an_exit_or_a_cancellation_of_its_own_stops_the_line(bench: Bench, how: str) -> None:
    async def leave(record: Record) -> Record:
        if record["size"] == 1:
            if how == "exit":
                sys.exit("bye")
            raise asyncio.CancelledError
        return record

    await handled(bench, leave, envelope({"size": 1}, {"size": 2}))

    [(ending, reason)] = endings_of(bench.producer.to("test.arrivals")).values()
    assert (ending, str(reason).partition(":")[0]) == (Ending.DEAD, "service_error")
    assert bench.producer.to("test.service.c")[0].records == [{"size": 2}]


async def test_a_worker_that_stops_cancels_what_its_service_waits_for(bench: Bench) -> None:
    started = asyncio.Event()

    async def wait(record: Record) -> Record:
        started.set()
        await asyncio.Event().wait()
        return record

    task = asyncio.create_task(bench.complete(bench.stop(wait).handle, envelope({"size": 1})))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not bench.producer.sent, "it is handled again after the restart, so it has no outcome now"


class Together:
    """A service that counts the records that it holds at once, and releases them in reverse order."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0

    async def __call__(self, record: Record) -> Record:
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(10 - record["size"]):
            await asyncio.sleep(0)
        self.inside -= 1
        return record | {"seen": True}


def coroutine(service: Together) -> Any:
    """Wrap the service in a coroutine function, as the decorator requires."""

    async def handle(record: Record) -> Record:
        return await service(record)

    return handle


async def test_an_async_service_takes_as_many_at_once_as_it_says_and_results_keep_their_places(bench: Bench) -> None:
    service = Together()
    records = [{"size": size} for size in (3, 9, 1, 7, 5, 2)]

    await handled(bench, coroutine(service), envelope(*records), concurrency=3)

    assert service.most == 3
    left = {i: line for one in segments_of(bench.producer.sent) for i, line in zip(one.ids, one.lines, strict=True)}
    assert [orjson.loads(left[i]) for i in range(6)] == [record | {"seen": True} for record in records]


async def test_one_at_a_time_unless_it_says_otherwise(bench: Bench) -> None:
    service = Together()

    await handled(bench, coroutine(service), envelope({"size": 3}, {"size": 1}, {"size": 2}))

    assert service.most == 1


async def test_records_of_several_segments_are_handled_at_once_too(bench: Bench) -> None:
    service = Together()
    alone = [envelope({"size": 1}, first=number).segments[0] for number in range(4)]
    incoming = Envelope("signpost", envelope({"size": 1}).origin, tuple(alone))

    await handled(bench, coroutine(service), incoming, concurrency=4)

    assert service.most == 4
    assert sorted(i for segment in segments_of(bench.producer.sent) for i in segment.ids) == [0, 1, 2, 3]


async def test_a_pack_that_takes_too_long_is_cut_and_the_rest_comes_back_as_it_was(bench: Bench) -> None:
    def slow(record: Record) -> Record:
        bench.now += 2
        return record | {"done": True}

    incoming = envelope(*({"size": size} for size in range(1, 6)), chosen=Provenance("all begin at a", "on-ramp", 1))
    await handled(bench, slow, incoming, pack_seconds=5)

    [gone], [rest] = bench.producer.to("test.service.c"), bench.producer.to("test.service.a")
    assert [record["size"] for record in gone.records] == [1, 2, 3]
    assert all(record["done"] for record in gone.records)
    assert rest.records == [{"size": 4}, {"size": 5}]
    [segment] = segments_of([rest])
    assert (segment.ids, segment.history, segment.hops) == ((3, 4), (), 2)
    assert segment.chosen == Provenance("all begin at a", "on-ramp", 1)


async def test_a_pack_of_many_segments_is_cut_as_well(bench: Bench) -> None:
    def slow(record: Record) -> Record:
        bench.now += 2
        return record

    alone = [envelope({"size": 1}, first=number).segments[0] for number in range(6)]
    await handled(bench, slow, Envelope("signpost", envelope({"size": 1}).origin, tuple(alone)), pack_seconds=5)

    [rest] = bench.producer.to("test.service.a")
    assert [segment.ids for segment in segments_of([rest])] == [(3,), (4,), (5,)]
    assert len(list(segments_of(bench.producer.to("test.service.c")))) == 3


async def test_a_pack_of_a_concurrent_service_is_cut_as_well(bench: Bench) -> None:
    async def slow(record: Record) -> Record:
        bench.now += 1
        await asyncio.sleep(0)
        return record

    incoming = envelope(*({"size": 1} for _ in range(20)))
    await handled(bench, slow, incoming, pack_seconds=5, concurrency=2)

    gone_ids = [i for segment in segments_of(bench.producer.to("test.service.c")) for i in segment.ids]
    rest_ids = [i for segment in segments_of(bench.producer.to("test.service.a")) for i in segment.ids]
    assert [*gone_ids, *rest_ids] == list(range(20))
    assert 5 <= len(gone_ids) <= 8


async def test_even_a_slow_service_handles_one_record_of_a_pack(bench: Bench) -> None:
    def slow(record: Record) -> Record:
        bench.now += 60
        return record

    await handled(bench, slow, envelope({"size": 1}, {"size": 2}), pack_seconds=5)

    assert bench.producer.to("test.service.c")[0].records == [{"size": 1}]
    assert bench.producer.to("test.service.a")[0].records == [{"size": 2}]


@pytest.mark.parametrize("limits", [Limits(pack_records=2), Limits(pack_bytes=45)], ids=["records", "bytes"])
async def test_what_leaves_together_is_packed_within_its_bounds(limits: Limits) -> None:
    bench = Bench.make(limits)

    await handled(bench, as_it_is, envelope(*({"size": size, "text": "x"} for size in range(5))))

    sent = bench.producer.to("test.service.c")
    assert [len(one.records) for one in sent] == [2, 2, 1]
    assert [record["size"] for one in sent for record in one.records] == [0, 1, 2, 3, 4]


async def test_a_journey_that_visited_too_many_stops_ends(bench: Bench) -> None:
    bench = Bench.make(Limits(max_hops=3))
    behind = tuple(Visit(stop, 1.0, None, "on-ramp", 1) for stop in ("b", "b"))

    await handled(bench, as_it_is, envelope({"size": 11}, history=behind))

    assert endings_of(bench.producer.to("test.arrivals")) == {
        0: (Ending.DEAD, "too_many_hops: 3 stops visited, the maximum is 3")
    }


async def test_under_hard_wired_the_file_decides_and_under_signpost_the_live_table(bench: Bench) -> None:
    bench.publish(RULES.replace('to = "c"', 'to = "b"'), replaces=1)

    await handled(bench, as_it_is, envelope({"size": 1}, strategy="hard_wired"))
    await handled(bench, as_it_is, envelope({"size": 1}, strategy="signpost"))

    assert [sent.topic for sent in bench.producer.sent] == ["test.service.c", "test.service.b"]
    assert [segment.chosen and segment.chosen.version for segment in segments_of(bench.producer.sent)] == [0, 2]


async def test_under_conductor_every_record_goes_back_to_the_conductor(bench: Bench) -> None:
    await handled(bench, as_it_is, envelope({"size": 1}, {"size": 99}, strategy="conductor"))

    [sent] = bench.producer.sent
    assert (sent.topic, len(sent.records)) == ("test.conductor", 2)


async def test_under_map_maker_the_plan_is_followed_until_a_stop_changed_what_it_was_built_on(bench: Bench) -> None:
    plan = RulesTable.parse(RULES, 1).plan("source", {"size": 11})
    assert isinstance(plan, Itinerary)
    ahead = plan.hop("map-maker").itinerary

    def shrink(record: Record) -> Record:
        if record["shrinks"]:
            record["size"] = 11.0
        record["other"] = "a field that no rule reads"
        return record

    incoming = envelope(
        {"size": 11, "shrinks": False}, {"size": 11, "shrinks": True}, strategy="map_maker", itinerary=ahead
    )
    await handled(bench, shrink, incoming)

    [planned], [stale] = bench.producer.to("test.service.b"), bench.producer.to("test.switch")
    assert [segment.ids for segment in segments_of([planned, stale])] == [(0,), (1,)]
    [segment] = segments_of([planned])
    assert segment.chosen == Provenance("big ones to b", "map-maker", 1)


async def test_each_attempt_starts_from_the_bytes_that_came(bench: Bench) -> None:
    kept: list[Record] = []

    def keep(record: Record) -> Record:
        kept.append(record)
        return record

    incoming = envelope({"size": 1, "parts": [1]})
    await handled(bench, keep, incoming)
    kept[0]["parts"].append(2)
    await handled(bench, keep, incoming)

    assert kept[1] == {"size": 1, "parts": [1]}


async def test_a_line_that_is_no_record_is_a_dead_letter(bench: Bench) -> None:
    good = envelope({"size": 1})
    broken = replace(good.segments[0], ids=(5, 6), lines=(b"{", b"7"))

    await handled(bench, as_it_is, replace(good, segments=(*good.segments, broken)))

    assert bench.producer.to("test.service.c")[0].records == [{"size": 1}]
    letters = endings_of(bench.producer.to("test.arrivals"))
    assert {number: str(reason).partition(":")[0] for number, (_, reason) in letters.items()} == {
        5: "malformed_record",
        6: "malformed_record",
    }


async def test_a_record_keeps_the_metadata_of_its_source_message_and_a_service_may_see_it(bench: Bench) -> None:
    def note(record: Record, id: str, meta: Meta) -> Record:
        if record["size"] == 2:
            raise ValueError("again")
        name = meta.headers["n"] or b""
        return record | {"seen": [id, meta.key and meta.key.decode(), name.decode(), meta.timestamp, meta.offset]}

    keys, names = (b"a", None, b"c", None), (b"0", b"1", b"2", b"3")
    metadata = Metadata(keys, tuple((("n", name),) for name in names), (1_000, 2_000, 3_000, 4_000))
    records = [{"size": 1}, {"size": 20}, {"size": 2}, {"size": 3}]
    policy = RetryPolicy(attempts=2, backoff=10.0)
    stop = bench.stop(note, takes_id=True, takes_meta=True, retry_policy=policy)
    await bench.complete(stop.handle, envelope(*records, metadata=metadata))

    left = [
        (orjson.loads(line)["seen"] if b"seen" in line else None, own.key_of(place), own.headers_of(place))
        for segment in segments_of(bench.producer.sent)
        for own in [segment.metadata or Metadata()]
        for place, line in enumerate(segment.lines)
    ]
    assert sorted(left, key=lambda one: one[2]) == [
        (["source-0-0", "a", "0", 1.0, 0], b"a", (("n", b"0"),)),
        (["source-0-1", None, "1", 2.0, 1], None, (("n", b"1"),)),
        (None, b"c", (("n", b"2"),)),
        (["source-0-3", None, "3", 4.0, 3], None, (("n", b"3"),)),
    ]
