"""The services of the line metrobus: plain functions that know nothing about the route."""

from __future__ import annotations

from metroline import lookup, service
from metroline.agents.services.service import Record

addresses = lookup("metrobus.addresses")
allowed = lookup("metrobus.allowed")


@service(reads=["account_number"])
def contact_point(record: Record) -> Record:
    """Add the customer's e-mail address or, if there is none, a hold; the rules table decides what follows."""
    email = addresses.get(record["account_number"])
    if email is None:
        record["hold"] = "no contact point"
    else:
        record["email"] = email
    return record


@service(reads=["account_number"])
def allow_list(record: Record) -> Record:
    """Add a hold to the record of a customer who may not receive e-mail."""
    if record["account_number"] not in allowed:
        record["hold"] = "not on the allow list"
    return record


@service(reads=["message_type_code", "account_number", "email"])
def log(record: Record) -> Record:
    """Add the log line for an operator."""
    record["logged"] = f"{record['message_type_code']} of account {record['account_number']} to {record['email']}"
    return record
