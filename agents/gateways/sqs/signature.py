"""Signatures of calls by AWS's Signature Version 4, with a key that is derived once a day.

botocore signs any request of any service, and takes a third of a call's CPU time for it. The calls here are all alike:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

SERVICE = "sqs"
ALGORITHM = "AWS4-HMAC-SHA256"
PORTS = {"http": 80, "https": 443}


class Credentials(Protocol):
    """Credentials as botocore has them."""

    @property
    def access_key(self) -> str:
        """The id of the key."""

    @property
    def secret_key(self) -> str:
        """The key."""

    @property
    def token(self) -> str | None:
        """The session token, for credentials that expire."""


class _DayKey(NamedTuple):
    """A key for the calls of a day."""

    day: str
    secret: str
    key: bytes


class Signer:
    """Signs POST requests to one address."""

    def __init__(self, address: str, region: str) -> None:
        url = urlsplit(address)
        has_port = url.port is not None and url.port != PORTS.get(url.scheme)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        self.host = f"{host}:{url.port}" if has_port else f"{host}"
        self._path = quote(url.path or "/", safe="/~")
        self._region = region
        self._last = _DayKey("", "", b"")

    def signed(
        self, headers: Mapping[str, str], body: bytes, credentials: Credentials, now: datetime
    ) -> dict[str, str]:
        """Return headers with those of the signature; `now` is in UTC. The names of headers are in lower case."""
        time = now.strftime("%Y%m%dT%H%M%SZ")
        day = time[:8]
        told = {**headers, "host": self.host, "x-amz-date": time}
        if credentials.token:
            told["x-amz-security-token"] = credentials.token
        names = sorted(told)
        lines = "".join(f"{name}:{told[name]}\n" for name in names)
        request = f"POST\n{self._path}\n\n{lines}\n{';'.join(names)}\n{sha256(body).hexdigest()}"
        scope = f"{day}/{self._region}/{SERVICE}/aws4_request"
        text = f"{ALGORITHM}\n{time}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(day, credentials.secret_key), text.encode(), "sha256").hex()
        told["authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={';'.join(names)}, "
            f"Signature={signature}"
        )
        return told

    def _key(self, day: str, secret: str) -> bytes:
        if self._last[:2] != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, SERVICE, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._last = _DayKey(day, secret, key)
        return self._last.key
