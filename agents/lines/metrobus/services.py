"""The services of the line metrobus: plain functions that know nothing of the route."""

from __future__ import annotations

from metroline import lookup, service
from metroline.agents.services.service import Record

addresses = lookup("metrobus.addresses")
allowed = lookup("metrobus.allowed")


@service(reads=["account_number"])
def contact_point(record: Record) -> Record:
    """Adds the customer's e-mail address, or a hold where there is none; the rules table says what becomes of those."""
    email = addresses.get(record["account_number"])
    if email is None:
        record["hold"] = "no contact point"
    else:
        record["email"] = email
    return record


@service(reads=["account_number"])
def allow_list(record: Record) -> Record:
    """Puts a hold on records of customers who may not be written to."""
    if record["account_number"] not in allowed:
        record["hold"] = "not on the allow list"
    return record


@service(reads=["message_type_code", "account_number", "email"])
def log(record: Record) -> Record:
    """Adds the line that an operator would read."""
    record["logged"] = f"{record['message_type_code']} of account {record['account_number']} to {record['email']}"
    return record
