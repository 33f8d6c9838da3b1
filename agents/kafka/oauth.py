"""Tokens for logging in to the brokers with OAUTHBEARER, from an issuer of OAuth 2.0 (client credentials grant)."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

ANSWER_SECONDS = 5.0
"""Time that the token endpoint has to answer."""

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
    secret_file: Path | None = None
    """The file that holds the secret. It is read for each token, since the secret may change while a worker runs."""

    @property
    def _secret(self) -> str:
        """The secret in the file or, without one that can be read, the secret that was there at the start."""
        if self.secret_file is not None:
            with suppress(OSError, UnicodeDecodeError):
                return self.secret_file.read_text("utf-8").rstrip("\r\n") or self.client_secret
        return self.client_secret

    def fetch(self) -> tuple[str, float]:
        """Return a new token and its lifetime in seconds, 0 if the issuer does not tell it; raise `NoToken`."""
        fields = {"grant_type": "client_credentials"} | ({"scope": self.scope} if self.scope else {})
        login = base64.b64encode(f"{self.client_id}:{self._secret}".encode()).decode()
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
            token, seconds = str(decoded["access_token"]), float(decoded.get("expires_in") or 0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoToken(
                f"the token endpoint {self.token_url} answers without an access_token: "
                "is BROKER_OAUTH_TOKEN_URL the endpoint for tokens?"
            ) from error
        return token, seconds or _lifetime_in(token)

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


def _lifetime_in(token: str) -> float:
    """Return the seconds for which a JSON Web Token holds (RFC 7519, 4.1.4), 0 if it is none or does not say."""
    payload = token.partition(".")[2].partition(".")[0]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return max(0.0, float(claims["exp"]) - time.time())
    except (ValueError, TypeError, KeyError):
        return 0.0


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the status of an answer, with the error and its description that RFC 6749 (5.2) has in the body."""
    try:
        body: Any = json.loads(error.read(MAX_ANSWER_BYTES))
        told = [str(body[name]) for name in ("error", "error_description") if body.get(name)]
    except (ValueError, TypeError, AttributeError, OSError):
        told = []
    return " ".join(": ".join([f"HTTP {error.code}", *told]).split())
