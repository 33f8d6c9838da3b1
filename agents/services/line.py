"""A line: the services and the rules that a user writes, loaded from a package or a folder."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast, overload

from agents.lookups.made import LookupTable
from agents.lookups.reader import Lookup
from routing.errors import InvalidLine
from routing.handling import Part
from routing.network import Network
from routing.rules import RuleBook

Record = dict[str, Any]
Handler = Callable[..., Any]
"""Takes a record and, if it has a parameter `id`, the record's id."""

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
RESERVED = frozenset({"source", "record", "all"})


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and for how long a service is tried. Times are in seconds."""

    attempts: int = 5
    """In all; 1 is never again."""
    backoff: float = 0.5
    """How long the first wait is at most; each further one twice as long, and each by chance anything up to that."""
    backoff_max: float = 60.0
    timeout: float = 30.0
    """How long a service may take that is awaited or runs in a thread."""

    def wait(self, attempts: int, chance: float) -> float:
        """How long to wait after so many failed attempts: exponential backoff with full jitter (`chance`: 0 to 1)."""
        return chance * min(self.backoff_max, self.backoff * 2.0 ** min(attempts - 1, 64))


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
    patience: Mapping[str, Any] = field(default_factory=dict)
    """What it says of its patience itself."""
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
        part, handler = Part(self.reads), self.handler_of(id)

        def laid_over(record: Record) -> Any:
            result = handler(part.handed(record))
            return part.left(record, result) if isinstance(result, dict) else result

        return laid_over

    def patient(self, default: Patience) -> Patience:
        """Its patience, by default this one."""
        return replace(default, **self.patience)


@overload
def service(handler: Handler, /) -> Handler: ...
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
) -> Callable[[Handler], Handler]: ...
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
    patience = {key: value for key, value in said.items() if value is not None}

    def mark(function: Handler) -> Handler:
        stop = str(name or getattr(function, "__name__", ""))
        is_async = inspect.iscoroutinefunction(function)
        if not NAME.match(stop) or stop in RESERVED:
            raise InvalidLine(
                f"a stop cannot be named {stop!r}: use lower case letters, digits and _, and no reserved word"
            )
        for problem in _problems(concurrency, is_async, blocking, patience, no_retry):
            raise InvalidLine(f"service {stop!r}: {problem}")
        if type(ordered) not in (bool, str) or ordered == "" or (ordered and concurrency > 1):
            raise InvalidLine(f"service {stop!r}: ordered is True or the name of a field, and needs concurrency=1")
        takes_id = "id" in list(inspect.signature(function).parameters)[1:]
        fields = None if reads is None else frozenset(reads)
        if fields is not None and (isinstance(reads, str) or not all(isinstance(name, str) for name in fields)):
            raise InvalidLine(f"service {stop!r}: reads is a list of names of fields, not {reads!r}")
        marked = Service(stop, function, concurrency, is_async, blocking, patience, no_retry, ordered, takes_id, fields)
        function.__metroline__ = marked  # type: ignore[attr-defined]
        return function

    return mark(handler) if handler is not None else mark


def _problems(
    concurrency: int, is_async: bool, is_blocking: bool, patience: Mapping[str, float], no_retry: Any
) -> Iterator[str]:
    """What is wrong with how a service wants to be run."""
    if concurrency < 1:
        yield f"concurrency must be 1 or more, not {concurrency}"
    if is_blocking and is_async:
        yield "blocking is for plain functions; an async one is awaited"
    if concurrency > 1 and not is_async and not is_blocking:
        yield "concurrency needs an async function or blocking=True"
    attempts = patience.get("attempts", 1)
    if type(attempts) is not int or attempts < 1:
        yield f"attempts must be a whole number from 1 on, not {attempts!r}"
    for key in ("backoff", "backoff_max", "timeout"):
        value = patience.get(key, 1.0)
        if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            yield f"{key} must be a number of seconds above 0, not {value!r}"
    if "timeout" in patience and not is_async and not is_blocking:
        yield "a plain function cannot be stopped at its timeout: make it async, or blocking=True"
    if not isinstance(no_retry, tuple) or not all(
        isinstance(one, type) and issubclass(one, BaseException) for one in no_retry
    ):
        yield "no_retry must be a tuple of exception types"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is loaded: its services by stop, the text of its rules table, and where it came from.

    The line's own records, for trying it out, come from an optional third file, `records.py`, with a function
    `records(count, seed)` that yields records (dicts) or source messages (bytes). What the line looks things up in and
    makes itself comes from another one, `lookups.py`, with `@lookup_table` functions.
    """

    name: str
    services: dict[str, Service]
    rules_file: Path
    rules_text: str
    maker: Callable[[int, int], Iterable[Record | bytes]] | None = None
    tables: tuple[LookupTable, ...] = ()
    """The lookups that it makes itself."""
    lookups: frozenset[str] = frozenset()
    """The lookups that its modules name, as `accounts = lookup("accounts")`."""

    @classmethod
    def load(cls, where: str) -> Line:
        """Loads the line named by a dotted package or by a folder; raises `InvalidLine` with what to do."""
        folder, package = _locate(where)
        module = _import(folder, package, "services")
        rules_file = folder / "routes.toml"
        if not rules_file.is_file():
            raise InvalidLine(f"line {where!r}: {rules_file} is missing; it holds the rules table")
        services = _services(module)
        if not services:
            raise InvalidLine(f"line {where!r}: {folder / 'services.py'} has no @service function")
        maker = None
        if (folder / "records.py").is_file():
            maker = getattr(_import(folder, package, "records"), "records", None)
        tables: tuple[LookupTable, ...] = ()
        if (folder / "lookups.py").is_file():
            tables = _tables(_import(folder, package, "lookups"))
        text = rules_file.read_text("utf-8")
        return cls(folder.name, services, rules_file, text, maker, tables, _lookups(folder))

    @property
    def stops(self) -> frozenset[str]:
        """The stops that this line's code serves."""
        return frozenset(self.services)

    @property
    def code(self) -> list[Path]:
        """The files of this line's code, in the order of their names."""
        return sorted(self.rules_file.parent.rglob("*.py"))

    def book(self) -> RuleBook:
        """The rules table of the line's file, validated against its services; raises `InvalidRules`."""
        return Network.read(self.rules_text, self.stops).book

    def records(self, count: int, seed: int = 1) -> Iterator[Record | bytes]:
        """Yields `count` of the line's own records."""
        if self.maker is None:
            raise InvalidLine(
                f"line {self.name!r} has no records of its own: add records.py with records(count, seed), or give a "
                "file (`up`: --rate 0)"
            )
        return iter(self.maker(count, seed))


