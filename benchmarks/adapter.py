"""What a proposal by a coding agent costs beside the agent's own time. Bound: median under 0.3 s.

The agent is a stand-in that edits a line, says so in the form of its preset, and measures its own
time from beginning to end. What is left is ours: folders, brief, sandbox, the script that watches,
events, the comparison of the workspace before and after, everything killed and removed.

    python benchmarks/adapter.py [--proposals 30]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from autoresearch.executors import Executor
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.probe import make_executor, probe
from autoresearch.proposers import AgentContext, Brief
from autoresearch.proposers.command import CommandProposer, load_presets

BOUND = 0.3
BRIEF = Brief("Make the score small.\n" + "x = 1\n" * 4000, ("train.py",), "c0")
# `seconds` goes from the first line on; the interpreter's own start counts as ours.
HEAD = """#!{python} -IS
import time
began = time.perf_counter()
import json, os, sys
def send(**event):
    print(json.dumps(event), flush=True)
def edit():
    with open("train.py", "a") as stream:
        stream.write("# edited\\n")
def note():
    return f"NOTE: {{time.perf_counter() - began}}"
"""
CODEX = """
edit()
send(type="thread.started", thread_id="t")
send(type="item.completed", item=dict(type="agent_message", text=note()))
send(type="turn.completed", usage=dict(input_tokens=1000, output_tokens=200))
"""
AIDER = """
edit()
print(note())
print("Tokens: 1.0k sent, 200 received. Cost: $0.25 message, $0.25 session.")
"""
MINI = """
edit()
path = sys.argv[sys.argv.index("-o") + 1]
info = dict(exit_status="Submitted", submission=note(), model_stats=dict(instance_cost=0.1))
json.dump(dict(info=info, messages=[]), open(path, "w"))
"""
ACP = """
def hear():
    return json.loads(sys.stdin.readline())["id"]
def answer(**result):
    send(jsonrpc="2.0", id=hear(), result=result)
answer(protocolVersion=1)
answer(sessionId="s")
asked = hear()
edit()
said = dict(sessionUpdate="agent_message_chunk", content=dict(type="text", text=note()))
send(jsonrpc="2.0", method="session/update", params=dict(sessionId="s", update=said))
send(jsonrpc="2.0", id=asked, result=dict(stopReason="end_turn"))
"""
AGENTS = {  # preset -> form, program, variable of its key, what it does
    "codex": ("jsonl", "codex", "CODEX_API_KEY", CODEX),
    "aider": ("text", "aider", "OPENAI_API_KEY", AIDER),
    "mini-swe-agent": ("json", "mini", "OPENAI_API_KEY", MINI),
    "gemini-acp": ("acp", "gemini", "GEMINI_API_KEY", ACP),
}


def make_tools(folder: Path) -> None:
    """The stand-ins, first on PATH."""
    folder.mkdir()
    for _, program, key, act in AGENTS.values():
        path = folder / program
        path.write_text(HEAD.format(python=sys.executable) + act)
        path.chmod(0o755)
        os.environ[key] = "sk-bench"
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ["PATH"]])


def make_workspace(folder: Path) -> Path:
    """As many files as the nanogpt lab has."""
    folder.mkdir()
    for name in ("train.py", "prepare.py", "program.md", "task.toml", "README.md"):
        (folder / name).write_text("x = 1\n" * 2000)
    return folder


def overheads(agent: str, executor: Executor, root: Path, count: int) -> list[float]:
    """Seconds of each proposal, less those that the agent measured."""
    preset = replace(load_presets()[agent], model="m/m")
    proposer = CommandProposer(
        preset, AgentContext(home=root / "state" / "agent", executor=executor)
    )
    workspace, times = root / "workspace", []
    for _ in range(count + 1):
        began = time.perf_counter()
        proposal = proposer.propose(workspace, BRIEF)
        times.append(time.perf_counter() - began - float(proposal.note))
    return times[1:]  # the first one warms the disk's cache


def main() -> None:
    """A row for each form of output, in each kind of place that there is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proposals", type=int, default=30)
    count = parser.parse_args().proposals
    places: dict[str, Executor] = {"none": LocalExecutor()}
    if probe().level == "bubblewrap":
        places["bubblewrap"] = make_executor("required")
    print(f"{count} proposals each; bound: median under {BOUND * 1000:.0f} ms")
    print(f"{'agent':<16}{'form':<7}{'sandbox':<12}{'median ms':>10}{'p90 ms':>8}{'max ms':>8}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        make_tools(root / "tools")
        make_workspace(root / "workspace")
        for place, executor in places.items():
            for agent, (form, *_) in AGENTS.items():
                times = [1000 * t for t in overheads(agent, executor, root, count)]
                median, p90 = statistics.median(times), statistics.quantiles(times, n=10)[-1]
                head = f"{agent:<16}{form:<7}{place:<12}"
                print(f"{head}{median:>10.0f}{p90:>8.0f}{max(times):>8.0f}")


if __name__ == "__main__":
    main()
