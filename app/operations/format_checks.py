"""The formats of a line's source and ends, and its source and ends in other systems, as a worker would find them."""

from __future__ import annotations

import asyncio

from metroline.agents.formats.format_check import FormatProblem, SourceFormat, check_formats
from metroline.agents.formats.formats import Formats
from metroline.agents.gateways.sqs.queue_check import source_problems
from metroline.agents.kafka.topic_survey import survey
from metroline.agents.membership.roles import ON_RAMP, SERVICE, Role
from metroline.agents.services.line import Line
from metroline.app.settings import Settings
from metroline.routing.addresses import ARRIVALS


async def check_line(settings: Settings, line: Line) -> list[FormatProblem]:
    """Return what is wrong with the formats, and with other systems, that a worker with these settings uses."""
    role, topics = settings.played(line), settings.topics(line)
    source = None
    if role.plays(ON_RAMP):
        source = SourceFormat(*settings.format_of_source(line), topics.source)
    ends = settings.end_formats(line).items() if role.plays(ARRIVALS) else ()
    formats = Formats(settings.registry_access())
    try:
        found = await check_formats(formats, source, {name: (chosen, topics.end(name)) for name, chosen in ends})
    finally:
        await formats.close()
    if settings.end_topics != "named":  # nothing is received from other systems, or written there
        return found
    return [*found, *await _of_queue(settings, line, role), *await _of_outside_ends(line, role)]


async def _of_queue(settings: Settings, line: Line, role: Role) -> list[FormatProblem]:
    """Return what is wrong with the queue from which the source topic gets its messages, if a worker receives."""
    queue, topic = line.options.queue, settings.topics(line).source
    if queue is None or not role.plays(ON_RAMP):
        return []
    found = (await survey(settings.cluster(), [topic])).topics.get(topic)
    problems = await source_problems(queue, topic, (found and found.config) or {})
    return [FormatProblem(None, "source.queue in line.toml", one.text, one.is_fatal) for one in problems]


async def _of_outside_ends(line: Line, role: Role) -> list[FormatProblem]:
    """Return why records could not be written to ends in other systems that a worker of this role writes to."""
    own = {name: end for name, end in line.options.outside.items() if role.plays(f"{SERVICE}{name}")}
    texts = await asyncio.gather(*(end.problem() for end in own.values()))
    return [
        FormatProblem(name, f"ends.{name} in line.toml", text)
        for name, text in zip(own, texts, strict=True)
        if text is not None
    ]
