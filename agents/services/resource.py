"""`@resource`: declares what services hold for as long as their worker runs, such as a pool of connections."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, overload

from metroline.routing.errors import InvalidLine

OPEN_SECONDS = 30.0
"""Default of the time that opening a resource may take, in seconds."""

RESERVED = frozenset({"id", "meta", "ids", "metas", "settings"})
"""Names of parameters with a meaning of their own."""

P = ParamSpec("P")
Value = TypeVar("Value")
Opener = Callable[P, AsyncIterator[Value]]
Opened = Callable[P, AbstractAsyncContextManager[Value]]


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that is opened before the first call of a service that takes it, and closed after the last one."""

    name: str
    """Name of the parameter by which services take it."""
    open: Callable[..., AbstractAsyncContextManager[Any]]
    """Takes the resources named in `parameters`."""
    timeout: float = OPEN_SECONDS
    """Time that opening it may take, in seconds."""
    parameters: Mapping[str, bool] = field(default_factory=dict)
    """The parameters of `open`; True for those without a default."""
    reopen_on: tuple[type[BaseException], ...] = ()
    """Exceptions of services after which it is opened again."""
    is_constant: bool = False
    """True if it cannot break, since it is a value that nothing has to be done for."""


@overload
def resource(opener: Opener[P, Value], /) -> Opened[P, Value]: ...
@overload
def resource(
    *,
    name: str | None = None,
    timeout: float = OPEN_SECONDS,
    reopen_on: tuple[type[BaseException], ...] = (),
) -> Callable[[Opener[P, Value]], Opened[P, Value]]: ...
def resource(
    opener: Opener[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float = OPEN_SECONDS,
    reopen_on: tuple[type[BaseException], ...] = (),
) -> Any:
    """Declare something that services hold: an HTTP session, a pool of connections to a database, a loaded model.

    The function is async and has one `yield`. It opens the resource, yields it, and closes it behind the `yield`. A
    worker calls it before the first call of a service that has a parameter of the same name, in its event loop, and
    lets it go on when the last call has ended. Its own parameters are other resources, which are opened before it and
    closed after it, and `settings`, the settings of the line.

    A resource that breaks while the worker runs is closed and opened again: one whose code leaves the `yield`, as a
    task group does when one of its tasks fails, and one with which a service raised an exception of `reopen_on`.
    Records wait meanwhile.

    The decorator returns an async context manager, as `contextlib.asynccontextmanager` does, so that tests and scripts
    can open the resource by themselves. It can be used without parameters.

    Args:
        name: Name of the parameter by which services take it. Default: the name of the function.
        timeout: Maximum time for opening it, in seconds. The worker ends if it takes longer. Default: 30.
        reopen_on: Exception types that show that the resource is broken, if a service that takes it raises one of them.
            Default: none.

    Raises `InvalidLine` if a parameter has an invalid value.
    """

    def mark(function: Opener[..., Any]) -> Opened[..., Any]:
        own = str(name or getattr(function, "__name__", ""))
        for problem in _problems(own, function, timeout, reopen_on):
            raise InvalidLine(f"resource {own!r}: {problem}")
        open = asynccontextmanager(function)
        open.__resource__ = Resource(  # type: ignore[attr-defined]
            own, open, timeout, named_parameters(function), reopen_on
        )
        return open

    return mark(opener) if opener is not None else mark


def named_parameters(function: Callable[..., Any], skipped: int = 0) -> dict[str, bool]:
    """Return the names of a function's parameters, without the first `skipped`; True for those without a default."""
    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {one.name: one.default is one.empty for one in parameters if one.kind not in variadic}


def _problems(name: str, function: Callable[..., Any], timeout: Any, reopen_on: Any) -> Iterator[str]:
    if not name.isidentifier() or name in RESERVED:
        yield f"it needs the name of a parameter, which is none of {', '.join(sorted(RESERVED))}"
    if not inspect.isasyncgenfunction(function):
        yield "it must be an async function with one yield: async def, open, yield, close"
    if not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        yield f"timeout must be a number of seconds above 0, not {timeout!r}"
    if not isinstance(reopen_on, tuple) or not all(
        isinstance(one, type) and issubclass(one, BaseException) for one in reopen_on
    ):
        yield "reopen_on must be a tuple of exception types"
