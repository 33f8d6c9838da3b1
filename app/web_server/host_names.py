"""The host names under which a worker is asked for its pages: a browser that another name led here is refused.

A page of another site can have its own name resolve to the address of a worker and then read the worker's pages as if
they were its own (DNS rebinding). The browser still sends that name in the header `Host`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/@\s]+))(:[0-9]{1,5})?")
"""The value of the header `Host`: an IPv6 address in brackets, or a name or an IPv4 address; then a port."""

ANY = "*"


@dataclass(frozen=True, slots=True)
class HostNames:
    """The names by which a worker may be addressed. An IP address always may: no name led to it."""

    names: frozenset[str]
    domains: tuple[str, ...]
    """Domains with a leading dot, of which every name below is allowed."""
    is_any: bool
    """True if every name is allowed."""
    is_short: bool
    """True if names without a dot are allowed. No one outside of a network can have one resolve to an address in it."""

    @classmethod
    def of(cls, bind: str, own: Iterable[str], further: str) -> HostNames:
        """Return the worker's own names and further ones, which are separated by commas.

        A further name that begins with a dot stands for all names below it, and `*` for all names. `bind` is the
        address that the server listens on: other machines may use short names unless it is that of this machine alone.
        """
        listed = [name.strip().lower() for name in further.split(",") if name.strip()]
        return cls(
            frozenset({"localhost", bind.lower(), *(name.lower() for name in own), *listed}),
            (".localhost", *(name for name in listed if name.startswith("."))),
            ANY in listed,
            not is_loopback(bind),
        )

    def allow(self, header: str) -> bool:
        """Return whether a request with this value of the header `Host` is meant for this worker."""
        found = HOST.fullmatch(header)
        if found is None:
            return False
        name = (found["address"] or found["name"]).lower().removesuffix(".")
        return (
            self.is_any
            or name in self.names
            or name.endswith(self.domains)
            or is_address(name)
            or (self.is_short and "." not in name)
        )


def is_address(name: str) -> bool:
    """Return whether a name is an IP address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_open_to_strangers(bind: str, token: str | None) -> bool:
    """Return whether other machines can read the pages of a server without a login."""
    return token is None and not is_loopback(bind)


def is_loopback(bind: str) -> bool:
    """Return whether a server that listens on this address or name is reached from this machine alone."""
    return ip_address(bind).is_loopback if is_address(bind) else bind.lower() == "localhost"
