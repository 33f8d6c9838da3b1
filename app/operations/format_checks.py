"""The formats of a line's source and ends, and its ends in other systems, checked as a worker would find them."""

from __future__ import annotations

import asyncio

from metroline.agents.formats.format_check import FormatProblem, SourceFormat, check_formats
from metroline.agents.formats.formats import Formats
from metroline.agents.membership.roles import ON_RAMP, SERVICE, Role
from metroline.agents.services.line import Line
from metroline.app.settings import Settings
from metroline.routing.addresses import ARRIVALS


async def check_line(settings: Settings, line: Line) -> list[FormatProblem]:
    """Return what is wrong with the formats, and the ends in other systems, that a worker with these settings uses."""
    role, topics = settings.played(line), settings.topics(line)
    source = None
    if role.plays(ON_RAMP):
        source = SourceFormat(*settings.format_of_source(line), topics.source)
    ends = settings.end_formats(line).items() if role.plays(ARRIVALS) else ()
    formats = Formats(settings.registry_access())
    try:
        found = await check_formats(formats, source, {name: (chosen, topics.end(name)) for name, chosen in ends})
        return [*found, *await _of_outside_ends(settings, line, role)]
    finally:
        await formats.close()


async def _of_outside_ends(settings: Settings, line: Line, role: Role) -> list[FormatProblem]:
    """Return why records could not be written to ends in other systems that a worker of this role writes to."""
    if settings.end_topics != "named":
        return []
    own = {name: end for name, end in line.options.outside.items() if role.plays(f"{SERVICE}{name}")}
    texts = await asyncio.gather(*(end.problem() for end in own.values()))
    return [
        FormatProblem(name, f"ends.{name} in line.toml", text)
        for name, text in zip(own, texts, strict=True)
        if text is not None
    ]
