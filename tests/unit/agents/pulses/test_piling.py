"""A place is behind from the moment at which messages wait there for longer than a moment until it has caught up."""

from __future__ import annotations

from collections.abc import Iterable

from metroline.agents.pulses.piling import CAUGHT_UP_SECONDS, Piling

NOW = 1_000_000.0
YOUNG, OLD = CAUGHT_UP_SECONDS / 2, CAUGHT_UP_SECONDS * 10


def since(*seen: tuple[int, float | None]) -> list[float | None]:
    """Return, for each second, the seconds for which a place has been behind; of each, what waits and for how long."""
    return list(_since(Piling(), seen))


def _since(piling: Piling, seen: Iterable[tuple[int, float | None]]) -> Iterable[float | None]:
    for second, (waiting, age) in enumerate(seen):
        oldest = {} if age is None else {"service.rate": age}
        found = piling.observe({"service.rate": waiting}, oldest, NOW + second).get("service.rate")
        yield None if found is None else NOW + second - found


def test_what_waits_for_a_moment_is_not_behind() -> None:
    assert since((500, YOUNG), (0, None), (500, YOUNG)) == [None, None, None]


def test_a_place_is_behind_until_it_has_caught_up() -> None:
    assert since((9, OLD), (5, OLD), (9, OLD), (2, YOUNG), (9, OLD)) == [OLD, OLD + 1, OLD + 2, None, OLD]
    assert since((9, OLD), (0, None), (9, OLD)) == [OLD, None, OLD]


def test_a_place_stays_behind_though_none_of_its_messages_is_older_than_a_little() -> None:
    assert since(*[(9, OLD)] * 1_000)[-1] == OLD + 999


def test_a_place_that_was_behind_before_it_was_first_seen_has_been_so_for_as_long_as_its_oldest_message_waits() -> None:
    assert since((9, None), (9, OLD), (9, OLD + 100)) == [0, OLD, OLD + 100]


def test_a_place_where_messages_of_an_unknown_age_wait_is_not_known_to_have_caught_up() -> None:
    assert since(*[(9, None)] * 5) == [0, 1, 2, 3, 4]
    assert since((9, None), (9, YOUNG)) == [0, None]
    assert since((9, OLD), (9, None), (9, OLD)) == [OLD, OLD + 1, OLD + 2]
