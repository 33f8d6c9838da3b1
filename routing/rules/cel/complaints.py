"""Says in plain words where a condition is not valid CEL, from the place at which the parser stopped.

The words come from the text around that place, so they do not depend on the parser's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from metroline.routing.errors import ConditionError, ConditionSyntaxError
from metroline.routing.rules.cel.checks import Impossible

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      |(?P<string>[bB]?[rR](?:\"\"\".*?\"\"\"|'''.*?'''|"[^"]*"|'[^']*')
                 |[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      |(?P<number>0[xX][0-9a-fA-F]+u?|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?u?)
      |(?P<name>[A-Za-z_]\w*)
      |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)

PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")
"""A place in a complaint of the parser: line and column from 1 on, and the parser's words."""

EXCERPT = re.compile(r"^ \| .*", re.MULTILINE)
"""A line in a complaint of the parser that shows a line of the condition, or the caret under it."""

TOO_DEEP = re.compile(r"recursion (limit|depth)")
"""In a complaint of the parser: parts within parts, of which it follows 32."""

GRAMMAR = "Syntax error"
"""The beginning of the words for a place where the grammar ends. Other complaints may only follow from it."""

PAIRS = {"(": ")", "[": "]", "{": "}"}
OPENING = {closing: opening for opening, closing in PAIRS.items()}
SIGNS = frozenset("()[]{}.,:?!<>=&|+-*/%")
OPERATOR = re.compile(r"&&|\|\||[=!<>]=|.", re.DOTALL)

INSTEAD = {
    **{"=": "write == to compare", "&": "write && for 'and'", "|": "write || for 'or'"},
    **{"and": "write && for 'and'", "or": "write || for 'or'", "not": "write ! for 'not'", "is": "write == to compare"},
    **{"=<": "write <= for 'at most'", "=>": "write >= for 'at least'", "<>": "write != for 'not equal'"},
    **{"like": "write x.contains(y) or x.matches(y) for 'like'", "between": "write a <= x && x <= b for 'between'"},
    "#": "a comment begins with //",
}
"""Advice on signs and words of other languages."""

OWN_WORDS = [
    (re.compile(r"reserved identifier: (\w+)"), r"\1 is a reserved word: a field of that name is record[" r'"\1"]'),
    (re.compile(r"has\(\) argument must be.*"), "has needs a dot: write has(record.NAME)"),
    (re.compile(r"(\w+)\(\) variable name .*"), r"\1 begins with a name for the element: write list.\1(x, …)"),
    (re.compile(r"invalid (hex )?u?int literal.*"), "the integer does not fit into 64 bits"),
    (
        re.compile(r"Invalid (string|bytes) literal: String must end.*"),
        r"a text after r cannot end with a backslash: write \\\\ without r",
    ),
    (re.compile(r"Invalid (string|bytes) literal.*"), r"the text has an escape that stands for no character"),
    (re.compile(r"invalid constant literal.*"), "no value is written so"),
    (re.compile(r"unsupported syntax.*"), r"? has no place here: a field that is absent is null without it"),
]
"""Complaints that are not about the grammar."""

WORD = re.compile(r"\w+|.", re.DOTALL)
RAW = re.compile(r"[bB]?[rR]")
INTEGER = re.compile(r"(?:0[xX][0-9a-fA-F]{1,20}|[1-9][0-9]{0,20})(?![\w.])")
NOT_IN = re.compile(r"(not\s+|!\s*)in\b")
ESCAPE = re.compile(
    r"""\\(?P<known>[abfnrtv\\?"'`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})|\\.?""", re.DOTALL
)


def syntax_error(text: str, complaint: str) -> ConditionError:
    """Return the error for a condition that the parser refuses with this complaint."""
    if TOO_DEEP.search(EXCERPT.sub("", complaint)):
        return ConditionError("the condition is nested too deeply: at most 32 levels are allowed")
    places = [(int(line), int(column), words) for line, column, words in PLACE.findall(EXCERPT.sub("", complaint))]
    if not places:
        return ConditionError(f"the condition does not compile: {complaint.partition('. ')[0][:300]}")
    line, column, words = next((place for place in places if place[2].startswith(GRAMMAR)), places[0])
    for pattern, own in OWN_WORDS:
        for at_line, at_column, said in places:
            if found := pattern.match(said):
                reason = found.expand(own) + _advice_on_integer(text, _offset(text, at_line, at_column))
                return ConditionSyntaxError(reason, text, at_line, at_column)
    offset = _offset(text, line, column)
    reason = _reason(text, offset) if words.startswith(GRAMMAR) else words
    return ConditionSyntaxError(reason, text, line, column)


def _offset(text: str, line: int, column: int) -> int:
    return sum(len(one) + 1 for one in text.split("\n")[: line - 1]) + column - 1


