"""TLS of clients: to brokers and to HTTP servers."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


class ClosesWithoutWaiting(ssl.SSLObject):
    """Closes a TLS connection without waiting for the broker's close_notify.

    Kafka may leave close_notify unanswered while a request is open, and uvloop waits 30 s for the answer before it
    closes the connection (https://github.com/MagicStack/uvloop/issues/471). A worker stood still for that long.
    """

    def unwrap(self) -> None:
        """Send close_notify."""
        with suppress(ssl.SSLWantReadError):
            super().unwrap()


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate with which a client identifies itself (mutual TLS), and its private key, as PEM."""

    cert_file: Path
    key_file: Path | None = None
    """The file with the key; None if it is in `cert_file`."""
    password: str | None = field(default=None, repr=False)
    """The password of the key; None if it is not encrypted."""

    @property
    def librdkafka(self) -> dict[str, str]:
        """The certificate as configuration of librdkafka."""
        password = {"ssl.key.password": self.password} if self.password else {}
        return {
            "ssl.certificate.location": str(self.cert_file),
            "ssl.key.location": str(self.key_file or self.cert_file),
            **password,
        }


def tls_context(ca_file: Path | None, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    """Return a context that trusts the certificates in `ca_file`, or the system's if None.

    Raise OSError if a file cannot be read, and `ssl.SSLError` (an OSError too) if it holds no certificates or not the
    right key.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.sslobject_class = ClosesWithoutWaiting
    if certificate is not None:
        password = certificate.password or ""  # with None, OpenSSL would ask for one on the terminal
        context.load_cert_chain(certificate.cert_file, certificate.key_file, password)
    return context
