"""Bytes that are not records: what a dead letter keeps of them is found again, if it is all of them."""

from __future__ import annotations

import pytest

from metroline.routing.journeys.dead_letters import KEPT_BYTES, kept, raw_in


@pytest.mark.parametrize("raw", [b"", b"text \xc3\xa4", b"\0\0\0\0\x07\xff", b"x" * KEPT_BYTES])
def test_bytes_that_were_kept_are_found_again(raw: bytes) -> None:
    assert raw_in(kept(raw)) == raw


@pytest.mark.parametrize(
    "line",
    [
        kept(b"x" * (KEPT_BYTES + 1)),
        b'{"raw":1}',
        b'{"raw":{"size":1}}',
        b'{"raw":{"text":5,"size":1}}',
        b'{"raw":{"base64":"?","size":1}}',
        b"[]",
        b"{",
    ],
)
def test_a_line_that_does_not_keep_all_bytes_of_a_message_has_none(line: bytes) -> None:
    assert raw_in(line) is None