def _locate(where: str) -> tuple[Path, str | None]:
    """The folder of a line and, when it is named by a dotted package, that package."""
    folder = Path(where).expanduser()
    if folder.is_dir():
        return folder.resolve(), None
    if "/" not in where and "\\" not in where:
        try:
            spec = importlib.util.find_spec(where)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations))), where
    raise InvalidLine(
        f"there is no line {where!r}: name a package (agents.lines.metrobus) or a folder with services.py and "
        "routes.toml"
    )


def _import(folder: Path, package: str | None, module: str) -> ModuleType:
    file = folder / f"{module}.py"
    if not file.is_file():
        raise InvalidLine(f"{file} is missing; it holds the line's services")
    try:
        if package is not None:
            return importlib.import_module(f"{package}.{module}")
        return _import_file(file, f"_line_{folder.name}_{module}")
    except InvalidLine:
        raise
    except Exception as error:  # a user's module may raise anything; it becomes one line
        raise InvalidLine(f"{file} cannot be imported: {type(error).__name__}: {error}") from error


def _import_file(file: Path, name: str) -> ModuleType:
    """Imports a file of a line that is in no package; files beside it can be imported by their name."""
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InvalidLine(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _services(module: ModuleType) -> dict[str, Service]:
    found: dict[str, Service] = {}
    for value in vars(module).values():
        mark = cast("Service | None", getattr(value, "__metroline__", None))
        if mark is None or found.get(mark.name) is mark:
            continue
        if mark.name in found:
            raise InvalidLine(f"two services are named {mark.name!r} in {module.__file__}")
        found[mark.name] = mark
    return found


def _tables(module: ModuleType) -> tuple[LookupTable, ...]:
    marks = (getattr(value, "__lookup__", None) for value in vars(module).values())
    found = tuple(dict.fromkeys(mark for mark in marks if isinstance(mark, LookupTable)))
    for name, times in Counter(table.name for table in found).items():
        if times > 1:
            raise InvalidLine(f"two lookups are named {name!r} in {module.__file__}")
    return found


def _lookups(folder: Path) -> frozenset[str]:
    """What is named by the modules of a line, as far as they are imported."""
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    within = [module for module in modules if _is_within(vars(module).get("__file__"), folder)]
    return frozenset(value.name for module in within for value in vars(module).values() if isinstance(value, Lookup))


def _is_within(file: object, folder: Path) -> bool:
    return isinstance(file, str) and file.startswith(f"{folder}{os.sep}")
