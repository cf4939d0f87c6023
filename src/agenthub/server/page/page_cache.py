"""Rendered pages, kept until what they show changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

PAGES = 48
LARGEST = 640 << 10  # characters; larger pages are made for each reader


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    state: str = ""
    page: str = ""


class PageCache:
    """The pages that were read last; each is made once for all readers of a state."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, state: str, make: Callable[[], str]) -> str:
        """The page of a name, made unless it was made in this state. Readers wait for one maker."""
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            self._entries.move_to_end(name)
            while len(self._entries) > PAGES:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.state == state:
                return entry.page
            page = make()
            if len(page) <= LARGEST:
                entry.state, entry.page = state, page
            return page
