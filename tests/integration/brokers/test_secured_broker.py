"""A worker and the command on a Kafka with TLS and logins: records get their outcomes, or one line gives the reason."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.protocol.admin import ApiVersionRequest

from metroline.app.local.ports import HOST, free_port
from metroline.app.settings import Settings
from tests.support.brokers import HERE, Broker, kafka_jars, run, running_kafka, unavailable
from tests.support.cli import metroline
from tests.support.depot import Depot, check_ways, numbered
from tests.support.issuer import CLIENT, SCOPE, SECRET, Issuer, running_issuer

USER = "metroline"
PASSWORD = "open sesame; 9%"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority; its own certificate and those that it signed are in one key store."""

    keystore: Path

    @classmethod
    def found(cls, keystore: Path) -> Authority:
        """Create a key store with an authority's key and certificate, under the alias `authority`."""
        authority = cls(keystore)
        authority._generate("authority", "-ext", "bc:critical", "-ext", "ku:critical=keyCertSign,cRLSign")
        authority._keytool("-exportcert", "-rfc", "-alias", "authority", "-file", str(authority.certificate))
        return authority

    @property
    def certificate(self) -> Path:
        """Return the path of the certificate, in PEM form, against which clients verify others."""
        return self.keystore.with_suffix(".pem")

    def sign(self, names: str) -> None:
        """Add a key and a certificate of a server with these names and addresses."""
        self._generate("server", "-signer", "authority", "-ext", f"san={names}", "-ext", "eku=serverAuth")

    def _generate(self, alias: str, *more: str) -> None:
        self._keytool("-genkeypair", "-alias", alias, "-dname", f"CN={alias}", "-keyalg", "EC", "-validity", "2", *more)

    def _keytool(self, *words: str) -> None:
        run(["keytool", *words, "-keystore", str(self.keystore), "-storetype", "PKCS12", "-storepass", PASSWORD])


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """A client's certificate, which it signed itself, and its encrypted key."""

    certificate: Path
    key: Path

    @classmethod
    def create(cls, folder: Path, name: str) -> ClientFiles:
        """Create a certificate and a key in a folder."""
        made = cls(folder / f"{name}.crt", folder / f"{name}.key")
        words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 -subj /CN={name}".split()
        run(
            ["openssl", *words, "-passout", f"pass:{PASSWORD}", "-keyout", str(made.key), "-out", str(made.certificate)]
        )
        return made

    def trust(self, store: Path) -> Path:
        """Create a store in which the certificate is trusted; return its path."""
        words = ["-importcert", "-noprompt", "-alias", "client", "-file", str(self.certificate)]
        run(["keytool", *words, "-keystore", str(store), "-storetype", "PKCS12", "-storepass", PASSWORD])
        return store


