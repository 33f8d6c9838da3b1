"""A published rules table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from msgspec import to_builtins

from metroline.agents.tables.forecast import Forecast
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural, seconds, text

MAX_BY = 200
"""Maximum number of characters of the name of whoever published a table."""

MAX_REASON = 1_000
"""Maximum number of characters of the reason for a publication."""


class NotAPublication(MetrolineError):
    """Raised for bytes that are not a published rules table."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A rules table as the topic and the table `rules` hold it. Its version is its message's offset + 1."""

    text: str
    replaces: int
    """The version that was current when this one was written."""
    by: str
    at: float
    """Seconds since the epoch."""
    reason: str = ""
    """The reason that was given for it; empty if none was."""
    forecast: Forecast | None = None
    """The forecast of what it will do, if one was made."""

    def as_json(self) -> dict[str, Any]:
        """Return the publication as a dict that `of_json` reads."""
        known: dict[str, Any] = {"rules": self.text, "replaces": self.replaces, "by": self.by, "at": self.at}
        if self.reason:
            known["reason"] = self.reason
        if self.forecast is not None:
            known["forecast"] = to_builtins(self.forecast)
        return known

    @classmethod
    def of_json(cls, data: Any) -> Publication:
        """Read a publication; raise `NotAPublication` if it is not one."""
        try:
            by = text(data["by"])[:MAX_BY]
            reason = text(data.get("reason", ""))[:MAX_REASON]
            forecast = Forecast.of_json(data.get("forecast"))
            return cls(text(data["rules"]), natural(data["replaces"]), by, seconds(data["at"]), reason, forecast)
        except (AttributeError, LookupError, TypeError, MetrolineError) as error:
            raise NotAPublication(f"not a publication: {type(error).__name__}: {error}") from error

    @classmethod
    def decode(cls, value: bytes | None) -> Publication:
        """Read a publication from the value of a message; raise `NotAPublication` if it is not one."""
        try:
            return cls.of_json(orjson.loads(value or b""))
        except orjson.JSONDecodeError as error:
            raise NotAPublication(f"not a publication: {error}") from error
