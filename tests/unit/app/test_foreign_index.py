"""The index of dead letters of other systems is small, bounded, and says which letters came back."""

from __future__ import annotations

from pyroaring import BitMap, BitMap64

from metroline.app.operations.foreign_index import ForeignIndex
from metroline.app.operations.foreign_jobs import mark_at, offsets_of
from metroline.routing.journeys.foreign_letters import ForeignLetter

LONG = "no price for " + "x" * 100_000


def letter(topic: str = "orders", offset: int | None = None, message: str = "no price") -> ForeignLetter:
    return ForeignLetter("Spring", topic, 0, offset, "com.shop.NoPrice", message, "shop", "at …", (("a", b"b"),))


def test_groups_are_without_those_that_are_gone_the_largest_one_first() -> None:
    index = ForeignIndex()
    for offset in range(4):
        index.add((0, offset), letter(), 10.0 + offset, is_gone=False)
    for offset in range(3):
        index.add((1, offset), letter("parcels"), 20.0, is_gone=False)
    first, second = index.groups({})
    assert (first.count, first.example.topic, first.first, first.last) == (4, "orders", 10.0, 13.0)
    assert list(first.listed((0, 1))) == [(0, 2), (0, 3)]
    [only] = index.groups({0: BitMap64([0, 1, 2, 3]), 1: BitMap64([1])})
    assert (only.id, only.count, only.as_json()["example"]) == (second.id, 2, "1-0")
    index.drop(iter([(1, 0), (7, 7)]))
    assert index.groups({0: BitMap64(range(4))})[0].count == 2


def test_letters_come_back_by_the_places_of_their_messages() -> None:
    index = ForeignIndex()
    for offset in (5, 7):
        index.add((0, offset), letter(offset=100 + offset), 1.0, is_gone=offset == 7)
    index.add((0, 9), letter("parcels", offset=105), 1.0, is_gone=False)
    index.add((0, 10), letter(offset=None), 1.0, is_gone=False)
    sent = {0: BitMap64([104, 105, 106, 107]), 1: BitMap64([105])}
    assert (index.come_back("orders", sent), index.come_back("parcels", sent), index.come_back("x", sent)) == (2, 1, 0)


def test_an_index_is_bounded_and_says_when_reading_again_makes_room() -> None:
    index = ForeignIndex(max_letters=4, max_groups=2)
    for offset in range(6):
        index.add((0, offset), letter(message=LONG), 1.0, is_gone=False)
    assert (index.groups({})[0].count, index.left_out) == (4, 2)
    assert not index.has_room({})
    assert index.has_room({0: BitMap64([0])})
    index.clear()
    for topic in ("a", "b", "c"):
        index.add((0, 0), letter(topic, message=LONG), 1.0, is_gone=False)
    assert (len(index.groups({})), index.left_out) == (2, 1)
    [example, _] = (group.example for group in index.groups({}))
    assert (len(example.message), example.stacktrace, example.headers) == (1_000, "", ())
    assert index.groups({})[0].id in {letter(topic, message=LONG).group for topic in ("a", "b")}


def test_a_job_knows_letters_of_several_topics_apart_and_by_their_offsets() -> None:
    places = [(0, 17), (3, 2**40 + 5), (3, 2**40 + 6)]
    marks: dict[tuple[bytes, int], BitMap] = {}
    for place in places:
        block, generation, mark = mark_at("warehouse.dlq", place)
        assert mark < 2**32
        marks.setdefault((block, generation), BitMap()).add(mark)
    assert offsets_of(marks) == {0: BitMap64([17]), 3: BitMap64([2**40 + 5, 2**40 + 6])}
    assert mark_at("warehouse.dlq", (0, 17)) != mark_at("other.dlq", (0, 17))
