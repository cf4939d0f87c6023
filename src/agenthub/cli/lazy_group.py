"""A click group that imports a command's module when it is called, so that `--help` is quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click

Table = Mapping[str, tuple[str, str]]  # command -> (module, one line of help)


class LazyGroup(click.Group):
    """A group that knows its commands by a table; `package` holds their modules."""

    table: ClassVar[Table] = {}
    package: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the table's order."""
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module that holds a command; Python's own words end in an underscore."""
        if name not in self.table:
            return None
        module = importlib.import_module(f"{self.package}.{self.table[name][0]}")
        command = getattr(module, name, None) or getattr(module, f"{name}_")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command is answered with the nearest one."""
        if args and args[0] not in self.table and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], list(self.table), n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            known = ", ".join(self.table)
            ctx.fail(f"No command {args[0]!r}{hint}. There are: {known}.")
        return super().resolve_command(ctx, args)
