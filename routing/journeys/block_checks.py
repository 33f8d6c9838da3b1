"""Checks of stored blocks and journeys that others may have written, before they take the place of the line's own."""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock
from metroline.routing.journeys.summary import StoredJourney
from metroline.routing.outcome import Ending
from metroline.routing.records.fingerprints import EXACT

BLOCK_KEY = re.compile(r"[0-9]{1,9}/[^/]{1,300}/(0|[1-9][0-9]{0,11})")
"""The key of a block: partition, origin and number."""

JOURNEYS_KEY = re.compile(r"[0-9]{1,9}/[0-9]{1,2}")
"""The key of some of the latest journeys: partition and slot."""

Natural = Annotated[int, Meta(ge=0, lt=EXACT)]
Place = Annotated[int, Meta(ge=0, lt=BLOCK_OFFSETS)]
Text = Annotated[str, Meta(max_length=300)]


class _Block(Struct, frozen=True):
    """The types and bounds of `SettledBlock.encode`."""

    whole: str
    partial: dict[str, tuple[Natural, str]]
    counts: Annotated[list[tuple[Text, Ending, Text, Natural]], Meta(max_length=10_000)]
    hops: Natural
    duplicates: Natural
    dead: str = ""
    generations: list[tuple[Natural, str]] = []
    lost: list[tuple[Place, Place]] = []


class _Journeys(Struct, frozen=True):
    number: Natural
    entries: Annotated[list[StoredJourney], Meta(max_length=1_000)]


class NotABlock(MetrolineError):
    """Raised for an entry that is not a block of settled records."""


class NoJourneys(MetrolineError):
    """Raised for an entry that does not hold some of the latest journeys."""


def check_block(key: str, data: dict[str, Any]) -> None:
    """Raise `NotABlock` unless a key and a value are those of a block."""
    if not BLOCK_KEY.fullmatch(key):
        raise NotABlock(f"the key {key!r:.100} is not one of a block")
    try:
        convert(data, _Block)
        block = SettledBlock.decode(data)
    except (ValidationError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise NotABlock(f"not a block: {type(error).__name__}: {error}") from error
    places = [*block.partial, *([block.whole.max()] if block.whole else ())]
    if any(not 0 <= place < BLOCK_OFFSETS for place in places):
        raise NotABlock(f"a block has {BLOCK_OFFSETS} offsets")
    if any(settled and settled.max() >= count for count, settled in block.partial.values()):
        raise NotABlock("a message has fewer records than are settled")


def check_journeys(key: str, data: dict[str, Any]) -> None:
    """Raise `NoJourneys` unless a key and a value are those of some of the latest journeys."""
    if not JOURNEYS_KEY.fullmatch(key):
        raise NoJourneys(f"the key {key!r:.100} is not one of the latest journeys")
    try:
        convert(data, _Journeys)
    except ValidationError as error:
        raise NoJourneys(f"not the latest journeys: {error}") from error
