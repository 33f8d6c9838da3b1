"""`@service`: makes a function the service of a stop."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar, overload

from metroline.agents.services.batching import Batching
from metroline.agents.services.known_options import refuses_unknown_options
from metroline.agents.services.plain_calls import called_as_at_stop
from metroline.agents.services.rates import calls_per_second
from metroline.agents.services.resource import named_parameters
from metroline.routing.addresses import END
from metroline.routing.errors import InvalidLine
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.meta import Meta
from metroline.routing.outcome import Drop, Retry, Wait

if TYPE_CHECKING:  # both take long to import, and few lines have a use for them
    from msgspec import Struct
    from pydantic import BaseModel

    from metroline.routing.records.record_types import DeclaredTypes

Record = dict[str, Any]
Handler = Callable[..., Any]
"""A function that takes a record and, if it has parameters of these names, its `id` and its `meta`."""


class Dataclass(Protocol):
    """An instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Answer: TypeAlias = "Mapping[str, Any] | Struct | Dataclass | BaseModel | Drop | Retry | Wait"
"""The answer of a service: a dict or `TypedDict`, an instance of a type that it declares, `Drop`, `Retry` or `Wait`."""
ServiceFunction = TypeVar("ServiceFunction", bound="Callable[..., Answer | Coroutine[Any, Any, Answer]]")
"""A plain or async function that can be a service; `@service` keeps its type."""
BatchAnswer: TypeAlias = "Sequence[Answer | BaseException]"
"""The answers of a service with `batch=True`: one for each record, in the order of the records."""
BatchFunction = TypeVar("BatchFunction", bound="Callable[..., BatchAnswer | Coroutine[Any, Any, BatchAnswer]]")
"""A plain or async function that can be a service with `batch=True`."""

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
RESERVED = frozenset({"source", "record", "all", END})

TOLD, TOLD_ALL = ("id", "meta"), ("ids", "metas")
"""Parameters beside the record that receive what is known of it, and of all records of a batch."""


