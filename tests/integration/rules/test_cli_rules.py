"""A live line changes to another rules table while it runs; the command refuses tables that would harm it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metroline.agents.services.line import Line
from metroline.app.local.ports import free_port
from tests.support.cli import metroline, running
from tests.support.project import ROOT
from tests.support.waiting import wait_until

METROBUS = ROOT / "agents" / "lines" / "metrobus"
ROUTES = Line.load("metroline.agents.lines.metrobus").rules_text
EVERYBODY_OUT = ROUTES.replace('when = "hold != null"', 'when = "account_number > 0"')


@dataclass(frozen=True, slots=True)
class Live:
    """A running `metroline up`, and access to the processes that it started."""

    process: subprocess.Popen[str]
    broker: str
    port: int
    folder: Path

    def page(self, name: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/table/{name}/", timeout=60) as answer:
            return json.load(answer)

    def desk(self, asked: dict[str, str] | None = None) -> Any:
        """Return the page `/rules/`, or its answer about a table."""
        body = None if asked is None else json.dumps(asked).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/rules/", body)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def preview(self, file: str) -> Any:
        found = self.rules("preview", file, "--json", "-")
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)

    def rules(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return metroline("rules", *arguments, cwd=self.folder, BROKER_URL=self.broker)


@pytest.fixture(params=["map_maker", "hard_wired"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Live]:
    port = free_port()
    others = {"SOURCE_FORMAT": "avro", "SCHEMA_REGISTRY_URL": "http://127.0.0.1:9"}  # not of the line's own records
    words = ("up", "--port", str(port), "--rate", "50")
    with running(*words, cwd=tmp_path, ROUTING_STRATEGY=request.param, **others) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert f"runs by {request.param} on kafka://" in told
        yield Live(process, told.split(" on ")[1].split(";")[0], port, tmp_path)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert process.returncode == 0


def latest_outcomes(live: Live, since: float) -> set[str]:
    """Return the outcomes of the latest journeys with two stops or more that entered after `since`."""
    journeys = live.page("journeys")["journeys"]
    return {
        journey["outcome"]
        for journey in journeys
        if len(journey["stops"]) >= 2 and journey["entered"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
    }


@pytest.mark.long
@pytest.mark.parametrize("live", ["map_maker"], indirect=True)
def test_a_published_table_changes_the_way_of_the_records_that_follow_without_a_restart(live: Live) -> None:
    (live.folder / "routes.toml").write_text(EVERYBODY_OUT)
    wait_until(lambda: "delivered" in latest_outcomes(live, 0), timeout=120)

    shown = live.rules("show")
    assert shown.stdout.startswith("# version 1, published by the line's file at ")
    assert shown.stdout.endswith(ROUTES)
    assert '+when = "account_number > 0"' in live.rules("diff", "routes.toml").stdout

    assert "decided differently:" in live.rules("diff", "routes.toml").stdout
    preview = live.preview("routes.toml")
    [move] = preview["moves"]
    assert (move["after"], move["before"], move["to"]) == ("allow_list", "log", "dropped: not on the allow list")
    assert preview["journeys"]["dropped"] == preview["journeys"]["changed"] == move["count"] > 0
    assert preview["journeys"]["not_decided"] == 0
    assert preview["starved"] == ["log"]
    desk = live.desk({"table": EVERYBODY_OUT})
    assert desk["meaning"]["differences"][0]["after"] == "allow_list"
    assert desk["preview"]["moves"][0]["to"] == "dropped: not on the allow list"

    published = live.rules("publish", "routes.toml", "--reason", "nobody is written to")
    assert (published.returncode, published.stderr) == (0, "")
    assert "is published; it replaces 1" in published.stdout
    wait_until(lambda: latest_outcomes(live, time.time() - 2) == {"dropped"}, timeout=120)
    assert live.page("rules")["current"]["text"] == EVERYBODY_OUT
    version = live.desk()["versions"][0]
    assert (version["current"], version["why"]) == (True, "nobody is written to")
    wait_until(lambda: live.desk()["forecast"]["is_enough"], timeout=60)

    again = live.rules("publish", "routes.toml")
    assert "is this table already: nothing was published" in again.stdout

    back = live.rules("rollback", "1")
    assert (back.returncode, back.stderr) == (0, "")
    assert "is published with the table of 1; it replaces 2" in back.stdout
    wait_until(lambda: live.page("rules")["current"]["text"] == ROUTES, timeout=60)
    stale = live.rules("publish", "routes.toml", "--replaces", "1")
    assert stale.returncode == 1
    assert "is current, not 1" in stale.stderr
    (live.folder / "routes.toml").write_text(ROUTES.replace('to = "log"', 'to = "nowhere"'))
    refused = live.rules("publish", "routes.toml")
    assert refused.returncode == 1
    assert "no service serves the stop 'nowhere' (served: allow_list, contact_point, log)" in refused.stderr

    (live.folder / "routes.toml").write_text(f'{ROUTES}\n[[rules]]\nafter = "log"\nwhen = "hold != null"\nto = "end"\n')
    line = "metroline.agents.lines.metrobus"
    checked = metroline("check", "routes.toml", "--broker", "--line", line, cwd=live.folder, BROKER_URL=live.broker)
    assert "warning: after 'log', a record for which none of its rules holds is a dead letter" in checked.stdout
    for command in ("diff", "publish"):
        warned = live.rules(command, "routes.toml")
        assert warned.returncode == 0
        assert warned.stderr.startswith(
            "warning: after 'log', a record for which none of its rules holds is a dead letter"
        )

    mine = live.folder / "mine"
    shutil.copytree(METROBUS, mine)
    (mine / "line.toml").write_text('[ends.kept]\ntopic = "kept"\n')
    (live.folder / "routes.toml").write_text(ROUTES.replace('to = "log"', 'to = "kept"'))
    unknown = metroline(
        "rules", "publish", "routes.toml", cwd=live.folder, BROKER_URL=live.broker, LINE=str(mine), PREFIX="metrobus"
    )
    assert unknown.returncode == 1
    assert f"no end 'kept' is known to http://127.0.0.1:{live.port}: restart with the new line.toml" in unknown.stderr


@pytest.mark.parametrize("live", ["hard_wired"], indirect=True)
def test_publishing_says_that_hard_wired_journeys_need_a_restart(live: Live) -> None:
    (live.folder / "routes.toml").write_text(EVERYBODY_OUT)
    wait_until(lambda: "delivered" in latest_outcomes(live, 0), timeout=120)
    published = live.rules("publish", "routes.toml")
    assert published.returncode == 0
    assert "keep to their line's file: change it and restart" in published.stderr
    wait_until(lambda: live.page("rules")["version"] > 1, timeout=60)
    at = time.time() + 1
    wait_until(lambda: "delivered" in latest_outcomes(live, at), timeout=120)
