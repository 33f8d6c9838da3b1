"""Roles: the parts of a line that one process runs."""

from __future__ import annotations

import pytest

from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.roles import Role, UnknownRole

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
