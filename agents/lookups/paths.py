"""The folder of the lookups and their files, one each."""

from __future__ import annotations

import os
import re
from pathlib import Path

from metroline.agents.lookups.errors import InvalidLookup

VARIABLE = "LOOKUP_DIR"
SUFFIX = ".lookup"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}\Z")


def folder() -> Path:
    """Return the folder of LOOKUP_DIR, or else one in the user's data folder (XDG Base Directory Specification).

    Raise `InvalidLookup` if the user has no home folder.
    """
    named = os.environ.get(VARIABLE)
    try:
        if named:
            return Path(named).expanduser()
        data = os.environ.get("XDG_DATA_HOME", "")
        below = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise InvalidLookup(f"this user has no home folder for lookups: set {VARIABLE} to a folder") from error
    return below / "metroline" / "lookups"


def check_name(name: str) -> str:
    """Return the name; raise `InvalidLookup` if no lookup can have it. It is also the name of a file."""
    if not isinstance(name, str) or not NAME.match(name) or name.endswith(SUFFIX):
        raise InvalidLookup(
            f"a lookup cannot be named {name!r}: use up to 100 lower case letters, digits, _, - and dots, and begin "
            "with a letter or a digit"
        )
    return name


def file_of(name: str, where: Path) -> Path:
    """Return the file of a lookup in the folder `where`."""
    return where / f"{name}{SUFFIX}"


def names_in(where: Path) -> list[str]:
    """Return the names of the lookups in the folder `where`, sorted."""
    found = where.glob(f"*{SUFFIX}") if where.is_dir() else ()
    return sorted(name for file in found if NAME.match(name := file.name.removesuffix(SUFFIX)))
