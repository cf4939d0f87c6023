"""A stand-in for an agent of the Agent Client Protocol on stdio; it runs its SCRIPT."""

from __future__ import annotations

SOURCE = r"""
import json, os, sys, time
from pathlib import Path

asked = 0

def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

def hear():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)

def ask(method, **params):
    global asked
    asked += 1
    send(id=f"a{asked}", method=method, params={"sessionId": "s", **params})
    while True:
        message = hear()
        if message.get("id") == f"a{asked}":
            return message
        if message.get("method") == "session/cancel":
            return {"cancelled": True}

def may(kind, path, where="locations"):
    call = {"toolCallId": "1", "title": f"{kind} {path}", "kind": kind}
    if where == "locations":
        call["locations"] = [{"path": path}] if path else []
    elif where == "content":
        call["content"] = [{"type": "diff", "path": path, "newText": ""}]
    else:
        call["rawInput"] = {where: path}
    options = [{"optionId": "y", "name": "Yes", "kind": "allow_once"},
               {"optionId": "n", "name": "No", "kind": "reject_once"}]
    outcome = ask("session/request_permission", toolCall=call, options=options)["result"]["outcome"]
    return outcome.get("optionId") == "y"

def write(path, text):
    return "error" not in ask("fs/write_text_file", path=path, content=text)

def read(path, **more):
    return ask("fs/read_text_file", path=path, **more).get("result", {}).get("content")

def say(text):
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    send(method="session/update", params={"sessionId": "s", "update": update})

def tool(title):
    update = {"sessionUpdate": "tool_call", "toolCallId": title, "title": title, "kind": "read"}
    send(method="session/update", params={"sessionId": "s", "update": update})

def usage(used, amount):
    update = {"sessionUpdate": "usage_update", "used": used, "size": 200000,
              "cost": {"amount": amount, "currency": "USD"}}
    send(method="session/update", params={"sessionId": "s", "update": update})

def turn(prompt, cwd):
    SCRIPT
    return "end_turn"

print("a line that is no message")
hello = hear()
assert hello["params"]["clientCapabilities"]["terminal"] is False
VERSION_ANSWER
new = hear()
send(id=new["id"], result={"sessionId": "s"})
asking = hear()
reason = turn(asking["params"]["prompt"][0]["text"], new["params"]["cwd"])
if isinstance(reason, str):
    send(id=asking["id"], result={"stopReason": reason})
else:
    send(id=asking["id"], error=reason)
time.sleep(60)
"""
HELLO = 'send(id=hello["id"], result={"protocolVersion": 1, "agentCapabilities": {}})'


def acp_program(python: str, script: str, hello: str = HELLO) -> str:
    """The text of a program that runs this turn."""
    body = script.replace("\n", "\n    ")
    return f"#!{python} -IS\n" + SOURCE.replace("SCRIPT", body).replace("VERSION_ANSWER", hello)
