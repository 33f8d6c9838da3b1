"""Finds the modules outside of a line's folder that its code imports, such as those of a package beside it."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Collection, Mapping
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

OURS = Path(__file__).resolve().parents[2]
"""The folder of Metroline's layers."""

LAYERS = ("app", "agents", "routing", "metroline")

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of packages that nobody edits. A package that is installed as editable is elsewhere."""

STANDARD_LIBRARY = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))


def loaded_modules() -> frozenset[str]:
    """Return the names of the modules that are loaded now."""
    return frozenset(sys.modules)


def modules_outside(folder: Path, before: Collection[str]) -> dict[str, Path]:
    """Return the files of the modules that were loaded since `before`, by their names.

    Those in the line's own folder are left out, and those of the standard library, of installed packages and of
    Metroline.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        if name in before or not isinstance(module, ModuleType):
            continue
        file = vars(module).get("__file__")
        if isinstance(file, str) and file.endswith(".py") and _is_edited(file):
            path = Path(file).absolute()
            if not path.is_relative_to(folder):
                found[name] = path
    return found


def files_in(error: BaseException) -> list[Path]:
    """Return the files that could be edited of the code which an error came through, and of its causes, sorted."""
    files = set()
    cause: BaseException | None = error
    while cause is not None:
        files |= {frame.filename for frame in extract_tb(cause.__traceback__)}
        if isinstance(cause, SyntaxError) and cause.filename:
            files.add(cause.filename)
        cause = cause.__cause__ or cause.__context__
    return sorted(Path(file) for file in files if file.endswith(".py") and _is_edited(file))


def forget(modules: Mapping[str, Path]) -> None:
    """Let modules be imported anew."""
    for name in modules:
        sys.modules.pop(name, None)


def _is_ours(file: str) -> bool:
    """Return whether a file is one of Metroline, apart from the example lines."""
    path = Path(file).resolve()
    if not path.is_relative_to(OURS):
        return False
    first, second, *_ = (*path.relative_to(OURS).parts, "")
    return first in LAYERS and (first, second) != ("agents", "lines")


def _is_edited(file: str) -> bool:
    if file.startswith(STANDARD_LIBRARY) or not INSTALLED.isdisjoint(Path(file).parts):
        return False
    return not _is_ours(file)
