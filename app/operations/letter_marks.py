"""Sets of dead letters as marks in blocks of offsets, in memory and in messages: a million take a few hundred KiB."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from metroline.app.operations.desk_index import Marks
from metroline.routing.journeys.replay_job_messages import Done, Members, bitmap_in
from metroline.routing.journeys.settlement import EMPTY

PART_BYTES = 512 * 1024
"""Size of a message with letters, in bytes, from which another one is begun."""

Blocks = tuple[tuple[str, int, str], ...]
"""Letters as messages have them: key of the block, generation, and the marks as a Roaring bitmap in base64."""


def marks_in(parts: Iterable[Members | Done]) -> Marks:
    """Return the letters in messages."""
    marks: Marks = {}
    for part in parts:
        for block, generation, encoded in part.blocks:
            key = block.encode(), generation
            marks[key] = marks.get(key, EMPTY) | bitmap_in(encoded)
    return marks


def portions_of(marks: Marks) -> list[Blocks]:
    """Return letters as messages have them, in portions that are not much larger than `PART_BYTES`; at least one."""
    portions: list[list[tuple[str, int, str]]] = [[]]
    size = 0
    for (block, generation), bitmap in marks.items():
        bitmap.run_optimize()
        encoded = base64.b64encode(bitmap.serialize()).decode()
        if size > PART_BYTES:
            portions.append([])
            size = 0
        portions[-1].append((block.decode(), generation, encoded))
        size += len(encoded) + len(block) + 20
    return [tuple(portion) for portion in portions]
