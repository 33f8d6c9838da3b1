"""The bank's customers: who has an e-mail address, and who may be written to."""

from __future__ import annotations

ACCOUNTS = range(40_000_000, 40_005_000)


def address_of(account: int) -> str | None:
    """The e-mail address of an account: four accounts in five have one (80 %)."""
    return f"customer{account}@bank.example" if account % 5 != 0 else None


def is_allowed(account: int) -> bool:
    """Whether an account has an address that may be written to: nine in ten of those that have one (90 %)."""
    return address_of(account) is not None and account // 5 % 10 != 0