@dataclass(frozen=True, slots=True)
class Secured:
    """A Kafka with five listeners; tests read a worker's output through the one without a login."""

    broker: Broker
    tls_port: int
    login_port: int
    authority: Path
    """The certificate of the authority that signed the broker's certificate."""
    stranger: Path
    """The certificate of another authority."""
    mutual_port: int
    client: ClientFiles
    """The client that the broker trusts on that port."""
    oauth_port: int
    issuer: Issuer
    """The issuer of the tokens that the broker accepts on that port."""

    def login(self, mechanism: str) -> dict[str, str]:
        """Return the variables of a worker that logs in."""
        return {
            "BROKER_URL": f"kafka://{HOST}:{self.login_port}",
            "BROKER_SECURITY": "SASL_SSL",
            "BROKER_SASL_MECHANISM": mechanism,
            "BROKER_USERNAME": USER,
            "BROKER_PASSWORD": PASSWORD,
            "BROKER_CA_FILE": str(self.authority),
        }

    @property
    def mutual(self) -> dict[str, str]:
        """Return the variables of a worker that identifies itself by a certificate."""
        return {
            "BROKER_URL": f"kafka://{HOST}:{self.mutual_port}",
            "BROKER_SECURITY": "SSL",
            "BROKER_CA_FILE": str(self.authority),
            "BROKER_CERT_FILE": str(self.client.certificate),
            "BROKER_KEY_FILE": str(self.client.key),
            "BROKER_KEY_PASSWORD": PASSWORD,
        }

    @property
    def oauth(self) -> dict[str, str]:
        """Return the variables of a worker that logs in with tokens."""
        return {
            "BROKER_URL": f"kafka://{HOST}:{self.oauth_port}",
            "BROKER_SECURITY": "SASL_SSL",
            "BROKER_SASL_MECHANISM": "OAUTHBEARER",
            "BROKER_CA_FILE": str(self.authority),
            "BROKER_OAUTH_TOKEN_URL": self.issuer.token_url,
            "BROKER_OAUTH_CLIENT_ID": CLIENT,
            "BROKER_OAUTH_CLIENT_SECRET": SECRET,
            "BROKER_OAUTH_SCOPE": SCOPE,
            "BROKER_OAUTH_CA_FILE": str(self.issuer.certificate),
        }

    @property
    def tls(self) -> dict[str, str]:
        """Return the variables of a worker without a login, on a system that trusts the authority."""
        return {
            "BROKER_URL": f"kafka://localhost:{self.tls_port}",
            "BROKER_SECURITY": "SSL",
            "SSL_CERT_FILE": str(self.authority),
        }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Run an Apache Kafka with TLS and logins, one for this module."""
    kafka_jars()  # skips the tests if Java or Maven is missing
    for tool in ("keytool", "openssl"):
        if shutil.which(tool) is None:
            unavailable(f"{tool} is not installed; it makes certificates")
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority.found(folder / "authority.p12")
    authority.sign(f"ip:{HOST},dns:localhost")
    stranger = Authority.found(folder / "stranger.p12")
    client = ClientFiles.create(folder, "worker")
    tls_port, login_port, mutual_port, oauth_port = free_port(), free_port(), free_port(), free_port()
    with (
        running_issuer(folder) as issuer,
        running_kafka(
            folder,
            (HERE / "kafka" / "secured.properties").read_text("utf-8"),
            [f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"],
            [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={issuer.keys_url}"],
            tls_port=tls_port,
            login_port=login_port,
            mutual_port=mutual_port,
            oauth_port=oauth_port,
            keystore=authority.keystore,
            truststore=client.trust(folder / "trusted.p12"),
            user=USER,
            password=PASSWORD,
            keys_url=issuer.keys_url,
        ) as broker,
    ):
        yield Secured(
            broker,
            tls_port,
            login_port,
            authority.certificate,
            stranger.certificate,
            mutual_port,
            client,
            oauth_port,
            issuer,
        )


@pytest.fixture
async def depot(secured: Secured, prefix: str, tmp_path: Path) -> AsyncIterator[Depot]:
    """Yield a line on that Kafka; each test chooses the listener of its workers."""
    depot = Depot(secured.broker, prefix, tmp_path / "depot", tmp_path)
    try:
        yield depot
    finally:
        depot.end()
        await depot.delete_topics()


def call(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `metroline` with these arguments in the environment of the line's workers; fail after a minute."""
    started = time.monotonic()
    ended = metroline(*words, cwd=depot.folder, **depot.environment(WEB_PORT=str(free_port())))
    assert time.monotonic() - started < 60
    return ended


async def carry(depot: Depot, count: int) -> None:
    """Push `count` records with the command and have a worker process them; check the route of each."""
    records = depot.logs / "records.jsonl"
    records.write_bytes(b"\n".join(numbered(range(count))))

    pushed = call(depot, "push", "--records", str(records))
    worker = depot.start()
    await depot.settled(count)

    assert (pushed.returncode, pushed.stderr) == (0, "")
    check_ways((await depot.journeys()).values(), range(count))
    assert await depot.stop(worker) == 0


@pytest.mark.parametrize("mechanism", ["PLAIN", pytest.param("SCRAM-SHA-512", marks=pytest.mark.long)])
async def test_records_get_their_outcomes_where_one_logs_in(depot: Depot, secured: Secured, mechanism: str) -> None:
    depot.variables = secured.login(mechanism)

    await carry(depot, 40)


