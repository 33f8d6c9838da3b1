"""Asks workers for their own part of a page, all at once and for a short time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec
from aiohttp import ClientSession, ClientTimeout
from yarl import URL

from metroline.app.web_server.logins import WORKER_SCHEME, logins_of

T = TypeVar("T")

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0
"""Time that workers have to answer."""

MAX_ASKED, MAX_AT_ONCE = 200, 32
"""Number of workers that are asked for a page, and of those that are asked at once."""

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Size of an answer; a larger one is no page."""

CHUNK_BYTES = 64 * 1024


@dataclass(slots=True)
class Answers(Generic[T]):
    """The answers of workers, by their addresses."""

    pages: dict[str, T] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    """Workers that answered that there is no such page."""
    missing: list[str] = field(default_factory=list)
    """Workers that gave no answer that can be used."""


def pass_header(token: str | None, line: str, url: str) -> dict[str, str]:
    """Return the header by which pages of the worker at an address may be read; none without a token.

    `line` is the prefix of the line. The token itself is sent to nobody.
    """
    logins = logins_of(token, line)
    return {} if logins is None else {"Authorization": WORKER_SCHEME + logins.worker_pass(url, time.time())}


async def ask(
    client: ClientSession,
    workers: list[str],
    path: str,
    decode: Callable[[bytes], T],
    headers: Callable[[str], dict[str, str]],
) -> Answers[T]:
    """Ask each worker for its own part of the page at `path`, which is percent-encoded.

    `headers` returns further headers for the worker at an address.

    `decode` reads the body of an answer; an error that it raises, as for the page of another version of this program,
    makes the worker count as missing.
    """
    answers: Answers[T] = Answers(missing=workers[MAX_ASKED:])
    room = asyncio.Semaphore(MAX_AT_ONCE)

    async def ask_one(worker: str) -> None:
        try:
            async with room:
                status, body = await _get(client, worker, path, headers(worker))
            if status == HTTPStatus.NOT_FOUND:
                msgspec.json.decode(body)
                answers.lacking.append(worker)
            elif status == HTTPStatus.OK:
                answers.pages[worker] = decode(body)
            else:
                answers.missing.append(worker)
        except Exception as error:  # noqa: BLE001 - who answers may be anybody
            log.debug("the worker at %s gave no answer that can be used: %r", worker, error)
            answers.missing.append(worker)

    await asyncio.gather(*map(ask_one, workers[:MAX_ASKED]))
    return answers


async def _get(client: ClientSession, worker: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Return status and body; raise `RuntimeError`, among other errors, when this worker is stopping."""
    request = client.get(
        URL(f"{worker.rstrip('/')}{path}?local=true", encoded=True),
        headers={"Accept": "application/json", **headers},
        timeout=ClientTimeout(total=TIMEOUT_SECONDS),
        allow_redirects=False,
    )
    async with request as response:
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise ValueError("the answer is too large for a page")
        return response.status, bytes(body)
