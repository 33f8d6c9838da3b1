"""Describes an exception of a service: its type, its text, its place in the author's code, and the calls to it."""

from __future__ import annotations

import re
import traceback
from types import FrameType
from typing import NamedTuple

from metroline.routing.foreign_values import name_of_type, text_of
from metroline.routing.outcome import ServiceError, sendable

PATH_SEPARATOR = re.compile(r"[\\/]")
STANDARD_LIBRARY = traceback.__file__.removesuffix("traceback.py")
HIDDEN = "__tracebackhide__"
"""A module that defines this global counts as a library. pytest uses the same name to hide frames."""
INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")
MAX_TEXT_CHARACTERS = 1_000
"""Maximum number of characters of an exception's text that are kept."""

OURS = re.compile(r"metroline\.(?!agents\.lines\.)")
"""The names of our own modules, apart from the example lines."""
MAX_FRAMES = 12
"""Calls of a traceback that are kept: the first third, and the last two."""
MAX_CHAINED = 3
"""Exceptions of a chain that are kept."""
MAX_TRACE_CHARACTERS = 1_000


def describe_error(error: BaseException, hint: str = "") -> ServiceError:
    """Return the description of an exception, with `hint` appended to its text.

    Its place is the innermost frame outside of libraries, since that is the code that the author can change. Nothing
    that the methods of the exception do can make this raise.
    """
    text = sendable(text_of(error, MAX_TEXT_CHARACTERS) + hint)
    return ServiceError(sendable(name_of_type(error)), text, _place_of(error))


def trace_of(error: BaseException) -> str:
    """Return the calls that led to an exception, one per line, from the author's code inwards.

    The exceptions that caused it follow, each with its own calls. Source lines are not part of it. Nothing that the
    methods of the exceptions do can make this raise.
    """
    lines = _calls(error)
    seen = {id(error)}
    cause = _cause_of(error)
    while cause is not None and id(cause) not in seen and len(seen) < MAX_CHAINED:
        seen.add(id(cause))
        lines += [f"caused by {name_of_type(cause)}: {text_of(cause, MAX_TEXT_CHARACTERS)}", *_calls(cause)]
        cause = _cause_of(cause)
    return sendable("\n".join(lines))[:MAX_TRACE_CHARACTERS]


def _cause_of(error: BaseException) -> BaseException | None:
    """Return the exception that Python would show before this one."""
    stored = BaseException.__dict__
    cause: BaseException | None = stored["__cause__"].__get__(error)
    if cause is None and not stored["__suppress_context__"].__get__(error):
        cause = stored["__context__"].__get__(error)
    return cause


def _calls(error: BaseException) -> list[str]:
    """Return the calls of a traceback, without those before the author's code."""
    frames = _frames_of(error)
    first = next((place for place, frame in enumerate(frames) if frame.is_own), 0)
    calls = [str(frame) for frame in frames[first:]]
    if len(calls) <= MAX_FRAMES:
        return calls
    begin = MAX_FRAMES // 3
    return [*calls[:begin], "…", *calls[begin - MAX_FRAMES :]]


class _Frame(NamedTuple):
    """A call in a traceback."""

    file: str
    line: int
    function: str
    is_own: bool
    """True if it is the author's code, and not that of a library."""

    def __str__(self) -> str:
        return f"{PATH_SEPARATOR.split(self.file)[-1]}:{self.line} in {self.function}"


def _frames_of(error: BaseException) -> list[_Frame]:
    """Return the calls from where an exception was caught to where it was raised."""
    traceback_of = BaseException.__dict__["__traceback__"].__get__(error)
    return [_frame(frame, line) for frame, line in traceback.walk_tb(traceback_of)]


def _frame(frame: FrameType, line: int) -> _Frame:
    code, module = frame.f_code, frame.f_globals.get("__name__")
    is_ours = type(module) is str and OURS.match(module) is not None
    is_library = HIDDEN in frame.f_globals or is_ours or _is_library(_path_of(frame))
    return _Frame(code.co_filename, line, code.co_name, not is_library)


def _path_of(frame: FrameType) -> str:
    """Return the path of the code of a call.

    Modules that Cython compiled name their source as it was where they were built, such as `uvloop/loop.pyx`.
    Their own file is the one that is installed.
    """
    path, module_path = frame.f_code.co_filename, frame.f_globals.get("__file__")
    is_compiled = path.endswith((".pyx", ".pxd", ".pxi"))
    return module_path if is_compiled and type(module_path) is str else path


def _place_of(error: BaseException) -> str:
    """Return the innermost place in the author's own code, or the innermost one of all; empty if there is none."""
    frames = _frames_of(error)
    own = [frame for frame in frames if frame.is_own] or frames
    return sendable(str(own[-1])) if own else ""


def _is_library(file: str) -> bool:
    return file.startswith((STANDARD_LIBRARY, "<")) or INSTALLED.search(file) is not None
