"""Groups that import a command's module only when it is called, so that `--help` is quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click

Table = Mapping[str, tuple[str, str]]  # command -> (module, one line of help)


class LazyGroup(click.Group):
    """A group whose commands stand in a table; `package` holds their modules."""

    table: ClassVar[Table] = {}
    package: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the table's order."""
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command's module; the function for a Python keyword ends in an underscore."""
        if name not in self.table:
            return None
        module = importlib.import_module(f"{self.package}.{self.table[name][0]}")
        command = getattr(module, name, None) or getattr(module, f"{name}_")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when one is unknown."""
        if args and args[0] not in self.table and not args[0].startswith("-"):
            from autoresearch.registry import nearest

            known = ", ".join(self.table)
            ctx.fail(
                f"No command {args[0]!r}{nearest(args[0], list(self.table))}. There are: {known}."
            )
        return super().resolve_command(ctx, args)
