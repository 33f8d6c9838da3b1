"""A real OpenSearch of one node, from its Maven artifact, whose data outlive a restart."""

from __future__ import annotations

import os
import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from tests.support.brokers import jars
from tests.support.project import ROOT
from tests.support.waiting import is_open

FOLDER = ROOT / ".opensearch"  # kept between runs; 53 MB
POM = Path(__file__).parent / "opensearch" / "pom.xml"
PORTS = range(9201, 9299)
"""The ports that the runner of the Maven artifact may give to a node."""
START_SECONDS = 240.0
"""Deadline for the start, in seconds: a quiet machine takes 10."""

SETTINGS = """\
http.host: 127.0.0.1
http.max_content_length: 2mb
transport.host: 127.0.0.1
transport.port: {transport}
path.repo: ["{folder}/snapshots"]
action.auto_create_index: "-uncreated-*,*"
cluster.routing.allocation.disk.threshold_enabled: false
"""
"""With them, no index whose name begins with `uncreated-` is created by writing to it, and large packs are refused."""


def _free_port() -> int:
    """Return a port of `PORTS` on which nobody listens."""
    for port in random.sample(PORTS, len(PORTS)):
        if not is_open(port):
            return port
    raise AssertionError(f"all ports from {PORTS[0]} to {PORTS[-1]} are in use")


@dataclass
class SearchServer:
    """An OpenSearch that a test may stop, freeze and start again."""

    folder: Path
    port: int = field(default_factory=_free_port)
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        config = self.folder / "node_1" / "config" / "opensearch.yml"
        if not config.is_file():
            config.parent.mkdir(parents=True)
            config.write_text(SETTINGS.format(transport=free_port(), folder=self.folder))
        java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars(POM, FOLDER)}/*"]
        runner = ["org.codelibs.opensearch.runner.OpenSearchRunner", "-numOfNode", "1", "-basePath", str(self.folder)]
        base = ["-baseHttpPort", str(self.port - 1)]  # the port of node 1 is one higher
        self.child = Child.start([*java, *runner, *base], self.folder / "server.log", self.folder)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError):
                self.ask("GET", "_cluster/health?wait_for_status=yellow&timeout=5s")
                return
            assert self.child.exit_code is None, self.child.last_words()
            assert time.monotonic() < deadline, f"no OpenSearch after {START_SECONDS:g} s"
            time.sleep(0.2)

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.stop(timeout=15)

    def freeze(self) -> None:
        """Let the server answer nothing."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server answer again."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self.child is not None:
            with suppress(ProcessLookupError):
                self.thaw()
            self.child.stop(timeout=30)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer to a request as JSON data; raise OSError if there is none or it is an error."""
        data = None if body is None else orjson.dumps(body)
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", data, kind, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return orjson.loads(answer.read())

    def documents(self, index: str) -> dict[str, dict[str, Any]]:
        """Return the documents of an index or a pattern by id, at most 10,000; none if there is no index."""
        try:
            self.ask("POST", f"{index}/_refresh")
            found = self.ask("GET", f"{index}/_search?size=10000")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}

    def count(self, index: str) -> int:
        """Return the number of documents of an index or a pattern."""
        self.ask("POST", f"{index}/_refresh")
        return int(self.ask("GET", f"{index}/_count")["count"])


@contextmanager
def running_opensearch(folder: Path) -> Iterator[SearchServer]:
    """Run an OpenSearch on free ports, with its data and its log (`server.log`) in `folder`."""
    server = SearchServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
