"""TLS to the brokers."""

from __future__ import annotations

import ssl
from contextlib import suppress
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


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the certificates in `ca_file`, or the system's if None.

    Raise OSError if the file cannot be read, and `ssl.SSLError` (an OSError too) if it holds no certificates.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.sslobject_class = ClosesWithoutWaiting
    return context
