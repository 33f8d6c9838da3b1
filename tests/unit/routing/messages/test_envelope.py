"""Envelopes: each is decoded as it was encoded, and any other bytes are malformed and cause no other error."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import MalformedEnvelope
from metroline.routing.messages.envelope import FORMAT, READABLE, Envelope, is_newer
from metroline.routing.messages.itinerary import Decider, Decision, Itinerary, Provenance
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import MAX_RECORDS_IN_MESSAGE, Origin, id_text
from metroline.routing.messages.segment import Attempts, DiscardRequest, Replan, Replay, ReplayRequest, Segment, Visit
from metroline.routing.outcome import DELIVERED, Cause, Ending, Outcome, ServiceError
from tests.support.worlds import examples

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
naturals = st.integers(0, 2**53 - 3)
times = st.floats(0, 4e9)
maybe_texts = st.none() | texts
names = st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True)
indexes = st.integers(0, MAX_RECORDS_IN_MESSAGE - 2)
ids = naturals | st.builds(lambda offset, index: (offset, index, index + 2), naturals, indexes)
lines = st.dictionaries(texts, st.none() | st.integers(0, 9) | texts, max_size=2).map(orjson.dumps)
visits = st.builds(Visit, texts, times, maybe_texts, texts, naturals, st.none() | times)
outcomes = st.one_of(
    st.just(DELIVERED),
    st.builds(Outcome.dropped, texts, maybe_texts),
    st.builds(Outcome.dead, st.sampled_from(Cause), texts, maybe_texts),
    st.builds(Outcome.raised, st.builds(ServiceError, texts, texts, texts)),
)
traces = st.just(()) | st.lists(texts.filter(bool), min_size=1, max_size=2).map(tuple)
moments = st.just(()) | st.lists(st.floats(1, 4e9), min_size=1, max_size=2).map(tuple)
causes = st.lists(texts, max_size=2).map(tuple)
retried = st.builds(Attempts, names, causes, times, st.just(()), moments)
replans = st.builds(Replan, names, causes)
requests = st.builds(ReplayRequest, st.none() | names) | st.builds(DiscardRequest, texts)
fields = st.none() | st.frozensets(texts, max_size=3)


@st.composite
def itineraries(draw: st.DrawFn) -> Itinerary:
    version = draw(naturals)

    def leg() -> Decision | Decider:
        rule, reads = draw(maybe_texts), draw(fields)
        if draw(st.booleans()):
            return Decision(draw(names), None, rule, version, reads)
        if draw(st.booleans()):
            forecast = Outcome(draw(st.sampled_from(Ending)), None, draw(texts), rule)
            return Decision(None, forecast, rule, version, reads)
        asked: Decider = draw(st.sampled_from(Decider))
        return asked

    return Itinerary(version, tuple(leg() for _ in range(draw(st.integers(1, 3)))), draw(texts))


header_values = st.none() | st.binary(max_size=4) | texts.map(str.encode)
header_lists = st.lists(st.tuples(texts, header_values), min_size=1, max_size=2).map(tuple)


@st.composite
def metadata(draw: st.DrawFn, count: int) -> Metadata | None:
    def of_each(one: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | st.lists(one, min_size=count, max_size=count).map(tuple))

    drawn = Metadata(of_each(header_values), of_each(st.none() | header_lists), of_each(st.integers(-1, 2**50)))
    return None if drawn == Metadata() else drawn


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    records = draw(st.lists(st.tuples(ids, lines), min_size=1, max_size=4))
    return Segment(
        tuple(one for one, _ in records),
        tuple(line for _, line in records),
        draw(times),
        tuple(draw(st.lists(visits, max_size=2))),
        draw(st.none() | st.builds(Provenance, maybe_texts, texts, naturals)),
        draw(st.none() | itineraries()),
        draw(st.none() | outcomes),
        draw(st.integers(0, 200)),
        draw(st.none() | st.builds(Attempts, names, causes, times, traces, moments)),
        draw(st.integers(0, 3)),
        tuple(draw(st.lists(st.builds(Replay, times, texts, texts, maybe_texts), max_size=2))),
        draw(st.none() | requests),
        metadata=draw(metadata(len(records))),
        retried=tuple(draw(st.lists(retried, max_size=2))),
        replans=tuple(draw(st.lists(replans, max_size=2))),
    )


envelopes = st.builds(
    Envelope, texts, st.builds(Origin, names, naturals), st.lists(segments(), min_size=1, max_size=3).map(tuple)
)


@given(envelopes)
@examples(100)
def test_an_envelope_comes_back_as_it_was_sent(envelope: Envelope) -> None:
    raw = envelope.encode()
    assert Envelope.decode(raw) == envelope
    assert Envelope.decode(raw).encode() == raw
    assert raw.count(b"\n") == len(envelope)


def read_or_refused(raw: bytes) -> Envelope | None:
    """Return the envelope, checked to be sendable again, or None if it was refused with its bytes preserved."""
    malformed: MalformedEnvelope | None = None
    try:
        envelope = Envelope.decode(raw)
    except MalformedEnvelope as error:
        malformed = error
    if malformed is not None:
        assert malformed.raw == raw
        assert str(malformed).startswith("not an envelope: ")
        assert len(str(malformed)) < 400
        return None
    assert Envelope.decode(envelope.encode()) == envelope
    for segment in envelope.segments:
        assert isinstance(segment.last_stop, str)
        if segment.itinerary is not None:
            assert segment.itinerary.hop("switch").to
    return envelope


@given(st.one_of(st.binary(), st.text().map(str.encode)))
@examples(300)
def test_any_bytes_are_an_envelope_or_malformed(raw: bytes) -> None:
    assert read_or_refused(raw) is None


@given(envelopes, st.data())
@examples(80)
def test_a_damaged_envelope_is_read_or_malformed(envelope: Envelope, data: st.DataObject) -> None:
    raw = bytearray(envelope.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    read_or_refused(bytes(raw))


def test_traces_stand_apart_from_the_attempts_as_earlier_workers_know_them() -> None:
    tried = Segment((7,), (b"{}",), 1.0, attempts=Attempts("weigh", ("x",), 2.0, ("services.py:6 in weigh",)))
    header = Envelope("signpost", Origin("source", 0), (tried,)).encode().partition(b"\n")[0]
    [encoded] = orjson.loads(header)["segments"]
    assert encoded["tries"] == ["weigh", ["x"], 2.0]
    assert encoded["traces"] == ["services.py:6 in weigh"]


@given(envelopes, st.data())
@examples(80)
def test_an_envelope_that_lost_a_record_is_malformed(envelope: Envelope, data: st.DataObject) -> None:
    raw = envelope.encode()
    cut = data.draw(st.integers(0, raw.rindex(b"\n")))
    assert read_or_refused(raw[:cut]) is None


HEADER: dict[str, Any] = {
    "metroline": 2,
    "strategy": "map_maker",
    "origin": ["source", 3],
    "segments": [
        {
            "ids": [7, [8, 0, 2]],
            "entered": 1.5,
            "hops": 2,
            "history": [["s0", 2.5, "r", "map-maker", 1]],
            "chosen": ["r", "map-maker", 1],
            "itinerary": {
                "version": 1,
                "by": "map-maker",
                "legs": [["s1", "r", ["a"], None], [None, None, None, ["delivered", None]], ["switch"]],
            },
            "outcome": ["dropped", None, "why", "r"],
        }
    ],
}
floats = st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a header."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for step, inner in steps for place in places(inner, (*path, step)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of a header with another value at a path."""
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


