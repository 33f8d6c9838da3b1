"""In which line of its TOML text a rule, or one of its keys, stands."""

from __future__ import annotations

import re
from functools import lru_cache

HEADER = re.compile(r"\s*\[\[\s*[\"']?rules[\"']?\s*\]\]")


TEXT_OR_COMMENT = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|\#[^\n]*""", re.DOTALL
)


class TomlLines:
    """Where the rules of a table stand in its text; the TOML reader itself does not tell."""

    def __init__(self, text: str) -> None:
        self._lines = TEXT_OR_COMMENT.sub(_blanked, text).split("\n")
        self._headers = [number for number, line in enumerate(self._lines, 1) if HEADER.match(line)]

    def of(self, index: int, key: str | None = None) -> int:
        """The line of a rule, or of one of its keys; 1 where the table is written in another way."""
        if index >= len(self._headers):
            return 1
        start = self._headers[index]
        end = self._headers[index + 1] - 1 if index + 1 < len(self._headers) else len(self._lines)
        return start if key is None else self._find(start + 1, end, key, r"[\"']?rules[\"']?\s*\.\s*") or start

    def of_key(self, key: str) -> int:
        """The line of a key that belongs to no rule."""
        return self._find(1, len(self._lines), key, "") or 1

    def _find(self, start: int, end: int, key: str, table: str) -> int | None:
        """The line in which a key is given a value or heads a table of its own, before other tables begin."""
        name = rf"[\"']?{re.escape(key)}[\"']?\s*"
        plain, headed = re.compile(rf"\s*{name}[.=]"), re.compile(rf"\s*\[+\s*{table}{name}[\].]")
        own = True
        for number in range(start, end + 1):
            line = self._lines[number - 1]
            if headed.match(line) or (own and plain.match(line)):
                return number
            own = own and not line.lstrip().startswith("[")
        return None


def _blanked(found: re.Match[str]) -> str:
    """A comment or a text of several lines without its letters, so that nothing in it looks like a rule."""
    text = found.group()
    return re.sub(r"[^\n]", " ", text) if text.startswith(("#", '"""', "'''")) else text


def line_of_rule(text: str, index: int, key: str | None = None) -> int:
    """The line in which the rule of this index, or one of its keys, stands."""
    return lines_of(text).of(index, key)


@lru_cache(maxsize=1)
def lines_of(text: str) -> TomlLines:
    return TomlLines(text)
