"""Asks other workers for their part of a page: all at once, and for a short time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

PATIENCE = 2.0
"""Seconds that others have for their answer."""


@dataclass(slots=True)
class Answers:
    """What others said, by their addresses; who said nothing that could be used is missing."""

    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    """Who answered that there is no such thing."""
    missing: list[str] = field(default_factory=list)


async def ask(client: ClientSession, workers: list[str], path: str) -> Answers:
    """What each of these workers has at this path, which is percent-encoded, of its own."""
    answers = Answers()

    async def ask_one(worker: str) -> None:
        try:
            request = client.get(
                URL(f"{worker.rstrip('/')}{path}?local=true", encoded=True),
                headers={"Accept": "application/json"},
                timeout=ClientTimeout(total=PATIENCE),
                allow_redirects=False,
            )
            async with request as response:
                page = orjson.loads(await response.read())
        except (ClientError, TimeoutError, OSError, ValueError, RuntimeError):  # the last: this worker is stopping
            answers.missing.append(worker)
            return
        if response.status == 404:
            answers.lacking.append(worker)
        elif response.status == 200 and isinstance(page, dict):
            answers.pages[worker] = page
        else:
            answers.missing.append(worker)

    await asyncio.gather(*map(ask_one, workers))
    return answers
