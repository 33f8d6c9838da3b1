"""The schemas that a worker knows, and those that it waits for while the registry is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from metroline.agents.formats.codec import InvalidSchema, SchemaPending
from metroline.agents.formats.registry import NotRegistered, RegisteredSchema, RegistryAway, SchemaRegistry

PATIENCE_SECONDS = 1.0
"""Time for which whoever needs a schema waits for it on the spot. Then its messages are set aside."""

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.25, 5.0
"""First and longest wait between two questions while the registry is away. The wait doubles with each question."""

LATEST_SECONDS = 60.0
"""Time for which the latest version of a subject is used before the registry is asked for a newer one."""

MISSING_SECONDS = 10.0
"""Time for which the registry is not asked again for what it does not have."""

RECHECK_SECONDS = 1.0
"""Time for which it is not asked again even by those who have reason to believe that it has it by now."""

COMPLAINT_SECONDS = 30.0
"""Time between two log lines about a registry that is away."""

MAX_KNOWN = 10_000
"""Maximum number of schemas and answers that are remembered."""

MISSED_SECONDS = 5.0
"""Time for which a missing schema counts as a problem. Records that wait for it ask several times a second; those that
another worker has taken over ask no more."""

FOREVER = float("inf")

log = logging.getLogger(__name__)


class Messages(Protocol):
    """The messages of one schema."""

    def read(self, value: bytes) -> tuple[bytes, str]: ...
    def write(self, line: bytes, indexes: Sequence[int] | None) -> bytes: ...


class Lookups(Protocol):
    """Finds schemas of one type."""

    async def find(self, key: int | str) -> tuple[RegisteredSchema, Messages]:
        """Return the schema with an id, or the latest one of a subject; raise `NotRegistered` or `InvalidSchema`."""
        ...


async def compiled(
    schema: RegisteredSchema, type_name: str, compile_schema: Callable[[RegisteredSchema], Messages]
) -> Messages:
    """Return the messages of a schema; raise `InvalidSchema` if it is of another type or cannot be compiled."""
    if schema.type != type_name:
        raise InvalidSchema(f"{schema} is of the type {schema.type}, not {type_name}")
    try:
        return await asyncio.to_thread(compile_schema, schema)
    except Exception as error:  # whatever a library makes of a schema, the worker goes on
        problem = str(error) if isinstance(error, InvalidSchema) else f"{type(error).__name__}: {error}"
        raise InvalidSchema(f"{schema} cannot be used: {problem}") from error


def waiting(address: str, problem: str) -> str:
    """Return the text that says why records wait for the registry at an address."""
    return f"records wait for the schema registry {address}: {problem}"


class RegistryHealth:
    """The problems for which messages wait, for the log and for `/health/ready`."""

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._away: str | None = None
        self._missing: str | None = None
        self._missed_at = 0.0
        self._logged = -COMPLAINT_SECONDS
        self._is_told = False
        """True if the log says that the registry is away."""

    @property
    def problem(self) -> str | None:
        """The problem for which messages wait; None while there is none."""
        if self._away is None and self._clock() - self._missed_at >= MISSED_SECONDS:
            return None
        return self._away or self._missing

    def is_away(self, problem: str) -> None:
        """Note that the registry does not answer."""
        self._away = problem
        self._is_told |= self._complain(problem)

    def answered(self) -> None:
        """Note that the registry has answered."""
        self._away = None
        if self._is_told:
            self._is_told = False
            log.info("the schema registry %s answers again", self._address)

    def lacks(self, problem: str) -> None:
        """Note that the registry has no schema by which records could be delivered."""
        self._missing, self._missed_at = problem, self._clock()
        self._complain(problem)

    def has_all(self) -> None:
        """Note that there is a schema by which records are delivered."""
        self._missing = None

    def _complain(self, problem: str) -> bool:
        """Log a problem, at most once in `COMPLAINT_SECONDS`; return whether it was logged."""
        if self._clock() - self._logged < COMPLAINT_SECONDS:
            return False
        self._logged = self._clock()
        log.warning("%s", waiting(self._address, problem))
        return True


class _Known(NamedTuple):
    answer: tuple[RegisteredSchema, Messages] | NotRegistered | InvalidSchema
    until: float


class SchemaLookups:
    """Looks up schemas of one type, by id or as the latest version of a subject, and remembers them."""

    def __init__(
        self,
        registry: SchemaRegistry,
        health: RegistryHealth,
        type_name: str,
        compile_schema: Callable[[RegisteredSchema], Messages],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`type_name` is that of the registry. `compile_schema` raises `InvalidSchema`."""
        self.registry = registry
        self.health = health
        self._type_name = type_name
        self._compile = compile_schema
        self._clock = clock
        self._known: dict[int | str, _Known] = {}
        self._tasks: dict[int | str, asyncio.Task[None]] = {}

    async def find(self, key: int | str) -> tuple[RegisteredSchema, Messages]:
        """Return the schema with an id, or the latest one of a subject.

        Raise `NotRegistered` or `InvalidSchema`, and `SchemaPending` if the registry has not answered in time, which
        is asked until it does. Who asks again meanwhile does not wait.
        """
        known = self._known.get(key)
        if known is None or self._clock() >= known.until:
            is_new = key not in self._tasks
            if is_new:
                self._tasks[key] = asyncio.create_task(self._ask(key))
            task = self._tasks[key]
            if known is None or isinstance(known.answer, Exception):
                if is_new:
                    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
                known = self._known.get(key) if task.done() else None
                if known is None:
                    raise SchemaPending(self.health.problem or "no answer yet")
        if isinstance(known.answer, Exception):
            raise known.answer
        return known.answer

    async def find_by_now(self, identity: int) -> tuple[RegisteredSchema, Messages]:
        """Do what `find` does for a schema that has been registered lately, if it is registered at all.

        The answer that the registry does not have it counts for `RECHECK_SECONDS` only.
        """
        known = self._known.get(identity)
        was_missing = known is not None and isinstance(known.answer, NotRegistered)
        if known is not None and was_missing and self._clock() >= known.until - MISSING_SECONDS + RECHECK_SECONDS:
            del self._known[identity]
        return await self.find(identity)

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, key: int | str) -> None:
        """Ask for a schema until the registry answers."""
        wait = FIRST_WAIT_SECONDS
        try:
            while not await self._is_answered(key):
                await asyncio.sleep(wait)
                wait = min(2 * wait, MAX_WAIT_SECONDS)
        finally:
            self._tasks.pop(key, None)

    async def _is_answered(self, key: int | str) -> bool:
        registry = self.registry
        try:
            schema = await (registry.by_id(key) if isinstance(key, int) else registry.latest(key))
        except RegistryAway as error:
            self.health.is_away(str(error))
            return False
        except NotRegistered as error:
            self._remember(key, _Known(error, self._clock() + MISSING_SECONDS))
        except Exception as error:  # noqa: BLE001 - whatever the answer was, the messages wait, and somebody is told
            self.health.is_away(f"{type(error).__name__}: {error}")
            return False
        else:
            self._remember(key, await self._compiled(key, schema))
        self.health.answered()
        return True

    async def _compiled(self, key: int | str, schema: RegisteredSchema) -> _Known:
        until = FOREVER if isinstance(key, int) else self._clock() + LATEST_SECONDS
        try:
            return _Known((schema, await compiled(schema, self._type_name, self._compile)), until)
        except InvalidSchema as error:
            return _Known(error, until)

    def _remember(self, key: int | str, known: _Known) -> None:
        if len(self._known) >= MAX_KNOWN and key not in self._known:
            del self._known[next(iter(self._known))]
        self._known[key] = known
