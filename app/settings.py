"""The settings of a worker and of the command, read from the environment and validated.

The variables of Kafka, tables and the web server have Faust's names, since Faust reads them too.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from metroline.agents.gateways.opensearch.access import OpenSearchSettings
from metroline.agents.http.access import AccessSettings, HttpAccess, UnusableAccess, urls_in
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.oauth import OAuthClient
from metroline.agents.kafka.tokens import tokens_of
from metroline.agents.kafka.topic_admin import BROKERS_REPLICATION
from metroline.agents.membership.roles import Role, UnknownRole
from metroline.agents.services.line import Line
from metroline.agents.tls import ClientCertificate, tls_context
from metroline.app.line_settings import InvalidSettings, LineSettings
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.kept_journeys import KEPT_PER_SECOND
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.spelling import nearest
from metroline.routing.strategies import Strategy, strategy_named

if TYPE_CHECKING:
    from faust.types.auth import CredentialsT
    from pydantic_core import ErrorDetails

SECRETS = (
    "broker_password",
    "broker_key_password",
    "broker_oauth_client_secret",
    "metroline_token",
    "cluster_key",
    "schema_registry_password",
    "schema_registry_token",
    "schema_registry_key_password",
    "opensearch_password",
    "opensearch_api_key",
)
"""The settings that no message shows. Each can be given by a file, whose path is the setting with `_file`."""

URLS = ("BROKER_URL", "SCHEMA_REGISTRY_URL", "OPENSEARCH_URL")
"""The variables in which a password may be by mistake."""

LIMITS = Limits()
RETRY_POLICY = RetryPolicy()

NEARLY = 0.9
"""Similarity from which on a name is taken for a misspelt one (`difflib.SequenceMatcher.ratio`)."""


class Settings(LineSettings, OpenSearchSettings):
    """Settings of a worker and of the command, read from the environment. Times are in seconds, sizes in bytes."""

    line: str = "metroline.agents.lines.metrobus"
    """The line: a dotted package or a folder with services.py and routes.toml."""
    source_partitions: PositiveInt = 4
    """Number of partitions of the source topic, if a worker has to create it."""
    source_epoch: int = Field(0, ge=0)
    """Raise this by one after the source topic was deleted and created again: its new records would otherwise
    be taken for the old ones at the same offsets."""
    routing_strategy: str = "signpost"
    """Strategy of the journeys that start at this worker's on-ramp: hard_wired, conductor, map_maker or signpost."""
    chaining: Literal["on", "stops", "off"] = "on"
    """With `on`, records go on in memory to the next stop, conductor, map maker or switch and to the arrivals, where
    this worker runs them. With `stops`, the outcome of every record is written to the topic of the arrivals, where
    its journey can be read. With `off`, every hop is a message on the bus."""
    role: str = "all"
    """Parts of the line that this worker runs: `all`, or on-ramp, router, arrivals and service:NAME, separated by
    commas."""

    pack_bytes: PositiveInt = LIMITS.pack_bytes
    """Maximum size of an envelope, in bytes. A single record that is larger travels in an envelope of its own."""
    pack_records: PositiveInt = LIMITS.pack_records
    """Maximum number of records in an envelope."""
    pack_seconds: PositiveFloat = 5.0
    """Time in seconds after which a stop sends the unprocessed rest of an envelope back to its own topic."""
    max_hops: PositiveInt = LIMITS.max_hops
    """Maximum number of stops in a journey. A record that would visit one more becomes a dead letter."""
    max_age: PositiveFloat | None = None
    """Maximum age of a journey, in seconds. An older record becomes a dead letter at its next stop. Default: no
    limit."""

    journeys_per_second: int = Field(KEPT_PER_SECOND, ge=0, le=10_000)
    """Number of [journeys](monitoring.md#journeys) that a worker keeps in a second, for the pages and for
    `metroline trace`. Where more end, it keeps a sample. Dead letters are always kept; with 0, they alone are."""

    service_attempts: PositiveInt = RETRY_POLICY.attempts
    """Number of attempts per record, the first included. A service can override it."""
    service_backoff: PositiveFloat = RETRY_POLICY.backoff
    """Upper bound of the wait before the first retry, in seconds. It doubles with each further retry. A service
    can override it."""
    service_backoff_max: PositiveFloat = RETRY_POLICY.backoff_max
    """Upper bound of the wait before any retry, in seconds. A service can override it."""
    service_timeout: PositiveFloat = RETRY_POLICY.timeout
    """Time that one call of a service may take, in seconds. An async or blocking service can override it."""
    service_wait_max: PositiveFloat = RETRY_POLICY.wait_max
    """Time for which a record may wait at a stop in all because its service returns `Retry` with `after` or `until`, in
    seconds. A service can override it."""

    broker_url: str = "kafka://127.0.0.1:9092"
    """Addresses of the Kafka brokers, separated by semicolons."""
    broker_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Security protocol of the connections to the brokers."""
    broker_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    """SASL mechanism of the login. With `OAUTHBEARER`, clients log in with tokens of an OAuth 2.0 issuer."""
    broker_username: str | None = None
    """User name of the SASL login."""
    broker_password: str | None = Field(None, repr=False)
    """Password of the SASL login."""
    broker_password_file: Path | None = None
    """File with the password of the SASL login, in place of `BROKER_PASSWORD`."""
    broker_oauth_token_url: str | None = Field(None, pattern=r"^https?://[^/@]+(/[^@]*)?$")
    """With `OAUTHBEARER`, token endpoint of the issuer, where clients get tokens for their credentials (client
    credentials grant)."""
    broker_oauth_client_id: str | None = None
    """Client id at that issuer."""
    broker_oauth_client_secret: str | None = Field(None, repr=False)
    """Client secret at that issuer."""
    broker_oauth_client_secret_file: Path | None = None
    """File with the client secret, in place of `BROKER_OAUTH_CLIENT_SECRET`. It is read for each token, so that the
    secret may change while a worker runs."""
    broker_oauth_scope: str | None = None
    """Scope that clients ask the issuer for. Default: the issuer's."""
    broker_oauth_ca_file: Path | None = None
    """PEM file with the certificates that the certificate of the token endpoint is verified against. Default: the
    system's."""
    broker_ca_file: Path | None = None
    """PEM file with the certificates that the brokers' certificates are verified against. Default: the system's."""
    broker_cert_file: Path | None = None
    """PEM file with the certificate by which this client identifies itself to the brokers (mutual TLS), followed by
    those that signed it, if the brokers need them. Default: none."""
    broker_key_file: Path | None = None
    """PEM file with the private key of that certificate. Default: `BROKER_CERT_FILE` holds it, too."""
    broker_key_password: str | None = Field(None, repr=False)
    """Password of the private key. Default: the key is not encrypted."""
    broker_key_password_file: Path | None = None
    """File with the password of the private key, in place of `BROKER_KEY_PASSWORD`."""
    broker_session_timeout: PositiveFloat = 8.0
    """Time in seconds without a heartbeat after which the broker considers a worker dead."""
    broker_rebalance_timeout: PositiveFloat = 30.0
    """Time in seconds that a rebalance waits for all workers of a group."""
    broker_heartbeat_interval: PositiveFloat = 1.0
    """Interval between heartbeats to the broker, in seconds. Must be less than the session timeout. When workers come
    or go, the others learn of it within this time."""
    broker_instance_id: str = Field("", pattern=r"^[A-Za-z0-9._-]*$", max_length=200)
    """Name of this worker for static membership, unique among the line's workers and the same after a restart. A worker
    that is back within the session timeout gets its partitions again without a rebalance. Default: none."""
    fetch_wait: PositiveFloat = 0.5
    """Time in seconds that a broker may hold a fetch while there is nothing to read. Use 0.005 for the embedded
    broker, which does not wake up on new data."""
    bus_compression: Literal["lz4", "zstd", "snappy", "gzip", "none"] = "lz4"
    """Compression of the messages that workers write."""
    acknowledged_messages: Literal["delete", "keep"] = "delete"
    """With `delete`, messages that the line has dealt with are deleted from its inner topics every minute: these topics
    have no retention, so that no record is lost that waits for long. With `keep`, they stay, and the topics need a
    retention of your own."""
    topic_replication_factor: int = Field(BROKERS_REPLICATION, ge=BROKERS_REPLICATION, le=32_767)
    """Replication factor of the topics that workers create. `-1` is the brokers' own `default.replication.factor`."""

    schema_registry_url: str = ""
    """Address of the schema registry, such as `https://registry:8081` or `http://apicurio:8080/apis/ccompat/v7`. Of
    several, separated by commas, each is asked until one answers."""
    schema_registry_username: str | None = None
    """User name of the login at the schema registry. Default: no login."""
    schema_registry_password: str | None = Field(None, repr=False)
    """Password of the login at the schema registry."""
    schema_registry_password_file: Path | None = None
    """File with the password of the login at the schema registry, in place of `SCHEMA_REGISTRY_PASSWORD`."""
    schema_registry_token: str | None = Field(None, repr=False)
    """Token for the schema registry (`Authorization: Bearer`), in place of user name and password."""
    schema_registry_token_file: Path | None = None
    """File with the token, in place of `SCHEMA_REGISTRY_TOKEN`."""
    schema_registry_ca_file: Path | None = None
    """PEM file with the certificates that the schema registry's certificate is verified against. Default: the
    system's."""
    schema_registry_cert_file: Path | None = None
    """PEM file with the certificate by which this client identifies itself to the schema registry (mutual TLS).
    Default: none."""
    schema_registry_key_file: Path | None = None
    """PEM file with the private key of that certificate. Default: `SCHEMA_REGISTRY_CERT_FILE` holds it, too."""
    schema_registry_key_password: str | None = Field(None, repr=False)
    """Password of that private key. Default: the key is not encrypted."""
    schema_registry_key_password_file: Path | None = None
    """File with the password of that private key, in place of `SCHEMA_REGISTRY_KEY_PASSWORD`."""

    lookup_dir: Path | None = None
    """Folder of the lookups. Default: `metroline/lookups` in the user's data folder (`~/.local/share`)."""

    web_bind: str = "127.0.0.1"
    """Address that the worker's web server listens on."""
    web_port: int = Field(6066, ge=1, le=65_535)
    """Port that the worker's web server listens on."""
    web_host: str = ""
    """Host name under which other workers reach this one. Default: `WEB_BIND` if it is a loopback address, otherwise
    the machine's host name."""
    web_allowed_hosts: str = Field("", pattern=r"^[A-Za-z0-9._*-]*( *, *[A-Za-z0-9._*-]+)*$")
    """Further host names by which clients may address the web server, such as that of a proxy, separated by commas.
    `.example.com` stands for all names below that domain, and `*` for any name. Always allowed are IP addresses,
    `localhost`, `WEB_HOST` and the machine's host name, and names without a dot unless `WEB_BIND` is a loopback
    address."""
    metroline_token: str | None = Field(None, repr=False, min_length=8)
    """Token that people log in with, and that programs send, to write over HTTP: to replay or discard dead letters, for
    example. Unless `WEB_BIND` is a loopback address, reading the pages needs it, too. Without a token, nothing can be
    written over HTTP, and whoever reaches the port can read. All workers of a line need the same one."""
    metroline_token_file: Path | None = None
    """File with the token, in place of `METROLINE_TOKEN`."""
    cluster_key: str | None = Field(None, repr=False, min_length=16)
    """Key that all workers of the line and its commands share. With a key, workers sign their announcements to each
    other (HMAC-SHA256), and leave out those that are not signed with it. Without a key, whoever may write to the
    topic `workers` can claim to be one of them."""
    cluster_key_file: Path | None = None
    """File with that key, in place of `CLUSTER_KEY`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of the messages that a worker logs. With `debug`, nothing is left out."""
    log_format: Literal["text", "json"] = "text"
    """Format of a worker's log: lines of text, or one JSON object a line with time, level, logger, message and, for an
    error, traceback."""

    @classmethod
    def read(cls, **overrides: Any) -> Self:
        """Read the environment. An override that is neither None nor empty takes the place of its variable.

        Raise `InvalidSettings`, which names each variable with a wrong value.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value not in (None, "")})
        except ValidationError as error:
            raise InvalidSettings("; ".join(map(_described, error.errors()))) from None  # it shows secrets

    @model_validator(mode="before")
    @classmethod
    def _secrets_of_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read the secrets that are named by files. A file that cannot be used is reported by `_secret_file`."""
        read = {}
        for name in SECRETS:
            if not (file := values.get(f"{name}_file")):
                continue
            if values.get(name):
                raise ValueError(f"{name.upper()} and {name.upper()}_FILE are both set: set one of them")
            with suppress(ValueError):
                read[name] = secret_in(Path(file))
        return {**values, **read}

    @field_validator(*(f"{name}_file" for name in SECRETS))
    @classmethod
    def _secret_file(cls, file: Path | None) -> Path | None:
        if file is not None:
            secret_in(file)
        return file

    @field_validator("routing_strategy")
    @classmethod
    def _known_strategy(cls, name: str) -> str:
        try:
            return strategy_named(name).name
        except MetrolineError as error:
            raise ValueError(str(error)) from error

    @field_validator("broker_url")
    @classmethod
    def _kafka_url(cls, url: str) -> str:
        _refuse_login(url, "BROKER")
        for part in url.split(";"):
            scheme, mark, rest = part.strip().partition("://")
            host, _, port = (rest if mark else scheme).rstrip("/").rpartition(":")
            if (mark and scheme not in ("kafka", "aiokafka")) or "/" in host or (host and not port.isdigit()):
                raise ValueError("write kafka://host:port, several with semicolons")
        return url

    @field_validator("schema_registry_url", "opensearch_url")
    @classmethod
    def _server_urls(cls, urls: str, info: ValidationInfo) -> str:
        try:
            urls_in(urls, str(info.field_name).removesuffix("_url").upper())
        except UnusableAccess as error:
            raise ValueError(str(error).partition(": ")[2]) from error
        return urls

    @field_validator("topic_replication_factor")
    @classmethod
    def _copies(cls, count: int) -> int:
        if count == 0:
            raise ValueError("a topic has at least 1 copy; -1 is the brokers' own replication factor")
        return count

    @field_validator("broker_ca_file", "broker_oauth_ca_file")
    @classmethod
    def _certificates(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                tls_context(file)
            except ssl.SSLError as error:
                raise ValueError(f"{file} holds no certificates in PEM form") from error
            except OSError as error:
                raise ValueError(f"there is no file {file} that can be read ({error.strerror})") from error
        return file

    @field_validator("lookup_dir")
    @classmethod
    def _folder(cls, folder: Path | None) -> Path | None:
        if folder is None:
            return None
        try:
            found = folder.expanduser()
        except RuntimeError as error:
            raise ValueError(f"nobody knows the home of that user: {folder}") from error
        if found.exists() and not found.is_dir():
            raise ValueError(f"not a folder: {folder}")
        return folder

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.broker_security.startswith("SASL"):
            self._check_login()
        if self.broker_key_file is not None and self.broker_cert_file is None:
            raise ValueError("BROKER_KEY_FILE needs BROKER_CERT_FILE, the certificate of the key")
        if self.broker_cert_file is not None:
            self._check_certificate()
        self._check_access()
        if self.broker_heartbeat_interval >= self.broker_session_timeout:
            raise ValueError("BROKER_HEARTBEAT_INTERVAL must be less than BROKER_SESSION_TIMEOUT")
        return self

    def _check_login(self) -> None:
        """Raise ValueError if a variable of the SASL login is missing."""
        if self.broker_sasl_mechanism == "OAUTHBEARER":
            if not (self.broker_oauth_token_url and self.broker_oauth_client_id and self.broker_oauth_client_secret):
                raise ValueError(
                    "BROKER_SASL_MECHANISM=OAUTHBEARER needs BROKER_OAUTH_TOKEN_URL, BROKER_OAUTH_CLIENT_ID, and "
                    "BROKER_OAUTH_CLIENT_SECRET or BROKER_OAUTH_CLIENT_SECRET_FILE"
                )
        elif not (self.broker_username and self.broker_password):
            raise ValueError("BROKER_SECURITY with SASL needs BROKER_USERNAME and BROKER_PASSWORD")

    def _check_access(self) -> None:
        """Raise ValueError if these settings let no client into the schema registry or the OpenSearch cluster."""
        try:
            self.registry_access()
            if self.opensearch_url:
                self.opensearch_access()
        except UnusableAccess as error:
            raise ValueError(str(error)) from error

    def _check_certificate(self) -> None:
        """Raise ValueError if the client's certificate cannot be used."""
        if not self.broker_security.endswith("SSL"):
            raise ValueError("BROKER_CERT_FILE needs BROKER_SECURITY=SSL or SASL_SSL")
        for name, file in (("BROKER_CERT_FILE", self.broker_cert_file), ("BROKER_KEY_FILE", self.broker_key_file)):
            if file is not None and not os.access(file, os.R_OK):
                raise ValueError(f"{name}: there is no file {file} that can be read")
        try:
            tls_context(self.broker_ca_file, self.certificate)
        except OSError as error:  # its reason is OpenSSL's, which names no file
            raise ValueError(
                f"BROKER_CERT_FILE: {self.broker_cert_file} holds no certificate in PEM form, or its key cannot be "
                f"used ({getattr(error, 'reason', None) or error}): are BROKER_KEY_FILE and BROKER_KEY_PASSWORD right?"
            ) from error

    @property
    def certificate(self) -> ClientCertificate | None:
        """The certificate by which clients identify themselves to the brokers; None without one."""
        if self.broker_cert_file is None:
            return None
        return ClientCertificate(self.broker_cert_file, self.broker_key_file, self.broker_key_password)

    def registry_access(self) -> HttpAccess | None:
        """Return the schema registry with what it needs to let this client in; None if there is none.

        Raise `UnusableAccess`.
        """
        if not self.schema_registry_url:
            return None
        return AccessSettings(
            "SCHEMA_REGISTRY",
            self.schema_registry_url,
            username=self.schema_registry_username,
            password=self.schema_registry_password,
            token=self.schema_registry_token,
            ca_file=self.schema_registry_ca_file,
            cert_file=self.schema_registry_cert_file,
            key_file=self.schema_registry_key_file,
            key_password=self.schema_registry_key_password,
        ).access()

    @property
    def purges(self) -> bool:
        """True if a worker deletes acknowledged messages."""
        return self.acknowledged_messages == "delete"

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy of services that declare none."""
        return RetryPolicy(
            self.service_attempts,
            self.service_backoff,
            self.service_backoff_max,
            self.service_timeout,
            self.service_wait_max,
        )

    @property
    def strategy(self) -> Strategy:
        return strategy_named(self.routing_strategy)

    def played(self, line: Line) -> Role:
        """Return the role of this worker. Raise `InvalidSettings` if the line does not have it."""
        try:
            return Role.parse(self.role, line.stops)
        except UnknownRole as error:
            raise InvalidSettings(f"ROLE: {error}") from error

    def credentials(self) -> CredentialsT | None:
        """Return the credentials in Faust's form, or None for a connection without TLS and login."""
        if self.broker_security == "PLAINTEXT":
            return None
        import faust  # takes long to import, and most commands have no use for it

        context = tls_context(self.broker_ca_file, self.certificate) if self.broker_security.endswith("SSL") else None
        if self.broker_security == "SSL":
            return faust.SSLCredentials(context)
        if self.broker_sasl_mechanism == "OAUTHBEARER":
            return faust.OAuthCredentials(oauth_cb=tokens_of(self._oauth_client()), ssl_context=context)
        return faust.SASLCredentials(
            username=self.broker_username,
            password=self.broker_password,
            ssl_context=context,
            mechanism=self.broker_sasl_mechanism,
        )

    def _oauth_client(self) -> OAuthClient:
        """Return the client with which this process gets tokens for OAUTHBEARER."""
        return OAuthClient(
            self.broker_oauth_token_url or "",
            self.broker_oauth_client_id or "",
            self.broker_oauth_client_secret or "",
            self.broker_oauth_scope,
            self.broker_oauth_ca_file,
            self.broker_oauth_client_secret_file,
        )

    def cluster(self) -> Cluster:
        """Return the cluster at BROKER_URL, with what its clients need to log in."""
        ca_file = str(self.broker_ca_file) if self.broker_ca_file else None
        return Cluster.at(self.broker_url, self._access(), ca_file, self.certificate)

    def _access(self) -> dict[str, Any]:
        """Return how to log in, as parameters of aiokafka's clients."""
        if (credentials := self.credentials()) is None:
            return {"security_protocol": "PLAINTEXT"}
        from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

        return dict(credentials_to_aiokafka_auth(credentials))

    @property
    def host(self) -> str:
        """The host name under which other workers reach the web server of this one."""
        if self.web_host:
            return self.web_host
        return (
            self.web_bind if self.web_bind.startswith("127.") or self.web_bind == "localhost" else socket.gethostname()
        )


def secret_in(file: Path) -> str:
    """Return the secret in a file, without the line break at its end; raise ValueError if there is none."""
    try:
        secret = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"there is no file {file} that can be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text in UTF-8") from None
    if not secret:
        raise ValueError(f"{file} is empty")
    return secret


