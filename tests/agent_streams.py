"""What coding agents print, in the form of each, and stand-ins that print it.

The forms are those of the real programs; the words are ours.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

NOTE = "halved the score"
USD, TOKENS = 0.25, 1200  # of every success whose form can tell
WITH_USD = ("claude", "opencode", "aider", "mini-swe-agent", "pi")
PROGRAMS = {
    "claude": "claude",
    "codex": "codex",
    "gemini": "gemini",
    "opencode": "opencode",
    "aider": "aider",
    "mini-swe-agent": "mini",
    "pi": "pi",
    "goose": "goose",
    "cursor": "cursor-agent",
}
ERRORS = {  # name -> HTTP status, words, kind, retry after
    "401": (401, "Invalid API key provided", "stop", None),
    "429": (429, "Rate limit reached. Please try again in 20s.", "busy", 20.0),
    "500": (500, "Internal server error", "busy", None),
    "529": (529, "Overloaded", "busy", None),
    "refusal": (None, "refusal: the request is against the usage policy", "refusal", None),
    "context": (400, "prompt is too long: 250000 tokens > 200000 maximum", "refusal", None),
    "spend": (400, "Your credit balance is too low to access the API", "stop", None),
}
_SAID = f"I looked at the file.\nNOTE: {NOTE}"


def lines(*events: dict[str, object]) -> str:
    """Events, one a line."""
    return "".join(json.dumps(event) + "\n" for event in events)


def good(agent: str) -> str:
    """An agent's final output; for mini-swe-agent the trajectory."""
    usage = {"input_tokens": 1000, "output_tokens": 200}
    texts = [{"type": "text", "text": _SAID}]
    forms: dict[str, str] = {
        "claude": lines(
            {"type": "system", "subtype": "init", "session_id": "s", "tools": ["Edit"]},
            {"type": "assistant", "message": {"role": "assistant", "content": texts}},
            {
                "type": "result", "subtype": "success", "is_error": False, "result": _SAID,
                "total_cost_usd": USD, "num_turns": 2, "usage": usage,
            },
        ),
        "codex": lines(
            {"type": "thread.started", "thread_id": "t"},
            {"type": "turn.started"},
            {"type": "error", "message": "Reconnecting... 1/5 (unexpected status 503)"},
            {"type": "item.completed", "item": {"type": "file_change", "status": "completed"}},
            {"type": "item.completed", "item": {"type": "agent_message", "text": _SAID}},
            {"type": "turn.completed", "usage": usage},
        ),
        "gemini": lines(
            {"type": "init", "session_id": "s", "model": "m"},
            {"type": "message", "role": "user", "content": "do it"},
            {"type": "message", "role": "assistant", "content": "thinking", "delta": True},
            {"type": "tool_use", "tool_name": "replace", "tool_id": "1", "parameters": {}},
            {"type": "tool_result", "tool_id": "1", "status": "success"},
            {"type": "message", "role": "assistant", "content": _SAID[:30], "delta": True},
            {"type": "message", "role": "assistant", "content": _SAID[30:], "delta": True},
            {"type": "result", "status": "success", "stats": {"total_tokens": TOKENS}},
        ),
        "opencode": lines(
            {"type": "step_start", "sessionID": "s", "part": {"type": "step-start"}},
            {"type": "tool_use", "sessionID": "s", "part": {"tool": "edit", "state": {}}},
            {
                "type": "step_finish",
                "part": {"cost": USD / 2, "tokens": {"input": 500, "output": 100, "reasoning": 0}},
            },
            {"type": "text", "sessionID": "s", "part": {"type": "text", "text": _SAID}},
            {
                "type": "step_finish",
                "part": {"cost": USD / 2, "tokens": {"input": 500, "output": 100, "reasoning": 0}},
            },
        ),
        "aider": (
            f"Aider v0.86.2\n{_SAID}\n\ntrain.py\n<<<<<<< SEARCH\n"
            "Tokens: 1.0k sent, 200 received. Cost: $0.25 message, $0.25 session.\n"
            "Applied edit to train.py\n"
        ),
        "mini-swe-agent": json.dumps(
            {
                "info": {
                    "exit_status": "Submitted", "submission": _SAID,
                    "model_stats": {"instance_cost": USD, "api_calls": 2},
                },
                "messages": [
                    {"role": "user", "content": "do it"},
                    {"extra": {"response": {"usage": {"total_tokens": TOKENS}}}},
                ],
            },
            indent=2,
        ),
        "pi": lines(
            {"type": "session", "id": "s"},
            {"type": "agent_start"},
            {"type": "message_end", "message": {"role": "user", "content": []}},
            {
                "type": "message_end",
                "message": {
                    "role": "assistant", "content": texts, "stopReason": "stop",
                    "usage": {"totalTokens": TOKENS, "cost": {"total": USD}},
                },
            },
            {"type": "agent_end", "messages": []},
        ),
        "goose": lines(
            {"type": "message", "message": {"role": "user", "content": []}},
            {"type": "message", "message": {"role": "assistant", "content": texts}},
            {"type": "complete", "total_tokens": TOKENS},
        ),
        "cursor": lines(
            {"type": "system", "subtype": "init", "model": "m"},
            {"type": "assistant", "message": {"role": "assistant", "content": texts}},
            {"type": "result", "subtype": "success", "is_error": False, "result": _SAID,
             "usage": {"inputTokens": 1000, "outputTokens": 200}},
        ),
    }  # fmt: skip
    return forms[agent]


