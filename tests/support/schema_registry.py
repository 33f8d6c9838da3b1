"""A real schema registry, Apicurio, from its Maven artifact, with its schemas in memory."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from tests.support.brokers import need_java, run, unavailable
from tests.support.project import ROOT

FOLDER = ROOT / ".registry"  # kept between runs; 115 MB
VERSION = "3.0.9"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:zip:all"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"
"""Later versions read the parent's POM as well, which the registry's artifact names and Maven Central may not have."""
START_SECONDS = 180.0
"""Deadline for the start, in seconds: a quiet machine takes 15."""


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry."""

    url: str
    """The address of its interface that is compatible with Confluent's."""
    child: Child

    def register(self, subject: str, schema: Any, kind: str = "AVRO", **more: Any) -> int:
        """Register a schema, given as text or as JSON data, and return its id."""
        text = schema if isinstance(schema, str) else orjson.dumps(schema).decode()
        body = orjson.dumps({"schema": text, "schemaType": kind, **more})
        content = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        request = urllib.request.Request(f"{self.url}/subjects/{subject}/versions", body, content)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(orjson.loads(answer.read())["id"])

    def freeze(self) -> None:
        """Let the registry answer nothing."""
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the registry answer again."""
        os.kill(self.child.pid, signal.SIGCONT)


@contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    """Run a registry on free ports, with its log (`registry.log`) in `folder`."""
    jar = _unpacked()
    port = free_port()
    told = {"quarkus.http.host": HOST, "quarkus.http.port": port}
    told |= {"quarkus.management.host": HOST, "quarkus.management.port": free_port()}
    java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", *(f"-D{name}={value}" for name, value in told.items())]
    child = Child.start([*java, "-jar", str(jar)], folder / "registry.log", folder)
    registry = Registry(f"http://{HOST}:{port}/apis/ccompat/v7", child)
    try:
        _wait(registry)
        yield registry
    finally:
        registry.thaw()
        child.stop(timeout=15)


def _wait(registry: Registry) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{registry.url}/subjects", timeout=5):
                return
        except OSError:
            assert registry.child.exit_code is None, registry.child.last_words()
            assert time.monotonic() < deadline, f"no registry after {START_SECONDS:g} s"
            time.sleep(0.2)


def _unpacked() -> Path:
    """Return the registry's jar, which Maven fetches once."""
    need_java()
    FOLDER.mkdir(exist_ok=True)
    jar = FOLDER / VERSION / f"apicurio-registry-app-{VERSION}-runner.jar"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test runs side by side fetch once
        if not jar.is_file():
            if shutil.which("mvn") is None:
                unavailable("Maven (mvn) is not installed; it fetches the schema registry")
            run(["mvn", "-B", "-q", PLUGIN, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={FOLDER}"])
            [packed] = FOLDER.glob("*.zip")
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(FOLDER / "part")
            (FOLDER / "part").rename(FOLDER / VERSION)
            packed.unlink()
    return jar
