"""Keeps what a service does in its own task, in tasks that it starts and in its timers from ending the worker.

A task or a callback that raises `SystemExit` or `KeyboardInterrupt` ends the event loop, and with it the worker
(asyncio lets both through on purpose). Those of services are therefore run in a shell that contains them; callbacks
that they give to `call_soon` or to a future are not, since every step of every task goes through `call_soon`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

from metroline.routing.foreign_values import name_of_type, text_of

SERVICE: ContextVar[str | None] = ContextVar("service", default=None)
"""The stop whose service runs in this context; tasks that it starts inherit it."""

log = logging.getLogger(__name__)


class TaskExited(RuntimeError):
    """Raised by a task that a service started, in place of `SystemExit` or `KeyboardInterrupt`."""


class LoopBlocked(BaseException):
    """Raised in the code of a service that keeps the event loop from turning for longer than it may."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is the time for which the service may block the event loop."""
        super().__init__(f"the event loop stood still for {seconds:g} s")
        self.seconds = seconds


class Contained(Coroutine[Any, Any, Any]):
    """A coroutine of a service's own task. What would end the event loop ends only the task."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], stop: str) -> None:
        self._coroutine = coroutine
        self._stop = stop

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._exited(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as exit:
            raise self._exited(exit) from exit

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)

    def _exited(self, error: BaseException) -> TaskExited:
        what = _described(error)
        log.error("a task that the service %r started ended with %s; the worker goes on", self._stop, what)
        return TaskExited(f"a task of the service {self._stop!r} ended with {what}")


def _described(error: BaseException) -> str:
    return f"{name_of_type(error)}: {text_of(error, 200)}"


def contain_services(loop: asyncio.AbstractEventLoop) -> None:
    """Contain the tasks and timers that services start in an event loop. Has no effect if they already are."""
    before: Any = loop.get_task_factory()
    if getattr(before, "contains_services", False):
        return

    def start(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Future[Any]:
        stop = SERVICE.get()
        own = coroutine if stop is None else Contained(coroutine, stop)
        if before is None:
            return asyncio.Task(own, loop=loop, **options)
        started: asyncio.Future[Any] = before(loop, own, **options)
        return started

    start.contains_services = True  # type: ignore[attr-defined]
    loop.set_task_factory(start)
    setattr(loop, "call_soon_threadsafe", _containing(loop.call_soon_threadsafe))  # noqa: B010 - not for mypy
    for name in ("call_later", "call_at"):
        setattr(loop, name, _containing_timer(getattr(loop, name)))


def _containing(register: Callable[..., asyncio.Handle]) -> Callable[..., asyncio.Handle]:
    """Return a function that registers a callback as `register` does, and contains it if a service registers it."""

    def registered(callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        stop = SERVICE.get() if context is None else context.get(SERVICE)
        if stop is None:
            return register(callback, *args, context=context)
        return register(_call_contained, stop, callback, *args, context=context)

    return registered


def _containing_timer(register: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.Handle]:
    """Return `_containing` for a function that takes a time before the callback."""

    def registered(time: float, callback: Callable[..., Any], *args: Any, **options: Any) -> asyncio.Handle:
        return _containing(partial(register, time))(callback, *args, **options)

    return registered


def _call_contained(stop: str, callback: Callable[..., Any], *args: Any) -> None:
    try:
        callback(*args)
    except (SystemExit, KeyboardInterrupt) as error:
        log.error(
            "a callback that the service %r registered ended with %s; the worker goes on", stop, _described(error)
        )


@contextmanager
def plain_calls(stop: str) -> Iterator[None]:
    """Call plain functions of a service in this block.

    The task that calls them is hidden: `asyncio.current_task().cancel()` would cancel the agent of the stop.
    """
    loop = asyncio.get_running_loop()
    contain_services(loop)
    task = asyncio.current_task(loop)
    token = SERVICE.set(stop)
    if task is not None:
        asyncio._leave_task(loop, task)
    try:
        yield
    finally:
        if task is not None:
            asyncio._enter_task(loop, task)
        SERVICE.reset(token)
