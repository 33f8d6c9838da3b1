"""Roles: which part of a line a worker process plays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from metroline.routing.errors import UsageError

ALL = "all"
PARTS = ("on-ramp", "router", "arrivals")
SERVICE = "service:"


class UnknownRole(UsageError):
    """Raised when a role is named that does not exist."""


@dataclass(frozen=True, slots=True)
class Role:
    """The parts of a line that a process plays: `on-ramp`, `router`, `arrivals` and services by their stop."""

    name: str
    parts: frozenset[str]

    @classmethod
    def parse(cls, text: str, stops: Collection[str]) -> Role:
        """Reads `all` or parts with commas, `service:NAME` among them; raises `UnknownRole` that lists them."""
        every = [*PARTS, *(f"{SERVICE}{stop}" for stop in sorted(stops))]
        named = sorted({part.strip() for part in text.split(",") if part.strip()})
        if named == [ALL]:
            return cls(ALL, frozenset(every))
        unknown = [part for part in named if part not in every]
        if unknown or not named:
            what = ", ".join(map(repr, unknown)) or "an empty role"
            raise UnknownRole(
                f"this line has no role {what}; it has all, {', '.join(every)}, and several of them with commas"
            )
        return cls(",".join(named), frozenset(named))

    def plays(self, part: str) -> bool:
        return part in self.parts

    @property
    def stops(self) -> frozenset[str]:
        """The stops whose services it runs."""
        return frozenset(part.removeprefix(SERVICE) for part in self.parts if part.startswith(SERVICE))

    @property
    def shared(self) -> frozenset[str]:
        """The parts that a group of Faust consumers plays; the on-ramp has a group of its own under every cut."""
        return self.parts - {"on-ramp"}

    def group(self, prefix: str) -> str:
        """The Faust app id, which is the consumer group: prefix and role, so that a role scales alone."""
        return f"{prefix}@{self.name.replace(',', '+')}"
