"""What went wrong in a service, as dead letters and `explain` tell it."""

from __future__ import annotations

import re
import traceback

SLASH = re.compile(r"[\\/]")
STANDARD_LIBRARY = traceback.__file__.removesuffix("traceback.py")
PACKAGE = __file__.removesuffix("failure.py").removesuffix("routing/").removesuffix("routing\\") + "agents"
"""Where what carries records is, which a service calls too, to look things up; lines that come along lie in there."""
INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")


def described(error: BaseException, hint: str = "") -> str:
    """An exception as type and text, with the last place in the service's own code, apart from libraries."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_library(frame.filename)] or frames
    return f"{type(error).__name__}: {error}"[:1_000] + hint + (f" ({_place(own[-1])})" if own else "")


def _place(frame: traceback.FrameSummary) -> str:
    return f"{SLASH.split(frame.filename)[-1]}:{frame.lineno} in {frame.name}"


def _is_library(file: str) -> bool:
    carries = file.startswith(PACKAGE) and SLASH.split(file[len(PACKAGE) :])[1:2] != ["lines"]
    return carries or file.startswith((STANDARD_LIBRARY, "<")) or INSTALLED.search(file) is not None
