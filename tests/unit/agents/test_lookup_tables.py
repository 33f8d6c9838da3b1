"""Lookups that a line makes itself: they exist before its workers start, or the workers do not start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.lookups import Lookup, reader
from metroline.agents.lookups.errors import InvalidLookup, LookupDamaged, LookupMissing, LookupNotBuilt
from metroline.agents.lookups.paths import file_of
from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.local.ports import free_port
from metroline.app.run_worker import run_worker
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidLine
from tests.support.lookups import built

SERVICES = """
from metroline import lookup, service
prices = lookup("prices")

@service
def price(record):
    record["price"] = prices.get(record["item"])
    return record
"""
LOOKUPS = """
from pathlib import Path
from metroline import lookup_table
FILE = Path(__file__).with_name("prices.txt")

@lookup_table("prices", key="item", value="price", data=lambda: [FILE])
def prices():
    for item in FILE.read_text().split():
        yield {"item": item, "price": 1}
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of this test's lookups, and undo its changes to the import path and to named lookups."""
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(reader, "_named", {})
    return tmp_path / "kept"


@pytest.fixture
def folder(tmp_path: Path, kept: Path) -> Path:
    return line_in(tmp_path / "shop")


def line_in(folder: Path, lookups: str = LOOKUPS) -> Path:
    folder.mkdir()
    (folder / "services.py").write_text(SERVICES)
    (folder / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')
    (folder / "prices.txt").write_text("tea milk")
    if lookups:
        (folder / "lookups.py").write_text(lookups)
    return folder


def prepare(folder: Path) -> Lookup:
    """Load the line and make its lookups, as a worker does when it starts."""
    prepare_lookups(Line.load(str(folder)))
    return Lookup("prices")


def test_what_the_line_makes_itself_is_made_once(folder: Path, kept: Path) -> None:
    assert prepare(folder).get("tea") == 1
    first = file_of("prices", kept).stat()

    prepare(folder)

    assert file_of("prices", kept).stat() == first


def test_it_is_made_again_when_its_data_has_changed(folder: Path) -> None:
    assert prepare(folder).get("sugar") is None
    (folder / "prices.txt").write_text("tea sugar")
    assert prepare(folder).get("sugar") == 1


def test_it_is_made_again_when_the_code_has_changed(folder: Path) -> None:
    prepare(folder)
    (folder / "lookups.py").write_text(LOOKUPS.replace('"price": 1', '"price": 2.5'))
    assert prepare(folder).get("tea") == 2.5


def test_it_is_made_again_when_it_is_damaged(folder: Path, kept: Path) -> None:
    prepare(folder)
    file_of("prices", kept).write_bytes(b"damaged")
    assert prepare(folder).get("tea") == 1


def test_one_that_was_built_from_a_file_is_left_as_it_is(folder: Path, kept: Path, tmp_path: Path) -> None:
    built(tmp_path, {"tea": 7}, "prices")
    assert prepare(folder).get("tea") == 7


@pytest.mark.parametrize("data", ["lambda: FILE", "lambda: None", "lambda x: [FILE]", "[FILE]", "FILE", "lambda: [1]"])
def test_data_that_names_no_files_is_one_line(folder: Path, data: str) -> None:
    (folder / "lookups.py").write_text(LOOKUPS.replace("lambda: [FILE]", data))
    with pytest.raises((InvalidLine, LookupNotBuilt), match=r"^lookup prices: data must be a function"):
        prepare(folder)


def test_data_may_name_its_files_as_text(folder: Path) -> None:
    (folder / "lookups.py").write_text(LOOKUPS.replace("[FILE]", "[str(FILE)]"))
    assert prepare(folder).get("tea") == 1


@pytest.mark.parametrize("names", ['key=["item"], value="price"', 'key="item", value=["price"]'])
def test_columns_that_are_no_names_are_one_line(folder: Path, names: str) -> None:
    (folder / "lookups.py").write_text(LOOKUPS.replace('key="item", value="price"', names))
    with pytest.raises(InvalidLine, match=r"^lookup prices: key and value must be names of columns"):
        prepare(folder)


def test_two_lines_that_make_one_lookup_are_refused(folder: Path, tmp_path: Path) -> None:
    prepare(folder)
    other = line_in(tmp_path / "bazaar", LOOKUPS + "# another\n")

    with pytest.raises(InvalidLookup, match="the lines shop and bazaar both make the lookup prices: rename one"):
        prepare(other)


def test_one_that_is_missing_and_that_the_line_does_not_make_is_refused(tmp_path: Path, kept: Path) -> None:
    folder = line_in(tmp_path / "shop", lookups="")

    with pytest.raises(
        LookupMissing, match=r"there is no lookup 'prices' in .*: build it with `metroline lookup build"
    ):
        prepare(folder)
    for command in (["compare", "--records", "1"], ["up", "--rate", "0"]):
        said = CliRunner().invoke(cli, [*command, "--line", str(folder), "--broker", "kafka://127.0.0.1:1"])
        assert said.exit_code == 2
        [told] = said.stderr.splitlines()
        assert told.startswith(f"error: there is no lookup 'prices' in {kept}: build it with `metroline lookup build ")


@pytest.mark.parametrize(("role", "refused"), [("all", LookupMissing), ("router", ClusterError)])
def test_a_worker_without_services_needs_no_lookups(
    tmp_path: Path, kept: Path, role: str, refused: type[Exception]
) -> None:
    folder = line_in(tmp_path / "shop", lookups="")
    settings = Settings.read(line=str(folder), role=role, broker_url="kafka://127.0.0.1:1", web_port=free_port())
    with pytest.raises(refused):
        run_worker(settings)


def test_one_that_is_damaged_and_that_the_line_does_not_make_is_refused(tmp_path: Path, kept: Path) -> None:
    folder = line_in(tmp_path / "shop", lookups="")
    built(tmp_path, {"tea": 7}, "prices")
    file_of("prices", kept).write_bytes(b"damaged")

    with pytest.raises(LookupDamaged, match="prices"):
        prepare(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("item}", "item, }"), ""),
        (('"price": 1', '"cost": 1'), "lookup prices: row 1: there is no column 'price'; there are item, cost"),
        (
            ('"price": 1', '"price": {1}'),
            "lookup prices: after row 1: TypeError: Type is not JSON serializable: set",
        ),
        (("yield {", "yield 5 or {"), "lookup prices: after row 1: TypeError: "),
        ((".split()", ".split() * 2"), "the line shop:4: the key 'milk' was on line 2 already"),
    ],
)
def test_rows_that_cannot_be_looked_up_are_one_line(folder: Path, change: tuple[str, str], told: str) -> None:
    (folder / "lookups.py").write_text(LOOKUPS.replace(*change))
    if not told:
        assert prepare(folder).get("tea") == 1
        return
    with pytest.raises(LookupNotBuilt) as refused:
        prepare(folder)
    assert str(refused.value).startswith(told)


