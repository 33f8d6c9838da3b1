"""Waiting rooms: where records wait before they are tried again, each room for one fixed time."""

from __future__ import annotations

ROOMS = {"waiting.200ms": 0.2, "waiting.1s": 1.0, "waiting.5s": 5.0, "waiting.30s": 30.0, "waiting.5m": 300.0}
"""Address and seconds; a longer wait goes through several rooms one after the other."""

SHORTEST = min(ROOMS.values())


def room_for(seconds: float) -> str | None:
    """The room with the longest time that is not longer than this; None where it is too short for any."""
    fitting = [address for address, stay in ROOMS.items() if stay <= seconds]
    return max(fitting, key=ROOMS.__getitem__, default=None)


ARRIVALS = "arrivals"


SWITCH = "switch"


def service_address(stop: str) -> str:
    """The address of a stop's service, which is also the end of its topic's name."""
    return f"service.{stop}"


SOURCE = "source"
"""Where every journey begins: the `after` of a journey's first rule."""