def bad(agent: str, error: str) -> str:
    """What an agent prints that ended with an error."""
    code, words, _, _ = ERRORS[error]
    status = f"unexpected status {code}: {words}" if code else words
    forms: dict[str, str] = {
        "claude": lines(
            {"type": "system", "subtype": "init"},
            {
                "type": "result", "subtype": "success", "is_error": True, "result": words,
                "api_error_status": code, "total_cost_usd": 0.01,
            },
        ),
        "codex": lines(
            {"type": "turn.started"},
            {"type": "error", "message": status},
            {"type": "turn.failed", "error": {"message": status}},
        ),
        "gemini": lines(
            {"type": "init", "session_id": "s", "model": "m"},
            {"type": "result", "status": "error", "error": {"type": "Error", "message": status}},
        ),
        "opencode": lines(
            {
                "type": "error",
                "error": {"name": "APIError", "data": {"message": words, "statusCode": code}},
            }
        ),
        "aider": f"litellm.{_LITELLM[error]}: OpenAIException - {words}\n",
        "mini-swe-agent": json.dumps(
            {"info": {"exit_status": _LITELLM[error], "exception_str": status}, "messages": []}
        ),
        "pi": lines(
            {
                "type": "message_end",
                "message": {
                    "role": "assistant", "content": [], "stopReason": "error",
                    "errorMessage": f"{code or ''} {words}",
                },
            },
            {"type": "agent_end", "messages": []},
        ),
        "goose": lines({"type": "error", "error": status}),
        "cursor": lines(
            {"type": "result", "subtype": "error", "is_error": True, "result": status}
        ),
    }  # fmt: skip
    return forms[agent]


_LITELLM = {
    "401": "AuthenticationError",
    "429": "RateLimitError",
    "500": "InternalServerError",
    "529": "InternalServerError",
    "refusal": "BadRequestError",
    "context": "ContextWindowExceededError",
    "spend": "BadRequestError",
}

EDIT = "Path('train.py').write_text('SCORE = 5.0\\n')"
PROGRAM = """#!{python} -IS
import json, os, subprocess, sys, time
from pathlib import Path
if "--version" in sys.argv:
    print("stand-in 1.2.3")
    sys.exit(0)
if "-o" in sys.argv and sys.argv[sys.argv.index("-o") + 1].endswith("trajectory.json"):
    trajectory = Path(sys.argv[sys.argv.index("-o") + 1])
else:
    trajectory = None
{act}
text = {text!r}
if trajectory:
    trajectory.write_text(text)
else:
    sys.stdout.write(text)
sys.exit({code})
"""


def stand_in(folder: Path, agent: str, text: str, act: str = EDIT, code: int = 0) -> Path:
    """A program of an agent's name that does something, prints something, and ends."""
    return script(
        folder,
        PROGRAMS[agent],
        PROGRAM.format(python=sys.executable, act=act, text=text, code=code),
    )


def script(folder: Path, name: str, text: str) -> Path:
    """An executable file that everybody may run."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder, folder.parent):
        each.chmod(0o755)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def first_on_path(folder: Path) -> str:
    """A PATH where the programs of a folder come first."""
    return os.pathsep.join([str(folder), os.environ["PATH"]])
