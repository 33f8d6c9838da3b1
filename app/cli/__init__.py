"""The command `metroline`: errors are one line that says what to do, never a traceback.

Exit codes: 0 done, 1 the work failed, 2 wrong use.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

import click
from aiokafka.errors import KafkaError

from metroline.agents.lookups.errors import InvalidLookup, LookupMissing
from metroline.app.settings import InvalidSettings
from metroline.routing.errors import InvalidLine, InvalidRules, MetrolineError, UnknownStrategy

WRONG_USE = (InvalidLine, InvalidLookup, InvalidSettings, LookupMissing, UnknownStrategy)


MODULES = {
    "demo": "compare",
    "compare": "compare",
    "up": "up",
    "worker": "up",
    "broker": "up",
    "push": "up",
    "check": "check",
    "explain": "check",
    "rules": "rules",
    "dead-letters": "dead_letters",
    "lookup": "lookup",
    "hand-over": "up",
}
"""The module of each command: a worker does not load what only a comparison needs."""


class Commands(click.Group):
    """Loads commands when they are called, and turns every error that a person can do something about into one line."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in MODULES:
            importlib.import_module(f"{__name__}.{MODULES[name]}")
        return super().get_command(context, name)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except InvalidRules as error:
            for problem in error.problems:
                click.echo(problem, err=True)
            context.exit(1)
        except MetrolineError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2 if isinstance(error, WRONG_USE) else 1)
        except KafkaError as error:
            click.echo(f"error: Kafka says {type(error).__name__}: {error}", err=True)
            context.exit(1)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            context.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="metroline")
def cli() -> None:
    """Metroline: smart routing on a dumb bus. One rules table, four strategies, on Kafka.

    \b
    Example: metroline demo
    Each command says more, with an example: metroline check --help
    """


def main() -> None:
    """The console script."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it says of a failure, the error says
    cli(prog_name="metroline")
