"""Generated records for the line metrobus: a bank's notices to its customers, about 1.2 kB of JSON each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from metroline.agents.lines.metrobus.customers import ACCOUNTS
from metroline.agents.services.service import Record

T = TypeVar("T")

BEGIN = datetime(2024, 3, 1, 6, tzinfo=UTC)
STRIDE = 1_237  # coprime to len(ACCOUNTS), so that every account occurs once before any occurs again
SUBJECTS = {
    "ALTABC": "the details of your account were changed",
    "ALTBAL": "the balance of your account has changed",
    "ALTCRD": "a payment was made with your card",
    "STMNEW": "your new statement is ready to read",
}
CODES = tuple(SUBJECTS)
CHANNELS = ("branch", "card", "mobile", "online", "phone")
CURRENCIES = ("CAD", "EUR", "GBP", "USD")
MERCHANTS = (
    {"merchant": "Corner Bakery", "category": "groceries", "city": "Albany"},
    {"merchant": "Elm Street Pharmacy", "category": "health", "city": "Hartford"},
    {"merchant": "Harbor Hardware", "category": "home and garden", "city": "Boston"},
    {"merchant": "Hudson Books", "category": "books and music", "city": "Trenton"},
    {"merchant": "Metropolitan Transit", "category": "travel", "city": "New York"},
    {"merchant": "North Fork Utilities", "category": "water and power", "city": "Buffalo"},
    {"merchant": "Orchard Farm Shop", "category": "groceries", "city": "Burlington"},
    {"merchant": "Union Square Garage", "category": "car and fuel", "city": "Newark"},
)


def records(count: int, seed: int) -> Iterator[Record]:
    """Yield `count` records. The same seed yields the same records.

    Any 50 records in a row contain the exact shares of accounts with an address and on the allow list. All random
    numbers come from `Random.random`, the only method whose sequence is guaranteed to be the same in every version of
    Python.
    """
    rng = Random(seed)
    first = int(rng.random() * len(ACCOUNTS))
    for number in range(count):
        yield _record(number, ACCOUNTS[(first + number * STRIDE) % len(ACCOUNTS)], rng)


def _record(number: int, account: int, rng: Random) -> Record:
    code = _pick(CODES, rng)
    reference = f"{int(rng.random() * 2**52):013x}"
    balance = _cents(900_000, rng)
    return {
        "message_id": f"{code}-{number:08d}-{reference}",
        "message_type_code": code,
        "account_number": account,
        "sent_at": (BEGIN + timedelta(seconds=number)).isoformat(),
        "channel": _pick(CHANNELS, rng),
        "currency": _pick(CURRENCIES, rng),
        "balance": balance,
        "subject": f"Account {account}: {SUBJECTS[code]}",
        "text": f"Dear customer, {SUBJECTS[code]}. This notice concerns your account ending in {account % 10_000:04d}; "
        f"its balance was {balance:.2f} when the notice was made. If you did not expect it, call the number on the "
        f"back of your card and give the reference {reference}. We never ask for your password, neither in a notice "
        "nor on the phone.",
        "payments": [_payment(days, rng) for days in (1, 2, 3, 5, 8, 13)],
    }


def _payment(days_ago: int, rng: Random) -> Record:
    return {"days_ago": days_ago, "amount": _cents(40_000, rng), **_pick(MERCHANTS, rng)}


def _pick(choices: Sequence[T], rng: Random) -> T:
    return choices[int(rng.random() * len(choices))]


def _cents(below: int, rng: Random) -> float:
    return int(rng.random() * below) / 100
