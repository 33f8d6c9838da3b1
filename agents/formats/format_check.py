"""Finds out, without a worker, what keeps the formats of a line from being used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple

from metroline.agents.formats.codec import InvalidSchema
from metroline.agents.formats.formats import Formats
from metroline.agents.formats.lookups import waiting
from metroline.agents.formats.names import PACKED, REGISTERED, EndFormat
from metroline.agents.formats.registered import key_of, subject_of, unregistered, unusable
from metroline.agents.formats.registry import NotRegistered, RegistryAway
from metroline.routing.errors import UsageError


class SourceFormat(NamedTuple):
    """The format of a source."""

    name: str
    setting: str
    """The place where it can be changed."""
    topic: str


@dataclass(frozen=True, slots=True)
class FormatProblem:
    """A reason why messages of the source cannot be read, or records cannot be delivered at an end."""

    end: str | None
    """The name of the end; None for the source."""
    setting: str
    """The place where the format can be changed."""
    text: str
    """The problem in the words of a worker that meets it, with the way to solve it."""
    is_fatal: bool = True
    """False if it concerns only some records, or may concern none."""

    def __str__(self) -> str:
        return f"the source: {self.text}" if self.end is None else f"the end {self.end!r}: {self.text}"


async def check_formats(
    formats: Formats, source: SourceFormat | None, ends: Mapping[str, tuple[EndFormat, str]]
) -> list[FormatProblem]:
    """Return all problems, those of the source first. The schema registry is asked for the schemas in use.

    `ends` has the format and the topic of each end. `source` is None for a worker that does not read it.
    """
    names_schemas = source is not None and source.name in REGISTERED
    checks: list[Awaitable[Sequence[FormatProblem]]] = []
    if source is not None:
        checks.append(_of_source(formats, source))
    for name, (chosen, topic) in ends.items():
        if chosen.name != PACKED:
            checks.append(_of_end(formats, name, chosen, topic, names_schemas))
    return list(chain.from_iterable(await asyncio.gather(*checks)))


async def _of_source(formats: Formats, source: SourceFormat) -> Sequence[FormatProblem]:
    """Return the problems of the source. Its messages name their schemas, so that only the latest one is looked at."""
    subject = subject_of(source.topic)
    try:
        if source.name not in REGISTERED:
            formats.decoder(source.name, source.setting)
        else:
            await formats.lookups_for_once(source.name, source.setting).find(subject)
    except UsageError as error:
        return [FormatProblem(None, source.setting, str(error))]
    except RegistryAway as error:
        return [FormatProblem(None, source.setting, waiting(formats.address, str(error)))]
    except InvalidSchema as error:
        return [FormatProblem(None, source.setting, f"{error}: messages that name it become dead letters")]
    except NotRegistered as error:
        text = (
            f"the schema registry has no subject {subject} ({error}), so the schemas of its messages were not checked"
        )
        return [FormatProblem(None, source.setting, text, is_fatal=False)]
    return []


async def _of_end(
    formats: Formats, end: str, chosen: EndFormat, topic: str, names_schemas: bool
) -> Sequence[FormatProblem]:
    """Return the problems of an end; `names_schemas` says that messages of the source name their schemas."""
    key = key_of(chosen.schema, topic)
    found = partial(FormatProblem, end, chosen.setting)
    try:
        if chosen.name not in REGISTERED:
            formats.encoder(chosen, topic)
        else:
            await formats.lookups_for_once(chosen.name, chosen.setting, chosen.message).find(key)
    except UsageError as error:
        return [found(str(error))]
    except RegistryAway as error:
        return [found(waiting(formats.address, str(error)))]
    except (NotRegistered, InvalidSchema) as error:
        text = unregistered(key, error) if isinstance(error, NotRegistered) else unusable(error)
        if chosen.schema == "source":  # nothing waits for the schema of the subject
            lacking = (
                f"the schema registry {formats.address}: {text}. Records that do not fit the schema of their source"
            )
            return [found(f"{lacking} message become dead letters", is_fatal=not names_schemas)]
        return [found(waiting(formats.address, text))]
    return []
