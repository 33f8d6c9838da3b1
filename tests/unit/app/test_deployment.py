"""The Dockerfile and docker-compose.yml agree with the application."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from metroline.agents.membership.roles import PARTS, SERVICE
from metroline.agents.services.line import Line
from metroline.app.local.ports import free_port
from metroline.app.settings import Settings
from tests.support.project import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
FINAL_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
METROLINE = {name.upper() for name in Settings.model_fields}


def instructions(name: str) -> list[str]:
    """Return the arguments of an instruction in the final stage of the Dockerfile, in order."""
    return re.findall(rf"^{name} +(.+)$", FINAL_STAGE, re.MULTILINE)


def blocks(indent: str) -> dict[str, str]:
    """Return the sections of docker-compose.yml at this indent by name, without comments."""
    text = re.sub(r"(^| +)#.*", "", COMPOSE, flags=re.MULTILINE)
    _, *parts = re.split(rf"^{indent}([\w-]+):", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


class Worker(BaseHTTPRequestHandler):
    """A web server that is healthy or answers with an error."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path in ("/health/live", "/health/ready") else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


@pytest.fixture
def worker_port(request: pytest.FixtureRequest) -> Iterator[int]:
    handler = type("Answering", (Worker,), {"status": request.param})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def health_check() -> list[str]:
    """Return the image's health check as a command."""
    [check] = instructions("HEALTHCHECK")
    return list(json.loads(check[check.index("CMD ") + 4 :]))


def check_health(port: int) -> int:
    """Return the exit code of the image's health check, run with this Python."""
    python, *arguments = health_check()
    assert python == "python"
    variables = os.environ | {"WEB_PORT": str(port)}
    return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, check=False).returncode


def roles() -> dict[str, str]:
    """Return the role of each service that runs a worker."""
    found = {name: re.search(r'ROLE: *"?([\w:-]+)', text) for name, text in blocks("  ").items()}
    return {name: role[1] for name, role in found.items() if role}


def test_the_roles_of_the_compose_file_are_the_example_line_cut_whole() -> None:
    stops = Line.load(Settings().line).stops
    assert set(roles().values()) == {*PARTS, *(SERVICE + stop for stop in stops)}


def test_every_role_has_a_service_of_its_name_that_can_have_many_containers() -> None:
    assert "container_name" not in COMPOSE
    services = blocks("  ")
    for role in roles().values():
        assert "ports:" not in services[re.sub("[:_]", "-", role)]


def test_nothing_is_published_beyond_this_machine() -> None:
    published = re.findall(r'ports: *\["(.+)"\]', COMPOSE)
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_variable_that_a_worker_is_given_is_a_setting() -> None:
    given = set(re.findall(r"^  ([A-Z_]+):", blocks("")["x-environment"], re.MULTILINE))
    for name, text in blocks("  ").items():
        if name != "kafka":
            given.update(re.findall(r"\b([A-Z_]+):", "".join(re.findall(r"environment: *\{(.+)\}", text))))
    assert {"BROKER_URL", "ROUTING_STRATEGY", "ROLE"} <= given
    assert given <= METROLINE


def test_every_variable_of_the_image_is_a_setting_or_pythons() -> None:
    names = set(re.findall(r"(\w+)=", " ".join(instructions("ENV"))))
    own = {name for name in names if name != "PATH" and not name.startswith("PYTHON")}
    assert "WEB_BIND" in own
    assert own <= METROLINE


def test_the_image_serves_its_pages_on_the_port_that_it_names() -> None:
    assert instructions("EXPOSE") == [str(Settings().web_port)]


def test_the_image_does_not_run_as_root() -> None:
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, so that a cluster can see that it is not root"


@pytest.mark.parametrize("worker_port", [200], indirect=True)
def test_a_worker_that_answers_is_healthy(worker_port: int) -> None:
    assert check_health(worker_port) == 0


@pytest.mark.parametrize("worker_port", [500], indirect=True)
def test_a_worker_that_answers_with_an_error_is_not(worker_port: int) -> None:
    assert check_health(worker_port) != 0


def test_a_worker_that_does_not_answer_is_not_healthy() -> None:
    assert check_health(free_port()) != 0


def test_an_image_is_unhealthy_if_a_restart_helps_and_a_compose_service_until_it_is_ready() -> None:
    assert "/health/live" in health_check()[-1]
    [check] = re.findall(r"test: (\[.+HTTPConnection.+\])$", COMPOSE, re.MULTILINE)
    command, *compose = json.loads(check)
    assert command == "CMD"
    port = "int(os.environ.get('WEB_PORT') or 6066)"
    of_image = health_check()[-1].replace("import os, sys", "import sys").replace(port, str(Settings().web_port))
    assert compose == [*health_check()[:-1], of_image.replace("/health/live", "/health/ready")]


def test_the_image_is_a_worker_unless_told_otherwise() -> None:
    assert instructions("ENTRYPOINT") == ['["metroline"]']
    assert instructions("CMD") == ['["worker"]']


def test_what_is_published_of_kafka_is_what_it_tells_clients_there() -> None:
    kafka = blocks("  ")["kafka"]
    told = re.search(r"HOST://127\.0\.0\.1:(\$\{\w+:-\d+\})", kafka)
    published = re.search(r'ports: *\["127\.0\.0\.1:(\$\{\w+:-\d+\}):(\d+)"\]', kafka)
    assert told
    assert published
    assert told[1] == published[1]
    assert f"HOST://:{published[2]}" in kafka
