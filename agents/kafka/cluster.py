"""The Kafka cluster as a client sees it: where it is, how to log in, what its topics are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    KafkaError,
    SaslAuthenticationFailed,
    TopicAlreadyExistsError,
    UnsupportedSaslMechanismError,
    for_code,
)

from metroline.routing.errors import MetrolineError

MESSAGE_BYTES = 1_048_588
"""What a Kafka message may hold unless its topic says otherwise."""

PATIENCE = 10.0
"""Seconds that a new topic may take until every broker knows it."""

EMBEDDED = "metroline-"
"""How the id of a cluster begins that is the embedded broker."""


class Departing(ssl.SSLObject):
    """Ends TLS without waiting until the broker does.

    With a request under way Kafka may leave a goodbye unanswered, for which uvloop waits 30 s before it closes the
    connection (https://github.com/MagicStack/uvloop/issues/471): a worker stood still for that long.
    """

    def unwrap(self) -> None:
        """Says goodbye."""
        with suppress(ssl.SSLWantReadError):
            super().unwrap()


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the certificates in this file, or else the system's; raises OSError, SSLError among them."""
    context = ssl.create_default_context(cafile=ca_file)
    context.sslobject_class = Departing
    return context


class ClusterError(MetrolineError):
    """Raised when the cluster does not answer or refuses what it is asked for."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it shall be; its settings are Kafka's own names."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the brokers are (`host:port`, with commas) and how to log in."""

    bootstrap: str
    access: dict[str, Any] = field(default_factory=lambda: {"security_protocol": "PLAINTEXT"}, repr=False)
    """How aiokafka logs in, as its keyword arguments."""
    ca_file: str | None = None
    """The certificates that the brokers' ones are checked against; the system's where None."""

    @classmethod
    def at(cls, url: str, access: dict[str, Any] | None = None, ca_file: str | None = None) -> Cluster:
        """The cluster at Faust's kind of address: `kafka://host:port;host:port`."""
        hosts = [
            part.strip().removeprefix("aiokafka://").removeprefix("kafka://").rstrip("/") for part in url.split(";")
        ]
        bootstrap = ",".join(host if ":" in host else f"{host}:9092" for host in hosts if host)
        return cls(bootstrap) if access is None else cls(bootstrap, access, ca_file)

    @property
    def tls(self) -> ssl.SSLContext | None:
        return self.access.get("ssl_context")

    @property
    def librdkafka(self) -> dict[str, str]:
        """The same for librdkafka, in its own names."""
        config = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.access["security_protocol"],
            "sasl.mechanism": self.access.get("sasl_mechanism"),
            "sasl.username": self.access.get("sasl_plain_username"),
            "sasl.password": self.access.get("sasl_plain_password"),
            "ssl.ca.location": self.ca_file or ssl.get_default_verify_paths().cafile if self.tls else None,
        }
        return {name: value for name, value in config.items() if value is not None}

    def consumer(self, *topics: str, **settings: Any) -> AIOKafkaConsumer:
        """A consumer that commits only what it is told to."""
        defaults: dict[str, Any] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        return AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **self.access, **(defaults | settings))

    @asynccontextmanager
    async def producing(self, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
        """A producer that is flushed and stopped at the end."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, **self.access, **settings)
        await self._start(producer)
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def consuming(self, *topics: str, **settings: Any) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that is stopped at the end."""
        consumer = self.consumer(*topics, **settings)
        await self._start(consumer)
        try:
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, **self.access)
        await self._start(admin)
        try:
            yield admin
        finally:
            await admin.close()

    async def _start(self, client: Any) -> None:
        try:
            await client.start()
        except (KafkaError, OSError) as error:
            await (client.close if isinstance(client, AIOKafkaAdminClient) else client.stop)()
            raise ClusterError(await self._refusal(error)) from error

    async def _refusal(self, error: Exception) -> str:
        """Why no broker lets a client in: aiokafka only says that none does, so each of them is asked once more."""
        for host, port, _ in collect_hosts(self.bootstrap, randomize=False):
            try:
                async with asyncio.timeout(PATIENCE):
                    (await create_conn(host, port, **self.access)).close()
            except ssl.SSLCertVerificationError as cause:
                return (
                    f"the certificate of the broker at {host}:{port} does not hold ({cause.verify_message}): "
                    "is its signer's in BROKER_CA_FILE, and is BROKER_URL what it was made for?"
                )
            except SaslAuthenticationFailed as cause:
                return (
                    f"the broker at {host}:{port} refuses the login ({cause.args[0]}): "
                    "are BROKER_USERNAME and BROKER_PASSWORD right?"
                )
            except UnsupportedSaslMechanismError:
                return (
                    f"the broker at {host}:{port} knows no login by {self.access['sasl_mechanism']}: "
                    "is BROKER_SASL_MECHANISM right?"
                )
            except (KafkaError, OSError) as cause:
                error = cause
        told = str(error) or type(error).__name__
        return f"no Kafka broker answers at {self.bootstrap} ({told}): are BROKER_URL and BROKER_SECURITY right?"

    async def is_embedded(self) -> bool:
        """Whether this is the broker that comes with this project."""
        async with self.admin() as admin:
            return str((await admin.describe_cluster())["cluster_id"]).startswith(EMBEDDED)

    async def partitions(self, topics: Collection[str]) -> dict[str, int]:
        """How many partitions each of these topics has; those that do not exist are left out."""
        async with self.admin() as admin:
            existing = set(await admin.list_topics()) & set(topics)
            described = await admin.describe_topics(list(existing)) if existing else []
        return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}

    async def create(self, plans: Iterable[TopicPlan], replication: int = 1) -> None:
        """Creates the topics that do not exist yet and waits until they are known; raises `ClusterError`."""
        wanted = list(plans)
        existing = await self.partitions([plan.name for plan in wanted])
        missing = [plan for plan in wanted if plan.name not in existing]
        if missing:
            async with self.admin() as admin:
                new = [NewTopic(plan.name, plan.partitions, replication, topic_configs=plan.config) for plan in missing]
                answer = await admin.create_topics(new)
            for name, code, *_ in answer.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise ClusterError(f"the topic {name} could not be created: {error.__name__}: {error.description}")
            existing = await self._wait_for(wanted)
        for plan in wanted:
            if existing[plan.name] != plan.partitions:
                raise ClusterError(
                    f"the topic {plan.name} has {existing[plan.name]} partitions, its source has {plan.partitions}: "
                    "give the line another PREFIX, or delete its topics while it is stopped"
                )

    async def _wait_for(self, plans: list[TopicPlan]) -> dict[str, int]:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            found = await self.partitions([plan.name for plan in plans])
            if len(found) == len(plans):
                return found
            if asyncio.get_running_loop().time() > deadline:
                missing = sorted({plan.name for plan in plans} - found.keys())
                raise ClusterError(f"the topics {', '.join(missing)} were created but did not appear")
            await asyncio.sleep(0.1)

    async def delete(self, topics: Iterable[str]) -> None:
        """Deletes those of these topics that exist."""
        async with self.admin() as admin:
            existing = sorted(set(await admin.list_topics()) & set(topics))
            if existing:
                await admin.delete_topics(existing)

    async def topics_below(self, prefix: str) -> list[str]:
        """The topics whose names begin with `prefix.`."""
        async with self.admin() as admin:
            return sorted(name for name in await admin.list_topics() if name.startswith(f"{prefix}."))

    async def message_bytes(self, topic: str) -> int:
        """What a message of this topic may hold, in bytes; Kafka's default where the broker does not tell."""
        try:
            async with self.admin() as admin:
                for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]):
                    for resource in answer.resources:
                        for name, value, *_ in resource[4]:
                            if name == "max.message.bytes":
                                return int(value)
        except (KafkaError, LookupError, ValueError):  # the embedded broker does not describe its topics
            pass
        return MESSAGE_BYTES

    async def high_watermarks(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last message of each partition, from the answer to a fetch.

        A broker's ListOffsets may be wrong about it: the embedded one answers the base offset of the last batch + 1.
        """
        wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
        if not wanted:
            return {}
        async with self.consuming(fetch_max_wait_ms=10, max_partition_fetch_bytes=1) as probe:
            probe.assign(wanted)
            ends = await probe.end_offsets(wanted)
            for partition, end in ends.items():
                probe.seek(partition, end)
            deadline = asyncio.get_running_loop().time() + PATIENCE
            while any(probe.highwater(partition) is None for partition in wanted):
                await probe.getmany(timeout_ms=20)
                if asyncio.get_running_loop().time() > deadline:
                    raise ClusterError(f"{self.bootstrap} does not answer a fetch of {wanted}")
            return {partition: max(ends[partition], probe.highwater(partition)) for partition in wanted}
