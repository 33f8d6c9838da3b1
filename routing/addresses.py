"""Addresses on the bus: the ends of the names of a line's topics."""

from __future__ import annotations

SOURCE = "source"
"""Where every journey begins: the `after` of a journey's first rule."""

ARRIVALS = "arrivals"
"""Where every journey ends."""

CONDUCTOR = "conductor"
MAP_MAKER = "map-maker"
SWITCH = "switch"

DELIVERED = "delivered"
DEAD_LETTERS = "dead-letters"

SERVICE = "service."

WAITING_ROOMS = {
    "waiting.200ms": 0.2,
    "waiting.1s": 1.0,
    "waiting.5s": 5.0,
    "waiting.30s": 30.0,
    "waiting.5m": 300.0,
}
"""The retry topics, each with the time that a record stays there, in seconds.

A longer wait goes through several rooms, one after the other.
"""


def service_address(stop: str) -> str:
    """Return the address of a stop's service."""
    return f"{SERVICE}{stop}"


def is_service(address: str) -> bool:
    """Whether an address is that of a stop's service."""
    return address.startswith(SERVICE)


def waiting_room(seconds: float) -> str | None:
    """Return the room with the longest stay of at most `seconds`; None where even the shortest is longer."""
    fitting = [address for address, stay in WAITING_ROOMS.items() if stay <= seconds]
    return max(fitting, key=WAITING_ROOMS.__getitem__, default=None)
