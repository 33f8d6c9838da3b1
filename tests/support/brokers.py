"""The two real brokers of the integration tests: the embedded one, and Apache Kafka from its Maven artifacts."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import NoReturn

import pytest

from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.ports import free_port
from tests.support.kafka_node import KafkaNode
from tests.support.project import ROOT

HERE = Path(__file__).parent
JARS = ROOT / ".kafka"  # kept between runs; 43 MB
JAVA = ["java", "-Xmx1g", "-XX:TieredStopAtLevel=1"]


EMBEDDED_FIRST = pytest.mark.parametrize(
    "broker", ["embedded", pytest.param("kafka", marks=pytest.mark.long)], indirect=True
)
"""`make test` runs a test on the embedded broker, and `make test-long` on Apache Kafka."""
KAFKA_FIRST = pytest.mark.parametrize(
    "broker", ["kafka", pytest.param("embedded", marks=pytest.mark.long)], indirect=True
)
"""`make test` runs a test on Apache Kafka, and `make test-long` on the embedded broker."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker, or the nodes of a cluster."""

    name: str
    """`embedded` or `kafka`."""
    bootstrap: str
    """127.0.0.1:PORT, with commas between several, the form that Kafka clients expect."""

    @property
    def url(self) -> str:
        """Return kafka://127.0.0.1:PORT, the form that Faust expects."""
        return f"kafka://{self.bootstrap.replace(',', ';')}"


@contextmanager
def running_embedded() -> Iterator[Broker]:
    """Run the embedded broker on a free port."""
    with EmbeddedBroker.start() as broker:
        yield Broker("embedded", broker.bootstrap)


@contextmanager
def running_kafka(
    folder: Path, more: str = "", users: Sequence[str] = (), options: Sequence[str] = (), **values: object
) -> Iterator[Broker]:
    """Run a single-node Apache Kafka on free ports, with its data and its log (`kafka-0.log`) in `folder`.

    The settings in `more` follow those of server.properties and override them; `values` replace their $names. `users`
    log in with SCRAM and are written in the form of `kafka-storage format --add-scram`. `options` are Java's.
    """
    scram = [word for user in users for word in ("--add-scram", user)]
    with running_node(folder, more, scram, options, **values) as node:
        yield Broker("kafka", node.bootstrap)


@contextmanager
def running_node(
    folder: Path, more: str = "", formatting: Sequence[str] = (), options: Sequence[str] = (), **values: object
) -> Iterator[KafkaNode]:
    """Run an Apache Kafka that a test may stop and start again. `formatting` are words for `kafka-storage format`."""
    node = kafka_node(folder, free_port(), more, options, controller_port=free_port(), **values)
    run(node.format_command("--standalone", *formatting))
    try:
        node.start()
        yield node
    finally:
        node.stop(timeout=15)


def kafka_node(folder: Path, port: int, more: str, options: Sequence[str], **values: object) -> KafkaNode:
    """Return a node whose folder of data is not formatted yet."""
    template = Template((HERE / "kafka" / "server.properties").read_text("utf-8") + more)
    java = [*JAVA, *options, "-cp", f"{kafka_jars()}/*"]
    return KafkaNode(folder, java, port, template.substitute(values, port=port, folder=folder))


def kafka_jars() -> Path:
    """Return the folder of Kafka's jars."""
    return jars(HERE / "kafka" / "pom.xml", JARS)


def jars(pom: Path, folder: Path) -> Path:
    """Return the folder of the jars that a pom names, which Maven fetches into `folder` once for each version of it."""
    need_java()
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test runs side by side fetch once
        copied = folder / "pom.xml"
        if not copied.is_file() or copied.read_bytes() != pom.read_bytes():
            shutil.rmtree(folder / "lib", ignore_errors=True)
            if shutil.which("mvn") is None:
                unavailable("Maven (mvn) is not installed; it fetches the jars")
            into = f"-DoutputDirectory={folder / 'lib'}"
            run(["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", into])
            shutil.copyfile(pom, copied)
    return folder / "lib"


def unavailable(reason: str) -> NoReturn:
    """Skip a test that lacks a requirement; under CI=true, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needed under CI: {reason}", pytrace=False)
    pytest.skip(reason)


def need_java() -> None:
    """Skip a test, or fail it under CI=true, if there is no Java that can run Kafka."""
    if shutil.which("java") is None:
        unavailable("Java is not installed; Kafka needs 17 or newer")
    version = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', version.stderr)
    if found is None or int(found[1]) < 17:
        unavailable(f"Kafka needs Java 17 or newer, and `java` is {found[1] if found else 'not usable'}")


def run(command: list[str]) -> None:
    """Run a command to its end; fail with its output if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}"
