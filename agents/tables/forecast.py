"""The forecast of a rules table, which is kept beside it: what it would have done with the journeys before it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from metroline.routing.records.fingerprints import EXACT

MAX_NAMES = 200
"""Number of outcomes, and of stops, that a forecast keeps."""

MAX_NAME_CHARACTERS = 300

Count = Annotated[int, Meta(ge=0, lt=EXACT)]
Counts = Annotated[dict[Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)], Count], Meta(max_length=MAX_NAMES)]


class Forecast(Struct, frozen=True):
    """Numbers of journeys by the new table, from which shares are made."""

    journeys: Count
    """The journeys that were decided about."""
    changed: Count
    """Those that were to go another way."""
    not_decided: Count
    """Those that are counted as they were, since it is not known where they would go."""
    outcomes: Counts
    """The journeys by their outcome, such as `dropped: no order`."""
    visits: Counts
    """The journeys by the stops that they come to, each counted once at a stop."""

    @classmethod
    def of_json(cls, data: Any) -> Forecast | None:
        """Return the forecast in JSON data; None if there is none."""
        try:
            return convert(data, cls)
        except ValidationError:
            return None
