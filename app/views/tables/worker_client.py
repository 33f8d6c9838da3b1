"""Asks other workers for their part of a page, all at once and for a short time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

T = TypeVar("T")

TIMEOUT_SECONDS = 2.0
"""Time that other workers have to answer."""


@dataclass(slots=True)
class Answers(Generic[T]):
    """The answers of other workers, by their addresses."""

    pages: dict[str, T] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    """Workers that answered that there is no such page."""
    missing: list[str] = field(default_factory=list)
    """Workers that gave no answer that can be used."""


async def ask(client: ClientSession, workers: list[str], path: str, decode: Callable[[bytes], T]) -> Answers[T]:
    """Ask each worker for its own part of the page at `path`, which is percent-encoded.

    `decode` reads the body of an answer; an error that it raises, as for the page of another version of this program,
    makes the worker count as missing.
    """
    answers: Answers[T] = Answers()

    async def ask_one(worker: str) -> None:
        try:
            status, body = await _get(client, worker, path)
            if status == HTTPStatus.NOT_FOUND:
                msgspec.json.decode(body)
                answers.lacking.append(worker)
            elif status == HTTPStatus.OK:
                answers.pages[worker] = decode(body)
            else:
                answers.missing.append(worker)
        except (ClientError, TimeoutError, OSError, RuntimeError, ValueError, msgspec.DecodeError):
            answers.missing.append(worker)

    await asyncio.gather(*map(ask_one, workers))
    return answers


async def _get(client: ClientSession, worker: str, path: str) -> tuple[int, bytes]:
    """Return status and body; raise `RuntimeError`, among other errors, when this worker is stopping."""
    request = client.get(
        URL(f"{worker.rstrip('/')}{path}?local=true", encoded=True),
        headers={"Accept": "application/json"},
        timeout=ClientTimeout(total=TIMEOUT_SECONDS),
        allow_redirects=False,
    )
    async with request as response:
        return response.status, await response.read()
