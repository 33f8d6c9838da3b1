"""A line: the services and the rules that a user writes, loaded from a package or a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from metroline.agents.services.line_modules import import_module_of, locate, lookups_of, services_of, tables_of
from metroline.agents.services.lookup_table import LookupTable
from metroline.agents.services.service import Record, Service
from metroline.routing.errors import InvalidLine
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is loaded: its services by stop, the text of its rules table, and where it came from.

    The line's own records, for trying it out, come from an optional third file, `records.py`, with a function
    `records(count, seed)` that yields records (dicts) or source messages (bytes). What the line looks things up in and
    makes itself comes from another one, `lookups.py`, with `@lookup_table` functions.
    """

    name: str
    services: dict[str, Service]
    rules_file: Path
    rules_text: str
    maker: Callable[[int, int], Iterable[Record | bytes]] | None = None
    tables: tuple[LookupTable, ...] = ()
    """The lookups that it makes itself."""
    lookups: frozenset[str] = frozenset()
    """The lookups that its modules name, as `accounts = lookup("accounts")`."""

    @classmethod
    def load(cls, where: str) -> Line:
        """Loads the line named by a dotted package or by a folder; raises `InvalidLine` with what to do."""
        folder, package = locate(where)
        module = import_module_of(folder, package, "services")
        rules_file = folder / "routes.toml"
        if not rules_file.is_file():
            raise InvalidLine(f"line {where!r}: {rules_file} is missing; it holds the rules table")
        services = services_of(module)
        if not services:
            raise InvalidLine(f"line {where!r}: {folder / 'services.py'} has no @service function")
        maker = None
        if (folder / "records.py").is_file():
            maker = getattr(import_module_of(folder, package, "records"), "records", None)
        tables: tuple[LookupTable, ...] = ()
        if (folder / "lookups.py").is_file():
            tables = tables_of(import_module_of(folder, package, "lookups"))
        text = rules_file.read_text("utf-8")
        return cls(folder.name, services, rules_file, text, maker, tables, lookups_of(folder))

    @property
    def stops(self) -> frozenset[str]:
        """The stops that this line's code serves."""
        return frozenset(self.services)

    @property
    def code(self) -> list[Path]:
        """The files of this line's code, in the order of their names."""
        return sorted(self.rules_file.parent.rglob("*.py"))

    def rules_table(self) -> RulesTable:
        """The rules table of the line's file, validated against its services; raises `InvalidRules`."""
        return Network.read(self.rules_text, self.stops).table

    def records(self, count: int, seed: int = 1) -> Iterator[Record | bytes]:
        """Yields `count` of the line's own records."""
        if self.maker is None:
            raise InvalidLine(
                f"line {self.name!r} has no records of its own: add records.py with records(count, seed), or give a "
                "file (`up`: --rate 0)"
            )
        return iter(self.maker(count, seed))
