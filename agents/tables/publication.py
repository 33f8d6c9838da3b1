"""A published rules table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Publication:
    """A rules table as the topic and the table `rules` hold it. Its version is its message's offset + 1."""

    text: str
    replaces: int
    """The version that was current when this one was written."""
    by: str
    at: float
    """Seconds since the epoch."""

    def as_json(self) -> dict[str, Any]:
        """Return the publication as a dict that `of_json` reads."""
        return {"rules": self.text, "replaces": self.replaces, "by": self.by, "at": self.at}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Publication:
        """Read a publication; raise KeyError, TypeError or ValueError if it is not one."""
        return cls(str(data["rules"]), int(data["replaces"]), str(data["by"]), float(data["at"]))
