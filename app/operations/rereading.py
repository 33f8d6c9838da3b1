"""Reads the raw messages of dead letters again, in the format and with the schemas that the source has now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metroline.agents.formats.codec import Decoded, Decoder
from metroline.agents.formats.formats import Formats
from metroline.agents.formats.registry import RegistryAway
from metroline.agents.services.line import Line
from metroline.app.operations.letter import DeadLetterError, Letter
from metroline.app.settings import Settings
from metroline.routing.journeys.dead_letters import raw_in
from metroline.routing.records.source_messages import read_message

TOO_LONG = "the dead letter has only the beginning of its message"


class Reread(NamedTuple):
    """A record that was read in the raw message of a dead letter."""

    line: bytes
    """The record as a line of JSON."""
    schema: str | None
    """The schema that the message names, for formats with a schema registry."""


@dataclass(frozen=True, slots=True)
class Rereading:
    """Raw source messages of dead letters, read again or not, by the ids of the dead letters."""

    records: Mapping[str, Reread] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """The reason why a message still is no record."""


async def read_again(settings: Settings, line: Line, letters: Iterable[Letter]) -> Rereading:
    """Read the raw messages of dead letters in the source's format.

    Raise `DeadLetterError` if the schema registry does not answer, and `UsageError` if the format cannot be used.
    """
    raw = {letter.id: raw_in(letter.line) for letter in letters if letter.is_raw_source_message}
    if not raw:
        return Rereading()
    formats = Formats(settings.registry_access())
    try:
        return await _read(formats.decoder_for_once(*settings.format_of_source(line)), raw)
    except RegistryAway as error:
        raise DeadLetterError(
            f"messages of dead letters cannot be read again without the schema registry: {error}"
        ) from error
    finally:
        await formats.close()


async def _read(decoder: Decoder | None, raw: Mapping[str, bytes | None]) -> Rereading:
    problems = {name: TOO_LONG for name, value in raw.items() if value is None}
    whole = {name: value for name, value in raw.items() if value is not None}
    values = list(whole.values())
    decoded = _as_json(values) if decoder is None else await decoder.decode(values)
    schemas = decoded.schemas or (None,) * len(values)
    records = {}
    for place, name in enumerate(whole):
        line = decoded.values[place]
        if place in decoded.problems or line is None:
            problems[name] = decoded.problems.get(place, "the message is empty")
        else:
            records[name] = Reread(line, schemas[place])
    return Rereading(records, problems)


def _as_json(values: Sequence[bytes]) -> Decoded:
    """Return the records of messages in JSON, of which each is one record or a line of a message."""
    lines, problems = list(values), {}
    for place, value in enumerate(values):
        first, *others = read_message(value)
        if first.record is None or others:
            problems[place] = first.problem or "it holds several records"
        lines[place] = first.line
    return Decoded(lines, problems)
