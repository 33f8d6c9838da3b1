"""A Kafka cluster as a client sees it: its address, how to log in, and the clients that do so."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.admin import ApiVersionRequest

from metroline.agents.kafka.admin_client import AdminClient
from metroline.agents.kafka.oauth import NoToken
from metroline.agents.kafka.sessions import create_conn
from metroline.agents.kafka.tokens import TokenProvider
from metroline.agents.tls import ClientCertificate
from metroline.routing.errors import MetrolineError

CONNECT_SECONDS = 10.0
"""Time that a broker has to accept a connection when a refused login is diagnosed."""

METADATA_SECONDS = 10.0
"""Time after which a client asks again for the partitions of its topics. librdkafka's own default is five minutes."""

TOKEN_REFUSED = "it does not accept the token"


class ClusterError(MetrolineError):
    """Raised when the cluster does not answer or refuses a request."""


class ClusterSilent(ClusterError):
    """Raised when no broker answers, or none answers in time. The same question may be answered later."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The address of a cluster (`host:port`, separated by commas) and how to log in."""

    bootstrap: str
    access: dict[str, Any] = field(default_factory=lambda: {"security_protocol": "PLAINTEXT"}, repr=False)
    """The login, as keyword arguments of aiokafka's clients."""
    ca_file: str | None = None
    """The file with the certificates that the brokers' certificates are checked against; None for the system's."""

    certificate: ClientCertificate | None = None
    """The certificate by which clients identify themselves; None without one."""

    @classmethod
    def at(
        cls,
        url: str,
        access: dict[str, Any] | None = None,
        ca_file: str | None = None,
        certificate: ClientCertificate | None = None,
    ) -> Cluster:
        """Return the cluster at an address in Faust's form: `kafka://host:port;host:port`."""
        hosts = [
            part.strip().removeprefix("aiokafka://").removeprefix("kafka://").rstrip("/") for part in url.split(";")
        ]
        bootstrap = ",".join(host if ":" in host else f"{host}:9092" for host in hosts if host)
        return cls(bootstrap) if access is None else cls(bootstrap, access, ca_file, certificate)

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS context of the connections; None without TLS."""
        return self.access.get("ssl_context")

    @property
    def _tokens(self) -> TokenProvider | None:
        """The source of the tokens with which clients log in; None with another login."""
        return self.access.get("sasl_oauth_token_provider")

    @property
    def librdkafka(self) -> dict[str, Any]:
        """Address and login as configuration of librdkafka."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.access["security_protocol"],
            "sasl.mechanism": self.access.get("sasl_mechanism"),
            "sasl.username": self.access.get("sasl_plain_username"),
            "sasl.password": self.access.get("sasl_plain_password"),
            "ssl.ca.location": self.ca_file or ssl.get_default_verify_paths().cafile if self.tls else None,
            "oauth_cb": self._tokens.for_librdkafka if self._tokens is not None else None,
        }
        found = {name: value for name, value in config.items() if value is not None}
        return found | self.certificate.librdkafka if self.tls and self.certificate else found

    def unstarted_consumer(self, *topics: str, **settings: Any) -> AIOKafkaConsumer:
        """Return a consumer that is not started yet; see `consumer`."""
        defaults: dict[str, Any] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        return AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **self.access, **(defaults | settings))

    @asynccontextmanager
    async def consumer(self, *topics: str, **settings: Any) -> AsyncIterator[AIOKafkaConsumer]:
        """Run a consumer that commits only explicitly, and stop it at the end; raise `ClusterError`."""
        consumer = self.unstarted_consumer(*topics, **settings)
        await self._start(consumer)
        try:
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def producer(self, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
        """Run a producer, and flush and stop it at the end; raise `ClusterError`.

        What is confirmed has all copies that the cluster asks for (`min.insync.replicas`). By aiokafka's default, only
        the leader has it, and it is lost if another broker becomes the leader before it was copied.
        """
        defaults: dict[str, Any] = {"acks": "all"}
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, **self.access, **(defaults | settings))
        await self._start(producer)
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AdminClient]:
        """Run an admin client, and close it at the end; raise `ClusterError`."""
        admin = AdminClient(bootstrap_servers=self.bootstrap, **self.access)
        await self._start(admin)
        try:
            yield admin
        finally:
            await admin.close()

    async def _start(self, client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient) -> None:
        try:
            if self._tokens is not None:
                await self._try_tokens()
            await client.start()
        except BaseException as error:  # one that is cancelled while it starts keeps its connections otherwise
            await (client.close if isinstance(client, AIOKafkaAdminClient) else client.stop)()
            if not isinstance(error, KafkaError | OSError):
                raise
            raise await self._diagnose(error) from error

    async def _diagnose(self, error: Exception) -> ClusterError:
        """Return why no broker accepts a client. aiokafka does not say, so each broker is asked once more."""
        for host, port, _ in collect_hosts(self.bootstrap, randomize=False):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._try(host, port)
                error = OSError("it accepts connections, and answers no request")
            except NoToken as cause:
                return ClusterSilent(str(cause))
            except ssl.SSLCertVerificationError as cause:
                return ClusterError(
                    f"the certificate of the broker at {host}:{port} does not hold ({cause.verify_message}): "
                    "is its signer's in BROKER_CA_FILE, and is BROKER_URL what it was made for?"
                )
            except SaslAuthenticationFailed as cause:
                advice = self._login_advice
                return ClusterError(f"the broker at {host}:{port} refuses the login ({cause.args[0]}): {advice}")
            except UnsupportedSaslMechanismError:
                return ClusterError(
                    f"the broker at {host}:{port} knows no login by {self.access['sasl_mechanism']}: "
                    "is BROKER_SASL_MECHANISM right?"
                )
            except (KafkaError, OSError) as cause:
                error = cause
        reason = str(error) or type(error).__name__
        more = " If it asks clients for certificates, does it trust the one in BROKER_CERT_FILE?" if self.tls else ""
        return ClusterSilent(
            f"no Kafka broker answers at {self.bootstrap} ({reason}): are BROKER_URL and BROKER_SECURITY right?{more}"
        )

    async def silent(self) -> dict[str, str]:
        """Return those addresses at which no broker accepts a client, with the reason. Others may answer for them."""
        hosts = [(host, port) for host, port, _ in collect_hosts(self.bootstrap, randomize=False)]
        reasons = await asyncio.gather(*(self._refusal(host, port) for host, port in hosts))
        return {f"{host}:{port}": reason for (host, port), reason in zip(hosts, reasons, strict=True) if reason}

    async def _refusal(self, host: str, port: int) -> str | None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._try(host, port)
        except (KafkaError, OSError) as error:
            return str(error) or type(error).__name__
        return None

    async def _try(self, host: str, port: int) -> None:
        """Open a connection to a broker and close it again. Raise the error that keeps a client out."""
        connection = await create_conn(host, port, **self.access)
        try:
            if self._tokens is not None:
                await _check_token(connection)
        finally:
            connection.close()

    async def _try_tokens(self) -> None:
        """Raise an error if no broker accepts a token. aiokafka's clients would try without an end."""
        for host, port, _ in collect_hosts(self.bootstrap, randomize=False):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._try(host, port)
            except (NoToken, SaslAuthenticationFailed):
                raise
            except (KafkaError, OSError) as error:
                refusal = error
        raise refusal

    @property
    def _login_advice(self) -> str:
        if self._tokens is None:
            return "are BROKER_USERNAME and BROKER_PASSWORD right?"
        return (
            f"does it accept tokens of {self._tokens.client.token_url} with the scope and audience that they have? "
            "See BROKER_OAUTH_SCOPE"
        )


async def _check_token(connection: AIOKafkaConnection) -> None:
    """Raise `SaslAuthenticationFailed` if the broker at the other end does not accept the client's token.

    It answers a token that it refuses with the reason (RFC 7628), which aiokafka takes for a success. The next request
    then fails, or the broker closes the connection.
    """
    try:
        answer = await connection.send(ApiVersionRequest())
    except KafkaError as error:
        raise SaslAuthenticationFailed(TOKEN_REFUSED) from error
    if answer.error_code:
        raise SaslAuthenticationFailed(TOKEN_REFUSED)
