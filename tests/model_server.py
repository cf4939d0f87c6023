"""A language model's server on loopback that says what a script tells it to.

It speaks OpenAI's chat completions and responses and Google's generateContent, streaming or not,
and records what it was asked. Nothing leaves this machine, nothing lasts longer than it must.

    with ModelServer([says("NOTE: ..."), fails(429, retry_after=2), says("...")]) as server:
        ...  # base_url=server.url; afterwards server.requests

A script is a list of replies, played in order whatever is asked, or a function from a Request to a
Reply: an agent's loop asks as often as it likes, so `runs_once(command, text)` answers by what the
request holds. From a shell: `python model_server.py --run 'echo hi' --text done` prints its
address and serves until killed.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

LONGEST = 60.0  # seconds that a reply may hang
MODEL = "scripted"

# ---- replies -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    """A call of a tool that the client offered."""

    name: str
    arguments: Mapping[str, Any]
    id: str = "call_1"


@dataclass(frozen=True)
class Reply:
    """One answer. With `body` it is sent as it stands; else it is put in the form of the API."""

    text: str = ""
    tools: tuple[Tool, ...] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    hang: float = 0.0  # seconds before anything is said
    drip: float = 0.0  # seconds between one byte of the body and the next
    drop: bool = False  # close the connection without a word
    usage: tuple[int, int] | None = (100, 50)  # tokens in, out; None: not told
    finish: str = "stop"  # in the words of chat completions: stop, length, content_filter
    refusal: str = ""


Script = Callable[["Request"], Reply]


def says(text: str, **more: Any) -> Reply:
    """A model's words."""
    return Reply(text=text, **more)


def calls(name: str, arguments: Mapping[str, Any], text: str = "", **more: Any) -> Reply:
    """A call of one tool, and words before it."""
    return Reply(text=text, tools=(Tool(name, arguments),), **more)


def fails(
    status: int,
    message: str = "scripted failure",
    *,
    code: str | None = None,
    retry_after: float | str | None = None,
) -> Reply:
    """An error as OpenAI words it; an empty account is 429 with code="insufficient_quota"."""
    error = {"message": message, "type": code or "scripted", "code": code, "param": None}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = json.dumps({"error": error}).encode()
    return Reply(status=status, headers=headers, body=body)


def hangs(seconds: float, text: str = "late") -> Reply:
    """Words after a silence, which ends early when the server stops."""
    return Reply(text=text, hang=seconds)


def refuses(words: str = "I can't help with that.") -> Reply:
    """A refusal, in the field that OpenAI has for it."""
    return Reply(refusal=words)


def filtered() -> Reply:
    """A reply that a content filter emptied."""
    return Reply(finish="content_filter")


def cut(text: str) -> Reply:
    """A reply that came to the limit of tokens."""
    return Reply(text=text, finish="length")


def garbled(body: bytes = b'{"choices": [{"mess', status: int = 200) -> Reply:
    """Bytes that are no reply."""
    return Reply(status=status, body=body)


def huge(size: int) -> Reply:
    """Valid JSON of at least this many bytes."""
    return Reply(text="x" * size)


def drops() -> Reply:
    """A connection that is closed without a word."""
    return Reply(drop=True)


# Tools that run a command, by the names that agents give them, and how they want it.
SHELLS: dict[str, Callable[[str], dict[str, Any]]] = {
    "exec_command": lambda command: {"cmd": command},
    "shell_command": lambda command: {"command": command},
    "shell": lambda command: {"command": ["bash", "-lc", command]},
    "local_shell": lambda command: {"command": ["bash", "-lc", command]},
    "bash": lambda command: {"command": command, "description": "run a command"},
    "run_shell_command": lambda command: {"command": command, "description": "run a command"},
}


