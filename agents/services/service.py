"""`@service`: a plain function becomes the service of a stop."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, overload

from metroline.routing.errors import InvalidLine
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.outcome import Drop, Retry

Record = dict[str, Any]
Handler = Callable[..., Any]
"""Takes a record and, if it has a parameter `id`, the record's id."""

Answer = Mapping[str, Any] | Drop | Retry
"""What a service may return: a dict, which may be typed as a `TypedDict`, or `Drop` or `Retry`."""
ServiceFunction = TypeVar("ServiceFunction", bound=Callable[..., Answer | Coroutine[Any, Any, Answer]])
"""A plain or async function that can be a service; `@service` keeps its type."""

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
RESERVED = frozenset({"source", "record", "all"})


@dataclass(frozen=True, slots=True)
class Service:
    """What handles records at a stop, and how."""

    name: str
    handler: Handler
    concurrency: int = 1
    """How many records it takes at once."""
    is_async: bool = False
    is_blocking: bool = False
    """Whether it is a plain function that waits for something: it runs in a thread."""
    retries: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `RetryPolicy` that it overrides."""
    no_retry: tuple[type[BaseException], ...] = ()
    """What is not tried again when it is raised."""
    ordered: bool | str = False
    """Whether those behind a record that is tried again wait: all of its partition, or those equal in this field."""
    takes_id: bool = False
    """Whether it asks for the record's id."""
    reads: frozenset[str] | None = None
    """The fields that it is handed; None for the whole record."""

    @property
    def is_plain(self) -> bool:
        """Whether it is called as it is: it answers at once."""
        return not self.is_async and not self.is_blocking

    def handler_of(self, id: str) -> Callable[[Record], Any]:
        """What is called with the record of this id."""
        return partial(self.handler, id=id) if self.takes_id else self.handler

    def handler_of_whole(self, id: str) -> Callable[[Record], Any]:
        """What is called with a whole record, and gives one: it lays what the service made over the record.

        For an async service, which cannot be called as it is, this is the service.
        """
        if self.reads is None or self.is_async:
            return self.handler_of(id)
        from metroline.routing.records.service_view import SelectedFields  # loads msgspec, which takes long

        part, handler = SelectedFields(self.reads), self.handler_of(id)

        def laid_over(record: Record) -> Any:
            result = handler(part.handed(record))
            return part.left(record, result) if isinstance(result, dict) else result

        return laid_over

    def retry_policy_over(self, default: RetryPolicy) -> RetryPolicy:
        """Return its retry policy, which takes from the default whatever the service does not override."""
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
    no_retry: tuple[type[BaseException], ...] = (),
    ordered: bool | str = False,
    reads: Iterable[str] | None = None,
) -> Callable[[ServiceFunction], ServiceFunction]: ...
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
    no_retry: tuple[type[BaseException], ...] = (),
    ordered: bool | str = False,
    reads: Iterable[str] | None = None,
) -> Handler | Callable[[Handler], Handler]:
    """Marks a function as the service of a stop; the stop's name is the function's unless `name` says otherwise.

    `concurrency` is how many records an async or blocking function handles at once (default 1: one after the other, in
    order). `blocking=True` runs a plain function that waits for something in a thread. One that raises, returns
    `Retry` or takes longer than `timeout` (seconds; async and blocking ones) is tried `attempts` times in all, with
    waits that begin below `backoff` seconds and grow up to `backoff_max`; the settings have the defaults. What is
    named in `no_retry` is not tried again. `ordered=True` lets those behind it in its source partition wait meanwhile,
    `ordered="field"` those of them that are equal in that field. A function with a parameter `id` besides the record is
    handed the record's id, which is the same whenever the record comes again: what it writes elsewhere can be written
    once by it.
    `reads` names the top-level fields that the function looks at: it is handed those alone (those that there are), and
    what it returns is laid over the record. What it adds or changes is in the record afterwards, a field of `reads`
    that it takes out is out, and all others travel on unread: that costs a fraction of reading and writing them.
    The function stays what it is: calling it in a test calls it.
    """
    said = {"attempts": attempts, "backoff": backoff, "backoff_max": backoff_max, "timeout": timeout}
    retries = {key: value for key, value in said.items() if value is not None}

    def mark(function: Handler) -> Handler:
        stop = str(name or getattr(function, "__name__", ""))
        is_async = inspect.iscoroutinefunction(function)
        if not NAME.match(stop) or stop in RESERVED:
            raise InvalidLine(
                f"a stop cannot be named {stop!r}: use lower case letters, digits and _, and no reserved word"
            )
        for problem in _problems(concurrency, is_async, blocking, retries, no_retry):
            raise InvalidLine(f"service {stop!r}: {problem}")
        if type(ordered) not in (bool, str) or ordered == "" or (ordered and concurrency > 1):
            raise InvalidLine(f"service {stop!r}: ordered is True or the name of a field, and needs concurrency=1")
        takes_id = "id" in list(inspect.signature(function).parameters)[1:]
        fields = None if reads is None else frozenset(reads)
        if fields is not None and (isinstance(reads, str) or not all(isinstance(name, str) for name in fields)):
            raise InvalidLine(f"service {stop!r}: reads is a list of names of fields, not {reads!r}")
        marked = Service(stop, function, concurrency, is_async, blocking, retries, no_retry, ordered, takes_id, fields)
        function.__metroline__ = marked  # type: ignore[attr-defined]
        return function

    return mark(handler) if handler is not None else mark


def _problems(
    concurrency: int, is_async: bool, is_blocking: bool, retries: Mapping[str, float], no_retry: Any
) -> Iterator[str]:
    """What is wrong with how a service wants to be run."""
    if concurrency < 1:
        yield f"concurrency must be 1 or more, not {concurrency}"
    if is_blocking and is_async:
        yield "blocking is for plain functions; an async one is awaited"
    if concurrency > 1 and not is_async and not is_blocking:
        yield "concurrency needs an async function or blocking=True"
    attempts = retries.get("attempts", 1)
    if type(attempts) is not int or attempts < 1:
        yield f"attempts must be a whole number from 1 on, not {attempts!r}"
    for key in ("backoff", "backoff_max", "timeout"):
        value = retries.get(key, 1.0)
        if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            yield f"{key} must be a number of seconds above 0, not {value!r}"
    if "timeout" in retries and not is_async and not is_blocking:
        yield "a plain function cannot be stopped at its timeout: make it async, or blocking=True"
    if not isinstance(no_retry, tuple) or not all(
        isinstance(one, type) and issubclass(one, BaseException) for one in no_retry
    ):
        yield "no_retry must be a tuple of exception types"
