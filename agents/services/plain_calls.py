"""Plain calls of a service that declares `reads`, as in a test: it receives the fields that it would at its stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]


def called_as_at_stop(function: Callable[..., Any], reads: frozenset[str], *, is_async: bool) -> Callable[..., Any]:
    """Return a function that calls a service with the fields in `reads` of a record, and merges its result into it.

    The record that is passed stays as it is, but for what the service changes within a list or an object. A KeyError
    for a field that is not in `reads` has a note that says so.
    """

    @wraps(function)
    def call(record: Record, *arguments: Any, **told: Any) -> Any:
        __tracebackhide__ = True  # a failing test shows the lines of the service
        with _explained(reads):
            return _merged(record, function(_handed(record, reads), *arguments, **told), reads)

    @wraps(function)
    async def await_call(record: Record, *arguments: Any, **told: Any) -> Any:
        __tracebackhide__ = True
        with _explained(reads):
            return _merged(record, await function(_handed(record, reads), *arguments, **told), reads)

    return await_call if is_async else call


def _handed(record: Record, reads: frozenset[str]) -> Record:
    from metroline.routing.records.service_view import SelectedFields  # a line's import loads no msgspec

    return SelectedFields(reads).handed(record)


def _merged(record: Record, result: Any, reads: frozenset[str]) -> Any:
    from metroline.routing.records.service_view import SelectedFields

    return SelectedFields(reads).left(record, result) if isinstance(result, dict) else result


@contextmanager
def _explained(reads: frozenset[str]) -> Iterator[None]:
    """Add a note to a KeyError for a field that the service is not handed."""
    __tracebackhide__ = True
    try:
        yield
    except KeyError as error:
        if error.args and isinstance(error.args[0], str) and error.args[0] not in reads:
            error.add_note(f"its reads= names {', '.join(sorted(reads)) or 'no field'}, as at its stop")
        raise
