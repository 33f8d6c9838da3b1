"""Text for terminals and narrow columns: one line, safe, measured and shortened."""

from __future__ import annotations

import re
import unicodedata

OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters of ASCII and of ISO 8859 (C0, C1), with which every order begins
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # unseen, or reorder others
    "\ud800-\udfff\U000e0000-\U000e007f]"  # no characters, and tags, which are unseen
)
"""Characters that a terminal obeys or does not show, or by which it shows others in another order."""

NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str) -> str:
    r"""Return a text on one line that a terminal only shows: `\n`, `\x1b`, `\u202e` stand for the other characters."""
    return OBEYED.sub(_escape, text)


def escaped_lines(text: str) -> str:
    """Return a text that a terminal only shows, with its line breaks and tabs."""
    return OBEYED.sub(lambda found: found[0] if found[0] in "\n\t" else _escape(found), text)


def escaped_json(text: str) -> str:
    """Return JSON that a terminal only shows, and that holds the same."""
    return OBEYED.sub(lambda found: found[0] if found[0] in "\n\t" else _escape_json(found[0]), text)


def _escape_json(letter: str) -> str:
    units = letter.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[place] << 8 | units[place + 1]:04x}" for place in range(0, len(units), 2))


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    code = ord(letter)
    return NAMED.get(letter) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def one_line(value: object) -> str:
    """Return the text of a value on one line; control characters, which a terminal would obey, become U+FFFD."""
    spaced = " ".join(str(value).split())
    return "".join("\ufffd" if unicodedata.category(letter).startswith("C") else letter for letter in spaced)


def display_width(value: str) -> int:
    """Return the number of terminal columns of a text: two for a wide letter, none for a combining one."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in value)
    return len(value) + wide - sum(unicodedata.combining(letter) > 0 for letter in value)


def shorten(value: str, width: int) -> str:
    """Return a text of at most `width` terminal columns, which ends in an ellipsis if it was cut."""
    if display_width(value) <= width:
        return value
    while display_width(value) >= width:
        value = value[:-1]
    return f"{value}…"
