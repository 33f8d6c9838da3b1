"""Addresses on the bus: the part of each topic's name after the line's prefix."""

from __future__ import annotations

SOURCE = "source"
"""The start of every journey: the value of `after` in the first rule that applies to it."""

ARRIVALS = "arrivals"
"""The address at which every journey ends."""

CONDUCTOR = "conductor"
MAP_MAKER = "map-maker"
SWITCH = "switch"

DELIVERED = "delivered"
"""The address of the default end."""

END = "end"
"""Name of the default end, where a record is delivered after a stop without rules: the value of `to` in a rule."""

ONLY_END = frozenset({END})
"""The ends of a line that declares none."""

DEAD_LETTERS = "dead-letters"

SERVICE = "service."

WAITING_ROOMS = {
    "waiting.200ms": 0.2,
    "waiting.1s": 1.0,
    "waiting.5s": 5.0,
    "waiting.30s": 30.0,
    "waiting.5m": 300.0,
    "waiting.1h": 3_600.0,
    "waiting.1d": 86_400.0,
}
"""The retry topics and the seconds that a record stays in each. A longer wait passes through several rooms in turn."""


def service_address(stop: str) -> str:
    """Return the address of the service at a stop."""
    return f"{SERVICE}{stop}"


def stop_of(address: str) -> str:
    """Return the stop whose service has this address."""
    return address.removeprefix(SERVICE)


def is_service(address: str) -> bool:
    """Return whether an address belongs to the service of a stop."""
    return address.startswith(SERVICE)


def end_address(end: str) -> str:
    """Return the address of the end with this name."""
    return DELIVERED if end == END else f"{END}.{end}"


def waiting_room(seconds: float) -> str | None:
    """Return the room with the longest stay that does not exceed `seconds`; None if every stay does."""
    fitting = [address for address, stay in WAITING_ROOMS.items() if stay <= seconds]
    return max(fitting, key=WAITING_ROOMS.__getitem__, default=None)
