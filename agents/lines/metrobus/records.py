"""Made records of the line metrobus: a bank's notices to its customers, about 1.2 kB each as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from metroline.agents.lines.metrobus.customers import ACCOUNTS
from metroline.agents.services.service import Record

T = TypeVar("T")

BEGIN = datetime(2024, 3, 1, 6, tzinfo=UTC)
STRIDE = 1_237  # has no divisor in common with len(ACCOUNTS): each account comes once before any comes again
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
    """Yields `count` records; the same seed gives the same ones, and any 50 in a row hold the shares exactly.

    All chance comes from `Random.random`, the one method whose numbers Python promises to keep from version to version.
    """
    jitter = Random(seed)
    first = int(jitter.random() * len(ACCOUNTS))
    for number in range(count):
        yield _record(number, ACCOUNTS[(first + number * STRIDE) % len(ACCOUNTS)], jitter)


def _record(number: int, account: int, jitter: Random) -> Record:
    code = _pick(CODES, jitter)
    reference = f"{int(jitter.random() * 2**52):013x}"
    balance = _cents(900_000, jitter)
    return {
        "message_id": f"{code}-{number:08d}-{reference}",
        "message_type_code": code,
        "account_number": account,
        "sent_at": (BEGIN + timedelta(seconds=number)).isoformat(),
        "channel": _pick(CHANNELS, jitter),
        "currency": _pick(CURRENCIES, jitter),
        "balance": balance,
        "subject": f"Account {account}: {SUBJECTS[code]}",
        "text": f"Dear customer, {SUBJECTS[code]}. This notice concerns your account ending in {account % 10_000:04d}; "
        f"its balance was {balance:.2f} when the notice was made. If you did not expect it, call the number on the "
        f"back of your card and give the reference {reference}. We never ask for your password, neither in a notice "
        "nor on the phone.",
        "payments": [_payment(days, jitter) for days in (1, 2, 3, 5, 8, 13)],
    }


def _payment(days_ago: int, jitter: Random) -> Record:
    return {"days_ago": days_ago, "amount": _cents(40_000, jitter), **_pick(MERCHANTS, jitter)}


def _pick(choices: Sequence[T], jitter: Random) -> T:
    return choices[int(jitter.random() * len(choices))]


def _cents(below: int, jitter: Random) -> float:
    return int(jitter.random() * below) / 100
