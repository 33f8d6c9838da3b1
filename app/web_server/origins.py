"""Tells requests that a page of another site sent from those of this site's own pages and of programs."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

OWN_SITE = ("same-origin", "none")
"""Values of `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/) of our own pages, and of what a person typed."""

OF_A_PROXY = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
"""Headers that proxies add to what they pass on."""


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sent a request for a page of another origin: another site, or another port.

    Browsers say so themselves, in `Sec-Fetch-Site` where the address is encrypted or local, and elsewhere in `Origin`.
    Programs send neither. The header `Host` must have been checked before.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site.lower() not in OWN_SITE
    origin = headers.get("Origin")
    if origin is None:
        return False
    try:
        asked = urlsplit(origin).netloc.lower()
    except ValueError:
        return True
    return not asked or asked not in (headers.get("Host", "").lower(), headers.get("X-Forwarded-Host", "").lower())


def is_proxied(headers: Mapping[str, str]) -> bool:
    """Return whether a proxy passed a request on, so that whoever sent it need not be on this machine."""
    return any(name in headers for name in OF_A_PROXY)


def is_encrypted(headers: Mapping[str, str]) -> bool:
    """Return whether a proxy says that the browser's connection to it is encrypted."""
    forwarded = headers.get("Forwarded", "").lower().replace('"', "").replace(" ", "")
    return headers.get("X-Forwarded-Proto", "").strip().lower() == "https" or "proto=https" in forwarded
