"""Changed files of a live line take effect, each in its way; those with an error have none."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.services.line import Line
from metroline.app.cli.live import reload as module
from metroline.app.cli.live.events import Changed, Event, Refused
from metroline.app.cli.live.line_files import Effect, files_of
from metroline.app.cli.live.reload import Reload
from metroline.app.local.crew import Crew
from metroline.app.local.standby_worker import LoadAbandoned, NotLoaded
from metroline.app.local.worker_process import WorkerDied, WorkerProcess
from metroline.app.operations.rules_file import PublishedFile
from metroline.app.scaffold.new_line import make_line
from metroline.app.settings import Settings


@dataclass
class FakeCrew:
    """Workers that load every line, unless they are to raise an error before or after they replace the others."""

    refuses: Exception | None = None
    dies: Exception | None = None
    replaced: int = 0
    running: tuple[WorkerProcess, ...] = ()

    def replace(self, between: Callable[[], None], is_abandoned: Callable[[], bool]) -> None:
        if self.refuses is not None:
            raise self.refuses
        if is_abandoned():
            raise LoadAbandoned("")
        between()
        self.replaced += 1
        if self.dies is not None:
            raise self.dies


@dataclass
class Live:
    """A line that runs, as far as its files are concerned."""

    folder: Path
    reload: Reload
    crew: FakeCrew
    said: list[str]
    told: list[Event]
    published: list[str] = field(default_factory=list)

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.folder / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def look(self) -> Effect:
        """Look until the files are found alike twice."""
        effects = [self.reload.look(lambda: False) for _ in range(2)]
        return effects[0] | effects[1]


@pytest.fixture(params=["signpost"])
def live(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "orders"
    make_line(folder)
    settings = Settings.read(line=str(folder), routing_strategy=request.param)
    crew, said, told = FakeCrew(), list[str](), list[Event]()

    def tell(event: Event) -> None:
        told.append(event)
        said.extend(re.sub(r" after \d+\.\d s$", "", line) for line in event.lines())

    reload = Reload(settings, Cluster.at("kafka://127.0.0.1:1"), Line.load(str(folder)), cast(Crew, crew), tell)
    made = Live(folder, reload, crew, said, told)

    async def publish(_cluster: Any, _topics: Any, text: str, _permission: Any) -> PublishedFile:
        made.published.append(text)
        return PublishedFile(len(made.published) + 1, "")

    monkeypatch.setattr(module, "publish_file", publish)
    yield made
    for name in [name for name in sys.modules if name.startswith("_line_orders") or "_of_orders" in name]:
        del sys.modules[name]


def test_nothing_happens_while_nothing_changes(live: Live) -> None:
    (live.folder / "test_line.py").write_text("assert True\n")
    (live.folder / "__pycache__").mkdir(exist_ok=True)
    (live.folder / "__pycache__" / "made.py").touch()
    assert live.look() == Effect.NOTHING
    assert (live.said, live.crew.replaced) == ([], 0)


def test_changed_services_replace_the_workers(live: Live) -> None:
    live.edit("services.py", '"shipped"', '"sent"')
    assert live.look() == Effect.WORKERS | Effect.SAMPLES
    assert (live.crew.replaced, live.published) == (1, [])
    assert live.said == ["services.py changed: new workers run"]
    assert live.reload.line.services["ship"].handler({"address": "x"})["sent"] is True
    assert live.look() == Effect.NOTHING


def test_services_that_change_twice_within_a_second_are_read_anew_each_time(live: Live) -> None:
    for count in range(3):
        live.edit(
            "services.py",
            f"+ {count - 1}\n" if count else "\n    return order\n\n\n@service\ndef review",
            f"+ {count}\n" if count else "+ 0\n    return order\n\n\n@service\ndef review",
        )
        live.look()
        price = live.reload.line.services["price"].handler
        assert price({"quantity": 1, "unit_price": 5})["total"] == 5 + count


def test_changed_rules_are_published_without_a_restart(live: Live) -> None:
    live.edit("routes.toml", "total >= 1000", "total >= 100")
    assert live.look() == Effect.RULES
    assert live.crew.replaced == 0
    assert live.published == [(live.folder / "routes.toml").read_text()]
    assert live.said == ["routes.toml changed: the rules are at version 2"]


@pytest.mark.parametrize("change", ["deleted", "latin-1"])
def test_a_table_that_cannot_be_read_does_not_end_the_line(live: Live, change: str) -> None:
    routes = live.folder / "routes.toml"
    text = routes.read_text()
    if change == "deleted":
        routes.unlink()
    else:
        routes.write_bytes(b"# caf\xe9\n" + text.encode())
    assert live.look() == Effect.NOTHING
    assert live.said[0].startswith(f"error: {routes} cannot be read: ")
    assert live.said[1:] == ["routes.toml changed, but cannot be used: what ran before goes on"]
    routes.write_text(text.replace("total >= 1000", "total >= 100"))
    live.look()
    assert live.said[-1] == "routes.toml changed: the rules are at version 2"


@pytest.mark.parametrize("live", ["hard_wired"], indirect=True)
def test_hard_wired_journeys_get_changed_rules_by_a_restart(live: Live) -> None:
    live.edit("routes.toml", "total >= 1000", "total >= 100")
    live.look()
    assert (live.crew.replaced, len(live.published)) == (1, 1)


def test_rules_and_services_that_change_together_take_effect_together(live: Live) -> None:
    live.edit("services.py", "def review", "def inspect")
    live.edit("routes.toml", 'to = "review"\n', 'to = "inspect"\n')
    live.edit("routes.toml", 'after = "review"', 'after = "inspect"')
    live.look()
    assert (live.crew.replaced, len(live.published)) == (1, 1)
    warning, done = live.said
    assert warning == "warning: no service serves 'review' any more: records that wait for it stay there"
    assert done == "routes.toml, services.py changed: new workers run, the rules are at version 2"
    [changed] = [event for event in live.told if isinstance(event, Changed)]
    assert (changed.files, changed.workers, changed.rules_version) == (("routes.toml", "services.py"), (), 2)


def test_rules_with_an_error_have_no_effect_and_the_error_has_its_place(live: Live) -> None:
    live.edit("routes.toml", 'to = "review"\n', 'to = "reviw"\n')
    assert live.look() == Effect.NOTHING
    assert live.published == []
    problem, *_, verdict = live.said
    assert problem.startswith(f"{live.folder / 'routes.toml'}:17: ")
    assert "did you mean 'review'?" in problem
    assert verdict == "routes.toml changed, but cannot be used: what ran before goes on"
    [refused] = live.told
    assert isinstance(refused, Refused)
    assert (refused.files, refused.runs_on) == (("routes.toml",), True)
    live.said.clear()
    live.edit("routes.toml", "reviw", "review")
    assert live.look() == Effect.NOTHING
    assert live.said == [], "the file is as it was"


def test_services_with_an_error_leave_the_workers_alone_until_they_are_mended(live: Live) -> None:
    live.crew.refuses = NotLoaded(("error: services.py cannot be imported: SyntaxError (services.py, line 9)",))
    text = (live.folder / "services.py").read_text()
    live.edit("services.py", "return order", "return order)")
    for _ in range(3):
        live.look()
    assert live.said == [
        "error: services.py cannot be imported: SyntaxError (services.py, line 9)",
        "services.py changed, but cannot be used: what ran before goes on",
    ]
    live.crew.refuses = None
    (live.folder / "services.py").write_text(text.replace('"shipped"', '"sent"'))
    live.look()
    assert (live.crew.replaced, len(live.said)) == (1, 3)


def test_workers_that_cannot_start_are_tried_again_after_any_change(live: Live) -> None:
    live.crew.dies = WorkerDied("a worker ended: exit code 1")
    live.edit("services.py", '"shipped"', '"sent"')
    live.look()
    assert live.said == [
        "error: a worker ended: exit code 1",
        "services.py changed, but cannot be used: no worker runs until a file changes again",
    ]
    live.crew.dies = None
    live.edit("services.py", '"sent"', '"shipped"')
    live.look()
    assert live.crew.replaced == 2


def test_a_change_while_workers_load_begins_anew(live: Live) -> None:
    live.edit("services.py", '"shipped"', '"sent"')
    live.reload.look(lambda: False)
    assert live.reload.look(lambda: True) == Effect.NOTHING, "as if the files had changed, or the command ends"
    assert (live.crew.replaced, live.said) == (0, [])
    live.look()
    assert live.crew.replaced == 1


def test_changed_samples_come_in_without_a_restart(live: Live) -> None:
    live.edit("records.jsonl", '"order": 1', '"order": 100')
    assert live.look() == Effect.SAMPLES
    assert live.crew.replaced == 0


def test_options_and_the_data_of_lookups_replace_the_workers(live: Live) -> None:
    live.edit("line.toml", "orders.reviewed", "orders.looked-at")
    assert Effect.WORKERS in live.look()
    assert live.reload.line.options.ends["reviewed"].topic == "orders.looked-at"
    data = live.folder / "plans.csv"
    data.write_text("customer,plan\n")
    (live.folder / "lookups.py").write_text(
        "from pathlib import Path\nfrom metroline import lookup_table\n"
        "@lookup_table('orders.plans', key='customer', data=lambda: [Path(__file__).parent / 'plans.csv'])\n"
        "def plans(): return []\n"
    )
    assert Effect.WORKERS in live.look()
    assert data in set(files_of(live.reload.line))
    live.look()
    live.said.clear()
    data.write_text("customer,plan\nAnn,gold\n")
    assert Effect.WORKERS in live.look()
    assert live.said[0].startswith("plans.csv changed: new workers run")


def test_a_module_outside_of_the_folder_that_the_line_imports_replaces_the_workers(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = live.folder.parent / "beside"
    installed = live.folder.parent / "site-packages"
    for where, name in ((beside, "prices_of_orders"), (installed, "installed_of_orders")):
        (where / name).mkdir(parents=True)
        (where / name / "__init__.py").write_text("")
        (where / name / "inner.py").write_text("FACTOR = 1\n")
        monkeypatch.syspath_prepend(str(where))
    text = (live.folder / "services.py").read_text()
    imports = "from installed_of_orders import inner as other\nfrom prices_of_orders import inner\n\n"
    (live.folder / "services.py").write_text(text.replace("from metroline", f"{imports}from metroline", 1))
    live.edit("services.py", 'order["quantity"] *', 'inner.FACTOR * order["quantity"] *')
    live.look()
    watched = set(files_of(live.reload.line))
    assert {beside / "prices_of_orders" / "__init__.py", beside / "prices_of_orders" / "inner.py"} <= watched
    assert not any(installed in file.parents for file in watched)
    for factor in (2, 3):
        (beside / "prices_of_orders" / "inner.py").write_text(f"FACTOR = {factor}\n")
        assert Effect.WORKERS in live.look()
        price = live.reload.line.services["price"].handler
        assert price({"quantity": 1, "unit_price": 5})["total"] == 5 * factor
    assert live.crew.replaced == 3
    assert live.said[-1] == f"{beside / 'prices_of_orders' / 'inner.py'} changed: new workers run"


def test_an_error_in_a_module_outside_of_the_folder_is_watched_until_it_is_mended(live: Live) -> None:
    broken = live.folder.parent / "broken.py"
    broken.write_text("def")
    live.crew.refuses = NotLoaded(("error: invalid syntax (broken.py, line 1)",), frozenset({broken}))
    live.edit("services.py", '"shipped"', '"sent"')
    for _ in range(4):
        live.look()
    assert len(live.said) == 2, "it is tried once"
    live.crew.refuses = None
    broken.write_text("")
    live.look()
    assert live.crew.replaced == 1
    assert live.said[2] == f"{broken}, services.py changed: new workers run"