@pytest.mark.long
async def test_records_get_their_outcomes_by_tls_alone_with_the_systems_certificates(
    depot: Depot, secured: Secured
) -> None:
    depot.variables = secured.tls

    await carry(depot, 40)


async def test_records_get_their_outcomes_where_clients_have_certificates(depot: Depot, secured: Secured) -> None:
    password = depot.logs / "password"
    password.write_text(f"{PASSWORD}\n")
    depot.variables = secured.mutual | {"BROKER_KEY_PASSWORD": "", "BROKER_KEY_PASSWORD_FILE": str(password)}

    await carry(depot, 40)


@pytest.mark.long
async def test_records_get_their_outcomes_where_one_logs_in_with_tokens(depot: Depot, secured: Secured) -> None:
    secret = depot.logs / "secret"
    secret.write_text(f"{SECRET}\n")
    variables = {"BROKER_OAUTH_CLIENT_SECRET": "", "BROKER_OAUTH_CLIENT_SECRET_FILE": str(secret)}
    depot.variables = secured.oauth | variables

    await carry(depot, 40)


@pytest.mark.long
async def test_a_worker_outlives_its_tokens_an_issuer_that_is_away_and_a_secret_that_changes(
    depot: Depot, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, secret, sent = secured.issuer, depot.logs / "secret", 0
    secret.write_text(SECRET)
    monkeypatch.setattr(issuer, "lifetime", 6)
    monkeypatch.setattr(issuer, "refused", [])
    from_file = {"BROKER_OAUTH_CLIENT_SECRET": "", "BROKER_OAUTH_CLIENT_SECRET_FILE": str(secret)}
    depot.variables = secured.oauth | from_file

    async def carry_more() -> None:
        nonlocal sent
        await depot.push(numbered(range(sent, sent + 8)))
        sent += 8
        await depot.settled(sent)

    async def carry_until(holds: Callable[[], bool]) -> None:
        while not holds():
            await carry_more()
            await asyncio.sleep(0.3)
        await carry_more()

    worker = depot.start()
    await carry_more()
    first = len(issuer.issued)
    await carry_until(lambda: len(issuer.issued) >= first + 3)
    monkeypatch.setattr(issuer, "is_away", True)
    await depot.push(numbered(range(sent, sent + 8)))
    sent += 8
    await depot.until(lambda: len(issuer.refused) >= 2)
    monkeypatch.setattr(issuer, "secret", "sesame, open")
    secret.write_text("sesame, open\n")
    monkeypatch.setattr(issuer, "is_away", False)
    renewed = len(issuer.issued)
    await carry_until(lambda: len(issuer.issued) > renewed)

    check_ways((await depot.journeys()).values(), range(sent))
    assert issuer.refused.count(503) == len(issuer.refused)
    log = worker.child.log.read_text()
    told = [log.count(words) for words in ("there is no new token, and", "the token has expired, and", "tokens again")]
    assert told in ([1, 0, 1], [1, 1, 1], [0, 1, 1]), "a slow machine may see the end of a token"
    assert await depot.stop(worker) == 0


async def test_a_wrong_client_secret_is_one_line(depot: Depot, secured: Secured) -> None:
    depot.variables = secured.oauth

    told = await refusal(depot, BROKER_OAUTH_CLIENT_SECRET="guessed")

    assert f"the token endpoint {secured.issuer.token_url} refuses the client {CLIENT} (HTTP 401: " in told
    assert "guessed" not in told


async def test_an_issuer_that_is_away_is_one_line(depot: Depot, secured: Secured) -> None:
    url = f"http://{HOST}:{free_port()}/token"
    depot.variables = secured.oauth

    told = await refusal(depot, BROKER_OAUTH_TOKEN_URL=url)

    assert f"the token endpoint {url} does not answer (" in told


async def test_a_token_that_the_broker_does_not_accept_is_one_line(
    depot: Depot, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secured.issuer, "is_strange", True)

    told = await refusal(depot, **secured.oauth)

    assert f"the broker at {HOST}:{secured.oauth_port} refuses the login (it does not accept the token)" in told
    assert secured.issuer.token_url in told


@pytest.mark.parametrize("has_certificate", [True, False])
async def test_a_client_that_the_broker_does_not_trust_is_one_line(
    depot: Depot, secured: Secured, has_certificate: bool
) -> None:
    stranger = ClientFiles.create(depot.logs, "stranger")
    files = {"BROKER_CERT_FILE": str(stranger.certificate), "BROKER_KEY_FILE": str(stranger.key)}
    nothing = {"BROKER_CERT_FILE": "", "BROKER_KEY_FILE": "", "BROKER_KEY_PASSWORD": ""}

    told = await refusal(depot, **secured.mutual | (files if has_certificate else nothing))

    assert f"at {HOST}:{secured.mutual_port}" in told
    assert "BROKER_CERT_FILE" in told


def test_a_connection_is_closed_at_once_while_a_request_is_under_way(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in secured.tls.items():
        monkeypatch.setenv(name, value)

    async def close_often() -> None:
        cluster = Settings.read().cluster()
        for _ in range(20):
            connection = await create_conn("localhost", secured.tls_port, **cluster.access)
            asking = asyncio.ensure_future(connection.send(ApiVersionRequest()))
            started = time.monotonic()
            await connection.close()  # no timeout around it: uvloop cannot close a loop with a connection that lingers
            took = time.monotonic() - started
            await asyncio.gather(asking, return_exceptions=True)
            assert took < 10

    uvloop.run(close_often())  # the workers' event loop


async def refusal(depot: Depot, **variables: str) -> str:
    """Return the one line with which both a worker and the command end when they are refused."""
    depot.variables |= variables
    ends = await asyncio.gather(
        asyncio.to_thread(call, depot, "worker"), asyncio.to_thread(call, depot, "push", "--records", "5")
    )
    (told,) = {end.stdout + end.stderr for end in ends}
    assert all(end.returncode != 0 for end in ends)
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_one_line(depot: Depot, secured: Secured, mechanism: str) -> None:
    depot.variables = secured.login(mechanism)

    told = await refusal(depot, BROKER_PASSWORD="guessed")

    assert f"the broker at {HOST}:{secured.login_port} refuses the login (" in told
    assert "are BROKER_USERNAME and BROKER_PASSWORD right?" in told
    assert "guessed" not in told


async def test_a_way_to_log_in_that_the_broker_does_not_have_is_one_line(depot: Depot, secured: Secured) -> None:
    told = await refusal(depot, **secured.login("SCRAM-SHA-256"))

    assert "knows no login by SCRAM-SHA-256: is BROKER_SASL_MECHANISM right?" in told


async def test_a_certificate_that_another_authority_signed_is_one_line(depot: Depot, secured: Secured) -> None:
    depot.variables = secured.login("PLAIN")

    told = await refusal(depot, BROKER_CA_FILE=str(secured.stranger))

    assert f"the certificate of the broker at {HOST}:{secured.login_port} does not hold (" in told
    assert "is its signer's in BROKER_CA_FILE" in told


@pytest.mark.parametrize("security", ["PLAINTEXT", "SSL"])
async def test_another_security_than_the_listeners_is_one_line(depot: Depot, secured: Secured, security: str) -> None:
    depot.variables = secured.login("PLAIN")

    told = await refusal(depot, BROKER_SECURITY=security)

    assert f"no Kafka broker answers at {HOST}:{secured.login_port}" in told
    assert "are BROKER_URL and BROKER_SECURITY right?" in told


async def test_a_file_without_certificates_is_one_line(depot: Depot, secured: Secured) -> None:
    depot.variables = secured.login("PLAIN")

    told = await refusal(depot, BROKER_CA_FILE=__file__)

    assert told.startswith(f"error: BROKER_CA_FILE: {__file__} holds no certificates in PEM form")
