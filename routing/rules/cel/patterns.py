"""Estimates what a regular expression costs: CEL's runtime compiles it anew for each search."""

from __future__ import annotations

import re
from functools import lru_cache

SEARCH = 300
"""The price of any search, in operations: the runtime is called for it."""

PLAIN, WIDE, OF_UNICODE = 5, 200, 40_000
"""The prices of a character, of a class of characters, and of a class such as `\\pL`, which has thousands of ranges."""

FOLDED = 20
"""The factor for a pattern that ignores upper and lower case."""

PART = re.compile(
    r"""(?P<flags>\(\?[a-zA-Z-]*i[a-zA-Z-]*[:)])
      |(?P<unicode>\\[pP](?:\{[^}]*\}|.))
      |(?P<escape>\\.)
      |(?P<times>\{(\d{1,4})(?:,(\d{0,4}))?\})
      |(?P<wide>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\.)
      |(?P<open>\()
      |(?P<close>\))
      |(?P<plain>.)""",
    re.VERBOSE | re.DOTALL,
)

UNICODE = re.compile(r"\\[pP]")


@lru_cache(maxsize=256)
def price_of(pattern: str) -> int:
    """Return the number of operations that a search by a pattern is paid for with, apart from the text.

    A repetition such as `{30}` multiplies the price of what stands before it, since RE2 writes it out.
    """
    sums, last, factor = [0], 0, 1
    for found in PART.finditer(pattern):
        kind = found.lastgroup
        if kind == "times":
            times = max(int(found[5]), int(found[6] or 0), 1)
            sums[-1] += last * (times - 1)
            last *= times
            continue
        if kind == "flags":
            factor = FOLDED
        if kind == "open" or (kind == "flags" and found.group().endswith(":")):
            sums.append(0)
        elif kind == "close" and len(sums) > 1:
            last = sums.pop()
            sums[-1] += last
        else:
            last = {"unicode": OF_UNICODE, "wide": WIDE, "escape": WIDE}.get(str(kind), PLAIN)
            if kind == "wide":
                last += OF_UNICODE * len(UNICODE.findall(found.group()))
            sums[-1] += last
    return SEARCH + sum(sums) * factor
