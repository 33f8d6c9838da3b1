"""Roles: the parts of a line that a process plays, and whether a set of them is the whole line."""

from __future__ import annotations

import pytest

from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.hand_over import IncompleteAssignment, check_complete
from metroline.agents.membership.roles import Role, UnknownRole
from metroline.routing.errors import MetrolineError

STOPS = {"b", "a"}


def test_all_plays_every_part() -> None:
    role = Role.parse("all", STOPS)

    assert role.parts == {"on-ramp", "router", "arrivals", "service:a", "service:b"}
    assert role.stops == STOPS
    assert role.group("line") == "line@all"


def test_parts_may_be_named_in_any_order_with_spaces_and_twice() -> None:
    one, other = Role.parse("service:b, router", STOPS), Role.parse(" router,service:b,router,", STOPS)

    assert one == other
    assert one.group("line") == "line@router+service:b", "a role is one group however it is written"
    assert one.plays("router")
    assert not one.plays("arrivals")
    assert one.stops == {"b"}


@pytest.mark.parametrize("text", ["", " , ", "routr", "service:c", "service:", "all,router", "ALL", "service:a b"])
def test_what_is_no_role_is_refused_with_the_list_of_those_that_exist(text: str) -> None:
    with pytest.raises(UnknownRole) as refused:
        Role.parse(text, STOPS)

    assert "all, on-ramp, router, arrivals, service:a, service:b" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_on_ramp_has_a_group_of_its_own_that_no_role_assignment_changes() -> None:
    role = Role.parse("on-ramp,router", STOPS)

    assert role.shared == {"router"}
    assert Topics("line", "source").on_ramp_group(0) == "line.on-ramp"
    assert Topics("line", "source").on_ramp_group(2) == "line.on-ramp.2"


def assignment(*roles: str) -> list[Role]:
    return [Role.parse(role, STOPS) for role in roles]


@pytest.mark.parametrize(
    "roles",
    [
        ("all",),
        ("on-ramp,router,arrivals", "service:a,service:b"),
        ("on-ramp", "router", "arrivals", "service:a", "service:b"),
    ],
)
def test_an_assignment_of_the_whole_line_is_complete(roles: tuple[str, ...]) -> None:
    check_complete(assignment(*roles), STOPS)


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (("on-ramp,router", "service:a,service:b"), "nobody plays arrivals"),
        (("on-ramp,router,arrivals",), "nobody plays service:a, service:b"),
        (("all", "router"), "router is played twice"),
        (("on-ramp", "router,service:a", "router,service:b"), "nobody plays arrivals; router is played twice"),
        ((), "nobody plays on-ramp, router, arrivals, service:a, service:b"),
    ],
)
def test_an_assignment_that_leaves_parts_out_or_plays_one_twice_is_refused(roles: tuple[str, ...], told: str) -> None:
    with pytest.raises(IncompleteAssignment) as refused:
        check_complete(assignment(*roles), STOPS)

    assert told in str(refused.value)
    assert isinstance(refused.value, MetrolineError)
