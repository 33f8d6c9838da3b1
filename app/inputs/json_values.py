"""The JSON values of a user's file: JSON lines, one array, or values that are written over several lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import orjson

from metroline.app.inputs.row_files import BOM, RowFile, UnreadableRecords

BLANK = b" \t\r\n"
BLANKS = re.compile(rb"[ \t\r\n]*")
CHUNK_BYTES = 256 * 1024
MAX_VALUE_BYTES = 64 * 1024 * 1024
"""Maximum size of an array's element, or of a value over several lines. No message is as large."""

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Maximum size of a first line that is taken for a record of its own. A longer one may be a whole array."""

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
NEXT_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + STRING + rb")*+[{}\[\]]", re.DOTALL)
"""The text up to a bracket that is not in a string."""
SCALAR = re.compile(rb'(?:[^",{}\[\]]++|' + STRING + rb")*+(?=[,\]])", re.DOTALL)
"""An element of an array that has no brackets, up to what ends it."""

OPENING = b"{["


def json_values(source: RowFile) -> Iterator[tuple[int, bytes]]:
    """Yield the JSON values of a file, each in one line and with the number of the line where it begins.

    A file is read as an array if that is all that it holds and its first element is an object, and as objects over
    several lines if its first line begins one that is valid and that it does not end. So is a file whose first line is
    a bracket and nothing else. The lines of any other file that are not blank are yielded as they are, valid or not.

    Raise `UnreadableRecords` for a file that does not end as it began.
    """
    text = _Text(source)
    if not text.skip_blanks():
        return
    if _is_array(text):
        yield from _elements(text)
    elif _begins_value(text) or _is_bracket_alone(text, b"{"):
        while text.skip_blanks():
            yield text.line, text.take(_end(text))
    else:
        yield from text.lines()


class _Text:
    """The text of a file, of which no more is kept than what is looked at."""

    def __init__(self, source: RowFile) -> None:
        self.content = source.content
        self.file = source.name
        self.line = 1
        """Number of the line in which `read` begins."""
        self.read = bytearray(self.content.read(len(BOM)))
        if self.read == BOM:
            self.read.clear()

    def more(self) -> bool:
        """Read on, twice as far as before; return whether there was more."""
        chunk = self.content.read(max(CHUNK_BYTES, len(self.read)))
        self.read += chunk
        return bool(chunk)

    def error(self, problem: str) -> UnreadableRecords:
        return UnreadableRecords(f"{self.file}:{self.line}: {problem}")

    def skip(self, end: int) -> bytes:
        """Return the text up to an index, and go on behind it."""
        skipped = bytes(self.read[:end])
        del self.read[:end]
        self.line += skipped.count(b"\n")
        return skipped

    def blanks_at(self, index: int) -> int:
        """Return the index of the first character from an index on that is not blank, or the end of what is read."""
        found = BLANKS.match(self.read, index)
        return len(self.read) if found is None else found.end()

    def skip_blanks(self) -> bool:
        """Go on at the next character that is not blank; return whether there is one."""
        while True:
            self.skip(self.blanks_at(0))
            if self.read:
                return True
            if not self.more():
                return False

    def take(self, end: int) -> bytes:
        """Return the value up to an index in one line, and go on behind it."""
        value = bytes(self.read[:end]).strip(BLANK)
        try:
            orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise self.error(f"not valid JSON: {error}") from error
        self.skip(end)
        return b" ".join(value.splitlines())  # line breaks of a valid value are outside of its strings

    def first_line(self) -> bytes:
        """Return the line that begins here; of one that is longer than `MAX_LINE_BYTES`, the beginning."""
        at = 0
        while (end := self.read.find(b"\n", at)) < 0 and (at := len(self.read)) < MAX_LINE_BYTES and self.more():
            pass
        return bytes(self.read[: min(len(self.read) if end < 0 else end, MAX_LINE_BYTES)])

    def has_more_behind(self, line: bytes) -> bool:
        """Return whether something follows the line that begins here."""
        while self.blanks_at(len(line)) == len(self.read):
            if not self.more():
                return False
        return True

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not blank, with their numbers."""
        *whole, last = bytes(self.read).split(b"\n")
        self.read.clear()
        numbers = count(self.line)
        for line in self._and_rest(whole, last):
            number = next(numbers)
            if line.strip():
                yield number, line.rstrip(b"\r\n")

    def _and_rest(self, whole: list[bytes], last: bytes) -> Iterator[bytes]:
        yield from whole
        yield last + self.content.readline()
        yield from self.content


