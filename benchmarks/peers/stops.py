"""The stops of the line metrobus as plain functions, and the settings that the benchmark passes to a peer.

A peer reads the topic of each stop, calls the stop's function and writes the record to the topic of the next stop. A
function that returns None has dropped the record and counted it.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metroline.agents.lines.metrobus.customers import ACCOUNTS, address_of, is_allowed

Record = dict[str, Any]
Handler = Callable[[Record], Record | None]

BROKER = os.environ["BROKER"]
"""host:port."""
SOURCE = os.environ["SOURCE"]
PREFIX = os.environ["PREFIX"]
GROUP = f"{PREFIX}.group"
FETCH_WAIT_MS = int(float(os.environ.get("FETCH_WAIT", "0.5")) * 1000)
"""Time for which the broker may hold a fetch while there is nothing to read."""
AT_LOAD = os.environ.get("AT_LOAD") == "1"
"""True if the run measures throughput, False if it measures latency."""
LINGER_MS = 5 if AT_LOAD else 0
"""Time for which a producer may wait for more records."""
SESSION_MS = int(float(os.environ.get("BROKER_SESSION_TIMEOUT", "30")) * 1000)
REBALANCE_MS = int(float(os.environ.get("BROKER_REBALANCE_TIMEOUT", "6")) * 1000)
HEARTBEAT_MS = 1_000
COMMIT_SECONDS = 1.0
COMMIT_MS = int(1000 * COMMIT_SECONDS)

ADDRESSES = {account: email for account in ACCOUNTS if (email := address_of(account)) is not None}
ALLOWED = frozenset(filter(is_allowed, ACCOUNTS))
"""Held in memory, the fastest way for a peer; Metroline reads its lookup tables."""

dropped: Counter[str] = Counter()
"""Number of records dropped on purpose, by reason."""


def source(record: Record) -> Record | None:
    """Apply the rules after the source: drop notices that need no contact."""
    code = record["message_type_code"]
    if code in {"ALTABC", "ALTBAL", "ALTCRD"} or code.startswith("STM"):
        return record
    dropped["unroutable"] += 1
    return None


def contact_point(record: Record) -> Record | None:
    """Add the customer's e-mail address, or drop the record if there is none."""
    email = ADDRESSES.get(record["account_number"])
    if email is None:
        dropped["no contact point"] += 1
        return None
    record["email"] = email
    return record


def allow_list(record: Record) -> Record | None:
    """Drop the record of a customer who may not be contacted."""
    if record["account_number"] not in ALLOWED:
        dropped["not on the allow list"] += 1
        return None
    return record


def log(record: Record) -> Record | None:
    """Add the line of text that an operator would read."""
    record["logged"] = f"{record['message_type_code']} of account {record['account_number']} to {record['email']}"
    return record


def topic(stop: str) -> str:
    """Return the topic of a stop, or of the delivered records."""
    return SOURCE if stop == "source" else f"{PREFIX}.{stop}"


STOPS: dict[str, tuple[Handler, str]] = {
    "source": (source, "contact_point"),
    "contact_point": (contact_point, "allow_list"),
    "allow_list": (allow_list, "log"),
    "log": (log, "delivered"),
}
"""The function of each stop and the stop that follows it."""

BY_TOPIC = {topic(stop): (handler, topic(following)) for stop, (handler, following) in STOPS.items()}


def report_drops_at_exit() -> None:
    """Write the numbers of dropped records to the file DROPPED at exit; SIGTERM exits in order."""
    atexit.register(lambda: Path(os.environ["DROPPED"]).write_text(json.dumps(dropped), "utf-8"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
