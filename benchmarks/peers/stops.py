"""What every peer does with a record, by the rules of the line metrobus, and what the benchmark tells a peer.

A peer reads the topic of each stop, calls its function and writes the record to the topic of the next one; a function
that gives None has dropped the record and counted that.
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
Work = Callable[[Record], Record | None]

BROKER = os.environ["BROKER"]
"""host:port."""
SOURCE = os.environ["SOURCE"]
PREFIX = os.environ["PREFIX"]
GROUP = f"{PREFIX}.group"
FETCH_WAIT_MS = int(float(os.environ.get("FETCH_WAIT", "0.5")) * 1000)
"""How long the broker may hold a fetch while there is nothing to read."""
AT_LOAD = os.environ.get("AT_LOAD") == "1"
"""Whether throughput counts; otherwise latency does."""
LINGER_MS = 5 if AT_LOAD else 0
"""How long a producer may wait for more."""
SESSION_MS = int(float(os.environ.get("BROKER_SESSION_TIMEOUT", "30")) * 1000)
REBALANCE_MS = int(float(os.environ.get("BROKER_REBALANCE_TIMEOUT", "6")) * 1000)
HEARTBEAT_MS = 1_000
COMMIT_SECONDS = 1.0
COMMIT_MS = int(1000 * COMMIT_SECONDS)

ADDRESSES = {account: email for account in ACCOUNTS if (email := address_of(account)) is not None}
ALLOWED = frozenset(filter(is_allowed, ACCOUNTS))
"""In memory, where Metroline looks things up in its lookups: the quickest that a peer can do."""

dropped: Counter[str] = Counter()
"""Records that left the line on purpose, by reason."""


def source(record: Record) -> Record | None:
    """The rules after the source: which notices need a contact."""
    code = record["message_type_code"]
    if code in {"ALTABC", "ALTBAL", "ALTCRD"} or code.startswith("STM"):
        return record
    dropped["unroutable"] += 1
    return None


def contact_point(record: Record) -> Record | None:
    """Adds the customer's e-mail address, or drops the record where there is none."""
    email = ADDRESSES.get(record["account_number"])
    if email is None:
        dropped["no contact point"] += 1
        return None
    record["email"] = email
    return record


def allow_list(record: Record) -> Record | None:
    """Drops the records of customers who may not be written to."""
    if record["account_number"] not in ALLOWED:
        dropped["not on the allow list"] += 1
        return None
    return record


def log(record: Record) -> Record | None:
    """Adds the line that an operator would read."""
    record["logged"] = f"{record['message_type_code']} of account {record['account_number']} to {record['email']}"
    return record


def topic(stop: str) -> str:
    """Where the records for a stop, or the delivered ones, wait."""
    return SOURCE if stop == "source" else f"{PREFIX}.{stop}"


STOPS: dict[str, tuple[Work, str]] = {
    "source": (source, "contact_point"),
    "contact_point": (contact_point, "allow_list"),
    "allow_list": (allow_list, "log"),
    "log": (log, "delivered"),
}
"""By stop: what is done there, and where records go next."""

BY_TOPIC = {topic(stop): (work, topic(following)) for stop, (work, following) in STOPS.items()}


def tell_at_the_end() -> None:
    """Writes what was dropped to the file DROPPED when the process ends; SIGTERM ends it in order."""
    atexit.register(lambda: Path(os.environ["DROPPED"]).write_text(json.dumps(dropped), "utf-8"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