@given(st.lists(st.tuples(st.sampled_from(places(HEADER)), anything), min_size=1, max_size=2))
@examples(500)
def test_a_header_of_any_other_shape_is_read_or_malformed(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    header: Any = HEADER
    for place, new in changes:
        try:
            header = replaced(header, place, new)
        except (TypeError, LookupError, ValueError):  # the place went with the change before
            continue
    read_or_refused(orjson.dumps(header) + b'\n{"a":1}\n{"a":2}')


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("strategy",), None),
        (("strategy",), 5),
        (("origin",), []),
        (("origin", 1), -1),
        (("origin", 1), True),
        (("segments",), []),
        (("segments", 0, "ids"), []),
        (("segments", 0, "ids"), [1]),
        (("segments", 0, "ids"), [1, 2, 3]),
        (("segments", 0, "ids", 0), -1),
        (("segments", 0, "ids", 1), [8, 2, 2]),
        (("segments", 0, "ids", 1), [8, 2**33, 2**34]),
        (("segments", 0, "ids"), [[7, 0, 2], [8, 2**33, 2**34]]),
        (("segments", 0, "ids", 1), "8"),
        (("segments", 0, "entered"), "nan"),
        (("segments", 0, "entered"), True),
        (("segments", 0, "hops"), 1.5),
        (("segments", 0, "history", 0), ["s0"]),
        (("segments", 0, "history", 0, 0), 5),
        (("segments", 0, "history", 0, 1), "1"),
        (("segments", 0, "chosen"), []),
        (("segments", 0, "itinerary"), []),
        (("segments", 0, "itinerary", "by"), ["x"]),
        (("segments", 0, "itinerary", "version"), "1"),
        (("segments", 0, "itinerary", "legs"), []),
        (("segments", 0, "itinerary", "legs", 0), ["s1", "r", ["a"], ["delivered", None]]),
        (("segments", 0, "itinerary", "legs", 0), [5, "r", ["a"], None]),
        (("segments", 0, "itinerary", "legs", 0, 2), ["a", 5]),
        (("segments", 0, "itinerary", "legs", 0, 2), [["a"]]),
        (("segments", 0, "itinerary", "legs", 1, 3), ["arrived", None]),
        (("segments", 0, "itinerary", "legs", 2), ["arrivals"]),
        (("segments", 0, "outcome", 0), "lost"),
        (("segments", 0, "outcome", 1), {}),
        (("segments", 0, "outcome", 1), "bad_luck"),
        (("segments", 0, "outcome", 2), None),
        (("segments", 0, "outcome", 3), 5),
        (("segments", 0, "outcome"), ["dead", "service_error", "", None, ["ValueError", 5]]),
        (("segments", 0, "outcome"), ["dead", "bad_luck: it rained", None]),
    ],
)
def test_a_header_with_a_wrong_value_is_malformed(place: tuple[Any, ...], value: Any) -> None:
    raw = b'\n{"a":1}\n{"a":2}'
    assert read_or_refused(orjson.dumps(HEADER) + raw) is not None
    assert read_or_refused(orjson.dumps(replaced(HEADER, place, value)) + raw) is None


