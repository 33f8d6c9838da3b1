"""Roles: the parts of a line that a worker process plays."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from metroline.routing.errors import UsageError
from metroline.routing.spelling import suggestion

ALL = "all"
ON_RAMP = "on-ramp"
PARTS = (ON_RAMP, "router", "arrivals")
SERVICE = "service:"
GROUP_SEPARATOR = "@"


class UnknownRole(UsageError):
    """Raised when a role names a part that the line does not have."""


def parts_of(stops: Iterable[str]) -> list[str]:
    """Return every part of a line with these stops."""
    return [*PARTS, *(f"{SERVICE}{stop}" for stop in sorted(stops))]


@dataclass(frozen=True, slots=True)
class Role:
    """The parts of a line that a process plays: `on-ramp`, `router`, `arrivals`, and `service:NAME` for a stop."""

    name: str
    parts: frozenset[str]

    @classmethod
    def parse(cls, text: str, stops: Collection[str]) -> Role:
        """Read `all` or a list of parts with commas; raise `UnknownRole`, which lists the parts of the line."""
        known = parts_of(stops)
        named = sorted({part.strip() for part in text.split(",") if part.strip()})
        if named == [ALL]:
            return cls(ALL, frozenset(known))
        unknown = [part for part in named if part not in known]
        if unknown or not named:
            what = ", ".join(map(repr, unknown)) or "an empty role"
            raise UnknownRole(
                f"this line has no role {what}; it has all, {', '.join(known)}, and several of them with commas"
                f"{suggestion(unknown[0], known) if unknown else ''}"
            )
        return cls(",".join(named), frozenset(named))

    def plays(self, part: str) -> bool:
        """Return whether the process plays this part."""
        return part in self.parts

    @property
    def stops(self) -> frozenset[str]:
        """The stops whose services the process runs."""
        return frozenset(part.removeprefix(SERVICE) for part in self.parts if part.startswith(SERVICE))

    @property
    def shared(self) -> frozenset[str]:
        """The parts that read through the role's consumer group: all but the on-ramp, which has its own."""
        return self.parts - {ON_RAMP}

    def group(self, prefix: str) -> str:
        """Return the consumer group, which is the Faust app id: one per role, so that each role scales alone."""
        return f"{group_prefix(prefix)}{self.name.replace(',', '+')}"


def role_in(group: str) -> str:
    """Return the role in the name of a consumer group, with `+` between its parts."""
    return group.rpartition(GROUP_SEPARATOR)[2] or group


def group_prefix(prefix: str) -> str:
    """Return what the consumer groups of all roles of a line begin with."""
    return f"{prefix}{GROUP_SEPARATOR}"
