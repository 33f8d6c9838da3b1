"""Settings: an invalid value of any variable is reported in one line that names the variable."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from metroline.agents.formats.names import EndFormat
from metroline.agents.services.line import Line
from metroline.app.line_settings import InvalidSettings
from metroline.app.settings import SECRETS, Settings, misspelt
from metroline.routing.journeys.ends import End
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
    "BROKER_OAUTH_TOKEN_URL": ["issuer.example.com/token", "ftp://issuer/token"],
    "BROKER_OAUTH_CLIENT_SECRET_FILE": ["/no/such/file"],
    "BROKER_OAUTH_CA_FILE": ["/no/such/file"],
    "BROKER_CA_FILE": ["/no/such/file"],
    "BROKER_PASSWORD_FILE": ["/no/such/file"],
    "BROKER_KEY_PASSWORD_FILE": ["/no/such/file"],
    "METROLINE_TOKEN_FILE": ["/no/such/file"],
    "SOURCE_FORMAT": ["xml", "Avro", "plain", "packed", "module.function", "a:b:c"],
    "DELIVERED_FORMAT": ["xml", "module.function"],
    "DELIVERED_SCHEMA": ["newest", "-1", "1.5"],
    "SCHEMA_REGISTRY_URL": ["registry:8081", "ftp://registry", "http:///"],
    "SCHEMA_REGISTRY_PASSWORD_FILE": ["/no/such/file"],
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
    monkeypatch.setenv("BROKER_PASSWORD", "hush-hush")

    with pytest.raises(InvalidSettings, match="BROKER_USERNAME") as refused:
        Settings.read()

    assert "hush-hush" not in str(refused.value)
    monkeypatch.setenv("BROKER_USERNAME", "me")
    assert "hush-hush" not in repr(Settings.read())
    assert "secret" not in repr(Settings.read().cluster())


def test_a_login_by_tokens_needs_the_issuer_and_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_SECURITY", "SASL_SSL")
    monkeypatch.setenv("BROKER_SASL_MECHANISM", "OAUTHBEARER")
    monkeypatch.setenv("BROKER_OAUTH_TOKEN_URL", "https://issuer.example.com/token")
    monkeypatch.setenv("BROKER_OAUTH_CLIENT_ID", "orders")
    with pytest.raises(InvalidSettings, match=r"OAUTHBEARER needs .*BROKER_OAUTH_CLIENT_SECRET or"):
        Settings.read()

    monkeypatch.setenv("BROKER_OAUTH_CLIENT_SECRET", "hush-hush")
    settings = Settings.read()
    assert "hush-hush" not in repr(settings) + repr(settings.cluster())
    config = settings.cluster().librdkafka
    assert config["sasl.mechanism"] == "OAUTHBEARER"
    assert config["oauth_cb"] == Settings.read().cluster().librdkafka["oauth_cb"], "one token serves the process"


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


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_can_be_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("open sesame, please\n")
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))

    assert getattr(Settings.read(), name) == "open sesame, please"

    monkeypatch.setenv(name.upper(), "another one")
    with pytest.raises(InvalidSettings, match=f"{name.upper()} and {name.upper()}_FILE are both set"):
        Settings.read()


@pytest.mark.parametrize(("content", "told"), [(b"\n", "is empty"), (b"\xff", "is not text in UTF-8")])
def test_a_file_without_a_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("METROLINE_TOKEN_FILE", str(tmp_path / "secret"))

    with pytest.raises(InvalidSettings, match=f"METROLINE_TOKEN_FILE: .*{told}"):
        Settings.read()


@pytest.mark.parametrize("url", ["kafka://me:hush@kafka:9092", "kafka://a:9092;kafka://hush@b:9092", "me:hush@kafka"])
def test_a_password_in_the_url_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BROKER_URL", url)

    with pytest.raises(InvalidSettings, match=r"BROKER_URL: .*set BROKER_USERNAME, and BROKER_PASSWORD or") as refused:
        Settings.read()

    assert "hush" not in str(refused.value)


def test_a_token_that_is_too_short_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METROLINE_TOKEN", "hush")

    with pytest.raises(InvalidSettings, match=r"METROLINE_TOKEN: .* at least 8 characters") as refused:
        Settings.read()

    assert "hush" not in str(refused.value)


def test_a_secret_is_in_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """`faust -A metroline.app.main` shows the whole traceback, with the errors that caused the last one."""
    secret = "hu" + "sh"  # the traceback has the lines of this test
    monkeypatch.setenv("METROLINE_TOKEN", secret)
    with pytest.raises(InvalidSettings) as refused:
        Settings.read()
    assert secret not in "".join(traceback.format_exception(refused.value))

    monkeypatch.delenv("METROLINE_TOKEN")
    with pytest.raises(ValidationError) as invalid:
        Settings(metroline_token=secret)
    assert secret not in str(invalid.value)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"BROKER_KEY_FILE": "/no/such/key"}, "BROKER_KEY_FILE needs BROKER_CERT_FILE"),
        ({"BROKER_CERT_FILE": "/no/such/file"}, "BROKER_CERT_FILE needs BROKER_SECURITY=SSL or SASL_SSL"),
        (
            {"BROKER_CERT_FILE": "/no/such/file", "BROKER_SECURITY": "SSL"},
            "BROKER_CERT_FILE: there is no file /no/such/file",
        ),
        (
            {"BROKER_CERT_FILE": __file__, "BROKER_SECURITY": "SSL"},
            r"BROKER_CERT_FILE: .* holds no certificate in PEM form, or its key cannot be used \(",
        ),
    ],
)
def test_a_clients_certificate_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSettings, match=told):
        Settings.read()


LINE_TOML = """
[source]
topic = "orders.in"
tombstones = "drop"

