"""The address of an HTTP server, and what it needs to let a client in, from the settings that say so."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from metroline.agents.tls import ClientCertificate, tls_context
from metroline.routing.errors import UsageError


class UnusableAccess(UsageError):
    """Raised when a setting for a server is missing or cannot be used; it names the environment variable."""


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """The address of a server, and what it needs to let a client in."""

    urls: tuple[str, ...]
    """The addresses of its nodes. After one that does not answer, the next one is asked."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """A token for `Authorization: Bearer`."""
    api_key: str | None = field(default=None, repr=False)
    """A key for `Authorization: ApiKey`, in its encoded form."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """None for the certificates of the system."""


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """The settings of the access to a server, each from the environment variable of its name behind a prefix."""

    prefix: str
    """`OPENSEARCH` for `OPENSEARCH_URL` and so on."""
    url: str
    """One address, or several with commas."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    api_key_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)

    def access(self) -> HttpAccess:
        """Return the access; raise `UnusableAccess`."""
        urls = urls_in(self.url, self.prefix)
        if not urls:
            raise self._unusable("_URL is not set: it is the address of the server, such as https://host:port")
        password = self._secret("PASSWORD", self.password, self.password_file)
        api_key = self._secret("API_KEY", self.api_key, self.api_key_file)
        for name, value in (("API_KEY", api_key), ("TOKEN", self.token)):
            if value and self.username:
                raise self._unusable(f"_{name} and {self.prefix}_USERNAME are both set: set one of them")
        if password and not self.username:
            raise self._unusable(f"_PASSWORD needs {self.prefix}_USERNAME")
        return HttpAccess(urls, self.username, password, self.token, api_key, self._tls())

    def _tls(self) -> ssl.SSLContext | None:
        """Return how certificates are verified; None for the system's way. Raise `UnusableAccess`."""
        if self.key_file is not None and self.cert_file is None:
            raise self._unusable(f"_KEY_FILE needs {self.prefix}_CERT_FILE, the certificate of the key")
        if self.ca_file is None and self.cert_file is None:
            return None
        name, file = "CA_FILE", self.ca_file
        try:
            context = tls_context(file)
            if self.cert_file is not None:
                name, file = "CERT_FILE", self.cert_file
                context = tls_context(self.ca_file, ClientCertificate(file, self.key_file, self.key_password))
        except OSError as error:  # OpenSSL's reason names no file
            reason = getattr(error, "reason", None) or error.strerror or error
            raise self._unusable(f"_{name}: {file} cannot be used ({reason})") from error
        return context

    def _secret(self, name: str, value: str | None, file: Path | None) -> str | None:
        if value is not None or file is None:
            return value
        try:
            secret = file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(f"_{name}_FILE: there is no text file {file} that can be read") from error
        if not secret:
            raise self._unusable(f"_{name}_FILE: {file} is empty")
        return secret

    def _unusable(self, text: str) -> UnusableAccess:
        return UnusableAccess(f"{self.prefix}{text}")


def urls_in(text: str, prefix: str) -> tuple[str, ...]:
    """Return the addresses in a text, separated by commas; raise `UnusableAccess` if one is none."""
    urls = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for url in urls:
        scheme, mark, host = url.partition("://")
        if "@" in host:
            raise UnusableAccess(
                f"{prefix}_URL: a user name or a password has no place in it: set {prefix}_USERNAME and "
                f"{prefix}_PASSWORD"
            )
        if not mark or scheme not in ("http", "https") or not host:
            raise UnusableAccess(f"{prefix}_URL: write http://host:port or https://host:port, several with commas")
    return urls
