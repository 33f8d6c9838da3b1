"""The records that the code of a line makes for trying it out: what is wrong with them is an error of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from metroline.agents.services.line_modules import shown_error
from metroline.agents.services.service import Record
from metroline.routing.errors import InvalidLine, MetrolineError

Maker = Callable[[int, int], Iterable[Record | bytes]]
"""Takes a number of records and a seed, and returns records or source messages."""

PASSED_ON = (MetrolineError, KeyboardInterrupt, GeneratorExit)
"""Exceptions that are raised as they are. Any other may come from a user's function, even SystemExit."""


def own_records(folder: Path, make: Maker, count: int, seed: int) -> Iterator[Record | bytes]:
    """Return an iterator over the records that the function of the line in `folder` makes.

    Raise `InvalidLine`, at once or later, if the function raises an exception or makes something that is no record.
    """
    try:
        made = iter(make(count, seed))
    except PASSED_ON:
        raise
    except BaseException as error:
        raise invalid_records(folder.name, shown_error(error, folder)) from error
    return _checked(folder, made)


def invalid_records(line: str, reason: str) -> InvalidLine:
    """Return the error that says why the records of a line cannot be used."""
    return InvalidLine(f"the records of the line {line!r}: {reason}")


def _checked(folder: Path, made: Iterator[Record | bytes]) -> Iterator[Record | bytes]:
    try:
        for number, record in enumerate(made, 1):
            if not isinstance(record, (bytes, dict)):
                kind = type(record).__name__
                raise invalid_records(folder.name, f"record {number} is of the type {kind}: yield a dict, or bytes")
            yield record
    except PASSED_ON:
        raise
    except BaseException as error:
        raise invalid_records(folder.name, shown_error(error, folder)) from error