@pytest.mark.parametrize(
    "place", [("strategy",), ("segments", 0, "itinerary", "legs", 2, 0), ("segments", 0, "outcome", 0)]
)
def test_a_header_nested_a_thousand_levels_deep_is_malformed(place: tuple[Any, ...]) -> None:
    mark = orjson.dumps(replaced(HEADER, place, "HERE"))
    raw = mark.replace(b'"HERE"', b"[" * 1_000 + b"]" * 1_000) + b'\n{"a":1}\n{"a":2}'
    assert read_or_refused(raw) is None


@pytest.mark.parametrize("version", [3, 0, 99, "1", None, True, 1.0])
def test_an_envelope_of_another_format_is_refused_with_the_bytes_kept(version: Any) -> None:
    raw = orjson.dumps(HEADER | {"metroline": version}) + b'\n{"a":1}\n{"a":2}'
    assert read_or_refused(raw) is None


def test_a_newer_format_is_named_so_that_a_person_knows_what_to_update() -> None:
    raw = orjson.dumps({"metroline": 3})
    with pytest.raises(MalformedEnvelope, match=r"its format is 3; this worker reads up to 2"):
        Envelope.decode(raw)


@pytest.mark.parametrize(
    ("old", "outcome"),
    [
        (["delivered", None, None], DELIVERED),
        (["dropped", "not wanted", "r"], Outcome.dropped("not wanted", "r")),
        (
            ["dead", "unroutable: no rule after a holds", "r"],
            Outcome.dead(Cause.UNROUTABLE, "no rule after a holds", "r"),
        ),
        (["dead", "timeout", None], Outcome.dead(Cause.TIMEOUT)),
    ],
)
def test_outcomes_of_the_format_before_are_read(old: list[Any], outcome: Outcome) -> None:
    raw = orjson.dumps(replaced(HEADER | {"metroline": 1}, ("segments", 0, "outcome"), old)) + b'\n{"a":1}\n{"a":2}'
    assert Envelope.decode(raw).segments[0].outcome == outcome


@pytest.mark.parametrize(
    ("old", "request_"),
    [
        ("replay", ReplayRequest()),
        ("replay:a", ReplayRequest("a")),
        ("discard:a test: it is", DiscardRequest("a test: it is")),
    ],
)
def test_requests_of_the_format_before_are_read(old: str, request_: ReplayRequest | DiscardRequest) -> None:
    header = HEADER | {"metroline": 1, "segments": [HEADER["segments"][0] | {"reopen": old}]}
    assert Envelope.decode(orjson.dumps(header) + b'\n{"a":1}\n{"a":2}').segments[0].request == request_


