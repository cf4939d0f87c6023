"""Where a hub is: its address, parsed strictly, and the proxy on the way to it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from agenthub.errors import BadInput
from agenthub.validation import shown

PROXY_PORT = 3128  # of a proxy whose address names no port


@dataclass(frozen=True)
class Address:
    """A hub's address."""

    url: str  # in its one canonical form: no slash at its end, no port that the scheme implies
    scheme: str  # http or https
    host: str

    @property
    def is_loopback(self) -> bool:
        """Whether the hub is on this machine, so that no network lies in between."""
        if self.host.rstrip(".") == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_open(self) -> bool:
        """Whether others on the network can read a key that is sent there."""
        return self.scheme == "http" and not self.is_loopback


def parse_address(url: str) -> Address:
    """Parse an address as people write it; BadInput when it is not a hub's address."""
    try:
        parts = urlsplit(url.strip().rstrip("/"))
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # raises for labels that no name server knows: empty, too long
    except ValueError as error:
        raise _not_an_address(url) from error
    printable = host.isascii() and host.isprintable() and not set(host) & set(" \"'<>\\^`{|}")
    if parts.scheme not in ("http", "https") or not host or not printable:
        raise _not_an_address(url)
    if parts.query or parts.fragment:
        raise _not_an_address(url)
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            "A hub's address must not contain a name or a key. Give the address alone: `ah join` "
            "writes the key into the configuration, or set AUTORESEARCH_HUB_KEY."
        )
    implied = 443 if parts.scheme == "https" else 80
    at = "" if port in (None, implied) else f":{port}"
    shown_host = f"[{host}]" if ":" in host else host
    path = quote(parts.path, safe="/%-._~")
    return Address(f"{parts.scheme}://{shown_host}{at}{path}", parts.scheme, host)


def proxy_for(address: Address) -> str:
    """The URL of the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name; empty for none.

    A hub on this machine never has one. The proxy is reached in plain HTTP, whatever its scheme.
    """
    if address.is_loopback:
        return ""
    from urllib.request import getproxies, proxy_bypass

    found = getproxies().get(address.scheme)
    if not found or proxy_bypass(address.host):
        return ""
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    user, at, _ = proxy.netloc.rpartition("@")
    try:
        host, port = proxy.hostname or "", proxy.port or PROXY_PORT
    except ValueError:
        host, port = "", 0
    if not host or proxy.scheme not in ("http", "https"):
        raise BadInput("The proxy in HTTP_PROXY or HTTPS_PROXY is not http://HOST:PORT.")
    return f"http://{user}{at}{f'[{host}]' if ':' in host else host}:{port}"


def _not_an_address(url: str) -> BadInput:
    return BadInput(
        f"{shown(url, 100)} is not a hub's address. A hub's address is like http://127.0.0.1:8080 "
        "or https://hub.example.org"
    )
