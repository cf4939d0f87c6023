"""Where a hub is: its address read strictly, and the way to it, by a proxy if one is set."""

from __future__ import annotations

import base64
import http.client
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from agenthub.errors import BadInput
from agenthub.validation import shown

BLOCK = 64 * 1024  # bytes that are sent at once


@dataclass(frozen=True)
class Address:
    """A hub's address in parts."""

    url: str  # as it is written down: no slash at its end
    scheme: str  # http or https
    host: str
    port: int
    path: str  # "", or beginning with a slash: a hub below a path of a web server

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, so that nobody listens in between."""
        return is_loopback(self.host)

    @property
    def is_open(self) -> bool:
        """Whether a key is sent so that others on the way can read it."""
        return self.scheme == "http" and not self.is_loopback


def is_loopback(host: str) -> bool:
    """Whether a host's name or number means this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(url: str) -> Address:
    """An address as people write it; BadInput when it is none."""
    text = url.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _wrong(url) from error
    if parts.scheme not in ("http", "https") or not _plain(host) or parts.query or parts.fragment:
        raise _wrong(url)
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            "A hub's address holds no name and no key: give the address alone. `ah join` writes "
            "the key down, or set AUTORESEARCH_HUB_KEY."
        )
    usual = 443 if parts.scheme == "https" else 80
    path = quote(parts.path, safe="/%-._~")
    shown_host = f"[{host}]" if ":" in host else host
    at = "" if port in (None, usual) else f":{port}"
    plain = f"{parts.scheme}://{shown_host}{at}{path}"
    return Address(plain, parts.scheme, host, usual if port is None else port, path)


@dataclass(frozen=True)
class Route:
    """A connection that is not open yet, and what a proxy on the way wants to read."""

    connection: http.client.HTTPConnection
    prefix: str = ""  # before the path
    headers: Mapping[str, str] = field(default_factory=dict)


def route_to(address: Address, silence: float) -> Route:
    """The way to a hub. HTTP_PROXY, HTTPS_PROXY, NO_PROXY are heeded, save for this machine."""
    proxy = _proxy(address)
    host, port = (address.host, address.port) if proxy is None else _end(proxy)
    if address.scheme == "http":
        plain = http.client.HTTPConnection(host, port, timeout=silence, blocksize=BLOCK)
        if proxy is None:
            return Route(plain)
        return Route(plain, _origin(address), _credentials(proxy))
    secure = http.client.HTTPSConnection(host, port, timeout=silence, blocksize=BLOCK)
    if proxy is not None:
        secure.set_tunnel(address.host, address.port, _credentials(proxy))
    return Route(secure)


def _proxy(address: Address) -> SplitResult | None:
    if address.is_loopback:
        return None
    from urllib.request import getproxies, proxy_bypass

    found = getproxies().get(address.scheme)
    if not found or proxy_bypass(address.host):
        return None
    return urlsplit(found if "://" in found else f"http://{found}")


def _end(proxy: SplitResult) -> tuple[str, int]:
    try:
        return proxy.hostname or "", proxy.port or 3128
    except ValueError as error:
        raise BadInput("The proxy in HTTP_PROXY or HTTPS_PROXY is not HOST:PORT.") from error


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _origin(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{address.scheme}://{host}:{address.port}"


def _plain(host: str) -> bool:
    return (
        bool(host)
        and host.isascii()
        and host.isprintable()
        and not set(host) & set(" \"'<>\\^`{|}")
    )


def _wrong(url: str) -> BadInput:
    return BadInput(
        f"{shown(url, 100)} is not a hub's address. It is like http://127.0.0.1:8080 or "
        "https://hub.example.org"
    )
