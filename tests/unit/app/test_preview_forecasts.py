"""A forecast is held against what happens: a share that leaves it by more than chance is named."""

from __future__ import annotations

from metroline.agents.tables.forecast import Forecast
from metroline.app.preview.forecasts import Check, check, forecast_of
from metroline.app.preview.preview import preview
from metroline.app.preview.seen import Chosen, Seen, Shape
from metroline.app.preview.ways import NewTable, NewWay, Turn
from metroline.routing.outcome import Ending
from metroline.routing.rules.table import RulesTable

FORECAST = Forecast(1_000, 100, 0, {"delivered": 900, "dropped: no": 98, "dead: unroutable": 2}, {"price": 900})
AT = 100.0


def seen(count: int, ending: Ending = Ending.DELIVERED, detail: str = "", entered: float = AT) -> list[Seen]:
    way = (Chosen("price", None, 1),) if ending is Ending.DELIVERED else ()
    return [Seen("source-0-1", Shape(way, ending, detail, None), None, entered, entered + 1) for _ in range(count)]


def checked(delivered: int, dropped: int, dead: int) -> Check:
    dropped_ones, dead_ones = seen(dropped, Ending.DROPPED, "no"), seen(dead, Ending.DEAD, "unroutable")
    return check(FORECAST, AT, [*seen(delivered), *dropped_ones, *dead_ones])


def test_what_goes_as_forecast_is_no_difference() -> None:
    assert checked(450, 48, 2).differences == []
    assert checked(440, 58, 2).differences == []  # chance


def test_a_share_that_leaves_the_forecast_is_named() -> None:
    found = checked(440, 40, 20).differences
    assert [(one.what, one.forecast, one.seen) for one in found] == [("dead: unroutable", 0.002, 0.04)]


def test_a_stop_that_is_visited_less_is_named_with_the_outcome() -> None:
    found = checked(300, 200, 0)
    assert {one.what for one in found.differences} == {"delivered", "dropped: no", "visits of price"}


def test_an_outcome_that_was_not_forecast_is_named() -> None:
    found = check(FORECAST, AT, [*seen(450), *seen(50, Ending.DROPPED, "late")])
    assert "dropped: late" in {one.what for one in found.differences}


def test_journeys_that_entered_before_do_not_count() -> None:
    found = check(FORECAST, AT, [*seen(40), *seen(500, Ending.DEAD, "unroutable", entered=AT - 1)])
    assert (found.seen, found.differences) == (40, [])


def test_few_journeys_are_not_compared() -> None:
    found = check(FORECAST, AT, seen(29, Ending.DEAD, "unroutable"))
    assert (found.is_enough, found.differences) == (False, [])


def test_a_forecast_is_made_from_a_preview() -> None:
    table = RulesTable.parse('[[rules]]\nafter = "source"\nto = "price"\n')
    [one, other] = seen(2)
    changed = NewWay((), "dropped: no", Turn("source", "price", None, "dropped: no", None))
    made = forecast_of(preview(NewTable(table, {}), 1, [(one, NewWay(("price",), "delivered")), (other, changed)]))
    assert made == Forecast(2, 1, 0, {"delivered": 1, "dropped: no": 1}, {"price": 1})
    assert forecast_of(preview(NewTable(table, {}), 1, [])) is None


def test_a_stop_that_journeys_come_to_twice_is_no_difference() -> None:
    table = RulesTable.parse('[[rules]]\nafter = "source"\nto = "price"\n')
    way = tuple(Chosen(stop, None, 1) for stop in ("price", "check", "price"))
    twice = [Seen("source-0-1", Shape(way, Ending.DELIVERED, "", None), None, AT, AT + 1)] * 20
    once = seen(80)
    followed = [(one, NewWay(one.shape.stops, "delivered")) for one in [*twice, *once]]
    made = forecast_of(preview(NewTable(table, {}), 1, followed))
    assert made is not None
    assert made.visits == {"price": 100, "check": 20}
    assert check(made, AT, [*twice, *once]).differences == []
