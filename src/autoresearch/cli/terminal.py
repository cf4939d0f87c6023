"""A terminal whose lower part is a panel of fixed height, while lines scroll by above it.

`rich.live` is not used: it counts the lines of its last frame, so that a panel whose height
changes, or a terminal that becomes narrower, leaves borders behind.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

FRAME = 0.25  # seconds between two frames
_CURSOR_OFF, _CURSOR_ON = "\x1b[?25l", "\x1b[?25h"
_LINE = "\x1b[2K"  # erases it
_TO_LINE_END, _TO_SCREEN_END = "\x1b[K", "\x1b[J"


def has_panel() -> bool:
    """Whether stdout is a terminal that can move its cursor."""
    plain = ("", "dumb", "unknown")
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in plain


@dataclass(frozen=True)
class Line:
    """One line of a panel: its text with colours, and the columns that it takes."""

    text: str
    columns: int


class Panel(Protocol):
    """The content of the lower part of a terminal."""

    def draw(self, size: os.terminal_size) -> Sequence[Line]:
        """Its lines for a terminal of this size; as many each time. Called in any thread."""

    def refresh(self) -> None:
        """Read what has changed; called before each frame, in the thread that draws frames."""

    def close(self) -> None:
        """Let go of what `refresh` opened; called in the same thread, in the end."""


class PanelScreen:
    """Prints lines above a panel, and draws the panel again in each frame.

    Every frame is one write. It moves up by as many lines as the last frame has on the screen,
    also when the terminal has become narrower and has wrapped them.
    """

    def __init__(self, stream: TextIO, panel: Panel) -> None:
        self._stream, self._panel = stream, panel
        self._shown: Sequence[Line] = ()  # the panel on the screen
        self._lock = threading.RLock()  # of the stream
        self._ended = threading.Event()
        self._size = os.terminal_size((80, 24))
        self._restores = contextlib.ExitStack()

    def start(self) -> None:
        """Draw the panel; from now on it is drawn again in every frame."""
        self._restores.enter_context(_without_echo())
        self._restores.enter_context(self._redirected())
        self._restores.enter_context(self._after_stops())
        self._ended.clear()
        with self._lock:
            self._write(_CURSOR_OFF)
            self.print()
        self._thread = threading.Thread(target=self._work, name="panel", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Remove the panel; the lines above it stay. A second call does nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._write(self._to_top(erase=True) + _CURSOR_ON)
            self._shown = ()
        self._restores.close()

    def print(self, *lines: str) -> None:
        """Print lines above the panel; each fits into one line of the terminal.

        The panel below them is that of the last frame. Without lines it is drawn again.
        """
        with self._lock:
            before, self._size = self._size, self.size
            frame, panel = [self._to_top(erase=bool(lines) or before != self._size)], self._shown
            if not (lines and panel) or before != self._size:
                panel = list(self._panel.draw(self._size))[-max(1, self._size.lines - 1) :]
            frame += [f"{line}\r\n" for line in lines]
            frame.append(f"{_TO_LINE_END}\r\n".join(line.text for line in panel))
            frame.append(_TO_LINE_END + _TO_SCREEN_END)
            self._shown = panel
            self._write("".join(frame))

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal now."""
        with contextlib.suppress(OSError, ValueError):
            found = os.get_terminal_size(self._stream.fileno())
            if found.columns and found.lines:
                return found
        return os.terminal_size((80, 24))

    def _work(self) -> None:
        """Draw frame after frame."""
        with contextlib.closing(self._panel):
            while not self._ended.wait(FRAME):
                self._panel.refresh()
                self.print()

    def _to_top(self, *, erase: bool) -> str:
        """Move to the panel's first column and line, as the terminal shows it now.

        Lines are erased one by one: tmux takes an erased screen into its history.
        """
        columns = self.size.columns
        rows = sum(max(1, -(-line.columns // columns)) for line in self._shown)
        if erase:
            return "\r" + f"{_LINE}\x1b[1A" * (rows - 1) + _LINE
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()

    @contextlib.contextmanager
    def _redirected(self) -> Iterator[None]:
        """Within: what other code prints stands above the panel, too."""
        with (
            contextlib.redirect_stdout(_Above(self)),
            contextlib.redirect_stderr(_Above(self)),
        ):
            yield

    @contextlib.contextmanager
    def _after_stops(self) -> Iterator[None]:
        """Within: after Ctrl-Z and `fg` the panel begins below what the shell printed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_continue(*_: object) -> None:
            self._shown = ()

        before = signal.signal(signal.SIGCONT, on_continue)
        try:
            yield
        finally:
            signal.signal(signal.SIGCONT, before)


class _Above(io.TextIOBase):
    """A stream whose whole lines are printed above a panel."""

    def __init__(self, screen: PanelScreen) -> None:
        self._screen, self._rest = screen, ""

    def write(self, text: str) -> int:
        *whole, self._rest = (self._rest + text).split("\n")
        columns = self._screen.size.columns
        for line in whole:
            self._screen.print(*_pieces(line.expandtabs(), columns))
        return len(text)

    def isatty(self) -> bool:
        return True


def _pieces(line: str, columns: int) -> list[str]:
    """A line of other code, cut where the terminal would wrap it."""
    return [line[at : at + columns] for at in range(0, len(line), columns)] or [""]


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    """Within: the terminal does not show keys that are typed, which would move the panel.

    Ctrl-C and Ctrl-Z work as before.
    """
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        if os.tcgetpgrp(descriptor) != os.getpgrp():  # in the background a change would stop us
            raise OSError
    except (OSError, ValueError, AttributeError, termios.error):
        yield
        return
    silent = [*before]
    silent[3] = before[3] & ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, silent)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, termios.error):
            if os.tcgetpgrp(descriptor) == os.getpgrp():
                termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
