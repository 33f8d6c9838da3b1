"""The services of the line shop: they do little, take a little time, and fail now and then."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from metroline import service

Order = dict[str, Any]

luck = Random(7)
"""Decides what fails, so that the pages have something to show."""


class BankIsBusy(Exception):
    """Raised for a payment that may be tried again."""


class UnknownAddress(Exception):
    """Raised for an order that nobody can send anywhere."""


@service(reads=["number", "items"])
def stock(order: Order) -> Order:
    """Note what is missing of an order."""
    if order["number"] % 17 == 0:
        order["missing"] = order["items"][0]["article"]
    return order


@service(reads=["coupon", "total"])
def discount(order: Order) -> Order:
    """Take a fifth off the total of an order with a coupon."""
    if order["coupon"] is not None:
        order["total"] = round(order["total"] * 0.8, 2)
    return order


@service(concurrency=4)
async def review(order: Order) -> Order:
    """Look at a large order."""
    await asyncio.sleep(0.03)
    return order


@service(concurrency=8, attempts=4, backoff=2)
async def pay(order: Order) -> Order:
    """Have the bank take the money. Some cards are declined once."""
    await asyncio.sleep(0.01)
    if luck.random() < 0.06:
        raise BankIsBusy(f"the bank is busy: order {order['number']} was not paid")
    if order["number"] % 19 == 0 and "reminded" not in order:
        order["declined"] = True
    return order


@service
def remind(order: Order) -> Order:
    """Ask the customer for another card."""
    return {name: value for name, value in order.items() if name != "declined"} | {"reminded": True}


@service
def pack(order: Order) -> Order:
    """Put the articles into a parcel."""
    order["parcel"] = f"P-{order['number']:06d}"
    return order


@service(no_retry=(KeyError,))
def customs(order: Order) -> Order:
    """Write the declaration for customs. It needs a tariff number for each article."""
    order["declaration"] = [item["tariff"] for item in order["items"]]
    return order


@service(no_retry=(UnknownAddress,))
def ship(order: Order) -> Order:
    """Hand the parcel to the carrier."""
    if "street" not in order["address"]:
        raise UnknownAddress(f"the address has no street: {order['address']['city']}")
    return order
