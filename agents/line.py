"""A line: the services and the rules that a user writes, loaded from a package or a folder."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast, overload

from routing.errors import InvalidLine
from routing.network import Network
from routing.rules import RuleBook

Record = dict[str, Any]
Handler = Callable[[Record], Any]

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
RESERVED = frozenset({"source", "record", "all"})


@dataclass(frozen=True, slots=True)
class Service:
    """What handles records at a stop: a plain function, sync or async, and how many records it takes at once."""

    name: str
    handler: Handler
    concurrency: int = 1
    is_async: bool = False


@overload
def service(handler: Handler, /) -> Handler: ...
@overload
def service(*, name: str | None = None, concurrency: int = 1) -> Callable[[Handler], Handler]: ...
def service(
    handler: Handler | None = None, /, *, name: str | None = None, concurrency: int = 1
) -> Handler | Callable[[Handler], Handler]:
    """Marks a function as the service of a stop; the stop's name is the function's unless `name` says otherwise.

    `concurrency` is how many records an async function handles at once (default 1: one after the other, in order).
    The function stays what it is: calling it in a test calls it.
    """

    def mark(function: Handler) -> Handler:
        stop = str(name or getattr(function, "__name__", ""))
        if not NAME.match(stop) or stop in RESERVED:
            raise InvalidLine(
                f"a stop cannot be named {stop!r}: use lower case letters, digits and _, and no reserved word"
            )
        if concurrency < 1:
            raise InvalidLine(f"service {stop!r}: concurrency must be 1 or more, not {concurrency}")
        if concurrency > 1 and not inspect.iscoroutinefunction(function):
            raise InvalidLine(f"service {stop!r}: concurrency needs an async function")
        function.__metroline__ = Service(stop, function, concurrency, inspect.iscoroutinefunction(function))  # type: ignore[attr-defined]
        return function

    return mark(handler) if handler is not None else mark


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is loaded: its services by stop, the text of its rules table, and where it came from.

    The line's own records, for trying it out, come from an optional third file, `records.py`, with a function
    `records(count, seed)` that yields records (dicts) or source messages (bytes).
    """

    name: str
    services: dict[str, Service]
    rules_file: Path
    rules_text: str
    maker: Callable[[int, int], Iterable[Record | bytes]] | None = None

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
        return cls(folder.name, services, rules_file, rules_file.read_text("utf-8"), maker)

    @property
    def stops(self) -> frozenset[str]:
        """The stops that this line's code serves."""
        return frozenset(self.services)

    def book(self) -> RuleBook:
        """The rules table of the line's file, validated against its services; raises `InvalidRules`."""
        book = RuleBook.parse(self.rules_text, version=0)
        Network.of(book).validate(self.stops)
        return book

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
