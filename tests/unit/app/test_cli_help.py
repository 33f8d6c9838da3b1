"""`--help`: every command has an example, and says what each of its options is for."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from metroline.app.cli import cli


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """The names of a command and of all below it."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, *names, name)


@pytest.mark.parametrize("names", list(commands(cli)), ids=" ".join)
def test_help_has_an_example_and_no_sentence_that_is_cut_off(names: tuple[str, ...]) -> None:
    told = CliRunner().invoke(cli, [*names, "--help"]).output

    assert "\n  Example: " in told
    assert " ".join(["metroline", *names]) in told.partition("Example: ")[2]
    assert "..." not in told.partition("Commands:")[2]


@pytest.mark.parametrize("names", list(commands(cli)), ids=" ".join)
def test_every_option_says_what_it_is_for(names: tuple[str, ...]) -> None:
    command: click.Command = cli
    for name in names:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None
        command = below
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []
