"""Text as it may stand in HTML and SVG, and figures as people read them."""

from __future__ import annotations

import re
import unicodedata
from html import escape

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(value: object) -> str:
    """What a person wrote, harmless in an element or a quoted attribute of HTML and XML."""
    return escape(NOT_IN_XML.sub("\ufffd", str(value)))


def one_line(value: object) -> str:
    """What a person wrote, on one line and without anything that a terminal would obey."""
    spaced = " ".join(str(value).split())
    return "".join("\ufffd" if unicodedata.category(letter).startswith("C") else letter for letter in spaced)


def cells(value: str) -> int:
    """How many columns a text takes in a terminal: wide letters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in value)
    return len(value) + wide - sum(unicodedata.combining(letter) > 0 for letter in value)


def shortened(value: str, most: int) -> str:
    """A text of at most so many columns, with an ellipsis where something was left out."""
    if cells(value) <= most:
        return value
    while cells(value) >= most:
        value = value[:-1]
    return f"{value}…"


def count(number: int) -> str:
    return f"{number:,}"


def percent(part: int, whole: int) -> str:
    """A share to a tenth of a percent; what is not nothing is not shown as nothing, nor what is not all as all."""
    if whole == 0 or part == 0:
        return "0 %"
    if part == whole:
        return "100 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.05 else "> 99.9 %" if share >= 99.95 else f"{share:.1f} %"
