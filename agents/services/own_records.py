"""The records that the code of a line makes for trying it out: what is wrong with them is an error of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from traceback import extract_tb

from metroline.agents.services.service import Record
from metroline.routing.errors import InvalidLine, MetrolineError

Maker = Callable[[int, int], Iterable[Record | bytes]]
"""Takes a number of records and a seed, and returns records or source messages."""


def own_records(file: Path, make: Maker, count: int, seed: int) -> Iterator[Record | bytes]:
    """Return an iterator over the records that a function makes, which `file` holds.

    Raise `InvalidLine`, at once or later, if the function raises an exception or makes something that is no record.
    """
    try:
        made = iter(make(count, seed))
    except Exception as error:  # a user's function may raise anything
        raise _refused(file, error) from error
    return _checked(file, made)


def _checked(file: Path, made: Iterator[Record | bytes]) -> Iterator[Record | bytes]:
    try:
        for number, record in enumerate(made, 1):
            if not isinstance(record, (bytes, dict)):
                kind = type(record).__name__
                raise InvalidLine(f"{file}: record {number} of records() is of the type {kind}: yield a dict, or bytes")
            yield record
    except Exception as error:  # as above; what the caller does with a record is raised at the caller
        raise _refused(file, error) from error


def _refused(file: Path, error: Exception) -> MetrolineError:
    if isinstance(error, MetrolineError):
        return error
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename) == file]
    place = f" ({file.name}:{lines[-1]})" if lines else ""
    return InvalidLine(f"{file}: records() raised {type(error).__name__}: {error}{place}")
