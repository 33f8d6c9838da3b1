"""Logins: signed values that stand for the token of a line in a browser, and between its workers.

No value holds the token. The key that signs them is derived from the token, so that every worker with the same token
accepts them, and none does once the token has changed. Deriving it is slow on purpose (scrypt, RFC 7914): whoever has
seen a value can try tokens only one by one, each for as long as that takes.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import scrypt, sha256

LOGIN_SECONDS = 12 * 3600
"""Time for which a login holds: a working day."""

PASS_SECONDS = 300
"""Time for which a pass between workers holds. Their clocks may differ by less."""

WORKER_SCHEME = "Metroline-Worker "
"""The beginning of the header `Authorization` with a pass."""

MAX_NAME = 60
"""Number of characters of the name under which somebody logs in."""


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who is logged in."""

    name: str
    expires: int
    """Seconds since the epoch."""
    form_token: str
    """The value that every form of this login must send: no page of another site knows it."""


class Logins:
    """Makes and checks logins, and passes by which workers read pages of each other."""

    def __init__(self, token: str, line: str) -> None:
        """Derive the key. `line` is the prefix of the line, so that two lines with one token have two keys."""
        raw = _bytes_of(token)
        self._digest = sha256(raw).digest()
        self._key = scrypt(raw, salt=_bytes_of(f"metroline login\0{line}"), n=2**14, r=8, p=1, dklen=32)
        self.cookie = f"metroline-{self._sign('cookie', '')[:8]}"
        """The name of the cookie. Browsers share cookies among all ports of a host, where other lines may be."""

    def is_token(self, given: str) -> bool:
        """Return whether this is the token, in a time that does not depend on what is given."""
        return hmac.compare_digest(sha256(_bytes_of(given)).digest(), self._digest)

    def issue(self, name: str, now: float) -> str:
        """Return the value of a cookie for somebody who has given the token; `now` in seconds since the epoch."""
        encoded = urlsafe_b64encode(_bytes_of(name)).decode().rstrip("=")
        text = f"{int(now) + LOGIN_SECONDS}.{secrets.token_hex(8)}.{encoded}"
        return f"{text}.{self._sign('login', text)}"

    def login(self, cookie: str, now: float) -> Login | None:
        """Return who is logged in by the value of a cookie; None if it is not ours, or no longer holds."""
        text, _, signature = cookie.rpartition(".")
        if not self._is_signed("login", text, signature):
            return None
        expires, _, encoded = text.split(".")
        if int(expires) <= now:
            return None
        name = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode(errors="replace")
        return Login(name, int(expires), self._sign("form", text))

    def worker_pass(self, url: str, now: float) -> str:
        """Return a pass for reading the pages of the worker at this address, and of no other."""
        expires = int(now) + PASS_SECONDS
        return f"{expires}.{self._sign('worker', _pass_for(url, str(expires)))}"

    def is_worker_pass(self, given: str, url: str, now: float) -> bool:
        """Return whether this is a pass for the worker at this address, and still holds."""
        expires, _, signature = given.partition(".")
        return self._is_signed("worker", _pass_for(url, expires), signature) and now < int(expires)

    def _is_signed(self, purpose: str, text: str, signature: str) -> bool:
        return is_same(signature, self._sign(purpose, text))

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, _bytes_of(f"{purpose}\0{text}"), sha256).hexdigest()


@lru_cache(maxsize=8)
def logins_of(token: str | None, line: str) -> Logins | None:
    """Return the logins of a line; None without a token. Deriving the key takes some 40 ms, and is done once."""
    return None if token is None else Logins(token, line)


def is_same(given: str, expected: str) -> bool:
    """Compare two texts in a time that does not depend on where they differ."""
    return hmac.compare_digest(_bytes_of(given), _bytes_of(expected))


def _pass_for(url: str, expires: str) -> str:
    return f"{expires} {url.rstrip('/')}"


def _bytes_of(text: str) -> bytes:
    """Return a text as bytes, whatever it holds: bytes of a header that are not UTF-8 are surrogates in it."""
    return text.encode(errors="surrogatepass")
