"""What went wrong in a service, as dead letters and `explain` tell it."""

from __future__ import annotations

import re
import traceback

SLASH = re.compile(r"[\\/]")
STANDARD_LIBRARY = traceback.__file__.removesuffix("traceback.py")
HIDDEN = "__tracebackhide__"
"""A module that has this among its names counts as a library, as in pytest."""
INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")


def described(error: BaseException, hint: str = "") -> str:
    """An exception as type and text, with the last place in the service's own code, apart from libraries."""
    frames = traceback.extract_tb(error.__traceback__)
    hidden = [HIDDEN in frame.f_globals for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [
        frame for frame, hides in zip(frames, hidden, strict=True) if not (hides or _is_library(frame.filename))
    ] or frames
    return f"{type(error).__name__}: {error}"[:1_000] + hint + (f" ({_place(own[-1])})" if own else "")


def _place(frame: traceback.FrameSummary) -> str:
    return f"{SLASH.split(frame.filename)[-1]}:{frame.lineno} in {frame.name}"


def _is_library(file: str) -> bool:
    return file.startswith((STANDARD_LIBRARY, "<")) or INSTALLED.search(file) is not None
