"""Describes an exception of a service: its type, its text, and its place in the author's code."""

from __future__ import annotations

import re
import traceback

from metroline.routing.foreign_values import name_of_type, text_of
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

    Its place is the innermost frame outside of libraries, since that is the code that the author can change. Nothing
    that the methods of the exception do can make this raise.
    """
    text = sendable(text_of(error, MAX_TEXT_CHARACTERS) + hint)
    return ServiceError(sendable(name_of_type(error)), text, _place_of(error))


def _place_of(error: BaseException) -> str:
    """Return the innermost place in the author's own code, or the innermost one of all; empty if there is none."""
    traceback_of = BaseException.__dict__["__traceback__"].__get__(error)
    frames = [(frame.f_code, line, HIDDEN in frame.f_globals) for frame, line in traceback.walk_tb(traceback_of)]
    own = [one for one in frames if not (one[2] or _is_library(one[0].co_filename))] or frames
    if not own:
        return ""
    code, line, _ = own[-1]
    return sendable(f"{PATH_SEPARATOR.split(code.co_filename)[-1]}:{line} in {code.co_name}")


def _is_library(file: str) -> bool:
    return file.startswith((STANDARD_LIBRARY, "<")) or INSTALLED.search(file) is not None
