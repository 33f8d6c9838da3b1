"""A request to the fork server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Request:
    """A command of `metroline` that is to run as a process."""

    arguments: list[str]
    """The arguments behind `metroline`."""
    folder: str
    """The working directory."""
    environment: dict[str, str]
    """All environment variables."""
    group: int
    """The process group that the process joins; 0 for a group of its own."""

    @classmethod
    def decode(cls, line: str) -> Self:
        return cls(**json.loads(line))

    def encode(self) -> bytes:
        """Return the request as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"