def runs_once(command: str, text: str = "Done.") -> Script:
    """An agent's model: it runs a command in the first shell that is offered, then sends a text.

    Stateless: the call is made while the conversation holds no tool's result.
    """

    def script(request: Request) -> Reply:
        shell = next((name for name in SHELLS if name in request.tools), None)
        if shell is None or request.results:
            return says(text)
        return calls(shell, SHELLS[shell](command))

    return script


# ---- requests ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A client's request."""

    api: str  # "chat", "responses" or "gemini"
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: Mapping[str, Any]
    stream: bool

    @property
    def tools(self) -> list[str]:
        """Names of the tools offered, those within a namespace included."""
        return list(_tool_names(self.body.get("tools") or []))

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """Results of tools in the conversation, oldest first."""
        return [part for part in _parts(self.body) if _is_result(part)]

    @property
    def prompt(self) -> str:
        """The whole request as text."""
        return json.dumps(self.body, ensure_ascii=False)

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """The conversation, as the API has it."""
        return list(_conversation(self.body))


def _tool_names(tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict):
            yield str(function.get("name"))
        elif inner := tool.get("functionDeclarations") or tool.get("tools"):
            yield from _tool_names(inner)
        elif name := tool.get("name") or tool.get("type"):
            yield str(name)


def _conversation(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    said = body.get("messages") or body.get("contents") or body.get("input") or []
    return [{"role": "user", "content": said}] if isinstance(said, str) else said


def _parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for message in _conversation(body):
        yield message
        yield from (part for part in message.get("parts") or [] if isinstance(part, dict))


def _is_result(part: Mapping[str, Any]) -> bool:
    kind = str(part.get("type", ""))
    return part.get("role") == "tool" or kind.endswith("_output") or "functionResponse" in part


# ---- the three APIs ----------------------------------------------------------------------------


def _chat(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.refusal:
        message["refusal"] = reply.refusal
    if reply.tools:
        message["tool_calls"] = [_chat_tool(tool) for tool in reply.tools]
    finish = "tool_calls" if reply.tools else reply.finish
    body = _chat_head("chat.completion")
    body["choices"] = [{"index": 0, "message": message, "finish_reason": finish}]
    if reply.usage:
        body["usage"] = _chat_usage(reply.usage)
    return body


def _chat_stream(reply: Reply) -> Iterator[tuple[str, Any]]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> tuple[str, Any]:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return "", {**_chat_head("chat.completion.chunk"), "choices": choices}

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(reply.text):
        yield chunk({"content": piece})
    if reply.refusal:
        yield chunk({"refusal": reply.refusal})
    for index, tool in enumerate(reply.tools):
        yield chunk({"tool_calls": [{"index": index, **_chat_tool(tool)}]})
    yield chunk({}, "tool_calls" if reply.tools else reply.finish)
    if reply.usage:
        head = _chat_head("chat.completion.chunk")
        yield "", {**head, "choices": [], "usage": _chat_usage(reply.usage)}
    yield "", "[DONE]"


def _chat_head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": MODEL}


def _chat_tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "arguments": json.dumps(tool.arguments)}
    return {"id": tool.id, "type": "function", "function": function}


def _chat_usage(usage: tuple[int, int]) -> dict[str, Any]:
    asked, said = usage
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _responses(reply: Reply) -> dict[str, Any]:
    asked, said = reply.usage or (0, 0)
    usage = {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + said,
    }
    whole = reply.finish == "stop"
    return {
        **_responses_head("completed" if whole else "incomplete"),
        "incomplete_details": None if whole else {"reason": _RESPONSES_FINISH[reply.finish]},
        "output": _responses_items(reply),
        "usage": usage if reply.usage else None,
    }


_RESPONSES_FINISH = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _responses_head(status: str) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": MODEL,
        "error": None,
        "instructions": None,
        "metadata": {},
        "output": [],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
    }


