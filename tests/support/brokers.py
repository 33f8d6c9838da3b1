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

from metroline.app.local.broker_probe import wait_until_it_answers
from metroline.app.local.child_process import Child
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.ports import HOST, free_port
from tests.support.project import ROOT

HERE = Path(__file__).parent
JARS = ROOT / ".kafka"  # kept between runs; 43 MB
CLUSTER = "4L6g3nShT-eMCtK--X86sw"  # the form that Kafka wants: 16 bytes in base64
KAFKA_SECONDS = 180.0
"""Deadline for the start of a Kafka, in seconds; a busy machine takes more than a minute."""
JAVA = ["java", "-Xmx1g", "-XX:TieredStopAtLevel=1"]


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker."""

    name: str
    """`embedded` or `kafka`."""
    bootstrap: str
    """127.0.0.1:PORT, the form that Kafka clients expect."""
    pid: int = 0
    """The process of an Apache Kafka that only one test uses, for it to freeze."""

    @property
    def url(self) -> str:
        """Return kafka://127.0.0.1:PORT, the form that Faust expects."""
        return f"kafka://{self.bootstrap}"


@contextmanager
def running_embedded() -> Iterator[Broker]:
    """Run the embedded broker on a free port."""
    with EmbeddedBroker.start() as broker:
        yield Broker("embedded", broker.bootstrap)


@contextmanager
def running_kafka(
    folder: Path, more: str = "", users: Sequence[str] = (), options: Sequence[str] = (), **values: object
) -> Iterator[Broker]:
    """Run a single-node Apache Kafka on free ports, with its data and its log (`kafka.log`) in `folder`.

    The settings in `more` follow those of server.properties and override them; `values` replace their $names. `users`
    log in with SCRAM and are written in the form of `kafka-storage format --add-scram`. `options` are Java's.
    """
    jars = kafka_jars()
    port = free_port()
    settings = folder / "server.properties"
    template = Template((HERE / "kafka" / "server.properties").read_text("utf-8") + more)
    ports = {"port": port, "controller_port": free_port()}
    settings.write_text(template.substitute(ports, folder=folder, **values), "utf-8")
    java = [*JAVA, *options, "-cp", f"{jars}/*"]
    scram = [word for user in users for word in ("--add-scram", user)]
    run([*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER, "-c", str(settings), *scram])
    child = Child.start([*java, "kafka.Kafka", str(settings)], folder / "kafka.log", folder)
    try:
        wait_until_it_answers(child, port, CLUSTER, timeout=KAFKA_SECONDS)
        yield Broker("kafka", f"{HOST}:{port}", child.pid)
    finally:
        child.stop(timeout=15)


def kafka_jars() -> Path:
    """Return the folder of Kafka's jars, which Maven fetches once for each version of the pom."""
    need_java()
    pom = HERE / "kafka" / "pom.xml"
    JARS.mkdir(exist_ok=True)
    with (JARS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test runs side by side fetch once
        copied = JARS / "pom.xml"
        if not copied.is_file() or copied.read_bytes() != pom.read_bytes():
            shutil.rmtree(JARS / "lib", ignore_errors=True)
            if shutil.which("mvn") is None:
                unavailable("Maven (mvn) is not installed; it fetches Kafka's jars")
            run(
                ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={JARS / 'lib'}"]
            )
            shutil.copyfile(pom, copied)
    return JARS / "lib"


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
