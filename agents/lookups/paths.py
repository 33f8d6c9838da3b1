"""Where lookups are kept: one file each, in one folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from metroline.agents.lookups.errors import InvalidLookup

VARIABLE = "LOOKUP_DIR"
SUFFIX = ".lookup"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}\Z")


def folder() -> Path:
    """The folder that LOOKUP_DIR names, or else one of this user's, by the XDG Base Directory Specification."""
    named = os.environ.get(VARIABLE)
    try:
        if named:
            return Path(named).expanduser()
        data = os.environ.get("XDG_DATA_HOME", "")
        below = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise InvalidLookup(f"this user has no home folder for lookups: set {VARIABLE} to a folder") from error
    return below / "metroline" / "lookups"


def checked(name: str) -> str:
    """The name, if it can be a lookup's; it is also the name of a file."""
    if not isinstance(name, str) or not NAME.match(name) or name.endswith(SUFFIX):
        raise InvalidLookup(
            f"a lookup cannot be named {name!r}: use up to 100 lower case letters, digits, _, - and dots, and begin "
            "with a letter or a digit"
        )
    return name


def file_of(name: str, where: Path) -> Path:
    return where / f"{name}{SUFFIX}"


def names_in(where: Path) -> list[str]:
    """The names of the lookups that are there."""
    found = where.glob(f"*{SUFFIX}") if where.is_dir() else ()
    return sorted(name for file in found if NAME.match(name := file.name.removesuffix(SUFFIX)))
