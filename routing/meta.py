"""The metadata of a source message, as services receive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meta:
    """The source message in which a record came, without its value."""

    key: bytes | None
    """The key; None if the message had none."""
    headers: Mapping[str, bytes | None]
    """The headers by name; of several with one name, the last one."""
    timestamp: float | None
    """The timestamp of the message, in seconds since the epoch; None if it had none."""
    topic: str
    """The source topic."""
    partition: int
    offset: int
