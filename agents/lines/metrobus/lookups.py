"""What the line metrobus looks things up in: who has an e-mail address, and who may be written to."""

from __future__ import annotations

from collections.abc import Iterator

from metroline import lookup_table
from metroline.agents.lines.metrobus.customers import ACCOUNTS, address_of, is_allowed
from metroline.agents.services.service import Record


@lookup_table("metrobus.addresses", key="account_number", value="email")
def addresses() -> Iterator[Record]:
    """The e-mail address of an account that has one."""
    for account in ACCOUNTS:
        if (email := address_of(account)) is not None:
            yield {"account_number": account, "email": email}


@lookup_table("metrobus.allowed", key="account_number")
def allowed() -> Iterator[Record]:
    """The accounts that may be written to."""
    for account in ACCOUNTS:
        if is_allowed(account):
            yield {"account_number": account}
