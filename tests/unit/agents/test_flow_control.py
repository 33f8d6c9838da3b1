"""Flow control: the messages that a worker holds of a topic are bounded, and a full topic does not hold up another."""

from __future__ import annotations

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from metroline.agents.kafka.flow_control import MIN_FETCH_BYTES, MIN_MESSAGE_BYTES, FetchBudget
from tests.support.worlds import examples

SLOW = [TP("slow", number) for number in range(4)]
FAST = [TP("fast", number) for number in range(4)]


def test_a_full_topic_is_not_looked_at_until_something_is_done() -> None:
    budget = FetchBudget(2 * MIN_FETCH_BYTES)
    budget.take(SLOW[0], 1, MIN_FETCH_BYTES)
    budget.take(SLOW[3], 2, MIN_FETCH_BYTES)
    assert budget.fetchable([*SLOW, *FAST]) <= set(FAST)
    budget.give_back(SLOW[0], 1)
    assert len(budget.fetchable([*SLOW, *FAST]) - set(FAST)) == 1


def test_so_many_partitions_are_looked_at_as_there_is_room_for_and_each_has_its_turn() -> None:
    budget = FetchBudget(2 * MIN_FETCH_BYTES)
    looks = [budget.fetchable(SLOW) for _ in range(4)]
    assert [len(look) for look in looks] == [2, 2, 2, 2]
    assert set.union(*looks) == set(SLOW)


def test_where_little_comes_all_partitions_are_looked_at_and_where_much_comes_few_are() -> None:
    budget = FetchBudget(20 * MIN_FETCH_BYTES)
    assert budget.fetchable(SLOW) == set(SLOW)
    for offset in range(4):
        budget.take(SLOW[0], offset, 5 * MIN_FETCH_BYTES)
    for offset in range(4):
        budget.give_back(SLOW[0], offset)
    assert len(budget.fetchable(SLOW)) == 1
    assert budget.fetchable(FAST) == set(FAST)
    for _ in range(50):
        budget.fetchable(SLOW)
    assert budget.fetchable(SLOW) == set(SLOW)


def test_a_message_that_is_larger_than_the_bound_comes_through_alone() -> None:
    budget = FetchBudget(10)
    assert len(budget.fetchable(SLOW)) == 1
    budget.take(SLOW[1], 1, 50 * MIN_FETCH_BYTES)
    assert not budget.fetchable(SLOW)
    budget.give_back(SLOW[1], 1)
    assert len(budget.fetchable(SLOW)) == 1


def test_small_messages_count_for_more_than_their_value() -> None:
    budget = FetchBudget(100 * MIN_MESSAGE_BYTES)
    for number in range(100):
        budget.take(SLOW[0], number, 1)
    assert not budget.fetchable(SLOW)


def test_after_partitions_changed_hands_all_is_open_and_late_acknowledgements_do_no_harm() -> None:
    budget = FetchBudget(MIN_FETCH_BYTES)
    budget.take(SLOW[0], 1, 5 * MIN_FETCH_BYTES)
    budget.clear()
    assert budget.fetchable(SLOW)
    budget.give_back(SLOW[0], 1)
    budget.take(SLOW[0], 2, MIN_FETCH_BYTES)
    assert not budget.fetchable(SLOW)


@given(st.lists(st.tuples(st.sampled_from([*SLOW, *FAST]), st.integers(0, 5), st.integers(0, 5_000), st.booleans())))
@examples(200)
def test_what_is_held_is_what_was_taken_and_not_given_back(steps: list[tuple[TP, int, int, bool]]) -> None:
    budget, held = FetchBudget(6_000), dict[tuple[TP, int], int]()
    for tp, offset, size, takes in steps:
        if takes:
            budget.take(tp, offset, size)
            held[tp, offset] = max(size, MIN_MESSAGE_BYTES)
        else:
            budget.give_back(tp, offset)
            held.pop((tp, offset), None)
        for topic in ("slow", "fast"):
            full = sum(size for (one, _), size in held.items() if one.topic == topic) >= 6_000
            assert bool(budget.fetchable([TP(topic, 0)])) != full
