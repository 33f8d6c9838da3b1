"""The JSON values of a user's file: JSON lines, one array, or values that are written over several lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import orjson

from metroline.app.inputs.row_files import RowFile, UnreadableRecords

BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r\n"
CHUNK_BYTES = 256 * 1024
MAX_VALUE_BYTES = 64 * 1024 * 1024
"""Maximum size of an array's element, or of a value over several lines. No message is as large."""

TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],"]', re.DOTALL)
"""A string, a bracket, a comma, or the quote of a string whose end was not read yet."""

OPENING, CLOSING = b"{[", b"}]"


def json_values(source: RowFile) -> Iterator[tuple[int, bytes]]:
    """Yield the JSON values of a file, each in one line and with the number of the line where it begins.

    A file is read as an array if that is all that it holds and its first element is an object, and as objects over
    several lines if its first line begins one that is valid and that it does not end. The lines of any other file that
    are not blank are yielded as they are, valid or not.

    Raise `UnreadableRecords` for a file that does not end as it began.
    """
    text = _Text(source)
    if not text.skip_blanks():
        return
    if _is_array(text):
        yield from _elements(text)
    elif _begins_value(text):
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

    def skip_blanks(self) -> bool:
        """Go on at the next character that is not blank; return whether there is one."""
        while True:
            self.skip(len(self.read) - len(self.read.lstrip(BLANK)))
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
        """Return the line that begins here; of a very long one, the beginning."""
        at = 0
        while (end := self.read.find(b"\n", at)) < 0 and (at := len(self.read)) < MAX_VALUE_BYTES and self.more():
            pass
        return bytes(self.read if end < 0 else self.read[:end])

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
        return _begins_element(text)
    while not text.read[len(line) :].strip(BLANK):
        if not text.more():
            return True
    return False


def _begins_element(text: _Text) -> bool:
    """Return whether an array begins with a valid object, or has no elements."""
    begin = 1
    while not text.read[begin:].strip(BLANK):
        if not text.more():
            return False
    begin += len(text.read[begin:]) - len(text.read[begin:].lstrip(BLANK))
    if text.read[begin : begin + 1] != b"{":
        return text.read[begin : begin + 1] == b"]"
    try:
        return _is_json(bytes(text.read[begin : _end(text, begin, is_element=True)]))
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
        yield text.line, text.take(_end(text, is_element=True))
        if not text.skip_blanks():
            raise _unfinished(text, begun)
        if text.read[:1] == b",":
            text.skip(1)
            if not text.skip_blanks():
                raise _unfinished(text, begun)
            if text.read[:1] == b"]":
                raise text.error("there is a comma before the end of the array")
    text.skip(1)
    if text.skip_blanks():
        raise text.error("there is more behind the end of the array")


def _unfinished(text: _Text, begun: int) -> UnreadableRecords:
    return text.error(f"the file ends within the array that begins in line {begun}")


def _end(text: _Text, begin: int = 0, *, is_element: bool = False) -> int:
    """Return the index behind the value that begins at an index.

    An element of an array ends before a comma or a bracket; any other value has to be an object or an array.
    """
    at, depth = begin, 0
    if not is_element and not text.read.startswith((b"{", b"["), begin):
        raise text.error("a JSON object or array should begin here")
    while True:
        for token in TOKEN.finditer(text.read, at):
            kind = token[0][:1]
            if token[0] == b'"':
                at = token.start()
                break
            at = token.end()
            if kind in OPENING:
                depth += 1
            elif kind in CLOSING:
                depth -= 1
                if depth < 0:
                    return token.start()
                if not depth and not is_element:
                    return at
            elif kind == b"," and not depth and is_element:
                return token.start()
        if len(text.read) > MAX_VALUE_BYTES:
            raise text.error(f"the value that begins here is longer than {MAX_VALUE_BYTES:,} bytes")
        if not text.more():
            raise text.error("the file ends within the value that begins here")
