"""The network of a table: reachable stops, loops, and networks that are refused."""

from __future__ import annotations

import pytest

from metroline.routing.errors import InvalidRules
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable


def network(*ways: str) -> Network:
    """Return a network of sections such as 'source > a', or 'a > -' for a drop; each has a rule and a condition."""
    rules = []
    for number, way in enumerate(ways):
        after, to = way.split(" > ")
        end = 'drop = "x"' if to == "-" else f'to = "{to}"'
        rules.append(f'[[rules]]\nafter = "{after}"\nwhen = "a == {number}"\n{end}\n')
    return Network.of(RulesTable.parse("\n".join(rules)))


def refused(net: Network, *served: str) -> list[str]:
    with pytest.raises(InvalidRules) as caught:
        net.validate(set(served))
    return list(caught.value.problems)


def test_a_network_whose_stops_are_all_served_and_reached_is_in_order() -> None:
    network("source > a", "a > b", "a > -", "b > a").validate({"a", "b", "never used"})


def test_a_stop_that_nobody_serves_is_refused_with_those_that_are_served() -> None:
    assert refused(network("source > a", "a > b"), "c", "a") == [
        "routes.toml:9: rule 2: no service serves the stop 'b' (served: a, c)"
    ]
    assert refused(network("source > a")) == ["routes.toml:4: rule 1: no service serves the stop 'a' (served: none)"]


def test_a_rule_after_a_stop_that_no_way_leads_to_is_refused() -> None:
    assert refused(network("source > a", "c > b", "b > c"), "a", "b", "c") == [
        "routes.toml:7: rule 2: the stop 'c' cannot be reached from 'source'",
        "routes.toml:12: rule 3: the stop 'b' cannot be reached from 'source'",
    ]


def test_a_misspelt_stop_is_told_with_the_name_that_may_be_meant() -> None:
    assert refused(network("source > price", "pirce > ship", "surce > ship"), "price", "ship") == [
        "routes.toml:7: rule 2: no service serves the stop 'pirce' (served: price, ship); did you mean 'price'?",
        "routes.toml:12: rule 3: no service serves the stop 'surce' (served: price, ship); did you mean 'source'?",
    ]
    assert refused(network("source > shp", "shp > price", "ship > price"), "price", "ship") == [
        "routes.toml:4: rule 1: no service serves the stop 'shp' (served: price, ship); did you mean 'ship'?",
        "routes.toml:12: rule 3: the stop 'ship' cannot be reached from 'source'",
    ]


def test_where_no_services_are_known_the_stops_are_held_against_none() -> None:
    assert Network.read('[[rules]]\nafter = "source"\nto = "a"\n', None).stops == ("a",)
    with pytest.raises(InvalidRules, match="the stop 'b' cannot be reached"):
        Network.read('[[rules]]\nafter = "source"\nto = "a"\n[[rules]]\nafter = "b"\nto = "a"\n', None)
    with pytest.raises(InvalidRules, match="the stop 'pirce' cannot be reached from 'source'; did you mean 'price'"):
        Network.read('[[rules]]\nafter = "source"\nto = "price"\n[[rules]]\nafter = "pirce"\nto = "a"\n', None)


def test_a_table_in_which_no_journey_could_begin_is_refused() -> None:
    first, *others = refused(network("a > b"), "b")
    assert first == "routes.toml:1: no rule has after = 'source': no journey could begin"
    assert others == ["routes.toml:2: rule 1: no service serves the stop 'a' (served: b)"]


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines() -> None:
    found = refused(network("source > a", "c > d", "source > e"), "d")
    assert [problem.partition(": ")[0] for problem in found] == [f"routes.toml:{line}" for line in (4, 7, 14)]


def test_the_problems_name_the_file_that_was_asked_for() -> None:
    with pytest.raises(InvalidRules, match=r"^mine\.toml:4: "):
        network("source > a").validate(set(), "mine.toml")


def test_a_loop_is_a_warning_and_no_problem() -> None:
    net = network("source > a", "a > b", "b > c", "c > a", "c > d", "d > d")
    net.validate({"a", "b", "c", "d"})
    assert net.warnings == ("a record may loop: a > b > c > a", "a record may loop: d > d")


def test_every_stop_that_lies_on_a_loop_is_in_one_that_is_named() -> None:
    net = network("source > a", "a > b", "b > a", "b > c", "c > b", "source > d", "d > a")
    assert {stop for cycle in net.cycles for stop in cycle} == {"a", "b", "c"}


def test_a_line_without_loops_has_no_warnings() -> None:
    assert network("source > a", "source > b", "a > b", "b > c", "a > c").warnings == ()


def test_stops_come_nearest_to_the_source_first_and_the_unreachable_last() -> None:
    assert network("x > y", "source > b", "b > a", "source > c", "a > -").stops == ("b", "c", "a", "x", "y")


ENDS = frozenset({"end", "shipped"})


def test_an_end_is_no_stop_and_needs_no_service() -> None:
    text = '[[rules]]\nafter = "source"\nmatch = { a = 1 }\nto = "shipped"\n[[rules]]\nafter = "source"\nto = "a"\n'
    read = Network.read(f'{text}[[rules]]\nafter = "a"\nto = "end"\n', {"a"}, ends=ENDS)
    assert (read.stops, read.reachable) == (("a",), ("a",))


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (
            ("source", "shiped"),
            "routes.toml:3: rule 1: no service serves the stop 'shiped' (served: a; ends: end, shipped); did you mean "
            "'shipped'?",
        ),
        (
            ("source", "end", "end", "a"),
            "routes.toml:5: rule 2: no rule may come after the end 'end', where journeys are over",
        ),
    ],
)
def test_an_end_that_the_line_does_not_have_and_a_rule_after_an_end_are_refused(
    rules: tuple[str, ...], problem: str
) -> None:
    text = "".join(
        f'[[rules]]\nafter = "{after}"\nto = "{to}"\n' for after, to in zip(rules[::2], rules[1::2], strict=True)
    )
    with pytest.raises(InvalidRules) as error:
        Network.read(text, {"a"}, ends=ENDS)
    assert error.value.problems == (problem,)


def test_no_rule_may_come_after_a_stop_at_which_journeys_are_over() -> None:
    text = '[[rules]]\nafter = "source"\nto = "search"\n[[rules]]\nafter = "search"\nto = "a"\n'
    assert Network.read(text, {"search", "a"}, ends=ENDS).stops == ("search", "a")
    with pytest.raises(InvalidRules) as error:
        Network.read(text, {"search", "a"}, ends=ENDS, last={"search"})
    assert error.value.problems == (
        "routes.toml:5: rule 2: no rule may come after the end 'search', where journeys are over",
    )
