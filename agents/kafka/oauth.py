"""Tokens for logging in to the brokers with OAUTHBEARER, from an issuer of OAuth 2.0 (client credentials grant)."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

ANSWER_SECONDS = 10.0
"""Time that the token endpoint has to answer."""

USED_SHARE = 0.8
"""Share of a token's lifetime after which a new one is fetched."""

MAX_ANSWER_BYTES = 1024 * 1024
"""Bytes that are read of an answer of the token endpoint."""


class NoToken(KafkaError):  # type: ignore[misc]  # aiokafka has no types; its clients expect this class
    """Raised when the token endpoint gives no token; it names the endpoint and the setting to check."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client of an OAuth issuer: its token endpoint, and how the client identifies itself there."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    """The scope to ask for; None for the issuer's default."""
    ca_file: Path | None = None
    """The file with the certificates that the endpoint's is checked against; None for the system's."""

    @property
    def librdkafka(self) -> dict[str, str]:
        """The client as configuration of librdkafka, which fetches its tokens itself."""
        config = {
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": self.token_url,
            "sasl.oauthbearer.client.id": self.client_id,
            "sasl.oauthbearer.client.secret": self.client_secret,
            "sasl.oauthbearer.scope": self.scope,
            "https.ca.location": str(self.ca_file or ssl.get_default_verify_paths().cafile or "probe"),
        }
        return {name: value for name, value in config.items() if value is not None}

    def fetch(self) -> tuple[str, float]:
        """Return a new token and its lifetime in seconds, 0 if the issuer does not tell it; raise `NoToken`."""
        fields = {"grant_type": "client_credentials"} | ({"scope": self.scope} if self.scope else {})
        login = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Accept": "application/json"}
        request = urllib.request.Request(self.token_url, urllib.parse.urlencode(fields).encode(), headers)
        try:
            context = ssl.create_default_context(cafile=self.ca_file) if self.token_url.startswith("https:") else None
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=context) as response:
                return self._token_in(response.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise NoToken(self._refusal(error)) from error
        except OSError as error:
            raise NoToken(self._silence(error)) from error

    def _token_in(self, answer: bytes) -> tuple[str, float]:
        try:
            decoded = json.loads(answer)
            token, seconds = decoded["access_token"], float(decoded.get("expires_in") or 0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoToken(
                f"the token endpoint {self.token_url} answers without an access_token: "
                "is BROKER_OAUTH_TOKEN_URL the endpoint for tokens?"
            ) from error
        return str(token), seconds

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        reason = _reason(error)
        if error.code not in (400, 401, 403):
            return f"the token endpoint {self.token_url} gives no token ({reason}): is BROKER_OAUTH_TOKEN_URL right?"
        return (
            f"the token endpoint {self.token_url} refuses the client {self.client_id} ({reason}): are "
            "BROKER_OAUTH_CLIENT_ID, BROKER_OAUTH_CLIENT_SECRET and BROKER_OAUTH_SCOPE right?"
        )

    def _silence(self, error: OSError) -> str:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate of the token endpoint {self.token_url} does not hold ({cause.verify_message}): "
                "is its signer's in BROKER_OAUTH_CA_FILE?"
            )
        return (
            f"the token endpoint {self.token_url} does not answer ({cause}): is BROKER_OAUTH_TOKEN_URL right, and "
            "does the issuer run?"
        )


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Gives aiokafka's clients the token of an OAuth client, and fetches a new one before it expires.

    Clients of several event loops and threads may share it.
    """

    def __init__(self, client: OAuthClient) -> None:
        self.client = client
        self._lock = Lock()
        self._token = ""
        self._fetch_at = 0.0
        """The monotonic time, in seconds, from which on the token is not used any more."""

    async def token(self) -> str:
        """Return a token; raise `NoToken`."""
        return await asyncio.to_thread(self._current)

    def _current(self) -> str:
        with self._lock:
            asked_at = time.monotonic()
            if asked_at >= self._fetch_at:
                self._token, seconds = self.client.fetch()
                self._fetch_at = asked_at + USED_SHARE * seconds
            return self._token


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the status of an answer, with the error and its description that RFC 6749 (5.2) has in the body."""
    try:
        body: Any = json.loads(error.read(MAX_ANSWER_BYTES))
        told = [str(body[name]) for name in ("error", "error_description") if body.get(name)]
    except (ValueError, TypeError, AttributeError, OSError):
        told = []
    return " ".join(": ".join([f"HTTP {error.code}", *told]).split())