[ends.end]
format = "packed"
"""


def line_with(folder: Path, options: str) -> Line:
    """Return a line whose `line.toml` has this text."""
    (folder / "services.py").write_text(
        "from metroline import service\n\n\n@service\ndef ship(record):\n    return record\n"
    )
    (folder / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "ship"\n')
    (folder / "line.toml").write_text(options)
    return Line.load(str(folder))


def test_the_environment_overrides_what_line_toml_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = line_with(tmp_path, LINE_TOML)
    settings = Settings.read()
    assert settings.topics(line).source == "orders.in"
    assert (settings.tombstones(line), settings.end_formats(line)["end"].name) == ("drop", "packed")

    monkeypatch.setenv("SOURCE", "theirs")
    monkeypatch.setenv("SOURCE_TOMBSTONES", "dead")
    monkeypatch.setenv("DELIVERED_FORMAT", "plain")
    settings = Settings.read()
    assert settings.topics(line).source == "theirs"
    assert (settings.tombstones(line), settings.end_formats(line)["end"].name) == ("dead", "json")


ENDS_TOML = """
[ends.end]
key = "order"

[ends.shipped]
topic = "orders.shipped"
format = "packed"
"""


def test_ends_have_their_topics_unless_all_is_delivered_to_the_lines_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = line_with(tmp_path, ENDS_TOML)
    monkeypatch.setenv("PREFIX", "mine")
    settings = Settings.read()
    assert settings.topics(line).end("shipped") == "orders.shipped"
    assert settings.topics(line).end("end") == "mine.delivered"
    assert settings.ends(line) == {"end": End("order"), "shipped": End(is_packed=True)}
    shared = [plan.name for plan in settings.topics(line).plans(4, line.stops, 1) if plan.is_shared]
    assert shared == ["orders.shipped"]
    assert "orders.shipped" not in settings.topics(line).partitioned(line.stops)

    monkeypatch.setenv("END_TOPICS", "delivered")
    settings = Settings.read()
    assert settings.topics(line).end("shipped") == "mine.delivered"
    assert settings.ends(line) == {"end": End("order"), "shipped": End("order")}
    monkeypatch.setenv("DELIVERED_FORMAT", "packed")
    assert Settings.read().ends(line) == {"end": End(is_packed=True), "shipped": End(is_packed=True)}


def test_a_line_with_schedules_has_their_topic_unless_they_are_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = line_with(tmp_path, '[schedules.nightly]\ncron = "@daily"\n')
    monkeypatch.setenv("PREFIX", "mine")

    def topics() -> set[str]:
        return {plan.name for plan in Settings.read().topics(line).plans(4, line.stops, 1)}

    assert "mine.schedules" in topics()
    monkeypatch.setenv("SCHEDULES", "off")
    assert "mine.schedules" not in topics()


def test_each_end_has_its_format_and_the_environment_overrides_that_of_the_default_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = """
[source]
format = "avro"

[ends.end]
format = "protobuf"
message = "shop.Order"

