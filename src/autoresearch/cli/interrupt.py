"""Ctrl-C: once ends a study after the run under way, twice at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from autoresearch.study.study import Study

_SAID = (
    b"\nCtrl-C: ends after the run under way. Once more ends at once; it runs again next time.\n"
)


@contextlib.contextmanager
def ending_on_ctrl_c(study: Study) -> Iterator[None]:
    """Within: the first Ctrl-C lets a run end, if there is one; the next is KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(*_: object) -> None:
        if study.ending or not study.measuring:
            raise KeyboardInterrupt
        study.ending = True
        if not sys.stdout.isatty():  # there the panel says it
            os.write(2, _SAID)

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