def test_rows_that_raise_are_one_line(folder: Path) -> None:
    (folder / "lookups.py").write_text(LOOKUPS.replace('"price": 1', '"price": 1 / 0'))
    with pytest.raises(LookupNotBuilt, match="lookup prices: after row 0: ZeroDivisionError: division by zero"):
        prepare(folder)


def test_two_lookups_of_one_name_are_refused(folder: Path) -> None:
    (folder / "lookups.py").write_text(LOOKUPS + LOOKUPS.replace("def prices", "def others"))
    with pytest.raises(InvalidLine, match="two lookups are named 'prices' in "):
        Line.load(str(folder))


def test_data_that_is_missing_is_named(folder: Path) -> None:
    (folder / "prices.txt").unlink()
    with pytest.raises(LookupNotBuilt, match=r"prices\.txt cannot be read"):
        prepare(folder)


def test_the_services_of_a_line_that_is_explained_find_what_they_look_up(folder: Path) -> None:
    (folder / "one.json").write_text('{"item": "tea"}')
    said = CliRunner().invoke(
        cli, ["explain", str(folder / "routes.toml"), str(folder / "one.json"), "--line", str(folder)]
    )
    assert said.exit_code == 0
    assert "→ delivered" in said.output


@pytest.mark.parametrize("line", ["metroline.agents.lines.metrobus", "metroline.agents.lines.flights"])
def test_each_line_that_comes_along_makes_all_that_it_names(line: str) -> None:
    loaded = Line.load(line)
    assert loaded.lookups
    assert loaded.lookups == {table.name for table in loaded.tables}
