"""The formats of a line's source and ends, checked against the schema registry as a worker would find it."""

from __future__ import annotations

from metroline.agents.formats.format_check import FormatProblem, SourceFormat, check_formats
from metroline.agents.formats.formats import Formats
from metroline.agents.membership.roles import ON_RAMP
from metroline.agents.services.line import Line
from metroline.app.settings import Settings
from metroline.routing.addresses import ARRIVALS


async def check_line(settings: Settings, line: Line) -> list[FormatProblem]:
    """Return what is wrong with the formats that a worker with these settings uses."""
    role, topics = settings.played(line), settings.topics(line)
    source = None
    if role.plays(ON_RAMP):
        source = SourceFormat(*settings.format_of_source(line), topics.source)
    ends = settings.end_formats(line).items() if role.plays(ARRIVALS) else ()
    formats = Formats(settings.registry_access())
    try:
        return await check_formats(formats, source, {name: (chosen, topics.end(name)) for name, chosen in ends})
    finally:
        await formats.close()
