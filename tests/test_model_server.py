"""The scripted model server: real clients understand it, whichever API they speak."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_server import (
    ModelServer,
    Reply,
    calls,
    cut,
    drops,
    fails,
    filtered,
    garbled,
    hangs,
    huge,
    refuses,
    runs_once,
    says,
)

pytest.importorskip("openai", reason="needs the extra llm: openai is not installed")

TOOL = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between a test and its server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def client() -> Iterator[Any]:
    """A maker of OpenAI clients that are closed afterwards."""
    import openai

    made: list[Any] = []

    def make(server: ModelServer) -> Any:
        made.append(openai.OpenAI(api_key="k", base_url=server.url, max_retries=0, timeout=20))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(server: ModelServer, path: str, body: object = None) -> tuple[int, bytes]:
    """A plain request; status and body."""
    request = urllib.request.Request(
        server.root + path, data=None if body is None else json.dumps(body).encode()
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_chat_completions(client: Any) -> None:
    """Text, usage and the request's own words arrive; whole, and in pieces."""
    messages = [{"role": "user", "content": "hello"}]
    with ModelServer([says("The answer."), says("In pieces.")]) as server:
        whole = client(server).chat.completions.create(model="m", messages=messages)
        stream = client(server).chat.completions.create(
            model="m", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert whole.choices[0].message.content == "The answer."
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (100, 50)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "In pieces."
    assert chunks[-1].usage.total_tokens == 150
    assert [request.api for request in server.requests] == ["chat", "chat"]
    assert server.requests[0].messages == messages
    assert server.requests[0].headers["authorization"] == "Bearer k"


def test_tools_in_chat_completions(client: Any) -> None:
    """A call of a tool arrives, whole and in pieces, and its result is seen."""
    ask_for = {"model": "m", "messages": [{"role": "user", "content": "go"}], "tools": [TOOL]}
    with ModelServer(runs_once("echo hi", "Done.")) as server:
        made = client(server).chat.completions
        call = made.create(**ask_for).choices[0].message.tool_calls[0]
        chunks = list(made.create(**ask_for, stream=True))
        result = {"role": "tool", "tool_call_id": call.id, "content": "hi"}
        ended = made.create(**(ask_for | {"messages": [*ask_for["messages"], result]}))
    assert json.loads(call.function.arguments)["command"] == "echo hi"
    assert any(chunk.choices[0].delta.tool_calls for chunk in chunks)
    assert ended.choices[0].message.content == "Done."
    assert len(server.requests[-1].results) == 1


def test_responses(client: Any) -> None:
    """The newer API too: text, then a tool's call; whole, and as the SDK's stream rebuilds it."""
    tool = {"type": "function", "name": "exec_command", "parameters": {}, "strict": False}
    with ModelServer(runs_once("ls", "Done.")) as server:
        made = client(server).responses
        whole = made.create(model="m", input="go")
        call = made.create(model="m", input="go", tools=[tool]).output[0]
        with made.stream(model="m", input="go") as stream:
            kinds = [event.type for event in stream]
            said = stream.get_final_response()
        with made.stream(model="m", input="go", tools=[tool]) as stream:
            called = stream.get_final_response().output[0]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "file"}
        ended = made.create(model="m", input=[result], tools=[tool])
    assert whole.output_text == said.output_text == ended.output_text == "Done."
    assert (call.name, json.loads(call.arguments)) == ("exec_command", {"cmd": "ls"})
    assert (called.name, called.arguments) == (call.name, call.arguments)
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert whole.usage.input_tokens == 100


def test_gemini() -> None:
    """generateContent, and its stream of server-sent events."""
    path = "/v1beta/models/gemini-x:"
    offered = {"functionDeclarations": [{"name": "run_shell_command"}]}
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "go"}]}]}
    with ModelServer(runs_once("ls", "All done.")) as server:
        _, whole = ask(server, f"{path}generateContent", body)
        _, stream = ask(server, f"{path}streamGenerateContent?alt=sse", body)
        _, call = ask(server, f"{path}generateContent", body | {"tools": [offered]})
        answered = {"role": "user", "parts": [{"functionResponse": {"name": "x"}}]}
        body["contents"].append(answered)
        _, ended = ask(server, f"{path}generateContent", body | {"tools": [offered]})
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: ")]
    texts = [event["candidates"][0]["content"]["parts"][0]["text"] for event in events]
    assert "".join(texts) == "All done."
    assert events[-1]["candidates"][0]["finishReason"] == "STOP"
    assert json.loads(whole)["usageMetadata"]["totalTokenCount"] == 150
    parts = json.loads(call)["candidates"][0]["content"]["parts"]
    assert parts[0]["functionCall"]["args"]["command"] == "ls"
    assert json.loads(ended)["candidates"][0]["content"]["parts"] == [{"text": "All done."}]


@pytest.mark.parametrize("api", ["chat/completions", "responses"])
@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (fails(401), 401),
        (fails(429, code="insufficient_quota"), 429),
        (garbled(), 200),
        (garbled(b"<html>", 502), 502),
        (huge(100_000), 200),
        (refuses(), 200),
        (filtered(), 200),
        (cut("half"), 200),
        (calls("bash", {"command": "ls"}, "I look."), 200),
        (hangs(0.01), 200),
        (Reply(text="x", drip=0.0001), 200),
    ],
)
def test_every_kind_of_reply_is_sent(api: str, reply: Reply, status: int) -> None:
    """Whatever a script holds reaches the client, with its status."""
    with ModelServer([reply]) as server:
        got, body = ask(server, f"/v1/{api}", {"model": "m"})
    assert got == status
    assert body


def test_headers_drops_and_unknown_paths() -> None:
    """Retry-After is a header, a dropped connection an error, and all else 404."""
    with ModelServer([drops()]) as server:
        with pytest.raises(OSError):
            ask(server, "/v1/chat/completions", {})
        assert ask(server, "/v1/elsewhere", {})[0] == 404
        assert ask(server, "/v1/chat/completions", {})[0] == 500
        assert json.loads(ask(server, "/v1/models")[1])["data"][0]["id"] == "scripted"
    assert fails(429, retry_after=2).headers == {"Retry-After": "2"}


def test_it_stops_at_once_while_a_reply_hangs() -> None:
    """The end of the server is the end of every hang."""
    import threading

    with ModelServer([hangs(60)]) as server:
        thread = threading.Thread(
            target=lambda: ask(server, "/v1/responses", {"input": "go"}), daemon=True
        )
        thread.start()
        while not server.requests:
            pass
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_it_serves_from_a_shell() -> None:
    """The first line it prints is its address."""
    program = [sys.executable, str(Path(__file__).with_name("model_server.py")), "--text", "hi"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        root = process.stdout.readline().strip()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{root}/v1/models", timeout=20) as reply:
            assert reply.status == 200
        process.terminate()
