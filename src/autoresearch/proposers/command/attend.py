"""Runs an agent inside the sandbox: no input, whole lines of output, and an end to silence.

A script of its own that needs nothing but Python: `python -I -S attend.py order.json`. The order
holds `argv` and `silence`, the seconds without a byte after which it ends. Whatever the agent left
running is killed by who started this script.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path

PIECES = 2  # of a pipe's size, read when the agent ended; its children may write for ever
LINE = 2**20  # bytes after which a line without an end is passed on


def attend(argv: list[str], silence: float) -> dict[str, object]:
    """Run the agent; what there is to say of its end."""
    try:
        agent = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        return {"error": f"cannot start {argv[0]}: {error.strerror}"}
    assert agent.stdout and agent.stderr
    waiting = {agent.stdout.fileno(): b"", agent.stderr.fileno(): b""}
    with selectors.DefaultSelector() as selector:
        for descriptor in waiting:
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ)
        heard = time.monotonic()
        while agent.poll() is None:
            if pump(selector, waiting, 0.05):
                heard = time.monotonic()
            elif time.monotonic() - heard > silence:
                return {"silent": silence}
        for _ in range(PIECES):
            if not pump(selector, waiting, 0):
                break
    for rest in waiting.values():
        say(rest + b"\n" if rest else b"")
    return {"exit_code": agent.returncode}


def pump(selector: selectors.BaseSelector, waiting: dict[int, bytes], patience: float) -> bool:
    """Pass on what is there, line by line, so that two streams do not tear each other's."""
    any_bytes = False
    if not selector.get_map():
        time.sleep(patience / 10)
    for key, _ in selector.select(patience) if selector.get_map() else ():
        try:
            chunk = os.read(key.fd, 1 << 16)
        except BlockingIOError:
            continue
        if not chunk:
            selector.unregister(key.fd)
            continue
        any_bytes = True
        whole, end, rest = (waiting[key.fd] + chunk).rpartition(b"\n")
        if len(rest) > LINE:
            whole, end, rest = whole + end + rest, b"", b""
        say(whole + end)
        waiting[key.fd] = rest
    return any_bytes


def say(text: bytes) -> None:
    """Write all of it."""
    while text:
        text = text[os.write(1, text) :]


def main() -> None:
    """Read the order, run the agent, and say in a last line how it ended."""
    order = json.loads(Path(sys.argv[1]).read_text())
    end = attend(order["argv"], order["silence"])
    say(json.dumps({"type": "autoresearch", **end}).encode() + b"\n")


if __name__ == "__main__":
    main()
