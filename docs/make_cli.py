"""Writes docs/cli.md from the commands' own help; --check fails when it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agenthub.cli import ah
from autoresearch.cli import cli

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line

Written by `make docs` from the commands' own `--help`. Commands take `-C FOLDER` for a lab that
is not the current folder, and `--tag NAME` for a study that is not the current one. Exit codes:
0 is fine, 1 a lab that does not run, 2 a wrong use or our own trouble, 130 Ctrl-C; of the hub's
commands (`ah`), 1 is anything that the hub or the network refused.
"""


def page() -> str:
    """The whole page: the group's help, then each command's."""
    parts = [HEAD]
    for name, group in (("autoresearch", cli), ("ah", ah)):
        context = click.Context(group, info_name=name, max_content_width=90)
        parts += [f"# {name}\n", _block(group.get_help(context))]
        for command in group.list_commands(context):
            parts += _sections(group, context, command, "##")
    return "\n".join(parts) + "\n"


def _sections(group: click.Group, context: click.Context, name: str, mark: str) -> list[str]:
    """A command's help under a heading, and that of the commands within it under lower ones."""
    command = group.get_command(context, name)
    assert command is not None
    inner = click.Context(command, context, info_name=name, max_content_width=90)
    parts = [f"\n{mark} {inner.command_path}\n", _block(command.get_help(inner))]
    if isinstance(command, click.Group):
        for below in command.list_commands(inner):
            parts += _sections(command, inner, below, f"{mark}#")
    return parts


def _block(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit("docs/cli.md is out of date: run `make docs` and commit it.")
    else:
        PAGE.write_text(text)
