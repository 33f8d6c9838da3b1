"""Finds and imports the modules of a line, and collects the services and lookups that they declare."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import cast

from metroline.agents.lookups.reader import Lookup
from metroline.agents.services.lookup_table import LookupTable
from metroline.agents.services.renamed_package import advice_on_import, advice_on_line
from metroline.agents.services.service import Service
from metroline.routing.errors import InvalidLine

PREFIX = "_line_"
"""The beginning of the names of modules that are in no package."""

NO_PARENT = "attempted relative import with no known parent package"
"""The message of Python for a relative import in a module that is in no package."""


def locate(where: str) -> tuple[Path, str | None]:
    """Return the folder of a line and, if the line is named by a dotted package, that package.

    Raise `InvalidLine` if there is no such folder or package.
    """
    folder = Path(where).expanduser()
    if folder.is_dir():
        return folder.resolve(), None
    spec = _package(where) if "/" not in where and "\\" not in where else None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))), where
    hint = advice_on_line(where) or (
        "name a package (metroline.agents.lines.metrobus) or a folder with services.py and routes.toml"
    )
    raise InvalidLine(f"there is no line {where!r}: {hint}")


def _package(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def import_module_of(folder: Path, package: str | None, module: str, *, reuse: bool = False) -> ModuleType:
    """Import a module of a line; raise `InvalidLine` if it is missing or raises an exception.

    With `reuse`, a file that others have imported already is not imported once more.
    """
    file = folder / f"{module}.py"
    if not file.is_file():
        raise InvalidLine(f"{file} is missing: create it with the {module} of the line")
    try:
        if package is not None:
            return importlib.import_module(f"{package}.{module}")
        imported = imported_from(file) if reuse else None
        return imported or _import_file(file, f"{PREFIX}{folder.name}_{module}")
    except (InvalidLine, KeyboardInterrupt):
        raise
    except BaseException as error:  # a user's module may raise anything, even SystemExit; the user sees one line
        raise InvalidLine(_refusal(file, error)) from error


def _refusal(file: Path, error: BaseException) -> str:
    if advice := advice_on_import(error):
        return advice
    if str(error) == NO_PARENT:
        return f"{file} has relative imports: name the line by its package (--line PACKAGE.{file.parent.name})"
    return f"{file} cannot be imported: {shown_error(error, file.parent)}"


def shown_error(error: BaseException, folder: Path) -> str:
    """Return an error with the last line of the line's own code that it came through, as `… (services.py:3)`."""
    frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)]
    place = f" ({Path(frames[-1].filename).relative_to(folder)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def imported_from(file: Path) -> ModuleType | None:
    """Return the module that others have imported from a file, by whatever name; None if nobody has."""
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if not isinstance(origin, str) or not origin.endswith(file.name) or name.startswith(PREFIX):
            continue
        if isinstance(module, ModuleType) and Path(origin).resolve() == file.resolve():
            return module
    return None


def _import_file(file: Path, name: str) -> ModuleType:
    """Import a file of a line that is not in a package; other files of its folder can be imported by name."""
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InvalidLine(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def forget_modules(folder: Path) -> None:
    """Let the modules of a line be imported anew, from files that may have changed."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and _is_within(vars(module).get("__file__"), folder):
            del sys.modules[name]
    importlib.invalidate_caches()


def services_of(module: ModuleType) -> dict[str, Service]:
    """Return the services of a module by their stops. Raise `InvalidLine` if two have the same name."""
    found: dict[str, Service] = {}
    for value in vars(module).values():
        mark = cast("Service | None", getattr(value, "__metroline__", None))
        if mark is None or found.get(mark.name) is mark:
            continue
        if mark.name in found:
            raise InvalidLine(f"two services are named {mark.name!r} in {module.__file__}: rename one of them")
        found[mark.name] = mark
    return found


def tables_of(module: ModuleType) -> tuple[LookupTable, ...]:
    """Return the lookups that a module declares. Raise `InvalidLine` if two have the same name."""
    marks = (getattr(value, "__lookup__", None) for value in vars(module).values())
    found = tuple(dict.fromkeys(mark for mark in marks if isinstance(mark, LookupTable)))
    for name, times in Counter(table.name for table in found).items():
        if times > 1:
            raise InvalidLine(f"two lookups are named {name!r} in {module.__file__}: rename one of them")
    return found


def lookups_of(folder: Path) -> frozenset[str]:
    """Return the names of the lookups that the imported modules of a line use."""
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    within = [module for module in modules if _is_within(vars(module).get("__file__"), folder)]
    return frozenset(value.name for module in within for value in vars(module).values() if isinstance(value, Lookup))


def _is_within(file: object, folder: Path) -> bool:
    return isinstance(file, str) and file.startswith(f"{folder}{os.sep}")
