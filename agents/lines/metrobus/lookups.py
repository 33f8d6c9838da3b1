"""The lookups of the line metrobus: the customers' e-mail addresses, and the allow list."""

from __future__ import annotations

from collections.abc import Iterator

from metroline import lookup_table
from metroline.agents.lines.metrobus.customers import ACCOUNTS, address_of, is_allowed
from metroline.agents.services.service import Record


@lookup_table("metrobus.addresses", key="account_number", value="email")
def addresses() -> Iterator[Record]:
    """Yield the e-mail address of each account that has one."""
    for account in ACCOUNTS:
        if (email := address_of(account)) is not None:
            yield {"account_number": account, "email": email}


@lookup_table("metrobus.allowed", key="account_number")
def allowed() -> Iterator[Record]:
    """Yield the accounts that may receive e-mail."""
    for account in ACCOUNTS:
        if is_allowed(account):
            yield {"account_number": account}
