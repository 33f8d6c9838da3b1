"""The bank's customers: their e-mail addresses, and whether they may receive e-mail."""

from __future__ import annotations

ACCOUNTS = range(40_000_000, 40_005_000)


def address_of(account: int) -> str | None:
    """Return the e-mail address of an account, or None; four accounts in five have one (80 %)."""
    return f"customer{account}@bank.example" if account % 5 != 0 else None


def is_allowed(account: int) -> bool:
    """Return whether an account may receive e-mail, as may nine in ten of those with an address (90 %)."""
    return address_of(account) is not None and account // 5 % 10 != 0
