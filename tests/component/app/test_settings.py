"""Settings: an invalid value of any variable is reported in one line that names the variable."""

from __future__ import annotations

import pytest

from metroline.agents.services.line import Line
from metroline.app.settings import InvalidSettings, Settings
from metroline.routing.strategies import STRATEGIES

WRONG = {
    "PREFIX": ["with space", "a/b", "x" * 101, ".begins-with-a-dot"],
    "SOURCE_PARTITIONS": ["0", "-1", "many", "1.5"],
    "SOURCE_EPOCH": ["-1", "x"],
    "ROUTING_STRATEGY": ["teleport", "Signpost", "hard-wired"],
    "PACK_BYTES": ["0", "512k"],
    "PACK_RECORDS": ["0", "-5"],
    "PACK_SECONDS": ["0", "soon", "nan"],
    "MAX_HOPS": ["0", "x"],
    "BROKER_SECURITY": ["ssl", "TLS"],
    "BROKER_SASL_MECHANISM": ["GSSAPI"],
    "BROKER_CA_FILE": ["/no/such/file"],
    "BROKER_SESSION_TIMEOUT": ["0", "x", "inf"],
    "BROKER_REBALANCE_TIMEOUT": ["-1", "inf"],
    "BROKER_HEARTBEAT_INTERVAL": ["x", "inf"],
    "FETCH_WAIT": ["0", "nan", "inf"],
    "TOPIC_REPLICATION_FACTOR": ["0", "-2", "many"],
    "WEB_PORT": ["0", "65536", "http"],
    "LOG_LEVEL": ["loud", "WARNING"],
}


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidSettings) as refused:
        Settings.read()

    told = str(refused.value)
    assert told.startswith(f"{variable}: ")
    assert "\n" not in told
    assert told.count(value) == 1 or len(value) < 4, "the value is said once; a short one may be in other words"


def test_every_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_PORT", "x")
    monkeypatch.setenv("PACK_RECORDS", "0")

    with pytest.raises(InvalidSettings, match=r"PACK_RECORDS: .*; WEB_PORT: "):
        Settings.read()


def test_an_unknown_strategy_lists_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTING_STRATEGY", "teleport")

    with pytest.raises(InvalidSettings) as refused:
        Settings.read()

    assert "'teleport'" in str(refused.value)
    assert all(name in str(refused.value) for name in STRATEGIES)


def test_a_worker_beats_before_its_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_SESSION_TIMEOUT", "1")

    with pytest.raises(InvalidSettings, match="BROKER_HEARTBEAT_INTERVAL must be less than BROKER_SESSION_TIMEOUT"):
        Settings.read()


def test_a_password_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_SECURITY", "SASL_SSL")
    monkeypatch.setenv("BROKER_PASSWORD", "secret")

    with pytest.raises(InvalidSettings, match="BROKER_USERNAME") as refused:
        Settings.read()

    assert "secret" not in str(refused.value)
    monkeypatch.setenv("BROKER_USERNAME", "me")
    assert "secret" not in repr(Settings.read())
    assert "secret" not in repr(Settings.read().cluster())


def test_an_unknown_role_names_the_variable_and_lists_the_lines_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLE", "service:nowhere")
    line = Line.load("metroline.agents.lines.metrobus")

    with pytest.raises(InvalidSettings) as refused:
        Settings.read().played(line)

    told = str(refused.value)
    assert told.startswith("ROLE: ")
    assert "service:contact_point" in told


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_PORT", "")

    assert Settings.read().web_port == Settings().web_port


def test_the_prefix_is_the_lines_name_and_the_source_stands_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line.load("metroline.agents.lines.metrobus")
    assert Settings.read().topics(line).source == "metrobus.source"

    monkeypatch.setenv("PREFIX", "mine")
    monkeypatch.setenv("SOURCE", "theirs")

    topics = Settings.read().topics(line)
    assert (topics.prefix, topics.source, topics.delivered) == ("mine", "theirs", "mine.delivered")


def test_topics_are_replicated_as_the_brokers_say_by_default() -> None:
    assert Settings.read().topic_replication_factor == -1
