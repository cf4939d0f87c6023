"""Serve a hub: uvicorn on our own sockets, with deadlines, until a signal stops it."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import resource
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from agenthub.errors import BadInput, Forbidden, Unavailable
from agenthub.records.hub import Hub, HubSettings, open_hub

PORT = 8080
SENT = 256 * 1024  # bytes of an answer that the system buffers, beside ours
FILES = 65_536  # open at once, where the system allows it


def serve(
    data: Path,
    host: str = "127.0.0.1",
    port: int = PORT,
    settings: HubSettings | None = None,
    admin_key: str | None = None,
    *,
    admin: tuple[str, int] | None = None,
    proxies: Sequence[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished first.

    `admin` is the host and port of the admin's own listener; the other one then refuses the admin
    key. `proxies` are addresses whose X-Forwarded-For is believed.
    """
    check_address(host, admin_key)
    check_proxies(proxies)
    if admin is not None:
        check_admin(admin, admin_key)
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(open_hub(data, settings, admin_key))
        listeners = [stack.enter_context(listening(host, port))]
        if admin is not None:
            listeners.append(stack.enter_context(listening(*admin)))
        announce(hub, listeners)
        run(hub, listeners, proxies)


def run(hub: Hub, listeners: Sequence[socket.socket], proxies: Sequence[str] = ()) -> None:
    """Serve on sockets that listen: the public one, and the admin's own if there are two."""
    import uvicorn

    from agenthub.server.api.app import make_app
    from agenthub.server.api.protocol import Server, protocol

    allow_files()
    admin_port = listeners[1].getsockname()[1] if len(listeners) > 1 else None
    app = make_app(hub, admin_port)
    config = uvicorn.Config(
        app,
        http=protocol(hub.settings, proxies),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=math.ceil(hub.settings.finish_seconds) + 30,
        h11_max_incomplete_event_size=16 * 1024,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=[*proxies, *mapped(proxies)],
    )
    Server(config, app, hub.settings.finish_seconds).run(sockets=list(listeners))


def check_address(host: str, admin_key: str | None) -> None:
    """Forbidden where strangers could reach a hub that has no admin."""
    if not is_loopback(host) and not admin_key:
        raise Forbidden(
            f"The hub would listen on {host}, for everybody, and has no admin key. Set "
            "AUTORESEARCH_HUB_ADMIN_KEY (openssl rand -hex 32), and put a server that speaks TLS "
            "in front; or listen on 127.0.0.1, which is the default, with TLS in front: "
            "`caddy reverse-proxy --from YOUR.NAME --to 127.0.0.1:8080`, and --proxy 127.0.0.1."
        )


def check_admin(admin: tuple[str, int], admin_key: str | None) -> None:
    """BadInput for an admin's listener where there is no admin key."""
    if not admin_key:
        raise BadInput(
            f"The admin's listener on {shown(*admin)} is of no use without an admin key. Set "
            "AUTORESEARCH_HUB_ADMIN_KEY (openssl rand -hex 32), or leave it out."
        )


def mapped(proxies: Sequence[str]) -> list[str]:
    """IPv4 proxies as a listener for IPv4 and IPv6 sees them."""
    networks = [ipaddress.ip_network(proxy) for proxy in proxies]
    return [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}"
        for network in networks
        if network.version == 4
    ]


def check_proxies(proxies: Sequence[str]) -> None:
    """BadInput for what is neither an address nor a network: a proxy is believed, nobody else."""
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise BadInput(
                f"{proxy!r} is not the address of a proxy (192.0.2.1) or its network "
                f"(192.0.2.0/28): {error}."
            ) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    return host == "localhost"


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens; port 0 takes a free one. Unavailable when it cannot."""
    host = host.strip("[]")
    if not 0 <= port <= 65_535:
        raise BadInput(
            f"{port} is no port to listen on: a port is 0 to 65,535; 0 takes a free one."
        )
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise BadInput(f"{shown(host, port)} is no address to listen on: {error}.") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT)
        try:
            listener.bind(address)
            listener.listen(1024)
        except OSError as error:
            raise Unavailable(
                f"The hub cannot listen on {shown(host, port)}: {error.strerror}. Choose another "
                "port (0 takes a free one), or end what listens there."
            ) from error
        yield listener


def allow_files() -> None:
    """As many open files as the system lets this process have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def announce(hub: Hub, listeners: Sequence[socket.socket]) -> None:
    """Print one line, for people and for scripts that wait for it."""
    urls = [f"http://{shown(*listener.getsockname()[:2])}" for listener in listeners]
    admin = "".join(f" admin: {url}" for url in urls[1:])
    print(f"hub: {urls[0]}{admin} data: {hub.data}", flush=True)


def shown(host: str, port: int) -> str:
    """A host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
