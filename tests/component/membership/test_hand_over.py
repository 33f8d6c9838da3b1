"""A hand-over requires roles that cover the whole line, with each part exactly once."""

from __future__ import annotations

import pytest

from metroline.agents.membership.hand_over import IncompleteAssignment, check_complete
from metroline.agents.membership.roles import Role
from metroline.routing.errors import MetrolineError

STOPS = {"b", "a"}


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