@pytest.mark.parametrize("asked", [["burn", None], ["replay", 5], ["replay", "a b"], ["discard", None], [], 7])
def test_an_unknown_request_is_malformed(asked: Any) -> None:
    header = HEADER | {"segments": [HEADER["segments"][0] | {"request": asked}]}
    assert read_or_refused(orjson.dumps(header) + b'\n{"a":1}\n{"a":2}') is None


def test_records_that_share_their_past_share_it_on_the_bus() -> None:
    history = tuple(Visit(f"s{number}", 1.5, "rule", "conductor", 1) for number in range(20))
    line = b'{"a":1}'
    one = Envelope("conductor", Origin("source", 0), (Segment((0,), (line,), 1.5, history),))
    many = Envelope("conductor", Origin("source", 0), (Segment(tuple(range(100)), (line,) * 100, 1.5, history),))
    assert len(many.encode()) < len(one.encode()) + 100 * 16


@pytest.mark.parametrize(("record", "text"), [(42, "source-3-42"), ((42, 5, 49), "source-3-42.5")])
def test_an_id_is_written_for_a_person(record: Any, text: str) -> None:
    assert id_text(Origin("source", 3), record) == text


def test_an_earlier_version_reads_a_history_and_a_later_one_misses_only_what_the_earlier_one_did_not_write() -> None:
    visits = (Visit("a", 2.0, None, "on-ramp", 1, 0.5), Visit("b", 3.0, "r", "a", 1))
    tried = Attempts("b", ("x",), 4.0, (), (3.5,))
    segment = Segment((7,), (b"{}",), 1.0, visits, attempts=tried, retried=(tried,), replans=(Replan("a", ("n",)),))
    head, line = Envelope("map_maker", Origin("source", 0), (segment,)).encode().split(b"\n")
    header = orjson.loads(head)
    [encoded] = header["segments"]
    assert [len(visit) for visit in encoded["history"]] == [5, 5]
    assert encoded["tries"] == ["b", ["x"], 4.0]
    for own in ("worked", "tried", "retried", "replans"):
        del encoded[own]  # an earlier version does not write what it does not read
    [read] = Envelope.decode(orjson.dumps(header) + b"\n" + line).segments
    assert read.history == tuple(visit._replace(worked=None) for visit in visits)
    assert (read.attempts, read.retried, read.replans) == (tried._replace(times=()), (), ())


def test_durations_that_do_not_fit_the_history_are_malformed() -> None:
    header = HEADER | {"segments": [HEADER["segments"][0] | {"history": [["a", 2.0, None, "", 1]], "worked": [1, 2]}]}
    assert read_or_refused(orjson.dumps(header) + b'\n{"a":1}\n{"a":2}') is None


def test_the_present_format_and_the_one_before_it_are_read() -> None:
    assert {FORMAT, FORMAT - 1} == READABLE


@pytest.mark.parametrize(
    ("raw", "is_newer_one"),
    [
        (orjson.dumps(HEADER | {"metroline": FORMAT + 1}) + b'\n{"a":1}', True),
        (orjson.dumps(HEADER | {"metroline": FORMAT + 1}) + b"\n" + bytes(9), True),
        (orjson.dumps(HEADER | {"metroline": FORMAT + 2}), False),
        (orjson.dumps(HEADER | {"metroline": 999}), False),
        (orjson.dumps(HEADER | {"metroline": FORMAT + 1, "segments": []}), False),
        (orjson.dumps(HEADER | {"metroline": FORMAT + 1, "segments": [7]}), False),
        (orjson.dumps(HEADER | {"metroline": FORMAT + 1, "origin": ["a/b", 0]}), False),
        (orjson.dumps(HEADER | {"metroline": FORMAT + 1, "strategy": None}), False),
        (b'{"metroline":%d,"segments":garbage' % (FORMAT + 1), False),
        (orjson.dumps(HEADER) + b'\n{"a":1}\n{"a":2}', False),
        (orjson.dumps(HEADER | {"metroline": FORMAT - 1}), False),
        (orjson.dumps(HEADER | {"metroline": str(FORMAT + 1)}), False),
        (orjson.dumps(HEADER | {"metroline": -FORMAT}), False),
        (orjson.dumps({"metroline": FORMAT + 1, "a": 1}), False),
        (orjson.dumps({"metroline": FORMAT + 1, "a": 1}) + b'\n"segments":', False),
        (b'{"a":1}', False),
        (b"", False),
        (None, False),
    ],
)
def test_an_envelope_of_a_newer_format_is_told_from_what_is_no_envelope(raw: bytes | None, is_newer_one: bool) -> None:
    assert is_newer(raw) is is_newer_one