def _is_array(text: _Text) -> bool:
    """Return whether the text is one array: it begins one that its first line does not end, or that is all of it."""
    if not text.read.startswith(b"["):
        return False
    line = text.first_line()
    if not _is_json(line):
        return _is_bracket_alone(text, b"[") or _begins_element(text)
    return not text.has_more_behind(line)


def _is_bracket_alone(text: _Text, bracket: bytes) -> bool:
    """Return whether the first line is a bracket, and others follow it: so tools begin values over several lines."""
    line = text.first_line()
    return line.strip() == bracket and text.has_more_behind(line)


def _begins_element(text: _Text) -> bool:
    """Return whether an array begins with a valid object, or has no elements."""
    while (begin := text.blanks_at(1)) == len(text.read):
        if not text.more():
            return False
    if text.read[begin : begin + 1] != b"{":
        return text.read[begin : begin + 1] == b"]"
    try:
        return _is_json(bytes(text.read[begin : _end(text, begin)]))
    except UnreadableRecords:
        return False


def _begins_value(text: _Text) -> bool:
    """Return whether an object begins here that is valid, and that the first line does not end."""
    if not text.read.startswith(b"{") or _is_json(line := text.first_line()):
        return False
    try:
        end = _end(text)
    except UnreadableRecords:
        return False
    return end > len(line) and _is_json(bytes(text.read[:end]))


def _is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


def _elements(text: _Text) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of an array, which is all that the text may hold."""
    begun = text.line
    text.skip(1)
    if not text.skip_blanks():
        raise _unfinished(text, begun)
    while text.read[:1] != b"]":
        is_scalar = text.read[0] not in OPENING
        yield text.line, text.take(_end_of_scalar(text) if is_scalar else _end(text))
        if not text.skip_blanks():
            raise _unfinished(text, begun)
        if text.read[:1] == b",":
            text.skip(1)
            if not text.skip_blanks():
                raise _unfinished(text, begun)
            if text.read[:1] == b"]":
                raise text.error("there is a comma before the end of the array")
        elif text.read[:1] != b"]":
            raise text.error("not valid JSON: there should be a comma between two elements")
    text.skip(1)
    if text.skip_blanks():
        raise text.error("there is more behind the end of the array")


def _unfinished(text: _Text, begun: int) -> UnreadableRecords:
    return text.error(f"the file ends within the array that begins in line {begun}")


def _end(text: _Text, begin: int = 0) -> int:
    """Return the index behind the object or array that begins at an index."""
    if not text.read.startswith((b"{", b"["), begin):
        raise text.error("a JSON object or array should begin here")
    at, depth = begin, 0
    while True:
        while (found := NEXT_BRACKET.match(text.read, at)) is not None:
            at = found.end()
            depth += 1 if text.read[at - 1] in OPENING else -1
            if not depth:
                return at
        _read_on(text)


def _end_of_scalar(text: _Text) -> int:
    """Return the index behind the element of an array that begins here and is no object or array."""
    while (found := SCALAR.match(text.read)) is None:
        _read_on(text)
    return found.end()


def _read_on(text: _Text) -> None:
    """Read more of a value; raise `UnreadableRecords` if there is no more, or the value is too long."""
    if len(text.read) > MAX_VALUE_BYTES:
        raise text.error(f"the value that begins here is longer than {MAX_VALUE_BYTES:,} bytes")
    if not text.more():
        raise text.error("the file ends within the value that begins here")