def _responses_items(reply: Reply) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.text or reply.refusal:
        part = (
            {"type": "refusal", "refusal": reply.refusal}
            if reply.refusal
            else {"type": "output_text", "text": reply.text, "annotations": []}
        )
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        items.append({**message, "content": [part]})
    for number, tool in enumerate(reply.tools):
        call = {"type": "function_call", "id": f"fc_{number}", "call_id": tool.id}
        told = {"name": tool.name, "arguments": json.dumps(tool.arguments), "status": "completed"}
        items.append({**call, **told})
    return items


def _responses_stream(reply: Reply) -> Iterator[tuple[str, Any]]:
    for number, (kind, told) in enumerate(_responses_events(reply)):
        yield kind, {"type": kind, "sequence_number": number, **told}


def _responses_events(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    started = _responses_head("in_progress")
    yield "response.created", {"response": started}
    yield "response.in_progress", {"response": started}
    for index, item in enumerate(_responses_items(reply)):
        at = {"output_index": index}
        yield "response.output_item.added", {**at, "item": _begun(item)}
        at["item_id"] = item["id"]
        if item["type"] == "message":
            yield from _message_events(item["content"][0], {**at, "content_index": 0})
        else:
            arguments = item["arguments"]
            yield "response.function_call_arguments.delta", {**at, "delta": arguments}
            yield "response.function_call_arguments.done", {**at, "arguments": arguments}
        yield "response.output_item.done", {"output_index": index, "item": item}
    whole = _responses(reply)
    yield f"response.{whole['status']}", {"response": whole}


def _message_events(
    part: dict[str, Any], at: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    name = "text" if part["type"] == "output_text" else "refusal"
    yield "response.content_part.added", {**at, "part": {**part, name: ""}}
    for piece in _pieces(part[name]):
        yield f"response.{part['type']}.delta", {**at, "delta": piece}
    yield f"response.{part['type']}.done", {**at, name: part[name]}
    yield "response.content_part.done", {**at, "part": part}


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
    return {**item, **empty, "status": "in_progress"}


def _gemini(reply: Reply, *, last: bool = True) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text else []
    if last:
        parts += [_gemini_tool(tool) for tool in reply.tools]
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if last:
        candidate["finishReason"] = "SAFETY" if reply.refusal else _GEMINI_FINISH[reply.finish]
    body: dict[str, Any] = {"candidates": [candidate], "modelVersion": MODEL}
    if reply.usage:
        asked, said = reply.usage
        counted = {"promptTokenCount": asked, "candidatesTokenCount": said}
        body["usageMetadata"] = {**counted, "totalTokenCount": asked + said}
    return body


_GEMINI_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def _gemini_tool(tool: Tool) -> dict[str, Any]:
    return {"functionCall": {"name": tool.name, "args": dict(tool.arguments)}}


def _gemini_stream(reply: Reply) -> Iterator[tuple[str, Any]]:
    pieces = _pieces(reply.text)
    for piece in pieces[:-1]:
        yield "", _gemini(Reply(piece, usage=None), last=False)
    ending = Reply(
        pieces[-1] if pieces else "",
        reply.tools,
        usage=reply.usage,
        finish=reply.finish,
        refusal=reply.refusal,
    )
    yield "", _gemini(ending)


def _pieces(text: str) -> list[str]:
    """A text in three parts, so that a client must put them together."""
    size = max(1, -(-len(text) // 3))
    return [text[at : at + size] for at in range(0, len(text), size)]


WHOLE: dict[str, Callable[[Reply], dict[str, Any]]] = {
    "chat": _chat,
    "responses": _responses,
    "gemini": _gemini,
}
STREAM: dict[str, Callable[[Reply], Iterator[tuple[str, Any]]]] = {
    "chat": _chat_stream,
    "responses": _responses_stream,
    "gemini": _gemini_stream,
}

# ---- the server --------------------------------------------------------------------------------


class ModelServer:
    """The server, as a context manager; a port of its own, threads that end with it.

    After the last reply of a list it answers 500, "the script is over".
    """

    def __init__(self, script: Iterable[Reply] | Script, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._script = script if callable(script) else _in_order(list(script))
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def root(self) -> str:
        """The address without a path, as Gemini's clients want it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The base URL of OpenAI's two APIs."""
        return f"{self.root}/v1"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply(self, request: Request) -> Reply:
        """Record a request and play the next reply."""
        with self._lock:
            self.requests.append(request)
            return self._script(request)

    def pause(self, seconds: float) -> None:
        """Wait, but not past the server's own end."""
        self._stopped.wait(min(seconds, LONGEST))


def _in_order(replies: list[Reply]) -> Script:
    left = iter(replies)
    return lambda _: next(left, fails(500, "the script is over"))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _handler(model: ModelServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = LONGEST

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "nobody"}
            found = self.path.partition("?")[0].endswith("/models")
            body = {"object": "list", "data": [entry]} if found else {"error": "not found"}
            self._send(200 if found else 404, {}, json.dumps(body).encode())

        def do_POST(self) -> None:
            raw = self._body()
            request = _request(self.path, dict(self.headers.items()), raw)
            if request is None:
                self._send(404, {}, b'{"error": {"message": "no such path"}}')
                return
            reply = model.reply(request)
            model.pause(reply.hang)
            if reply.drop:
                self.close_connection = True
            elif reply.body is None and reply.status == 200 and request.stream:
                self._stream(reply, request)
            else:
                body = reply.body
                if body is None:
                    body = json.dumps(WHOLE[request.api](reply)).encode()
                self._send(reply.status, reply.headers, body, reply.drip)

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            else:
                raw = b"".join(iter(self._chunk, b""))
            return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().partition(b";")[0], 16)
            chunk = self.rfile.read(size)
            self.rfile.readline()
            return chunk

        def _send(
            self, status: int, headers: Mapping[str, str], body: bytes, drip: float = 0.0
        ) -> None:
            self.send_response(status)
            for name, text in ({"Content-Type": "application/json"} | dict(headers)).items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not drip:
                self.wfile.write(body)
                return
            for at in range(len(body)):
                model.pause(drip)
                if model._stopped.is_set():
                    return
                self.wfile.write(body[at : at + 1])
                self.wfile.flush()

        def _stream(self, reply: Reply, request: Request) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            asked = request.body.get("stream_options") or {}
            if request.api == "chat" and not asked.get("include_usage"):
                reply = replace(reply, usage=None)
            for name, told in STREAM[request.api](reply):
                data = told if isinstance(told, str) else json.dumps(told)
                event = f"event: {name}\n" if name else ""
                self.wfile.write(f"{event}data: {data}\n\n".encode())
                self.wfile.flush()

    return Handler


_PATHS = {
    "chat": re.compile(r".*/chat/completions"),
    "responses": re.compile(r".*/responses"),
    "gemini": re.compile(r".*/models/[^/]+:(generateContent|streamGenerateContent)"),
}


def _request(path: str, headers: Mapping[str, str], raw: bytes) -> Request | None:
    """The request, if it is to one of the three APIs."""
    plain = urlsplit(path).path
    api = next((name for name, pattern in _PATHS.items() if pattern.fullmatch(plain)), None)
    if api is None:
        return None
    body: Any = None
    with contextlib.suppress(ValueError):
        body = json.loads(raw)
    body = body if isinstance(body, dict) else {}
    stream = bool(body.get("stream")) or plain.endswith(":streamGenerateContent")
    lower = {name.lower(): text for name, text in headers.items()}
    return Request(api, path, lower, body, stream)


def main() -> None:
    """Serve one command and one text, until killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", default="", help="a command for the first shell that is offered")
    parser.add_argument("--text", default="Done.", help="what is said afterwards")
    parser.add_argument("--fail", type=int, default=0, help="answer this status, always")
    parser.add_argument("--port", type=int, default=0)
    told = parser.parse_args()
    script = runs_once(told.run, told.text) if told.run else lambda _: says(told.text)
    with ModelServer((lambda _: fails(told.fail)) if told.fail else script, told.port) as server:
        print(server.root, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