@dataclass(frozen=True, slots=True)
class Service:
    """A function that handles the records of a stop, with the parameters of `@service`."""

    name: str
    """Name of the stop."""
    handler: Handler
    concurrency: int = 1
    """Maximum number of records handled at the same time."""
    is_async: bool = False
    is_blocking: bool = False
    """True if the function is called in a thread, since it waits for something."""
    retries: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `RetryPolicy` that the service overrides."""
    no_retry: tuple[type[BaseException], ...] = ()
    """Exceptions after which a record is not tried again."""
    ordered: bool | str = False
    """True if later records of a partition wait for a failed one; a string limits this to one value of that field."""
    takes_id: bool = False
    """True if the function has a parameter `id`."""
    takes_meta: bool = False
    """True if the function has a parameter `meta`."""
    reads: frozenset[str] | None = None
    """The top-level fields that the function receives; None for the whole record."""
    deadline: float | None = None
    """Maximum age of a record that the function takes, in seconds since it entered the line; None for no limit."""
    rate: float | None = None
    """Maximum number of calls per second of all workers of the line together; None for no limit."""
    pause_after: int | None = None
    """Number of records in a row whose failure makes the stop pause; None if it never pauses."""
    batching: Batching | None = None
    """The size of batches, if the function takes a list of records; None if it takes one record."""
    types: DeclaredTypes | None = None
    """The types that the function declares for its records; None if it takes and returns dicts."""
    others: Mapping[str, bool] = field(default_factory=dict)
    """The parameters for resources of the line, and others that are not passed; True for those without a default."""

    @property
    def is_immediate(self) -> bool:
        """True if the function is called directly in the event loop, as soon as there are records."""
        return self.is_plain and self.rate is None and self.pause_after is None

    @property
    def is_plain(self) -> bool:
        """True if the function is called in the event loop, for each record: not async, not blocking, no batch."""
        return not self.is_async and not self.is_blocking and self.batching is None

    @property
    def capacity(self) -> int:
        """Maximum number of records that are handled at the same time."""
        return self.concurrency * (1 if self.batching is None else self.batching.size)

    @property
    def is_told_source(self) -> bool:
        """True if the function receives more than the record: its id or its metadata."""
        return self.takes_id or self.takes_meta

    def handler_of(self, id: str, meta: Meta | None) -> Callable[[Record], Any]:
        """Return the function to be called with the record that has this id and this metadata.

        `meta` is needed only if the function has a parameter `meta`.
        """
        return self._told("id", id, "meta", meta)

    def handler_of_all(self, ids: Sequence[str], metas: Sequence[Meta | None]) -> Callable[[Sequence[Record]], Any]:
        """Return the function to be called with the list of the records that have these ids and this metadata.

        Both are needed only if the function has parameters `ids` and `metas`.
        """
        return self._told("ids", ids, "metas", metas)

    @property
    def told(self) -> tuple[str, str]:
        """The names of the parameters for the id and the metadata."""
        return _told_to(self.batching)

    def _told(self, id_name: str, id: object, meta_name: str, meta: object) -> Callable[[Any], Any]:
        told = {id_name: id} if self.takes_id else {}
        if self.takes_meta:
            told[meta_name] = meta
        return partial(self.handler, **told) if told else self.handler

    def retry_policy_over(self, default: RetryPolicy) -> RetryPolicy:
        """Return the retry policy of the service: the default with the fields that the service overrides."""
        return replace(default, **self.retries)


@overload
def service(handler: ServiceFunction, /) -> ServiceFunction: ...
@overload
def service(
    *,
    name: str | None = None,
    concurrency: int = 1,
    blocking: bool = False,
    attempts: int | None = None,
    backoff: float | None = None,
    backoff_max: float | None = None,
    timeout: float | None = None,
    wait_max: float | None = None,
    no_retry: tuple[type[BaseException], ...] = (),
    ordered: bool | str = False,
    reads: Iterable[str] | None = None,
    deadline: float | None = None,
    rate: str | None = None,
    pause_after: int | None = None,
    batch: Literal[False] = False,
) -> Callable[[ServiceFunction], ServiceFunction]: ...
@overload
def service(
    *,
    batch: Literal[True],
    max_batch: int | None = None,
    max_wait: float | None = None,
    name: str | None = None,
    concurrency: int = 1,
    blocking: bool = False,
    attempts: int | None = None,
    backoff: float | None = None,
    backoff_max: float | None = None,
    timeout: float | None = None,
    wait_max: float | None = None,
    no_retry: tuple[type[BaseException], ...] = (),
    reads: Iterable[str] | None = None,
    deadline: float | None = None,
) -> Callable[[BatchFunction], BatchFunction]: ...
@refuses_unknown_options
def service(
    handler: Handler | None = None,
    /,
    *,
    name: str | None = None,
    concurrency: int = 1,
    blocking: bool = False,
    attempts: int | None = None,
    backoff: float | None = None,
    backoff_max: float | None = None,
    timeout: float | None = None,
    wait_max: float | None = None,
    no_retry: tuple[type[BaseException], ...] = (),
    ordered: bool | str = False,
    reads: Iterable[str] | None = None,
    deadline: float | None = None,
    rate: str | None = None,
    pause_after: int | None = None,
    batch: bool = False,
    max_batch: int | None = None,
    max_wait: float | None = None,
) -> Handler | Callable[[Handler], Handler]:
    """Make a function the service of a stop.

    The function takes a record (a dict), which it may change, and returns one of these:

    - a dict: the record continues with this content;
    - `Drop(reason)`: the record leaves the line on purpose and is counted under the reason;
    - `Retry(reason, after, until)`: the record is tried again at this stop, after at least `after` seconds and not
      later than `until`. A wait that is asked for with `after` or `until` uses up no attempt;
    - `Wait(until, seconds, then, record)`: the record waits on the bus until a time, and then comes back to this
      function (`then="again"`) or continues to its next stop (`then="next"`). It uses up no attempt.

    Anything else makes the record a dead letter (`bad_return`), and so does a dict that cannot be encoded as JSON
    (`not_encodable`). If the function raises an exception or exceeds its timeout, the record is tried again, too. If
    the last attempt fails, the record is a dead letter with the cause of every attempt. No exception of a service stops
    the line. A record that is tried again, dropped or dead is the record as it came to the stop.

    If the function has another parameter called `id`, it receives the id of the record. The id is the same each time
    that the record is delivered, so that side effects can be made idempotent with it. A parameter called `meta`
    receives a `Meta`: key, headers, timestamp, topic, partition and offset of the record's source message. A parameter
    named as a `@resource` of the line receives that, and `settings` receives the settings of the line.

    With `batch`, the function takes a list of records and returns a list with an answer for each, in their order: one
    of those above, or an exception, with which this record alone has failed. If the function raises or exceeds its
    timeout, all of its records have failed. Its parameters `ids` and `metas` receive lists.

    The decorator returns the function itself, so that tests can call it directly. With `reads`, the function that it
    returns is called as at its stop: with these fields of the record. It can be used without parameters.

    Args:
        name: Name of the stop: lower-case letters, digits and `_`. Default: the name of the function.
        concurrency: Number of records handled at the same time; for async and blocking functions. Default: 1.
        blocking: Whether a plain function is called in a thread, because it waits for something. Default: False.
        attempts: Number of attempts per record, including the first one. Default: the setting `SERVICE_ATTEMPTS` (5).
        backoff: Upper bound of the wait before the second attempt, in seconds; it doubles with each further attempt.
            Default: the setting `SERVICE_BACKOFF` (0.5).
        backoff_max: Upper bound of every wait, in seconds. Default: the setting `SERVICE_BACKOFF_MAX` (60).
        timeout: Maximum time of an attempt, in seconds; for async and blocking functions.
            Default: the setting `SERVICE_TIMEOUT` (30).
        wait_max: Maximum time for which a record waits at the stop in all because the function returns `Wait`, or
            `Retry` with `after` or `until`, in seconds. Default: the setting `SERVICE_WAIT_MAX` (30 days).
        no_retry: Exception types after which a record is a dead letter at once. Default: none.
        ordered: True to let all later records of the source partition wait while a record is tried again, or the name
            of a top-level field to let those with the same value in it wait. Requires `concurrency=1`. Default: False.
        reads: Names of the top-level fields that the function receives. Its result is merged into the record: fields
            that it adds or changes are set, fields of `reads` that it removes are removed, and all other fields are
            passed on without being decoded, which is much faster. Default: the whole record.
        deadline: Maximum age of a record that comes to the stop, in seconds since it entered the line. A record that is
            older is a dead letter (`expired`), without a call of the function. Default: none.
        rate: Maximum number of calls of all workers of the line together, such as `10/s`, `90/min` or `5/h`. Records
            that are too many wait on the bus. Default: no limit.
        pause_after: Number of different records that fail in a row until the stop of this worker pauses. It then calls
            the function for one record from time to time, which uses up no attempt, and continues as soon as a call
            succeeds. With `batch`, a call that handles any of its records succeeds. Not with `ordered`. Default: the
            stop never pauses.
        batch: True if the function takes a list of the records that are there at once. Default: False.
        max_batch: Maximum number of records in a list, up to 10,000; for `batch`. Default: 100.
        max_wait: Maximum time for which the first record of a list waits for others, in seconds, up to 60; for
            `batch`. Default: 0.

    Raises `InvalidLine` if a parameter has an invalid value.
    """
    given = {
        "attempts": attempts,
        "backoff": backoff,
        "backoff_max": backoff_max,
        "timeout": timeout,
        "wait_max": wait_max,
    }
    retries = {key: value for key, value in given.items() if value is not None}

    def mark(function: Handler) -> Handler:
        stop = str(name or getattr(function, "__name__", ""))
        is_async = inspect.iscoroutinefunction(function)
        if not NAME.match(stop) or stop in RESERVED:
            raise InvalidLine(
                f"a stop cannot be named {stop!r}: a name has lower-case letters, digits and _, starts with a letter, "
                f"and is none of {', '.join(sorted(RESERVED))}"
            )
        times = retries if deadline is None else retries | {"deadline": deadline}
        for problem in _problems(concurrency, is_async, blocking, times, no_retry):
            raise InvalidLine(f"service {stop!r}: {problem}")
        if type(ordered) not in (bool, str) or ordered == "" or (ordered and concurrency > 1):
            raise InvalidLine(f"service {stop!r}: ordered must be True or the name of a field, with concurrency=1")
        for problem in _gate_problems(rate, pause_after, ordered):
            raise InvalidLine(f"service {stop!r}: {problem}")
        try:
            batching = Batching.of(batch, max_batch, max_wait, ordered)
        except ValueError as error:
            raise InvalidLine(f"service {stop!r}: {error}") from None
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidLine(f"service {stop!r}: the function must return its answer, and it has a yield")
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise InvalidLine(f"service {stop!r}: the function must take the record as its first parameter")
        others = named_parameters(function, skipped=1)
        takes_id, takes_meta = (others.pop(told, None) is not None for told in _told_to(batching))
        fields = None if reads is None else _fields(stop, reads)
        marked = Service(
            stop,
            function,
            concurrency,
            is_async,
            blocking,
            retries,
            no_retry,
            ordered,
            takes_id=takes_id,
            takes_meta=takes_meta,
            reads=fields,
            deadline=deadline,
            rate=None if rate is None else calls_per_second(rate),
            pause_after=pause_after,
            batching=batching,
            others=others,
        )
        function.__metroline__ = marked  # type: ignore[attr-defined]
        return (
            function
            if fields is None or batching is not None
            else called_as_at_stop(function, fields, is_async=is_async)
        )

    return mark(handler) if handler is not None else mark


def _fields(stop: str, reads: Any) -> frozenset[str]:
    """Return the fields that a service reads; raise `InvalidLine` if these are no names."""
    names: list[Any] = list(reads) if isinstance(reads, Iterable) and not isinstance(reads, (str, bytes)) else [None]
    if not all(isinstance(name, str) for name in names):
        raise InvalidLine(f"service {stop!r}: reads must be a list of names of fields, not {reads!r}")
    return frozenset(names)


def _gate_problems(rate: Any, pause_after: Any, ordered: bool | str) -> Iterator[str]:
    """Yield a message for each parameter about when calls may begin that is not valid."""
    if rate is not None:
        try:
            calls_per_second(rate)
        except ValueError as error:
            yield str(error)
    if pause_after is not None and (type(pause_after) is not int or pause_after < 2):
        yield f"pause_after must be an integer of 2 or more records, not {pause_after!r}"
    if pause_after is not None and ordered:
        yield "pause_after cannot be combined with ordered: records behind a failed one wait for it as it is"


def _told_to(batching: Batching | None) -> tuple[str, str]:
    return TOLD if batching is None else TOLD_ALL


def _problems(
    concurrency: int, is_async: bool, is_blocking: bool, retries: Mapping[str, float], no_retry: Any
) -> Iterator[str]:
    """Yield a message for each parameter of `@service` that is not valid."""
    if type(concurrency) is not int or concurrency < 1:
        yield f"concurrency must be an integer of 1 or more, not {concurrency!r}"
        return
    if type(is_blocking) is not bool:
        yield f"blocking must be True or False, not {is_blocking!r}"
    if is_blocking and is_async:
        yield "blocking=True is for plain functions: remove it from an async function"
    if concurrency > 1 and not is_async and not is_blocking:
        yield "concurrency above 1 needs an async function or blocking=True"
    attempts = retries.get("attempts", 1)
    if type(attempts) is not int or attempts < 1:
        yield f"attempts must be an integer of 1 or more, not {attempts!r}"
    for key in ("backoff", "backoff_max", "timeout", "wait_max", "deadline"):
        value = retries.get(key, 1.0)
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            yield f"{key} must be a number of seconds above 0, not {value!r}"
    if "timeout" in retries and not is_async and not is_blocking:
        yield "a plain function cannot have a timeout: make it async, or add blocking=True"
    if not isinstance(no_retry, tuple) or not all(
        isinstance(one, type) and issubclass(one, BaseException) for one in no_retry
    ):
        yield "no_retry must be a tuple of exception types"
