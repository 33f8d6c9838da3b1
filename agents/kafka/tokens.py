"""The token with which all clients of a process log in, and its renewal while the process runs."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import cache
from threading import Lock

from aiokafka.abc import AbstractTokenProvider

from metroline.agents.kafka.complaints import library_log
from metroline.agents.kafka.complaints import log as complaints_log
from metroline.agents.kafka.oauth import NoToken, OAuthClient

USED_SHARE = 0.5
"""Share of a token's lifetime after which a new one is fetched. The issuer may be away for the rest of it."""

LIBRARY_SHARE = 0.8
"""Share of the lifetime that librdkafka is told after which it asks for a token again."""

UNKNOWN_SECONDS = 60.0
"""Lifetime of a token for which the issuer tells none."""

RETRY_SECONDS = 1.0
"""Time after which an issuer that gave no token is asked again."""

ENDING_SECONDS = 12.0
"""Time before the end of a token at which logins may fail: brokers refuse two of them within a second."""

AFTERMATH_SECONDS = 15.0
"""Time that clients have to log in again once there is a token. librdkafka may wait ten seconds between two tries."""

CLIENT_LOGS = (
    complaints_log,
    library_log,
    *map(logging.getLogger, ("aiokafka", "aiokafka.conn", "aiokafka.consumer.group_coordinator")),
)
"""The loggers of clients that cannot log in."""

log = logging.getLogger(__name__)


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Gives clients the token of an OAuth client, and fetches a new one long before it expires.

    Clients of several event loops and threads share it. While the issuer gives no token, the log says so once, and
    once more when the last token has expired.
    """

    def __init__(self, client: OAuthClient) -> None:
        self.client = client
        self._lock = Lock()
        self._token = ""
        self._fetch_at = self._expires_at = 0.0
        """The monotonic times, in seconds, from which on a new token is fetched, and the present one does not hold."""
        self._refusal: NoToken | None = None
        """The reason why there is no new token, since the last one was given."""
        self._explained_until = 0.0
        """The monotonic time, in seconds, until which failures of clients are due to the want of a token."""
        self._is_end_logged = False
        """True if the log says that the present token has expired."""

    async def token(self) -> str:
        """Return a token that holds, for a client of aiokafka; raise `NoToken`."""
        return await asyncio.to_thread(self._current)

    def for_librdkafka(self, _: str) -> tuple[str, float]:
        """Return a token, and the time, in seconds since the epoch, until which librdkafka does not ask for another.

        This is the callback `oauth_cb`, which librdkafka calls in a thread of its own. Raise `NoToken` if there never
        was a token. After an error librdkafka would ask no more for ten seconds, so an expired token is given instead:
        it is asked for again at once.
        """
        with self._lock:
            self._renew()
            if not self._token:
                raise self._refusal or NoToken("there is no token")
            pause = max(RETRY_SECONDS, self._fetch_at - time.monotonic())
            return self._token, time.time() + pause / LIBRARY_SHARE

    @property
    def explains_failures(self) -> bool:
        """True while clients cannot log in for want of a token, and until they have had time to do so again."""
        return time.monotonic() < self._explained_until

    def _current(self) -> str:
        with self._lock:
            self._renew()
            if self._refusal is not None and time.monotonic() >= self._expires_at:
                raise self._refusal
            return self._token

    def _renew(self) -> None:
        """Fetch a token if it is time to. Keep the present one if there is none."""
        asked_at = time.monotonic()
        if asked_at < self._fetch_at:
            return
        try:
            token, seconds = self.client.fetch()
        except NoToken as error:
            self._refused(error)
            return
        if self._refusal is not None and self._token:
            log.info("the token endpoint %s gives tokens again", self.client.token_url)
        seconds = seconds or UNKNOWN_SECONDS
        self._token, self._refusal, self._is_end_logged = token, None, False
        self._fetch_at, self._expires_at = asked_at + USED_SHARE * seconds, asked_at + seconds

    def _refused(self, error: NoToken) -> None:
        """Note that the issuer gave no token, and log it once, unless no client ever had one."""
        now, is_first = time.monotonic(), self._refusal is None
        self._refusal, self._fetch_at = error, now + RETRY_SECONDS
        if not self._token:
            return  # whoever starts reports it
        left = self._expires_at - now
        if left < ENDING_SECONDS:
            self._explained_until = now + AFTERMATH_SECONDS
        if left > 0 and is_first:
            log.warning("there is no new token, and the present one holds for %.0f s: %s", left, error)
        elif left <= 0 and not self._is_end_logged:
            self._is_end_logged = True
            log.error("the token has expired, and clients cannot log in: %s", error)


class Unexplained(logging.Filter):
    """Leaves out what clients log while they have no token: the provider has logged the reason."""

    def __init__(self, tokens: TokenProvider) -> None:
        super().__init__()
        self._tokens = tokens

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is logged."""
        return not self._tokens.explains_failures


@cache
def tokens_of(client: OAuthClient) -> TokenProvider:
    """Return the provider of a client's tokens, one for the process."""
    tokens = TokenProvider(client)
    for logger in CLIENT_LOGS:
        logger.addFilter(Unexplained(tokens))
    return tokens