def _described(error: ErrorDetails) -> str:
    """Name a variable and what is wrong with it, with its value unless the message has the value already."""
    variable = ".".join(map(str, error["loc"])).upper()
    problem, value = error["msg"].removeprefix("Value error, "), error["input"]
    is_named = error["type"] == "value_error" and (repr(value) in problem or f" {value} " in f"{problem} ")
    if not variable:
        return f"settings: {problem}"
    is_named |= variable.lower() in SECRETS or (variable in URLS and "@" in str(value))
    return f"{variable}: {problem}" if is_named else f"{variable}: {problem} (it is {value!r})"


def _refuse_login(url: str, prefix: str) -> None:
    """Raise ValueError, without showing it, if an address holds a login. `prefix` is that of the settings for it."""
    if "@" in url:
        raise ValueError(
            f"a user name or a password has no place in it: set {prefix}_USERNAME, and {prefix}_PASSWORD or "
            f"{prefix}_PASSWORD_FILE"
        )


def misspelt(variables: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each name of an environment variable that is no setting but nearly one."""
    known = [name.upper() for name in Settings.model_fields]
    for variable in sorted(variables):
        if variable.upper() not in known and (near := nearest(variable.upper(), known, NEARLY)):
            yield f"the variable {variable} is no setting: is {near} meant?"
