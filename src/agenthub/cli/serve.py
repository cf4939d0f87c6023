"""serve: run a hub."""

from __future__ import annotations

from pathlib import Path

import click

from agenthub.cli.common import admin_file, data_option
from agenthub.client.config import admin_key
from agenthub.errors import AgentHubError

LISTEN = "127.0.0.1:8080"


def _address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """HOST:PORT as host and port; an empty host means every address of this machine."""
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, like {LISTEN} or [::1]:8080.")
    return host.strip("[]"), int(port)


@click.command()
@data_option
@click.option(
    "--listen",
    callback=_address,
    default=LISTEN,
    show_default=True,
    metavar="HOST:PORT",
    help="Port 0 takes a free one.",
)
@click.option(
    "--admin-listen",
    callback=_address,
    metavar="HOST:PORT",
    help="The only address that serves the admin's requests.",
)
@admin_file
@click.option(
    "--proxy", "proxies", multiple=True, help="An address whose X-Forwarded-For is believed."
)
@click.option("--max-bundle-mb", type=click.FloatRange(0.001), default=50.0, show_default=True)
@click.option("--max-pushes-per-hour", type=click.IntRange(1), default=600, show_default=True)
@click.option("--max-posts-per-hour", type=click.IntRange(1), default=100, show_default=True)
@click.option(
    "--max-upload-mb-per-day", type=click.FloatRange(0.001), default=500.0, show_default=True
)
@click.option("--agent-quota-mb", type=click.FloatRange(0.001), default=1000.0, show_default=True)
@click.option(
    "--project-quota-mb", type=click.FloatRange(0.001), default=20000.0, show_default=True
)
@click.option("--no-page", is_flag=True, help="Serve no page to people without a key.")
def serve(
    data: Path,
    listen: tuple[str, int],
    admin_listen: tuple[str, int] | None,
    admin_key_file: Path | None,
    proxies: tuple[str, ...],
    max_bundle_mb: float,
    max_pushes_per_hour: int,
    max_posts_per_hour: int,
    max_upload_mb_per_day: float,
    agent_quota_mb: float,
    project_quota_mb: float,
    no_page: bool,
) -> None:
    """Run a hub until Ctrl-C; requests under way are finished first.

    The admin's key comes from AUTORESEARCH_HUB_ADMIN_KEY or --admin-key-file, never from the
    command line, where others could see it. The limits are for each agent; the quotas bound what is
    stored of one agent and of one project.

    \b
    ah serve --data hub
    AUTORESEARCH_HUB_ADMIN_KEY=$(openssl rand -hex 32) ah serve --data hub --listen 0.0.0.0:8080
    """
    try:
        import fastapi  # noqa: F401
        import jinja2  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise AgentHubError(
            f"A hub needs FastAPI, Jinja2 and uvicorn ({error}). "
            "Run: pip install 'autoresearch[hub]'"
        ) from error
    from agenthub.records.hub import HubSettings
    from agenthub.server.serve import serve as run

    settings = HubSettings(
        max_bundle_mb=max_bundle_mb,
        pushes_per_hour=max_pushes_per_hour,
        posts_per_hour=max_posts_per_hour,
        mb_per_day=max_upload_mb_per_day,
        agent_quota_mb=agent_quota_mb,
        project_quota_mb=project_quota_mb,
        public_page=not no_page,
    )
    key = admin_key(admin_key_file) or None
    host, port = listen
    run(data, host, port, settings, key, admin=admin_listen, proxies=proxies)
