"""Runs an agent inside the sandbox, passes on its output, and kills it at its limits.

A standalone script: `python -I -S watch_agent.py order.json`. The order holds `argv` and the
limits `silence` (seconds without output), `turns` and `usd`; `counted` lists the events that
report turns and dollars. Processes that the agent leaves behind are killed by the executor.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PIECES = 2  # reads of a pipe after the agent ended; its children may write for ever
LINE = 2**20  # bytes after which an incomplete line is passed on


def load_meters() -> Any:
    """The module that reads amounts, by its path: nothing of ours can be imported here."""
    path = Path(__file__).parents[1] / "meters.py"
    spec = importlib.util.spec_from_file_location("meters", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


METERS = load_meters()


def applies(event: object, rule: dict[str, Any]) -> bool:
    """Whether a rule that counts is about an event."""
    if rule["match"]:
        return False
    where, unless = rule["where"].items(), rule["unless"].items()
    if not all(METERS.fits(event, path, value) for path, value in where):
        return False
    return not any(METERS.fits(event, path, value) for path, value in unless)


class Meter:
    """Counts the turns and dollars in the agent's events."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.counted = order.get("counted", [])
        self.most_turns, self.most_usd = order.get("turns", 0), order.get("usd", 0)
        self.turns, self.usd = 0, 0.0

    def read(self, text: bytes) -> None:
        """Count the events in complete lines."""
        for line in text.splitlines() if self.counted else ():
            self.read_words(line[:10_000].decode(errors="replace"))
            if not line.startswith(b"{"):
                continue
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            for rule in self.counted:
                if applies(event, rule):
                    stated = METERS.values(event, rule["usd"]) if rule["usd"] else ()
                    self.turns += rule["turn"]
                    self.usd += sum(METERS.amount(dollars) or 0.0 for dollars in stated)

    def read_words(self, line: str) -> None:
        """Count what the patterns of an agent without events find in a line."""
        for rule in self.counted:
            if rule["match"] and (found := re.search(rule["match"], line)):
                self.turns += rule["turn"]
                self.usd += METERS.amount(found.groupdict().get("usd")) or 0.0

    def over(self) -> str:
        """The limit that was passed, or an empty string."""
        if self.turns > self.most_turns > 0:
            return f"turn limit: it was ended after {self.most_turns:g} turns"
        if self.usd > self.most_usd > 0:
            return f"max_budget_usd: it was ended after ${self.usd:.2f}"
        return ""


def watch_agent(argv: list[str], silence: float, meter: Meter) -> dict[str, object]:
    """Run the agent; return its exit code, the error, or the silence that ended it."""
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
        last_output = time.monotonic()
        while agent.poll() is None:
            if pump(selector, waiting, 0.05, meter):
                last_output = time.monotonic()
                if over := meter.over():
                    return {"error": over}
            elif time.monotonic() - last_output > silence:
                return {"silent": silence}
        for _ in range(PIECES):
            if not pump(selector, waiting, 0, meter):
                break
    for rest in waiting.values():
        write_out(rest + b"\n" if rest else b"")
    return {"exit_code": agent.returncode}


def pump(
    selector: selectors.BaseSelector, waiting: dict[int, bytes], max_seconds: float, meter: Meter
) -> bool:
    """Pass on output in complete lines, so that two streams do not mix; whether there was any."""
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
        write_out(whole + end)
        meter.read(whole)
        waiting[key.fd] = rest
    return any_bytes


def write_out(text: bytes) -> None:
    """Write all of a text to stdout."""
    while text:
        text = text[os.write(1, text) :]


def main() -> None:
    """Read the order, run the agent, and print a last event that reports how it ended."""
    order = json.loads(Path(sys.argv[1]).read_text())
    end = watch_agent(order["argv"], order["silence"], Meter(order))
    write_out(json.dumps({"type": "autoresearch", **end}).encode() + b"\n")


if __name__ == "__main__":
    main()
