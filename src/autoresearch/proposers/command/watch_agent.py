"""Runs an agent inside the sandbox: no input, whole lines of output, and an end to silence.

A script of its own that needs nothing but Python: `python -I -S watch_agent.py order.json`. The
order holds `argv`, and what may be taken: `silence` in seconds without a byte, `turns`, `usd`;
`counted` says which events tell of these. Whatever the agent left running is killed by who started this.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PIECES = 2  # of a pipe's size, read when the agent ended; its children may write for ever
LINE = 2**20  # bytes after which a line without an end is passed on


class Meter:
    """Counts what the agent's events tell of its turns and dollars."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.counted = order.get("counted", [])
        self.most_turns, self.most_usd = order.get("turns", 0), order.get("usd", 0)
        self.turns, self.usd = 0, 0.0

    def read(self, text: bytes) -> None:
        """Take whole lines."""
        for line in text.splitlines() if self.counted else ():
            if not line.startswith(b"{"):
                continue
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            for rule in self.counted:
                if all(fits(event, path, value) for path, value in rule["where"].items()):
                    self.turns += rule["turn"]
                    self.usd += amount(at(event, rule["usd"])) if rule["usd"] else 0.0

    def over(self) -> str:
        """What was taken too much of, or nothing."""
        if self.turns > self.most_turns > 0:
            return f"turn limit: it was ended after {self.most_turns:g} turns"
        if self.usd > self.most_usd > 0:
            return f"max_budget_usd: it was ended after ${self.usd:.2f}"
        return ""


def at(event: Any, path: str) -> Any:
    """What stands at a dotted path, or None."""
    for part in path.split("."):
        event = event.get(part) if isinstance(event, dict) else None
    return event


def fits(event: Any, path: str, wanted: Any) -> bool:
    """Whether an event has a value, or one of several, at a path."""
    found = at(event, path)
    if wanted == "*":
        return found is not None
    return found in (wanted if isinstance(wanted, list) else [wanted])


def amount(value: Any) -> float:
    """Dollars, or none."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12
    return float(value) if good else 0.0


def watch_agent(argv: list[str], silence: float, meter: Meter) -> dict[str, object]:
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
            if pump(selector, waiting, 0.05, meter):
                heard = time.monotonic()
                if over := meter.over():
                    return {"error": over}
            elif time.monotonic() - heard > silence:
                return {"silent": silence}
        for _ in range(PIECES):
            if not pump(selector, waiting, 0, meter):
                break
    for rest in waiting.values():
        say(rest + b"\n" if rest else b"")
    return {"exit_code": agent.returncode}


def pump(
    selector: selectors.BaseSelector, waiting: dict[int, bytes], max_seconds: float, meter: Meter
) -> bool:
    """Pass on what is there, line by line, so that two streams do not tear each other's."""
    any_bytes = False
    if not selector.get_map():
        time.sleep(max_seconds / 10)
    for key, _ in selector.select(max_seconds) if selector.get_map() else ():
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
        meter.read(whole)
        waiting[key.fd] = rest
    return any_bytes


def say(text: bytes) -> None:
    """Write all of it."""
    while text:
        text = text[os.write(1, text) :]


def main() -> None:
    """Read the order, run the agent, and say in a last line how it ended."""
    order = json.loads(Path(sys.argv[1]).read_text())
    end = watch_agent(order["argv"], order["silence"], Meter(order))
    say(json.dumps({"type": "autoresearch", **end}).encode() + b"\n")


if __name__ == "__main__":
    main()
