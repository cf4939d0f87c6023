"""How much one client may use at once: connections, requests under way, memory."""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence

from agenthub.errors import TooMany
from agenthub.records.buckets import address_subject
from agenthub.records.hub import HubSettings

LOOPBACK = ("127.", "::ffff:127.")
LEAST = 64  # connections that an address may have, however few there may be in all


class Shares:
    """An equal share for each subject. It belongs to one event loop."""

    def __init__(self, each: int) -> None:
        self.each = each
        self._held: Counter[str] = Counter()

    def take(self, subject: str, amount: int = 1) -> bool:
        """Take some more; False, and nothing taken, when that is over the subject's share."""
        if self._held[subject] + amount > self.each:
            return False
        self._held[subject] += amount
        return True

    def give(self, subject: str, amount: int = 1) -> None:
        """Give back what was taken."""
        self._held[subject] -= amount
        if self._held[subject] <= 0:
            del self._held[subject]


class AddressLimit:
    """A limit on what one address has open: an eighth of all, unless the settings name a number.

    A proxy is not limited, as it stands for many clients. This machine is limited only by a number
    in the settings.
    """

    def __init__(self, settings: HubSettings, proxies: Sequence[str] = ()) -> None:
        given = settings.connections_each
        each = max(LEAST, settings.connections // 8) if given is None else given
        self._shares = Shares(each)
        self._spares_loopback = given is None
        self._proxies = [ipaddress.ip_network(proxy) for proxy in proxies]

    def enter(self, address: str) -> str:
        """Count one more of an address; returns what to `leave` with. TooMany over its share."""
        if self._is_proxy(address) or (self._spares_loopback and is_here(address)):
            return ""
        subject = address_subject(address)
        if not self._shares.take(subject):
            raise TooMany(
                f"Your address has {self._shares.each:,} connections open, the most allowed. "
                "End one first, or try again in 10 seconds.",
                retry_after=10,
            )
        return subject

    def leave(self, subject: str) -> None:
        """Count one less."""
        if subject:
            self._shares.give(subject)

    @contextlib.contextmanager
    def inside(self, address: str) -> Iterator[None]:
        """Count one of an address while the block runs."""
        subject = self.enter(address)
        try:
            yield
        finally:
            self.leave(subject)

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        plain = getattr(found, "ipv4_mapped", None) or found  # on a listener of both kinds
        return any(plain in network for network in self._proxies)


def is_here(address: str) -> bool:
    """Whether an address is this machine's own."""
    return address == "::1" or address.startswith(LOOPBACK)
