"""Shelf: pages that were made, until what they show has changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

PAGES = 48
LARGEST = 640 << 10  # characters; larger ones are made each time


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    state: str = ""
    page: str = ""


class PageCache:
    """The last pages; one that many ask for is made once."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, state: str, make: Callable[[], str]) -> str:
        """The page of a name in a state, made when it is not there; without a name always."""
        if not name:
            return make()
        with self._lock:
            place = self._places.setdefault(name, _Place())
            self._places.move_to_end(name)
            while len(self._places) > PAGES:
                self._places.popitem(last=False)
        with place.lock:
            if place.state == state:
                return place.page
            page = make()
            if len(page) <= LARGEST:
                place.state, place.page = state, page
            return page
