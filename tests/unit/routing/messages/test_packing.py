"""Packing: as few envelopes as the limits allow, in order, without losing a record."""

from __future__ import annotations

from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope, fitting, join, pack
from metroline.routing.messages.itinerary import Decision, Hop, Itinerary, Provenance
from metroline.routing.messages.record_ids import SEVERAL, Origin, RecordId
from metroline.routing.messages.segment import DiscardRequest, ReplayRequest, Request, Segment, Visit
from metroline.routing.outcome import Cause, Ending, Outcome
from tests.support.worlds import examples

ORIGIN = Origin("source", 2)

lengths = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), max_size=6)


def segments_of(sizes: list[list[int]]) -> list[Segment]:
    """Return segments whose lines have these lengths; every record has an id of its own, in order."""
    made: list[Segment] = []
    offset = 0
    for number, own in enumerate(sizes):
        ids = tuple(range(offset, offset + len(own)))
        history = (Visit(f"s{number}", 0.5, None, "", 0),)
        made.append(Segment(ids, tuple(b"x" * size for size in own), float(number), history))
        offset += len(own)
    return made


def records_of(envelope: Envelope) -> list[tuple[RecordId, bytes, float]]:
    return [
        (record, line, segment.entered)
        for segment in envelope.segments
        for record, line in zip(segment.ids, segment.lines, strict=True)
    ]


def size_of(envelope: Envelope) -> int:
    return sum(len(line) + 1 for _, line, _ in records_of(envelope))


@given(lengths, st.integers(1, 60), st.integers(1, 8))
@examples(400)
def test_packs_keep_order_lose_nothing_and_stay_within_bounds(
    sizes: list[list[int]], max_bytes: int, max_records: int
) -> None:
    segments = segments_of(sizes)
    packs = list(pack("signpost", ORIGIN, segments, max_bytes, max_records))
    sent = [(one, line, part.entered) for part in segments for one, line in zip(part.ids, part.lines, strict=True)]
    assert list(chain.from_iterable(map(records_of, packs))) == sent
    for envelope in packs:
        assert (envelope.strategy, envelope.origin) == ("signpost", ORIGIN)
        assert len(envelope) == 1 or (size_of(envelope) <= max_bytes and len(envelope) <= max_records)
        assert all(segment.ids for segment in envelope.segments)
        assert Envelope.decode(envelope.encode()) == envelope


@given(lengths.filter(bool), st.integers(1, 60), st.integers(1, 8))
@examples(200)
def test_no_two_neighbours_of_one_segment_each_would_fit_into_one_pack(
    sizes: list[list[int]], max_bytes: int, max_records: int
) -> None:
    segment = segments_of([list(chain.from_iterable(sizes))])[0]
    packs = list(pack("signpost", ORIGIN, [segment], max_bytes, max_records))
    for one, next_one in pairwise(packs):
        first_of_next = len(records_of(next_one)[0][1]) + 1
        assert len(one) == max_records or size_of(one) + first_of_next > max_bytes


def test_a_lone_record_is_a_pack_of_its_own_however_large() -> None:
    large = Segment((1,), (b"x" * 1_000,), 0.0)
    assert [len(envelope) for envelope in pack("signpost", ORIGIN, [large], 10, 500)] == [1]


def test_segments_that_fit_travel_in_one_envelope() -> None:
    packs = list(pack("signpost", ORIGIN, segments_of([[10], [10], [10]]), 1_000, 500))
    assert [len(envelope.segments) for envelope in packs] == [3]


def test_nothing_makes_no_envelope() -> None:
    assert not list(pack("signpost", ORIGIN, [], 1_000, 500))


def test_a_part_keeps_what_its_records_share() -> None:
    segment = replace(segments_of([[1, 2, 3]])[0], hops=4, chosen=Provenance("rule", "conductor", 3))
    part = segment.part([0, 2])
    assert (part.ids, part.lines) == ((0, 2), (b"x", b"xxx"))
    assert (part.entered, part.history, part.hops, part.chosen) == (0.0, segment.history, 4, segment.chosen)
    assert segment.part([0, 1, 2]) == segment


def left(segment: Segment, hop: Hop, max_hops: int) -> tuple[str, Segment]:
    """Return the address to which this hop sends a segment, and the segment as it travels there."""
    departures = Departures("signpost", ORIGIN, max_hops)
    departures.add(segment, hop)
    [(to, [moved])] = departures.by_address.items()
    return to, moved


def test_a_record_that_moves_on_is_one_hop_further_and_knows_who_chose() -> None:
    segment = segments_of([[1]])[0]
    decision = Decision("allow_list", None, "rule", 3, frozenset())
    to, moved = left(segment, decision.hop("conductor"), max_hops=64)
    assert (to, moved.hops, moved.outcome) == ("service.allow_list", 1, None)
    visited = moved.visited("allow_list", 9.5)
    assert visited.last_stop == "allow_list"
    assert visited.history[-1] == Visit("allow_list", 9.5, "rule", "conductor", 3)


