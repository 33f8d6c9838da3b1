"""The page of the outcomes: totals over blocks, partitions and workers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.app.views.tables import outcomes, totals
from metroline.app.views.tables.outcomes import BlockEntry, OutcomesContent
from metroline.app.views.tables.totals import OutcomeCount, StoredBlock
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, OTHER
from metroline.routing.outcome import Ending
from tests.support.html_reader import HtmlReader
from tests.support.table_entries import Entries, block
from tests.support.worlds import examples

ALL = frozenset(range(4))
ORIGINS = ("source", "source-1", "schedule.nightly", "stray:arrivals")
EVIL = "<script>alert(1)</script>\"'&"


async def content(entries: dict[str, Any], partitions: frozenset[int] = ALL) -> OutcomesContent:
    """Return the content as another worker receives it."""
    read = await outcomes.read(Entries(entries).table, partitions)
    return msgspec.json.decode(msgspec.json.encode(read), type=OutcomesContent)


async def page(entries: dict[str, Any], partitions: frozenset[int] = ALL) -> dict[str, Any]:
    """Return the content as a program reads it."""
    return dict(msgspec.to_builtins(await content(entries, partitions)))


async def test_counts_are_summed_over_blocks_and_partitions() -> None:
    said = await page({"0/source/0": block(5, 2), "0/source/1": block(3, 0, duplicates=2), "3/source/0": block(0, 1)})
    assert said["totals"] == {"delivered": 8, "dropped": 3, "dead": 0}
    assert said["settled"] == 11
    assert said["bus_hops"] == 33
    assert said["duplicates"] == 2
    assert said["counts"] == [
        {"stop": "log", "ending": "delivered", "reason": "", "count": 8},
        {"stop": "log", "ending": "dropped", "reason": "unwanted", "count": 3},
    ]


async def test_all_epochs_of_the_source_count_and_strays_count_apart() -> None:
    said = await page(
        {"0/source/0": block(1), "0/source-2/0": block(2), "0/stray:service.log/0": block(0, 4, duplicates=1)}
    )
    assert said["totals"] == {"delivered": 3, "dropped": 0, "dead": 0}
    assert said["duplicates"] == 0
    assert said["strays"]["total"] == 4
    assert said["strays"]["duplicates"] == 1
    assert [row["origin"] for row in said["strays"]["counts"]] == ["stray:service.log"]


async def test_records_of_schedules_are_part_of_the_sums_and_named() -> None:
    entries = {
        "0/source/0": block(5, 2),
        "0/schedule.nightly/1794": block(3, 1),
        "0/schedule.nightly/1795": block(1),
        "0/schedule.weekly/1794": block(0, 1),
    }
    said = await page(entries)
    assert said["totals"] == {"delivered": 9, "dropped": 4, "dead": 0}
    assert (said["settled"], said["scheduled"]) == (13, {"nightly": 5, "weekly": 1})
    assert said["strays"]["total"] == 0, "they are no malformed messages"
    words = HtmlReader(outcomes.show(await content(entries))).words
    assert "The sums include the records of schedules: 5 of the schedule nightly, 1 of the schedule weekly." in words
    assert "schedules" not in outcomes.show(await content({"0/source/0": block(5)}))


async def test_an_empty_table_sums_to_nothing() -> None:
    assert (await page({}))["totals"] == {"delivered": 0, "dropped": 0, "dead": 0}
    assert "delivered" in outcomes.show(await content({}))


async def test_entries_of_partitions_that_are_not_held_do_not_count() -> None:
    said = await page({"0/source/0": block(5), "1/source/0": block(7)}, frozenset({1}))
    assert said["totals"]["delivered"] == 7
    assert [listed["key"] for listed in said["blocks"]] == ["1/source/0"]


async def test_the_newest_blocks_are_listed_without_bitmaps_and_all_are_summed() -> None:
    said = await page({f"0/source/{number}": block(1) for number in range(300)})
    assert said["totals"]["delivered"] == 300
    assert len(said["blocks"]) == outcomes.LISTED
    assert said["blocks"][0] == {"key": "0/source/299", "settled": 1, "duplicates": 0}


async def test_workers_parts_add_up() -> None:
    entries = {
        "0/source/0": block(5, 2),
        "1/source/0": block(3),
        "2/stray:switch/0": block(0, 1),
        "3/source/9": block(1),
    }
    parts = [await content(entries, frozenset({0, 2})), await content(entries, frozenset({1, 3}))]
    assert outcomes.merge(parts) == await content(entries)


async def test_a_partition_that_two_workers_report_counts_once_with_what_is_newer() -> None:
    older, newer = (
        await content({"1/source/0": block(3)}),
        await content({"1/source/0": block(5), "0/source/0": block(1)}),
    )
    for parts in ([older, newer], [newer, older]):
        merged = outcomes.merge(parts)
        assert merged.totals[Ending.DELIVERED] == 6
        assert {listed.key: listed.settled for listed in merged.blocks} == {"0/source/0": 1, "1/source/0": 5}


@given(
    st.dictionaries(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(ORIGINS),
            st.integers(0, 5),
        ),
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)),
        max_size=12,
    ),
    st.frozensets(st.integers(0, 3)),
)
@examples(100)
async def test_however_partitions_are_shared_the_merged_page_is_the_whole_one(
    drawn: dict[tuple[int, str, int], tuple[int, int, int]], mine: frozenset[int]
) -> None:
    entries = {"/".join(map(str, key)): block(*counts) for key, counts in drawn.items()}
    assert outcomes.merge([await content(entries, mine), await content(entries, ALL - mine)]) == await content(entries)


async def test_reasons_without_end_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "KINDS_MOST", 2)
    said = await page({f"0/source/{number}": block(0, 1, reason=f"reason {number}") for number in range(5)})
    assert {row["reason"]: row["count"] for row in said["counts"]} == {"reason 0": 1, "reason 1": 1, OTHER: 3}


def test_a_single_block_says_which_offsets_it_is_about() -> None:
    entry = outcomes.explain("2/source-1/3", msgspec.convert(block(4, 1), StoredBlock))
    assert entry.offsets == (3 * BLOCK_OFFSETS, 4 * BLOCK_OFFSETS - 1)
    assert entry.settled == 5
    assert "5 records are completed" in HtmlReader(outcomes.show_entry(entry)).text


@pytest.mark.parametrize("broken", [{}, {"origins": 3}, {"origins": [{"origin": "source"}], "blocks": []}])
def test_a_page_of_another_shape_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(broken, OutcomesContent)


def test_a_drop_whose_reason_is_markup_is_counted_as_text() -> None:
    counts = [OutcomeCount(EVIL, "dropped", EVIL, 3)]
    read = HtmlReader(outcomes.show_entry(BlockEntry((0, 9), settled=3, messages_in_part=1, counts=counts)))
    assert "script" not in read.names
    assert read.text.count(EVIL) == 2


async def test_malformed_messages_stand_apart_with_their_address() -> None:
    entries = {"0/source/0": block(1), "0/stray:service.log/0": block(0, 4, reason=EVIL)}
    text = HtmlReader(outcomes.show(await content(entries))).words
    assert "Malformed messages Messages on internal topics that were not envelopes" in text
    assert f"service.log {EVIL} 4" in text


async def test_lost_messages_are_listed_by_partition_and_offsets_and_those_of_the_source_are_summed() -> None:
    last = BLOCK_OFFSETS - 1
    entries = {
        "0/source/0": block(5) | {"lost": [[7, 7], [last - 1, last]]},
        "0/source/1": block(0) | {"lost": [[0, 2]]},
        "1/lost:service.log/0": block(0) | {"lost": [[3, 4]]},
    }
    said = await page(entries)

    assert said["lost"] == 6
    assert said["losses"] == [
        {"origin": "source", "partition": 0, "first": 7, "last": 7},
        {"origin": "source", "partition": 0, "first": last - 1, "last": last + 3},
        {"origin": "lost:service.log", "partition": 1, "first": 3, "last": 4},
    ]
    assert said["totals"]["delivered"] == said["settled"] == 5
    shown = outcomes.show(await content(entries))
    assert "Lost messages" in shown
    assert "lost:service.log" in shown
    merged = outcomes.merge([await content(entries, frozenset({0})), await content(entries, frozenset({1}))])
    assert merged == await content(entries)
    assert "Lost messages" not in outcomes.show(await content({"0/source/0": block(5)}))
