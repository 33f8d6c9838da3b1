"""The orders of the line shop. The same seed makes the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

ARTICLES = (("lamp", 79.0), ("chair", 189.0), ("desk", 349.0), ("shelf", 129.0), ("clock", 45.0), ("rug", 229.0))
CITIES = (
    *(("Albany", "US"), ("Boston", "US"), ("Denver", "US"), ("Portland", "US"), ("Savannah", "US"), ("Tucson", "US")),
    *(("Montreal", "CA"), ("Lyon", "FR"), ("Leipzig", "DE")),
)
NAMES = ("ada", "blaise", "carl", "dorothy", "emmy", "grace", "hedy", "leonhard", "mary", "sofia")


def records(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield orders."""
    random = Random(seed)
    for number in range(1, count + 1):
        items = [_item(random) for _ in range(random.choice((1, 1, 1, 2, 2, 3)))]
        city, country = random.choice(CITIES)
        address = {"city": city} if number % 71 == 0 else {"city": city, "street": f"{random.randint(1, 99)} Main St"}
        yield {
            "number": number,
            "customer": f"test-{number}" if number % 43 == 0 else random.choice(NAMES),
            "items": items,
            "total": round(sum(item["quantity"] * item["price"] for item in items), 2),
            "coupon": "SPRING" if random.random() < 0.15 else None,
            "collect": random.random() < 0.2,
            "country": country,
            "address": address,
        }


def _item(random: Random) -> dict[str, Any]:
    article, price = random.choice(ARTICLES)
    item = {"article": article, "quantity": random.choice((1, 1, 1, 2)), "price": price}
    return item if random.random() < 0.03 else item | {"tariff": f"94{ARTICLES.index((article, price)):02d}"}
