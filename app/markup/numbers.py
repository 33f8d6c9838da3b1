"""Numbers as people read them."""

from __future__ import annotations


def count(number: int) -> str:
    """Return a number with commas between the thousands."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is 1."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def percent(part: int, whole: int) -> str:
    """Return a share to a tenth of a percent; only nothing reads as 0 %, and only the whole as 100 %."""
    if whole == 0 or part == 0:
        return "0 %"
    if part == whole:
        return "100 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.05 else "> 99.9 %" if share >= 99.95 else f"{share:.1f} %"