def _advice_on_integer(text: str, offset: int) -> str:
    """Return what to write for an integer at an offset that fits into 64 bits, though not with a sign."""
    found = INTEGER.match(text, offset)
    if found is None or not 2**63 <= int(found[0], 0) < 2**64:
        return ""
    return f": as an unsigned one it does, {found[0]}u"


def impossible(text: str, problem: Impossible) -> ConditionSyntaxError:
    """Return the error for a condition that is valid CEL and can never work."""
    before = text[: problem.offset].split("\n")
    return ConditionSyntaxError(problem.reason, text, len(before), len(before[-1]) + 1, "the condition can never work:")


def _reason(text: str, offset: int) -> str:
    """Return what is wrong at an offset, or what is missing there."""
    before: list[re.Match[str]] = []
    found = None
    for token in TOKEN.finditer(text):  # not beyond the place: a text that is not closed is searched for up to the end
        if token.lastgroup != "space":
            if token.end() > offset:
                found = token
                break
            before.append(token)
    last = before[-1] if before else None
    opened = _open_brackets(before)
    if found is None:
        return _missing(last, opened)
    return (
        _advice_on_text(found) or _advice_on_sign(text, found.start(), last, opened) or _misplaced(found, last, opened)
    )


def _missing(last: re.Match[str] | None, opened: Sequence[str]) -> str:
    """Return what is missing at the end of a condition."""
    if not _ends_value(last):
        return f"{_wanted(last)} is missing at the end"
    if opened:
        return f"{PAIRS[opened[-1]]} is missing at the end"
    return "the condition is not complete: a ? b needs : and a third part"


def _misplaced(found: re.Match[str], last: re.Match[str] | None, opened: Sequence[str]) -> str:
    """Return what is missing before a token, or why it has no place behind the last one."""
    here = _matched(OPERATOR, found.string, found.start()) if found.lastgroup == "sign" else found.group()
    if here in OPENING and (not opened or PAIRS[opened[-1]] != here):
        return f"{PAIRS[opened[-1]]} has to come first" if opened else f"there is no {OPENING[here]} for this {here}"
    if found.lastgroup == "sign" and here[0] not in SIGNS:
        return f"CEL has no sign {here}"
    if last is None or not _ends_value(last):
        return f"{_wanted(last)} is missing before {here}"
    if found.lastgroup != "sign" or here in PAIRS or here == "!":
        return f"an operator is missing before {here}"
    return f"{here} has no place after {last.group()}"


def _advice_on_text(found: re.Match[str]) -> str | None:
    """Return advice on a text in quotes that is not closed, has a line break or an escape that CEL does not have."""
    here = found.group()
    if here in ("'", '"'):
        return f"the text that begins here is not closed: {here} is missing"
    if found.lastgroup != "string":
        return None
    if "\n" in here and here.lstrip("rRbB")[:3] not in ("'''", '"""'):
        return "the text that begins here has a line break: close it, or write it in three quotes"
    if RAW.match(here):
        return None
    unknown = next((escape.group() for escape in ESCAPE.finditer(here) if not escape["known"]), None)
    return unknown and f"the text has an unknown escape {unknown}: write \\{unknown}, or r before the text"


def _advice_on_sign(text: str, at: int, last: re.Match[str] | None, opened: Sequence[str]) -> str | None:
    """Return advice on the signs and words of other languages, and on a comma outside calls and lists."""
    before, word = last.group() if last else "", _matched(WORD, text, at)
    if word == "," and last is not None:
        if last.lastgroup == "number" and not opened:
            return "a number has no commas"
        return "a list is written as [a, b]" if opened[-1:] == ["("] else None
    if NOT_IN.match(text, at):
        return "write !(a in b) for 'not in'"
    if before.lower() == "not" and word not in OPENING:
        return INSTEAD["not"]
    if text.startswith(("&&", "||", "=="), at):
        return None
    pairs = (text[max(0, at - 1) : at + 1], text[at : at + 2])
    return next((INSTEAD[sign] for sign in (*pairs, word.lower()) if sign in INSTEAD), None)


def _matched(pattern: re.Pattern[str], text: str, at: int) -> str:
    found = pattern.match(text, at)
    return found.group() if found else ""


def _ends_value(token: re.Match[str] | None) -> bool:
    """Return whether a value ends with this token, so that an operator or the end has to follow."""
    if token is None or token.group() == "in":
        return False
    return token.lastgroup in ("name", "number", "string") or token.group() in OPENING


def _wanted(last: re.Match[str] | None) -> str:
    return "a name" if last is not None and last.group() == "." else "a value"


def _open_brackets(tokens: Sequence[re.Match[str]]) -> list[str]:
    """Return the brackets that are open after these tokens, from the outside in."""
    opened: list[str] = []
    for token in tokens:
        sign = token.group()
        if sign in PAIRS:
            opened.append(sign)
        elif opened and sign == PAIRS[opened[-1]]:
            opened.pop()
    return opened
