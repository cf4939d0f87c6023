"""A client of the Agent Client Protocol, run inside the sandbox with the agent it drives.

A standalone script: `python -I -S acp.py order.json`. It speaks JSON-RPC over the agent's stdin
and stdout, one object per line, and prints what it receives as events. It reads and writes files
inside the workspace for the agent, permits edits inside the workspace, and refuses everything
else. What the agent does without a request is limited by the sandbox.
"""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = 1
LINE = 16 * 2**20  # bytes of one message at most
FILE = 4 * 2**20  # bytes of one file that is read or written for the agent at most
GRACE = 2.0  # seconds for an agent to end its turn after a cancellation
NO_METHOD, BAD_PARAMS, REFUSED = -32601, -32602, -32000
PATH_KEYS = ("path", "filepath", "file", "abspath", "absolutepath", "targetfile", "filename")
STOPS = {  # stop reason -> error message; end_turn is none
    "refusal": "refusal: the model refused to go on",
    "max_tokens": "max_tokens: context length exceeded",
    "max_turn_requests": "max_turn_requests",
    "cancelled": "cancelled",
}


def load_meters() -> Any:
    """The module that reads amounts, by its path: nothing of ours can be imported here."""
    path = Path(__file__).parents[1] / "meters.py"
    spec = importlib.util.spec_from_file_location("meters", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


METERS = load_meters()


class Failed(Exception):
    """The agent answered with an error, or ended without an answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Silent(Exception):
    """The agent sent nothing for too long."""


class TooMuch(Exception):
    """The agent passed its limit of turns or dollars."""


class Wire:
    """Messages to and from the agent's process."""

    def __init__(self, argv: list[str], silence: float, deadline: float) -> None:
        self.agent = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.agent.stdout
        self._silence, self._deadline, self._rest = silence, deadline, bytearray()
        os.set_blocking(self.agent.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.agent.stdout, selectors.EVENT_READ)

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; Failed when the agent has ended."""
        assert self.agent.stdin
        try:
            self.agent.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self.agent.stdin.flush()
        except OSError as error:
            raise Failed(f"the agent ended: {error.strerror}") from error

    def messages(self) -> Iterator[dict[str, Any]]:
        """Messages as they arrive, until the agent ends; Silent when none comes for too long."""
        while chunk := self._read():
            self._rest += chunk
            if len(self._rest) > LINE:
                raise Failed(f"the agent sent a message of more than {LINE} bytes")
            *lines, rest = bytes(self._rest).split(b"\n") if b"\n" in chunk else (self._rest,)
            self._rest = bytearray(rest)
            for line in lines:
                message = parsed(line)
                if message is not None:
                    yield message

    def hurry(self, seconds: float) -> None:
        """Wait at most this long from now on."""
        self._deadline = time.monotonic() + seconds
        self._silence = seconds

    def _read(self) -> bytes:
        assert self.agent.stdout
        now = time.monotonic()
        if not self._selector.select(max(0.0, min(self._silence, self._deadline - now))):
            raise Silent
        return os.read(self.agent.stdout.fileno(), 1 << 16)


class Client:
    """One session with one prompt."""

    def __init__(self, wire: Wire, workspace: Path, most: tuple[float, float]) -> None:
        self.wire, self.workspace = wire, workspace.resolve()
        self.usd, self.used, self.requests, self.turns = 0.0, 0.0, 0, 0
        self.most_turns, self.most_usd = most
        self.priced = False
        self.session = ""

    def converse(self, prompt: str) -> str:
        """Run the session from the handshake to the end of the turn; return its stop reason."""
        files = {"readTextFile": True, "writeTextFile": True}
        hello = self.call(
            "initialize",
            protocolVersion=VERSION,
            clientCapabilities={"fs": files, "terminal": False},
            clientInfo={"name": "autoresearch", "version": "1"},
        )
        if hello.get("protocolVersion") != VERSION:
            raise Failed(f"the agent speaks ACP {hello.get('protocolVersion')}, and not {VERSION}")
        opened = self.call("session/new", cwd=str(self.workspace), mcpServers=[])
        self.session = str(opened.get("sessionId", ""))
        words = [{"type": "text", "text": prompt}]
        ended = self.call("session/prompt", sessionId=self.session, prompt=words)
        self.used = max(self.used, tokens_of(ended))
        return str(ended.get("stopReason", "end_turn"))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request, and serve the agent's requests until it answers."""
        self.requests += 1
        request_id = self.requests
        self.wire.send({"id": request_id, "method": method, "params": params})
        for message in self.wire.messages():
            if "method" in message:
                self.serve(message)
            elif message.get("id") == request_id:
                return answer(message, method)
        raise Failed(f"the agent ended before it answered {method}")

    def cancel(self) -> None:
        """Request the agent to stop, and give it a moment."""
        try:
            self.wire.hurry(GRACE)
            self.wire.send({"method": "session/cancel", "params": {"sessionId": self.session}})
            for message in self.wire.messages():
                if "method" in message:
                    self.serve(message)
                else:
                    return
        except (Failed, Silent, TooMuch):
            return

    def serve(self, message: dict[str, Any]) -> None:
        """Answer a request, or handle a notification."""
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if "id" not in message:
            if message["method"] == "session/update":
                self.update(params.get("update"))
            return
        handlers = {
            "session/request_permission": self.permit,
            "fs/read_text_file": self.read,
            "fs/write_text_file": self.write,
        }
        handler = handlers.get(str(message["method"]))
        if handler is None:
            self.refuse(message, NO_METHOD, f"{message['method']} is not offered")
            return
        try:
            self.wire.send({"id": message["id"], "result": handler(params)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.refuse(message, BAD_PARAMS, str(error))

    def refuse(self, message: dict[str, Any], code: int, words: str) -> None:
        """Answer with an error, and print it as an event."""
        emit(type="acp.refused", what=str(message["method"]), why=words)
        self.wire.send({"id": message["id"], "error": {"code": code, "message": words}})

    def update(self, update: object) -> None:
        """Handle a notification about the agent's turn."""
        if not isinstance(update, dict):
            return
        kind, content = update.get("sessionUpdate"), update.get("content")
        if kind == "agent_message_chunk" and isinstance(content, dict):
            emit(type="acp.text", text=str(content.get("text", "")))
        elif kind == "tool_call":
            self.turns += 1
            emit(type="acp.tool", title=str(update.get("title", ""))[:200], kind=update.get("kind"))
        elif kind == "usage_update":
            cost = update.get("cost")
            money = cost if isinstance(cost, dict) else {}
            if money:
                self.pay(money)
            self.used = max(self.used, number(update.get("used")))
            emit(type="acp.usage", usd=self.stated, tokens=self.used)
        self.check()

    def pay(self, money: dict[str, Any]) -> None:
        """Note the cost so far; in another currency, or no amount, it is unknown from now on."""
        dollars = METERS.amount(money.get("amount"))
        in_dollars = str(money.get("currency", "USD")).upper() == "USD"
        self.priced = in_dollars and dollars is not None
        self.usd = max(self.usd, dollars or 0.0) if in_dollars else self.usd

    @property
    def stated(self) -> float | None:
        """Dollars that the agent stated, or None: their number is unknown."""
        return self.usd if self.priced else None

    def check(self) -> None:
        """Raise TooMuch when the limit of turns or dollars is passed."""
        if self.turns > self.most_turns > 0:
            raise TooMuch(f"turn limit: it was ended after {self.most_turns:g} turns")
        if self.usd > self.most_usd > 0:
            raise TooMuch(f"max_budget_usd: it was ended after ${self.usd:.2f}")

    def permit(self, params: dict[str, Any]) -> dict[str, Any]:
        """Permit an edit once, if all its files are in the workspace; reject anything else."""
        call = params.get("toolCall")
        call = call if isinstance(call, dict) else {}
        paths = list(paths_of(call))
        allowed = call.get("kind") == "edit" and bool(paths) and all(map(self.inside, paths))
        wanted = ("allow_once", "allow_always") if allowed else ("reject_once", "reject_always")
        if not allowed:
            emit(
                type="acp.refused", what=str(call.get("title", ""))[:200], why=str(call.get("kind"))
            )
        offered = {o.get("kind"): o.get("optionId") for o in params.get("options") or ()}
        chosen = next((offered[kind] for kind in wanted if kind in offered), None)
        if chosen is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": chosen}}

    def inside(self, name: str) -> bool:
        """Whether a path, with links resolved, is in the workspace."""
        return (self.workspace / name).resolve().is_relative_to(self.workspace)

    def file(self, params: dict[str, Any]) -> Path:
        """The file that a request names; ValueError when it is outside the workspace."""
        if not self.inside(str(params["path"])):
            raise ValueError(f"{params['path']} is outside the workspace")
        return (self.workspace / str(params["path"])).resolve()

    def read(self, params: dict[str, Any]) -> dict[str, Any]:
        """A text file of the workspace, or some lines of it."""
        path = self.file(params)
        if not path.is_file() or path.stat().st_size > FILE:
            raise ValueError(f"{path} is not a file, or too large")
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError as error:  # with other letters in it, it might be written back
            raise ValueError(f"{path} is not UTF-8 text: byte {error.start}") from error
        first, most = params.get("line"), params.get("limit")
        if first is None and most is None:
            return {"content": text}
        lines = text.splitlines(keepends=True)[max(0, int(first or 1) - 1) :]
        return {"content": "".join(lines if most is None else lines[: int(most)])}

    def write(self, params: dict[str, Any]) -> None:
        """Replace a text file of the workspace."""
        path, content = self.file(params), params["content"]
        if not isinstance(content, str) or len(content) > FILE:
            raise ValueError("content must be a text, and not too large")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())


def parsed(line: bytes) -> dict[str, Any] | None:
    """The message of a line, or None: agents print other lines as well."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def answer(message: dict[str, Any], method: str) -> dict[str, Any]:
    """The result of a request; Failed when it is an error."""
    error = message.get("error")
    if error is not None:
        error = error if isinstance(error, dict) else {"message": error}
        data = error.get("data")
        more = f" {json.dumps(data)}" if data else ""
        auth = " (authentication required)" if error.get("code") == REFUSED else ""
        raise Failed(f"{method}: {error.get('message')}{auth}{more}")
    result = message.get("result")
    return result if isinstance(result, dict) else {}


def paths_of(call: dict[str, Any]) -> Iterator[str]:
    """All files that a tool call names."""
    for key in ("locations", "content"):
        for item in call.get(key) or ():
            if isinstance(item, dict) and isinstance(item.get("path"), str):
                yield item["path"]
    raw = call.get("rawInput")
    for key, value in raw.items() if isinstance(raw, dict) else ():
        if key.lower().replace("_", "") in PATH_KEYS and isinstance(value, str):
            yield value


def tokens_of(result: dict[str, Any]) -> float:
    """Tokens of a turn by its result, in the protocol's form or in Gemini's; else 0."""
    usage = result.get("usage")
    total = number(usage.get("totalTokens")) if isinstance(usage, dict) else 0.0
    found: Any = result
    for key in ("_meta", "quota", "token_count"):
        found = found.get(key) if isinstance(found, dict) else None
    both = found.values() if isinstance(found, dict) else ()
    return max(total, sum(map(number, both)))


def number(value: object) -> float:
    """An amount, or 0 where it is unknown."""
    return METERS.amount(value) or 0.0


def emit(**event: object) -> None:
    """Print one event, on a line."""
    print(json.dumps(event), flush=True)


def drive(order: dict[str, Any]) -> None:
    """Start the agent, run the session, and print how it ended."""
    try:
        wire = Wire(order["argv"], order["silence"], time.monotonic() + order["seconds"])
    except OSError as error:
        emit(type="acp.error", message=f"cannot start {order['argv'][0]}: {error.strerror}")
        return
    most = order.get("turns", 0), order.get("usd", 0)
    client = Client(wire, Path(order["workspace"]), most)
    try:
        stop = client.converse(order["prompt"])
        if stop in STOPS:
            emit(type="acp.error", message=STOPS[stop])
    except Failed as error:
        emit(type="acp.error", message=str(error), code=error.code)
    except TooMuch as error:
        client.cancel()
        emit(type="acp.error", message=str(error))
    except Silent:
        client.cancel()
        print(json.dumps({"type": "autoresearch", "silent": order["silence"]}), flush=True)
    emit(type="acp.end", usd=client.stated, tokens=client.used)
    wire.agent.kill()


if __name__ == "__main__":
    drive(json.loads(Path(sys.argv[1]).read_text()))
