"""Ctrl-C: once ends the study after the current run, twice ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from autoresearch.cli.terminal import has_panel
from autoresearch.study.study import Study

_MESSAGE = (
    b"\nCtrl-C: ends after the current run. "
    b"A second Ctrl-C ends at once; that run is repeated next time.\n"
)


@contextlib.contextmanager
def ending_on_ctrl_c(study: Study) -> Iterator[None]:
    """Within: the first Ctrl-C lets a current run end; the next raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(*_: object) -> None:
        if study.ending or not study.measuring:
            raise KeyboardInterrupt
        study.ending = True
        if not has_panel():  # the panel shows it
            os.write(2, _MESSAGE)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
