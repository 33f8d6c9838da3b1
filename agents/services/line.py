"""A line: services and rules written by a user, loaded from a package or a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from pydantic_settings import BaseSettings

from metroline.agents.services.declared_types import with_types
from metroline.agents.services.end_service import service_of_end, stand_in
from metroline.agents.services.line_modules import import_module_of, locate, lookups_of, services_of, tables_of
from metroline.agents.services.line_options import LineOptions
from metroline.agents.services.lookup_table import LookupTable
from metroline.agents.services.outside_modules import loaded_modules, modules_outside
from metroline.agents.services.own_records import Maker, own_records
from metroline.agents.services.own_settings import PARAMETER, read_settings, settings_class, settings_resource
from metroline.agents.services.parameters import check_parameters, resources_in
from metroline.agents.services.resource import Resource
from metroline.agents.services.sample_file import SAMPLES, repeated
from metroline.agents.services.service import Record, Service
from metroline.routing.errors import InvalidLine
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable


@dataclass(frozen=True, slots=True)
class Line:
    """A loaded line: its services by stop, the text of its rules table, and its optional records and lookups.

    The optional file `records.py` has a function `records(count, seed)` that yields records (dicts) or source messages
    (bytes) for trying the line out; without it, the lines of the optional file `records.jsonl` are used. The optional
    file `lookups.py` declares the lookups that the line builds itself with `@lookup_table`. The optional file
    `line.toml` says where its records come from and where they go.
    """

    name: str
    services: dict[str, Service]
    rules_file: Path
    rules_text: str
    maker: Maker | None = None
    tables: tuple[LookupTable, ...] = ()
    """The lookups that the line builds itself."""
    lookups: frozenset[str] = frozenset()
    """Names of the lookups that the line's modules use, as in `accounts = lookup("accounts")`."""
    options: LineOptions = field(default_factory=LineOptions)
    """The content of `line.toml`: the source and the ends of the line."""
    resources: Mapping[str, Resource] = field(default_factory=dict)
    """The resources that services hold while a worker runs, by name; `settings` among them if the line has some."""
    settings: type[BaseSettings] | None = None
    """The class of the line's own settings."""
    outside: Mapping[str, Path] = field(default_factory=dict)
    """The files of the modules outside of the line's folder that its code has imported, by the modules' names. Those of
    the standard library and of installed packages are not among them."""

    rules_name: str = ""
    """The name of the rules table, if it is not that of `rules_file`."""

    @classmethod
    def load(cls, where: str, *, reuse: bool = False) -> Line:
        """Return the line in a package (a dotted name) or a folder; raise `InvalidLine` if it cannot be loaded.

        With `reuse`, files of a folder that others have imported already are not imported once more: what a test
        replaces in its modules is replaced for the line.
        """
        before = loaded_modules()
        folder, package = locate(where)
        module = import_module_of(folder, package, "services", reuse=reuse)
        rules_file = folder / "routes.toml"
        if not rules_file.is_file():
            raise InvalidLine(f"line {where!r}: {rules_file} is missing: create it with the rules table of the line")
        services = {stop: with_types(one) for stop, one in services_of(module).items()}
        if not services:
            raise InvalidLine(f"{folder / 'services.py'} has no @service function: put @service above a function")
        resources, settings = resources_in(module), settings_class(module)
        if settings is not None:
            resources[PARAMETER] = settings_resource(settings)
        check_parameters(services.values(), resources)
        maker: Maker | None = None
        if (folder / "records.py").is_file():
            maker = getattr(import_module_of(folder, package, "records", reuse=reuse), "records", None)
        elif (folder / SAMPLES).is_file():
            maker = repeated(folder / SAMPLES)
        tables: tuple[LookupTable, ...] = ()
        if (folder / "lookups.py").is_file():
            tables = tables_of(import_module_of(folder, package, "lookups", reuse=reuse))
        text = rules_file.read_text("utf-8-sig")
        options = LineOptions.read(folder, frozenset(services))
        for name, end in options.outside.items():
            services[name], writer = service_of_end(name, end, folder.name)
            resources[writer.name] = writer
        return cls(
            folder.name,
            services,
            rules_file,
            text,
            maker,
            tables,
            lookups_of(folder),
            options,
            resources,
            settings,
            modules_outside(folder, before),
        )

    @property
    def stops(self) -> frozenset[str]:
        """The stops that this line's code serves."""
        return frozenset(self.services)

    @property
    def ends(self) -> frozenset[str]:
        """The names of this line's ends."""
        return self.options.end_names

    @property
    def last(self) -> frozenset[str]:
        """The stops after which journeys are over: the ends in other systems than Kafka."""
        return frozenset(self.options.outside)

    def with_prefix(self, prefix: str) -> Line:
        """Return the line whose ends in other systems tell its records from those of other lines by this PREFIX."""
        ends = {name: service_of_end(name, end, prefix)[0] for name, end in self.options.outside.items()}
        return replace(self, services=self.services | ends) if ends else self

    def with_rules(self, text: str, file: str) -> Line:
        """Return the line with another rules table; `file` is the name by which its problems call it."""
        return replace(self, rules_text=text, rules_name=file)

    def for_trials(self) -> Line:
        """Return the line with ends in other systems than Kafka that write nothing, and take every record."""
        tried = {name: stand_in(self.services[name]) for name in self.options.outside}
        return replace(self, services=self.services | tried) if tried else self

    @property
    def code(self) -> list[Path]:
        """The Python files of this line, sorted by name."""
        return sorted(self.rules_file.parent.rglob("*.py"))

    def identity(self) -> str:
        """Return what tells this line's code from other code: a digest of its Python files as they are now."""
        digest = sha256()
        folder = self.rules_file.parent
        files = {file.relative_to(folder).as_posix(): file for file in self.code} | dict(self.outside)
        for name, file in sorted(files.items()):
            with suppress(OSError):  # it was deleted since
                digest.update(f"{name}\n{len(content := file.read_bytes())}\n".encode() + content)
        return digest.hexdigest()[:12]

    def check_settings(self) -> None:
        """Raise `InvalidOwnSettings` if the environment does not fit the line's own settings."""
        if self.settings is not None:
            read_settings(self.settings)

    def rules_table(self) -> RulesTable:
        """Return the rules table in the line's file; raise `InvalidRules` if it does not fit the line's services."""
        return self.network(self.rules_text, self.rules_name or str(self.rules_file)).table

    def network(self, text: str, file: str, served: Set[str] | None = None) -> Network:
        """Return the network of a rules table for this line; raise `InvalidRules` if it cannot be used.

        `served` are the stops that services serve; None for those of this line's code.
        """
        return Network.read(text, self.stops if served is None else served, file, self.ends, self.last)

    def records(self, count: int, seed: int = 1) -> Iterator[Record | bytes]:
        """Return an iterator over `count` records of the line.

        Raise `InvalidLine` if the line has none of its own, or its function `records` fails.
        """
        if self.maker is None:
            raise InvalidLine(
                f"line {self.name!r} has no records of its own: add records.jsonl, or records.py with a function "
                "records(count, seed), or name a file of records; `metroline up --rate 0` needs none"
            )
        return own_records(self.rules_file.parent, self.maker, count, seed)
