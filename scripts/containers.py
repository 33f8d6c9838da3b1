"""Docker for the test of the image: its own image, and containers on the network of this machine."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metroline.app.local.ports import HOST, free_port

LOGGED = 15
"""Number of log lines to print for each container when the test fails."""

LABEL = "metroline.image-test"
"""Label of the containers that the test starts, by which they are found again."""


class DockerFailed(Exception):
    """Raised when a docker command fails or times out, or when a container that should run has ended."""


class NoAnswer(DockerFailed):
    """Raised when the web server of a container does not return a page."""


def docker(*arguments: str, timeout: float = 60.0) -> str:
    """Return the output of a docker command; raise `DockerFailed` with the end of its output."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise DockerFailed(f"docker {arguments[0]} did not end within {timeout:g} s") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-3000:]
        raise DockerFailed(f"docker {arguments[0]}: exit code {done.returncode}\n{said}")
    return done.stdout.strip()


def build(folder: Path, tag: str, base: str | None) -> int:
    """Build the image of `folder`, on `base` if given, else on the Dockerfile's own. Return its size in bytes."""
    chosen = ["--build-arg", f"BASE_IMAGE={base}"] if base else []
    docker("build", "--network", "host", *chosen, "--tag", tag, str(folder), timeout=900)
    return int(docker("image", "inspect", "--format", "{{.Size}}", tag))


def remove_image(tag: str) -> None:
    """Remove an image if it exists; Docker's build cache stays."""
    subprocess.run(["docker", "image", "rm", tag], capture_output=True, check=False)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs a worker, and the port of its pages on this machine."""

    id: str
    role: str
    port: int

    @property
    def health(self) -> str:
        """Return its health: starting, healthy or unhealthy; raise `DockerFailed` if it has ended."""
        state = json.loads(docker("inspect", "--format", "{{json .State}}", self.id))
        if not state["Running"]:
            raise DockerFailed(f"{self.role} has ended with exit code {state['ExitCode']}")
        return str(state["Health"]["Status"])

    @property
    def user(self) -> int:
        """Return the user id of its first process, as the host sees it."""
        pid = docker("inspect", "--format", "{{.State.Pid}}", self.id)
        return Path(f"/proc/{pid}").stat().st_uid

    @property
    def exit_code(self) -> int:
        return int(docker("inspect", "--format", "{{.State.ExitCode}}", self.id))

    @property
    def sent(self) -> int:
        """Return the number of records that it has sent on."""
        return sum(address["records"] for address in self.page("/traffic/")["traffic"].values())

    def page(self, path: str) -> Any:
        """Return the JSON of one of its pages; raise `NoAnswer` if there is none."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=10) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            raise NoAnswer(f"{self.role} gives no page {path}: {error}") from None


@dataclass(slots=True)
class Containers:
    """Containers of one image that share a broker."""

    image: str
    bootstrap: str
    all: list[Container] = field(default_factory=list)

    def start(self, role: str, *options: str, **variables: str) -> Container:
        """Start a worker of this role as in docker-compose.yml, where only /tmp is writable."""
        port = free_port()
        own = {"ROLE": role, "WEB_PORT": str(port), "WEB_HOST": HOST} | variables
        id = docker("run", "--detach", *self._options(own), *options, self.image)
        self.all.append(Container(id, role, port))
        return self.all[-1]

    def run(self, *arguments: str, options: Sequence[str] = (), **variables: str) -> str:
        """Return the output of a command of the image."""
        return docker("run", "--rm", *self._options(variables), *options, self.image, *arguments, timeout=180)

    def stop(self, stopped: Sequence[Container], seconds: int) -> None:
        """Ask the containers to end (SIGTERM), and kill those that still run after `seconds`."""
        docker("stop", "-t", str(seconds), *(one.id for one in stopped), timeout=seconds + 60)

    def tell_logs(self) -> None:
        """Print the end of each container's log."""
        for one in self.all:
            print(f"--- {one.role}", flush=True)
            subprocess.run(["docker", "logs", "--tail", str(LOGGED), one.id], stderr=subprocess.STDOUT, check=False)

    def remove(self) -> None:
        """Stop and remove every container that was started from the image, even if its start was not reported."""
        started = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self.image}").split()
        if started:
            docker("rm", "--force", *started)

    def _options(self, variables: Mapping[str, str]) -> list[str]:
        told = {"BROKER_URL": f"kafka://{self.bootstrap}"} | dict(variables)
        environment = [option for name, value in told.items() for option in ("--env", f"{name}={value}")]
        closed = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        return ["--network", "host", "--label", f"{LABEL}={self.image}", *closed, *environment]
