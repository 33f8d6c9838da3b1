"""Finds the problems of one rules table after another, in a process that a worker starts for it.

It reads requests from its standard input and writes the answers to its standard output: JSON, each with its length in
four bytes before it. It ends with its input.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from metroline.routing.errors import InvalidRules
from metroline.routing.rules.network import Network

LENGTH = 4
"""Number of bytes that hold the length of a request or an answer."""

FILE = "table"
"""The name by which problems call the table."""

MAX_PROBLEMS = 200
"""Number of problems that are told; further ones are counted."""

MAX_CHARACTERS = 2_000
"""Maximum length of a problem."""


class Request(Struct):
    """A table to check, with what it may lead to."""

    table: str
    served: list[str]
    """The stops that live workers serve."""
    ends: list[str]
    """The names of the line's ends."""
    last: list[str] = []
    """The stops after which journeys are over."""


class Found(Struct):
    """The problems of a table."""

    problems: list[str]
    """The first of them, each with its place."""
    count: int
    """Number of all."""


def check_table(request: Request) -> Found:
    """Return the problems of a table; none if it is valid."""
    try:
        Network.read(request.table, frozenset(request.served), FILE, frozenset(request.ends), frozenset(request.last))
    except InvalidRules as error:
        told = [one[:MAX_CHARACTERS] for one in error.problems[:MAX_PROBLEMS]]
        return Found(told, len(error.problems))
    return Found([], 0)


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer requests until there are no more."""
    for body in _bodies(source):
        answer = msgspec.json.encode(check_table(msgspec.json.decode(body, type=Request)))
        target.write(len(answer).to_bytes(LENGTH, "big") + answer)
        target.flush()


def _bodies(source: BinaryIO) -> Iterator[bytes]:
    while len(head := source.read(LENGTH)) == LENGTH:
        yield source.read(int.from_bytes(head, "big"))


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
