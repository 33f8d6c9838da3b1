"""Guesses of the token are slowed, for each client and for all strangers together."""

from __future__ import annotations

import pytest

from metroline.app.web_server.guesses import BURST, MAX_CLIENTS, STRANGERS_BURST, Guesses, network_of


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_client_may_be_wrong_ten_times_and_then_ten_times_a_minute() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(BURST):
        assert guesses.wait("10.0.0.1") == 0
        guesses.missed("10.0.0.1")
    assert guesses.wait("10.0.0.1") == 6
    assert guesses.wait("10.0.0.2") == 0
    done = 0
    for _ in range(60):
        clock.now += 1
        if guesses.wait("10.0.0.1") == 0:
            guesses.missed("10.0.0.1")
            done += 1
    assert done == 10


def test_many_strangers_are_slowed_together_and_keep_out_nobody_who_is_known() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    guesses.hit("10.0.0.1")
    for number in range(STRANGERS_BURST):
        assert guesses.wait(f"10.1.0.{number}") == 0
        guesses.missed(f"10.1.0.{number}")
    assert guesses.wait("10.2.0.1") == 1
    assert guesses.wait("10.0.0.1") == 0
    clock.now += 1
    assert guesses.wait("10.2.0.1") == 0


def test_a_known_client_is_slowed_by_its_own_wrong_tokens() -> None:
    guesses = Guesses(Clock())
    guesses.hit("10.0.0.1")
    for _ in range(BURST):
        guesses.missed("10.0.0.1")
    assert guesses.wait("10.0.0.1") == 6


def test_clients_are_remembered_in_bounded_number() -> None:
    guesses = Guesses(Clock())
    for number in range(2 * MAX_CLIENTS):
        guesses.missed(f"client {number}")
        guesses.hit(f"client {number}")
    assert len(guesses._ahead) == len(guesses._known) == MAX_CLIENTS


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("a socket", "a socket"),
        (None, "unknown"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(address: str | None, network: str) -> None:
    assert network_of(address) == network
