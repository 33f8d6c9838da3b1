"""The bill of a month: what a flow of records costs on SQS, packed and not, and on a managed Kafka cluster."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metroline.agents.gateways.sqs.batches import MOST
from metroline.agents.gateways.sqs.client import CHUNK_BYTES
from metroline.agents.gateways.sqs.packing import Line, Packed, calls, packed
from metroline.routing.errors import UsageError
from metroline.routing.rules.toml_text import InvalidToml, decode_toml

PRICES = Path(__file__).parent / "prices.toml"

MONTH_DAYS = 30
MONTH_SECONDS = MONTH_DAYS * 24 * 3600

KEPT_DAYS = 1
"""Days for which Kafka keeps the records in the comparison."""

GB = 1_000_000_000

ONE, TEN = "a message a call", "ten messages a call"

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class InvalidPrices(UsageError):
    """Raised when a file of prices cannot be used."""


class _Prices(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Service(_Prices):
    """A table: the prices of a service, and where they come from."""

    date: str
    """The day from which they are known."""
    source: str
    """The page of the vendor, which holds if they differ."""
    seen: str = ""
    """The page on which they were read, if it is another one."""
    assumed: bool = False
    """True for prices that could not be compared with a recent page."""


class SqsPrices(_Service):
    """The table `[sqs]`."""

    million_calls: Price
    million_fifo_calls: Price


class KafkaPrices(_Service):
    """The table `[kafka]`: a cluster that is billed by its use."""

    name: str
    cluster_hour: Price
    partition_hour: Price
    gb_in: Price
    gb_out: Price
    gb_month: Price


class Prices(_Prices):
    """Prices in US dollars, with the dates from which they are and the pages that have them."""

    sqs: SqsPrices
    kafka: KafkaPrices

    @classmethod
    def read(cls, file: Path = PRICES) -> Prices:
        """Return the prices in a file; raise `InvalidPrices`."""
        try:
            return cls.model_validate(decode_toml(file.read_text("utf-8-sig")))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidPrices(f"{file}: it cannot be read ({error})") from error
        except (InvalidToml, tomllib.TOMLDecodeError) as error:
            raise InvalidPrices(f"{file}: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidPrices(f"{file}: {where}: {first['msg']}") from error


@dataclass(frozen=True, slots=True)
class SqsBill:
    """The bill of a month on SQS, for one way to send the records."""

    way: str
    records_per_message: float
    sends: float
    receives: float
    deletes: float
    dollars: float

    @property
    def calls(self) -> float:
        """The calls as they are billed: one for each chunk of 64 KiB that a call carries."""
        return self.sends + self.receives + self.deletes


@dataclass(frozen=True, slots=True)
class KafkaBill:
    """The bill of a month on a Kafka cluster that is billed by its use."""

    name: str
    gb_in: float
    gb_out: float
    dollars: float


@dataclass(frozen=True, slots=True)
class Bill:
    """The bills of a flow of records."""

    rate: float
    """Records per second."""
    record_bytes: float
    """Mean size of a record."""
    sqs: tuple[SqsBill, ...]
    kafka: KafkaBill


def price_of_calls(count: float, million: float) -> float:
    """Return the price of calls, in dollars."""
    return count / 1_000_000 * million


def bill(records: Sequence[bytes], rate: float, prices: Prices, *, gather: float, partitions: int, fifo: bool) -> Bill:
    """Return the bill of a month for records like these, of which `rate` come each second.

    Records that come within `gather` seconds share messages and calls.
    """
    together = max(1, int(rate * gather))
    month = rate * MONTH_SECONDS / len(records)
    million = prices.sqs.million_fifo_calls if fifo else prices.sqs.million_calls
    ways = []
    for several in (False, True):
        groups = [_messages(part, several=several) for part in _parts(records, together)]
        for most in (1, MOST):
            name = f"{'packed' if several else 'a record a message'}, {ONE if most == 1 else TEN}"
            ways.append(_sqs(name, len(records), groups, most, month, million))
    size = sum(map(len, records)) / len(records)
    return Bill(rate, size, tuple(ways), _kafka(rate * MONTH_SECONDS * size / GB, partitions, prices.kafka))


def _parts(records: Sequence[bytes], together: int) -> Iterator[Sequence[bytes]]:
    for first in range(0, len(records), together):
        yield records[first : first + together]


def _messages(records: Sequence[bytes], *, several: bool) -> list[Packed]:
    lines = (Line(record, f"source-0-{place}", None) for place, record in enumerate(records))
    return packed(lines, several=several)


def _sqs(
    way: str, records: int, groups: Sequence[Sequence[Packed]], most: int, month: float, million: float
) -> SqsBill:
    """Return the bill for messages that come in groups; `month` is the number of times that they come in a month."""
    sends = receives = deletes = 0
    for messages in groups:
        made = [[one] for one in messages] if most == 1 else list(calls(messages))
        sends += sum(map(_chunks, made))
        received = [messages[first : first + most] for first in range(0, len(messages), most)]
        receives += sum(map(_chunks, received))
        deletes += len(received)
    count = sum(map(len, groups))
    dollars = price_of_calls((sends + receives + deletes) * month, million)
    return SqsBill(way, records / count, sends * month, receives * month, deletes * month, dollars)


def _chunks(call: Sequence[Packed]) -> int:
    """Return the number of calls as which a call is billed."""
    return max(1, -(-sum(one.size for one in call) // CHUNK_BYTES))


def _kafka(gb: float, partitions: int, prices: KafkaPrices) -> KafkaBill:
    """Return the bill for bytes that are written once, read once, and kept for a day."""
    hours = MONTH_DAYS * 24
    dollars = hours * (prices.cluster_hour + partitions * prices.partition_hour)
    dollars += gb * (prices.gb_in + prices.gb_out) + gb * KEPT_DAYS / MONTH_DAYS * prices.gb_month
    return KafkaBill(prices.name, gb, gb, dollars)
