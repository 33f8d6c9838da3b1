"""Describes an exception of a service: its type, its text, and its place in the author's code."""

from __future__ import annotations

import re
import traceback

from metroline.routing.outcome import ServiceError, sendable

PATH_SEPARATOR = re.compile(r"[\\/]")
STANDARD_LIBRARY = traceback.__file__.removesuffix("traceback.py")
HIDDEN = "__tracebackhide__"
"""A module that defines this global counts as a library. pytest uses the same name to hide frames."""
INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")
MAX_TEXT_CHARACTERS = 1_000
"""Maximum number of characters of an exception's text that are kept."""


def describe_error(error: BaseException, hint: str = "") -> ServiceError:
    """Return the description of an exception, with `hint` appended to its text.

    Its place is the innermost frame outside of libraries, since that is the code that the author can change.
    """
    frames = traceback.extract_tb(error.__traceback__)
    hidden = [HIDDEN in frame.f_globals for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [
        frame for frame, hides in zip(frames, hidden, strict=True) if not (hides or _is_library(frame.filename))
    ] or frames
    text = sendable(str(error)[:MAX_TEXT_CHARACTERS] + hint)
    return ServiceError(sendable(type(error).__name__), text, sendable(_place(own[-1])) if own else "")


def _place(frame: traceback.FrameSummary) -> str:
    return f"{PATH_SEPARATOR.split(frame.filename)[-1]}:{frame.lineno} in {frame.name}"


def _is_library(file: str) -> bool:
    return file.startswith((STANDARD_LIBRARY, "<")) or INSTALLED.search(file) is not None