def test_a_record_that_has_gone_too_far_goes_to_the_arrivals_instead_of_to_the_next_stop() -> None:
    segment = replace(segments_of([[1]])[0], history=(Visit("s0", 0.5, None, "", 0),) * 3)
    leg = Decision("s1", None, "rule", 1, frozenset())
    plan = Itinerary(1, (leg, leg))
    to, moved = left(segment, plan.hop("switch"), max_hops=3)
    assert to == "arrivals"
    assert moved.outcome == Outcome.dead(Cause.TOO_MANY_HOPS, "3 stops visited, the maximum is 3")
    assert moved.itinerary is None
    assert left(segment, plan.hop("switch"), max_hops=4)[0] == "service.s1"


def test_what_has_ended_or_asks_the_way_is_never_too_far() -> None:
    segment = replace(segments_of([[1]])[0], history=(Visit("s0", 0.5, None, "", 0),) * 3)
    ended = Hop("arrivals", outcome=Outcome(Ending.DELIVERED))
    assert left(segment, ended, max_hops=3)[1].outcome == Outcome(Ending.DELIVERED)
    assert left(segment, Hop("conductor"), max_hops=3)[0] == "conductor"


@st.composite
def envelopes_of_partitions(draw: st.DrawFn) -> list[Envelope]:
    """Return envelopes of some partitions whose ids ascend; many segments differ only in their records."""
    offsets: dict[int, int] = {}
    made = []
    for partition in draw(st.lists(st.integers(0, 3), min_size=1, max_size=8)):
        segments = []
        for count, entered in draw(
            st.lists(st.tuples(st.integers(1, 3), st.sampled_from((1.0, 2.0))), min_size=1, max_size=3)
        ):
            first = offsets.get(partition, 0)
            offsets[partition] = first + count
            ids = tuple(range(first, first + count))
            segments.append(Segment(ids, tuple(b"%d/%d" % (partition, one) for one in ids), entered))
        made.append(Envelope("signpost", Origin("source", partition), tuple(segments)))
    return made


@given(envelopes_of_partitions())
@examples(300)
def test_envelopes_of_several_partitions_are_joined_and_divided_again_with_each_partition_in_order(
    envelopes: list[Envelope],
) -> None:
    joined = join(envelopes)

    partitions = {envelope.origin.partition for envelope in envelopes}
    assert joined.partitions == partitions
    assert joined.origin == Origin("source", SEVERAL if len(partitions) > 1 else partitions.pop())
    sent: dict[Origin, list[tuple[RecordId, bytes, float]]] = {}
    for envelope in envelopes:
        sent.setdefault(envelope.origin, []).extend(records_of(envelope))
    assert {part.origin: records_of(part) for part in joined.by_partition()} == sent
    assert all(segment.partitions is None for part in joined.by_partition() for segment in part.segments)


def test_segments_of_several_partitions_that_differ_only_in_their_records_become_one() -> None:
    at = (Visit("a", 1.0, None, "on-ramp", 1),)
    envelopes = [
        Envelope("signpost", Origin("source", partition), (Segment((7,), (b"%d" % partition,), 1.0, at),))
        for partition in range(3)
    ]

    [segment] = join(envelopes).segments

    assert (segment.ids, segment.lines) == ((7, 7, 7), (b"0", b"1", b"2"))
    assert segment.partitions == (0, 1, 2)
    assert segment.part([2]).partitions == (2,)


def test_requests_of_two_kinds_are_not_taken_for_one() -> None:
    requests: list[Request] = [ReplayRequest("a"), DiscardRequest("a")]
    joined = join(
        [
            Envelope("signpost", Origin("source", number), (Segment((7,), (b"{}",), 1.0, request=request),))
            for number, request in enumerate(requests)
        ]
    )
    assert [(segment.request, segment.partitions) for segment in joined.segments] == [
        (requests[0], (0,)),
        (requests[1], (1,)),
    ]
    assert [type(segment.request) for segment in joined.segments] == [ReplayRequest, DiscardRequest]


@given(lengths, st.integers(150, 2_000))
@examples(200)
def test_what_does_not_fit_into_a_message_is_divided_down_to_single_records(
    sizes: list[list[int]], max_bytes: int
) -> None:
    whole = Envelope("signpost", ORIGIN, tuple(segments_of(sizes)))
    parts = list(fitting(whole, max_bytes)) if len(whole) else []
    assert list(chain.from_iterable(records_of(part) for part, _ in parts)) == records_of(whole)
    for part, value in parts:
        assert value == part.encode()
        assert len(value) <= max_bytes or len(part) == 1
