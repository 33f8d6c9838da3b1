"""Groups of commands, which answer a name that they do not have with the one that may be meant."""

from __future__ import annotations

import click

from metroline.routing.spelling import suggestion


class CommandGroup(click.Group):
    """A group of commands."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named, or refuse a name that no command has, with the most similar one."""
        known = self.list_commands(context)
        if args and args[0] not in known:
            hint = suggestion(args[0], known) or f"; there are {', '.join(known)}"
            context.fail(f"No such command {args[0]!r}{hint}")
        return super().resolve_command(context, args)
