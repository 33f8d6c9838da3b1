"""The bank's customers: who has an e-mail address, and who may be written to."""

from __future__ import annotations

ACCOUNTS = range(40_000_000, 40_005_000)

ADDRESSES = {account: f"customer{account}@bank.example" for account in ACCOUNTS if account % 5 != 0}
"""The e-mail address by account number: four accounts in five have one (80 %)."""

ALLOWED = frozenset(account for account in ADDRESSES if account // 5 % 10 != 0)
"""The accounts with an address that may be written to: nine in ten (90 %)."""
