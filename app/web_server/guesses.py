"""Bounds how fast anybody can guess the token: a wrong one costs time, and nothing is compared before it is over.

It is the generic cell rate algorithm: each wrong token moves a time of its client forward, and a client whose time
is too far ahead of the clock waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

BURST, INTERVAL_SECONDS = 10, 6.0
"""Wrong tokens that one client may send at once, and the time after which it may send one more."""

STRANGERS_BURST, STRANGERS_INTERVAL_SECONDS = 100, 1.0
"""These bounds for all clients together that have never sent the right token to this worker."""

MAX_CLIENTS = 1_000
"""Number of clients that are remembered."""


class Guesses:
    """The wrong tokens of each client, as far as they still count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns a time in seconds that never goes back."""
        self._clock = clock
        self._ahead = OrderedDict[str, float]()
        self._strangers = 0.0
        self._known = OrderedDict[str, None]()

    def wait(self, client: str | None) -> float:
        """Return the time until this client may send a token, in seconds; 0 if it may now."""
        name, now = network_of(client), self._clock()
        wait = _wait(self._ahead.get(name, 0.0), now, BURST, INTERVAL_SECONDS)
        if name in self._known:
            return wait
        return max(wait, _wait(self._strangers, now, STRANGERS_BURST, STRANGERS_INTERVAL_SECONDS))

    def missed(self, client: str | None) -> None:
        """Count a wrong token."""
        name, now = network_of(client), self._clock()
        self._ahead[name] = max(now, self._ahead.pop(name, 0.0)) + INTERVAL_SECONDS
        if name not in self._known:
            self._strangers = max(now, self._strangers) + STRANGERS_INTERVAL_SECONDS
        _forget(self._ahead)

    def hit(self, client: str | None) -> None:
        """Note that a client knows the token: wrong ones of strangers keep it from nothing."""
        name = network_of(client)
        self._known[name] = None
        self._known.move_to_end(name)
        _forget(self._known)


def network_of(client: str | None) -> str:
    """Return the address of a client or, of an IPv6 address, its network of 64 bits: all of it is one client's."""
    try:
        address = ip_address(client or "")
    except ValueError:
        return client or "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
    return str(address)


def _wait(ahead: float, now: float, burst: int, interval: float) -> float:
    return max(0.0, ahead - (burst - 1) * interval - now)


def _forget(clients: OrderedDict[str, float] | OrderedDict[str, None]) -> None:
    if len(clients) > MAX_CLIENTS:
        clients.popitem(last=False)
