"""The token of a process: renewed early, kept while the issuer is away, and what is logged of that."""

from __future__ import annotations

import asyncio
import logging

import pytest

from metroline.agents.kafka import tokens
from metroline.agents.kafka.complaints import library_log
from metroline.agents.kafka.oauth import NoToken, OAuthClient
from metroline.agents.kafka.tokens import TokenProvider, Unexplained, tokens_of

URL = "https://issuer/token"


class Clock:
    """The monotonic clock and the wall clock of the module."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_000_000.0 + self.now


class Issuer(OAuthClient):
    """A client of an issuer in this process."""

    __slots__ = ()
    given = 0
    asked = 0
    is_away = False
    seconds = 100.0

    def fetch(self) -> tuple[str, float]:
        Issuer.asked += 1
        if Issuer.is_away:
            raise NoToken("the issuer is away")
        Issuer.given += 1
        return f"token {Issuer.given}", Issuer.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tokens, "time", clock)
    return clock


@pytest.fixture
def provider(clock: Clock, caplog: pytest.LogCaptureFixture) -> TokenProvider:
    caplog.set_level(logging.INFO)
    Issuer.given, Issuer.asked, Issuer.is_away, Issuer.seconds = 0, 0, False, 100.0
    return TokenProvider(Issuer(URL, "me", "secret"))


async def test_a_token_is_renewed_after_half_of_its_lifetime(provider: TokenProvider, clock: Clock) -> None:
    first, again = await provider.token(), await provider.token()
    clock.now += 49
    same = await provider.token()
    clock.now += 2
    renewed = await provider.token()

    assert [first, again, same, renewed] == ["token 1", "token 1", "token 1", "token 2"]


def test_librdkafka_asks_again_when_the_token_is_to_be_renewed(provider: TokenProvider, clock: Clock) -> None:
    token, until = provider.for_librdkafka("")

    assert token == "token 1"
    assert until == pytest.approx(clock.time() + 50 / 0.8), "it asks after 80 % of the time that it is told"


async def test_an_issuer_that_is_away_is_asked_once_a_second_and_logged_once(
    provider: TokenProvider, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await provider.token()
    Issuer.is_away = True
    clock.now += 60
    for _ in range(20):
        assert await provider.token() == "token 1"
        assert provider.for_librdkafka("") == ("token 1", clock.time() + 1 / 0.8)
        clock.now += 1
    assert Issuer.asked == 21
    assert not provider.explains_failures
    clock.now += 10
    assert await provider.token() == "token 1"
    assert provider.explains_failures, "brokers may refuse a token that is about to expire"

    Issuer.is_away = False
    clock.now += 1
    assert await provider.token() == "token 2"

    assert [record.getMessage() for record in caplog.records] == [
        "there is no new token, and the present one holds for 40 s: the issuer is away",
        f"the token endpoint {URL} gives tokens again",
    ]


async def test_an_expired_token_is_logged_once_and_what_clients_log_for_want_of_one_is_left_out(
    provider: TokenProvider, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    unexplained = Unexplained(provider)
    record = logging.makeLogRecord({"msg": "producer: SASL authentication error"})
    await provider.token()
    Issuer.is_away = True
    assert unexplained.filter(record)
    for _ in range(60):
        clock.now += 5
        if clock.now < 1_100:
            continue
        with pytest.raises(NoToken):
            await provider.token()
        assert provider.for_librdkafka("")[0] == "token 1", "librdkafka would ask no more for ten seconds"
        assert not unexplained.filter(record)

    Issuer.is_away = False
    clock.now += 1
    assert await provider.token() == "token 2"
    assert not unexplained.filter(record), "clients have yet to log in"
    clock.now += 16
    assert unexplained.filter(record)

    assert [record.getMessage() for record in caplog.records] == [
        "the token has expired, and clients cannot log in: the issuer is away",
        f"the token endpoint {URL} gives tokens again",
    ]


async def test_without_a_first_token_whoever_asks_is_told_and_nothing_is_logged(
    provider: TokenProvider, caplog: pytest.LogCaptureFixture
) -> None:
    Issuer.is_away = True

    with pytest.raises(NoToken, match="the issuer is away"):
        await provider.token()
    with pytest.raises(NoToken, match="the issuer is away"):
        provider.for_librdkafka("")

    assert caplog.records == []


async def test_a_token_of_an_unknown_lifetime_is_used_for_half_a_minute(provider: TokenProvider, clock: Clock) -> None:
    Issuer.seconds = 0.0
    await provider.token()
    clock.now += 29
    await provider.token()
    assert Issuer.given == 1
    clock.now += 2
    assert await provider.token() == "token 2"


async def test_clients_that_ask_at_once_cause_one_request(provider: TokenProvider) -> None:
    asked = await asyncio.gather(*(provider.token() for _ in range(10)))

    assert set(asked) == {"token 1"}
    assert Issuer.asked == 1


def test_a_process_has_one_provider_for_each_client_and_leaves_out_explained_lines() -> None:
    before = list(library_log.filters)
    first, second = tokens_of(Issuer(URL, "you", "secret")), tokens_of(Issuer(URL, "you", "secret"))

    assert first is second
    assert len(library_log.filters) == len(before) + 1
    for logger in tokens.CLIENT_LOGS:
        logger.removeFilter(logger.filters[-1])
