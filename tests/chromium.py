"""A real browser without a window, driven over its DevTools pipe."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SECONDS = 60.0
START = """
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 20) for number in sys.argv[1:3]]
for number, given in zip((3, 4), high):
    os.dup2(given, number)
os.execv(sys.argv[3], sys.argv[3:])
"""  # the browser reads what it is told from 3, and answers on 4
WITHOUT = "there is no Chromium here (Debian: apt-get install chromium)"


def path() -> str | None:
    """Where the browser is, if it is here."""
    return (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )


@dataclass
class Browser:
    """A process that shows pages."""

    process: subprocess.Popen[bytes]
    to: int
    of: int
    rest: bytes = b""
    number: int = 0
    answers: dict[int, Any] = field(default_factory=dict)
    tabs: dict[str, Tab] = field(default_factory=dict)

    def ask(self, method: str, session: str = "", **parameters: object) -> Any:
        """Do something, and wait for its result."""
        self.number += 1
        mine = self.number
        message = {"id": mine, "method": method, "params": parameters}
        sent = json.dumps(message | ({"sessionId": session} if session else {}))
        os.write(self.to, sent.encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while mine not in self.answers:
            self.hear(deadline)
        answer = self.answers.pop(mine)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def hear(self, deadline: float) -> None:
        """Take in what the browser says next."""
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            assert left > 0, "the browser says nothing any more"
            if select.select([self.of], [], [], left)[0]:
                piece = os.read(self.of, 1 << 20)
                assert piece, "the browser has gone"
                self.rest += piece
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        if "id" in message:
            self.answers[message["id"]] = message
        elif message.get("sessionId") in self.tabs:
            self.tabs[message["sessionId"]].heard.append(message)

    @contextlib.contextmanager
    def tab(self, width: int = 1200, height: int = 1000, dark: bool = False, scripts: bool = True,
            phone: bool = False, beside: Tab | None = None) -> Iterator[Tab]:  # fmt: skip
        """A window of its own, or one that shares its connections with another."""
        if beside is None:
            place = self.ask("Target.createBrowserContext")["browserContextId"]
        else:
            place = beside.place
        made = self.ask("Target.createTarget", url="about:blank", browserContextId=place)
        target = {"targetId": made["targetId"], "flatten": True}
        session = self.ask("Target.attachToTarget", **target)["sessionId"]
        tab = self.tabs[session] = Tab(self, session, place)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.ask(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.ask("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        tab.ask("Emulation.setDeviceMetricsOverride", **size)
        if not scripts:
            tab.ask("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield tab
        finally:
            if beside is None:
                self.ask("Target.disposeBrowserContext", browserContextId=place)
            del self.tabs[session]


@dataclass
class Tab:
    """One window, and all that was heard of it."""

    browser: Browser
    session: str
    place: str
    heard: list[Any] = field(default_factory=list)

    def ask(self, method: str, **parameters: object) -> Any:
        """Do something in this window."""
        return self.browser.ask(method, self.session, **parameters)

    def go(self, url: str) -> None:
        """Open an address, and wait until it has loaded."""
        self.heard.clear()
        went = self.ask("Page.navigate", url=url)
        assert "errorText" not in went, went
        deadline = time.monotonic() + SECONDS
        while not any(each["method"] == "Page.loadEventFired" for each in self.heard):
            self.browser.hear(deadline)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        how = {"returnByValue": True, "awaitPromise": True}
        found = self.ask("Runtime.evaluate", expression=script, **how)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + SECONDS
        while not self.run(script):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.05)

    def shot(self, whole: bool = False) -> bytes:
        """What it looks like, as a PNG."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def complaints(self) -> list[str]:
        """Errors and warnings: of scripts, of the console, of the content security policy."""
        found = []
        for each in self.heard:
            said = each["params"]
            if each["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(said["exceptionDetails"]))
            if each["method"] == "Log.entryAdded" and said["entry"]["level"] != "verbose":
                found.append(json.dumps(said["entry"]))
            if each["method"] == "Runtime.consoleAPICalled":
                found.append(json.dumps(said["args"]))
        return found

    def asked_for(self) -> list[str]:
        """The addresses that the page has asked for."""
        asked = (each for each in self.heard if each["method"] == "Network.requestWillBeSent")
        return [each["params"]["request"]["url"] for each in asked]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, ended with all its processes."""
    found = path()
    assert found is not None, WITHOUT
    hers, ours = os.pipe()
    mine, theirs = os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        flags = ["--headless", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars"]
        flags += ["--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        flags += ["--disable-background-networking", "--disable-component-update", "--no-sandbox"]
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(hers), str(theirs), found, *flags, "about:blank"],
            pass_fds=(hers, theirs),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        os.close(hers)
        os.close(theirs)
        try:
            yield Browser(process, ours, mine)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
            os.close(ours)
            os.close(mine)