[ends.shipped]
topic = "orders.shipped"
format = "avro"
schema = 7
"""
    line = line_with(tmp_path, text)
    shipped = EndFormat("avro", 7, None, "ends.shipped.format in line.toml")
    of_end = EndFormat("protobuf", "latest", "shop.Order", "ends.end.format in line.toml")
    assert Settings.read().end_formats(line) == {"shipped": shipped, "end": of_end}
    assert Settings.read().format_of_source(line) == ("avro", "source.format in line.toml")

    monkeypatch.setenv("SOURCE_FORMAT", "json")
    monkeypatch.setenv("DELIVERED_FORMAT", "json-schema")
    monkeypatch.setenv("DELIVERED_SCHEMA", "source")
    of_end = EndFormat("json-schema", "source", "shop.Order", "DELIVERED_FORMAT")
    assert Settings.read().end_formats(line) == {"shipped": shipped, "end": of_end}
    assert Settings.read().format_of_source(line) == ("json", "SOURCE_FORMAT")
    monkeypatch.setenv("DELIVERED_SCHEMA", "17")
    assert Settings.read().end_formats(line)["end"].schema == 17


@pytest.mark.parametrize("topic", ["orders.in", "mine.conductor", "mine.delivered"])
def test_an_end_cannot_have_a_topic_that_the_line_uses_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, topic: str
) -> None:
    line = line_with(tmp_path, f'[ends.shipped]\ntopic = "{topic}"\n')
    monkeypatch.setenv("PREFIX", "mine")
    monkeypatch.setenv("SOURCE", "orders.in")

    with pytest.raises(InvalidSettings) as refused:
        Settings.read().topics(line)

    assert str(refused.value) == (
        f"line.toml: the line itself uses the topic {topic} of the end 'shipped': give it another one"
    )


REGISTRY = {"SCHEMA_REGISTRY_URL": "https://one:8081, https://two:8081/path"}


def read_with(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in (REGISTRY | variables).items():
        monkeypatch.setenv(name, value)
    return Settings.read()


def test_the_schema_registry_has_several_addresses_and_a_login_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    settings = read_with(
        monkeypatch, SCHEMA_REGISTRY_USERNAME="me", SCHEMA_REGISTRY_PASSWORD_FILE=str(tmp_path / "secret")
    )
    access = settings.registry_access()

    assert access is not None
    assert access.urls == ("https://one:8081", "https://two:8081/path")
    assert (access.username, access.password) == ("me", "s3cret")
    assert "s3cret" not in repr(access) + repr(settings)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SCHEMA_REGISTRY_TOKEN": "t", "SCHEMA_REGISTRY_USERNAME": "me"}, "are both set"),
        ({"SCHEMA_REGISTRY_PASSWORD": "p"}, "SCHEMA_REGISTRY_PASSWORD needs SCHEMA_REGISTRY_USERNAME"),
        ({"SCHEMA_REGISTRY_KEY_FILE": "k"}, "SCHEMA_REGISTRY_KEY_FILE needs SCHEMA_REGISTRY_CERT_FILE"),
        (
            {"SCHEMA_REGISTRY_CA_FILE": "/no/such"},
            "SCHEMA_REGISTRY_CA_FILE: /no/such cannot be used",
        ),
    ],
)
def test_a_login_at_the_schema_registry_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    with pytest.raises(InvalidSettings, match=told):
        read_with(monkeypatch, **variables)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OPENSEARCH_URL": "search:9200"}, "OPENSEARCH_URL: write http://host:port"),
        ({"OPENSEARCH_URL": "http://me:s3cret@search:9200"}, "OPENSEARCH_URL: a user name or a password has no place"),
        ({"OPENSEARCH_PASSWORD": "s3cret"}, "OPENSEARCH_PASSWORD needs OPENSEARCH_USERNAME"),
        ({"OPENSEARCH_API_KEY_FILE": "/no/such"}, "OPENSEARCH_API_KEY_FILE: there is no file /no/such"),
    ],
)
def test_settings_that_let_nobody_into_opensearch_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    with pytest.raises(InvalidSettings, match=told) as refused:
        read_with(monkeypatch, **({"OPENSEARCH_URL": "http://search:9200"} | variables))

    assert "s3cret" not in str(refused.value)


def test_a_password_in_the_address_of_the_schema_registry_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidSettings, match="a password has no place in it: set SCHEMA_REGISTRY_USERNAME") as refused:
        read_with(monkeypatch, SCHEMA_REGISTRY_URL="http://me:s3cret@registry:8081")

    assert "s3cret" not in str(refused.value)


def test_a_variable_that_is_nearly_a_setting_is_taken_for_a_misspelt_one() -> None:
    variables = ["ROUTING_STRATGY", "MAXHOPS", "SERVICE_ATTEMPT", "LINES", "LINE", "HOME", "MAX_HOPS", "broker_url"]
    assert list(misspelt(variables)) == [
        "the variable MAXHOPS is no setting: is MAX_HOPS meant?",
        "the variable ROUTING_STRATGY is no setting: is ROUTING_STRATEGY meant?",
        "the variable SERVICE_ATTEMPT is no setting: is SERVICE_ATTEMPTS meant?",
    ]
