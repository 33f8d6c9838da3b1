"""Takes records through a line again, in a process of its own, which no service can bring down the comparison with."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from metroline.agents.services.line import Line
from metroline.app.local.child_process import Child

MAX_SECONDS = 60.0
"""Time that the process may take; without an answer, nothing is known of the records."""


class Step(msgspec.Struct, frozen=True):
    """A step of a record, as `metroline explain --json` writes it."""

    after: str
    verdict: str
    attempts: tuple[str, ...]
    tried: list[Any]
    record: Any
    """The record as it left the stop."""


Way = Sequence[Step]


class _Written(msgspec.Struct, frozen=True):
    steps: list[Step]


async def take_again(where: str, line: Line, records: Sequence[bytes], folder: Path) -> list[Way]:
    """Return the way of each record through a line, with its services called for real; nothing if that fails.

    `where` is the line's package or folder. Files are written to `folder`.
    """
    rules, source, output, log = (folder / f"again.{end}" for end in ("toml", "jsonl", "json", "log"))
    rules.write_text(line.rules_text, "utf-8")
    source.write_bytes(b"\n".join(records))
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "metroline", "explain", str(rules), str(source)]
    child = Child.start([*command, "--line", where, "--format", "json", "--json", str(output)], log)
    try:
        if await asyncio.to_thread(child.wait, MAX_SECONDS) != 0:
            return []
    finally:
        child.stop()
    written = msgspec.json.decode(output.read_bytes(), type=list[_Written])
    return [way.steps for way in written] if len(written) == len(records) else []
