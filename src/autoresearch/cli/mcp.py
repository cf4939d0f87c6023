"""mcp: serve a lab as tools to any agent that speaks the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.errors import AutoResearchError


@click.command()
@tag_option
@lab_option
def mcp(tag: str | None, lab: Path) -> None:
    """Serve a lab to agents as MCP tools, over stdin and stdout.

    The agent starts it from its own configuration; see docs/drive.md. When the server ends, a
    running trial goes on, and the next server finds it.

    \b
    autoresearch mcp --lab my-lab
    """
    try:
        from autoresearch.cli.mcp_server import make_server
    except ImportError as error:
        raise AutoResearchError(
            f"The MCP server needs the SDK, mcp 2 ({error}). Run: pip install 'autoresearch[mcp]'"
        ) from error
    make_server(lab, tag).run()
