"""The interface of an end in a system other than Kafka: it writes packs of records, with an answer for each record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from metroline.routing.errors import MetrolineError
from metroline.routing.meta import Meta


class Outgoing(NamedTuple):
    """A record that is to be written."""

    record: dict[str, Any]
    id: str
    """The id of the record in its line, the same each time that the record is delivered."""
    meta: Meta
    """Key, headers and timestamp of the record's source message."""
    prefix: str = ""
    """The line's PREFIX, which tells its ids from those of other lines."""


class RefusedByEnd(Exception):
    """The answer for a record that the system will never take. The record is a dead letter with this text."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """The answer for a record that the system may take later. It waits on the bus and uses up no attempt."""

    reason: str
    after: float = 5.0
    """Time after which the record is written again, in seconds."""


class EndUnavailable(Exception):
    """Raised if the system takes no records at present: all records of the pack wait, as with `Delayed`."""


class MissingExtra(MetrolineError):
    """Raised when an end or a source needs a package that is not installed; it says how to install it."""


Answer = None | RefusedByEnd | Delayed
"""None for a record that the system has confirmed."""


class EndWriter(Protocol):
    """Writes records into a system. It is used by several tasks at once, up to the end's `concurrency`."""

    async def write(self, pack: Sequence[Outgoing]) -> Sequence[Answer]:
        """Write records and return an answer for each, in their order; raise `EndUnavailable` for all of them.

        A call may wait and try again by itself for some seconds, which holds back only the records of its own end. It
        may be cancelled at any time, after which all of its records are written again.
        """


class OutsideEnd(BaseModel, ABC):
    """A table `[ends.NAME]` with a `kind` other than `kafka`: its keys are the fields of the subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str

    max_batch: ClassVar[int] = 500
    """Maximum number of records in a pack."""
    concurrency: ClassVar[int] = 4
    """Maximum number of packs that a worker writes at the same time."""
    patience: ClassVar[float] = 110.0
    """Time after which a call of `EndWriter.write` is cancelled and its records wait, in seconds."""
    timeout: ClassVar[float] = 120.0
    """Time after which a call that does not end when it is cancelled uses up an attempt, in seconds."""

    @property
    def order(self) -> bool | str:
        """The order in which records are written, one a call, as `ordered` of a service says; False for packs.

        True for that of each source partition, or the name of the field whose values are each in order.
        """
        return False

    @abstractmethod
    def open(self, name: str) -> AbstractAsyncContextManager[EndWriter]:
        """Return what opens the end of this name and closes it again; raise `MissingExtra` before anything is read.

        It is opened when a worker starts that writes to the end, and must not need the system to be there: a system
        that is away is waited for by `write`.
        """

    async def problem(self) -> str | None:
        """Return why records could not be written at present, with the way to solve it; None if nothing is known.

        The commands `check` and `doctor` ask. Nothing is written.
        """
        return None
