"""mcp: the official SDK's own client drives a tiny lab over stdio."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoresearch.executors.background import Background
from tiny_lab import CRASHES, TASK, git, make_lab

pytest.importorskip("mcp.server.mcpserver", reason="the extra [mcp] is not installed")

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

TOOLS = {"start_trial", "wait_trial", "status", "results", "show", "diff", "best", "brief"}
SLOW = "import time\nprint('step 1 | progress 50% | loss 2.0', flush=True)\ntime.sleep(600)\n"
WAITS = """import pathlib, time
print('step 1 | progress 25% | loss 2.0', flush=True)
while not pathlib.Path({gate!r}).exists():
    time.sleep(0.05)
SCORE = {score}
"""

Drive = Callable[[ClientSession], Awaitable[None]]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    """A tiny lab whose baseline scores 10, and where one run is enough."""
    text = TASK.replace("timeout = 20", "timeout = 100")
    text = 'sandbox = "off"\n' + text + '[keep]\nstrategy = "greedy"\n'
    folder = make_lab(tmp_path / "lab", task_toml=text)
    yield folder
    child = Background(folder / ".autoresearch" / ".mcp")
    if child.running() and (started := child.last()):  # a test failed half-way
        psutil.Process(started.pid).kill()


@contextlib.asynccontextmanager
async def served(lab: Path) -> AsyncIterator[ClientSession]:
    """A client of a server in a process of its own."""
    words = ["-m", "autoresearch", "mcp", "--lab", str(lab)]
    server = StdioServerParameters(command=sys.executable, args=words)
    with (lab.parent / "server.err").open("w") as errors:
        async with (
            stdio_client(server, errlog=errors) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            yield session


def drive(lab: Path, script: Drive) -> None:
    """Run a script against a server of the lab."""

    async def main() -> None:
        async with served(lab) as session:
            await script(session)

    anyio.run(main)


async def answer_of(session: ClientSession, tool: str, **words: Any) -> dict[str, Any]:
    """The typed answer of a tool."""
    answer = await session.call_tool(tool, words)
    assert not answer.is_error, answer.content[0].text
    return answer.structured_content


async def refused(session: ClientSession, tool: str, **words: Any) -> str:
    """The error of a tool."""
    answer = await session.call_tool(tool, words)
    assert answer.is_error
    return answer.content[0].text


async def run_trial(session: ClientSession, note: str) -> dict[str, Any]:
    """Start a trial and wait until it is over."""
    await answer_of(session, "start_trial", note=note)
    while (now := await answer_of(session, "wait_trial", seconds=5))["state"] == "running":
        pass
    return now


def test_an_agent_can_research_by_tools_alone(lab: Path) -> None:
    """Baseline, a keep, a crash; all tools report the same, typed."""

    async def script(session: ClientSession) -> None:
        tools = (await session.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        assert all(tool.description and tool.output_schema for tool in tools)
        first = await run_trial(session, "baseline")
        assert (first["state"], first["result"]["value"]) == ("finished", 10.0)
        (lab / "train.py").write_text("SCORE = 7\n")
        kept = (await run_trial(session, "--smaller"))["result"]
        assert (kept["number"], kept["word"], kept["delta"]) == (1, "keep", -3.0)
        (lab / "train.py").write_text(CRASHES)
        crashed = (await run_trial(session, "boom"))["result"]
        assert (crashed["word"], crashed["best"], crashed["best_trial"]) == ("crash", 7.0, 1)
        assert "RuntimeError: boom" in crashed["why"]
        assert "Put back train.py" in crashed["next"]
        assert (lab / "train.py").read_text() == "SCORE = 7\n"
        rows = (await answer_of(session, "results", last=2))["rows"]
        assert [(row["trial"], row["status"], row["note"]) for row in rows] == [
            (1, "keep", "--smaller"),
            (2, "crash", "boom"),
        ]
        status = await answer_of(session, "status")
        assert (status["trials"], status["crashed"], status["best"]) == (3, 1, 7.0)
        assert (status["running"], status["direction"]) == ("", "minimize")
        assert "Traceback" in "\n".join((await answer_of(session, "show", trial=2))["log"])
        assert len((await answer_of(session, "show", trial=2, lines=1))["log"]) == 1
        assert "+SCORE = 7\n" in (await answer_of(session, "diff", trial=1))["text"]
        assert (await answer_of(session, "best"))["branch"].startswith("autoresearch/")
        assert "Make the score small." in (await answer_of(session, "brief"))["text"]

    drive(lab, script)


def test_one_trial_runs_at_a_time_and_waiting_for_it_is_bounded(lab: Path) -> None:
    """A second start names the first; a wait answers during the trial, with its progress."""
    gate = lab.parent / "gate"
    (lab / "train.py").write_text(WAITS.format(gate=str(gate), score=7))

    async def script(session: ClientSession) -> None:
        await answer_of(session, "start_trial", note="the slow one")
        assert "'the slow one'" in await refused(session, "start_trial", note="another")
        now = await answer_of(session, "wait_trial", seconds=0)
        while now.get("progress") != 0.25:  # before that the baseline runs
            now = await answer_of(session, "wait_trial", seconds=0.2)
            assert now["state"] == "running", now
        assert "progress 25%" in now["log"][-1]
        assert "run of #1" in now["doing"]
        assert (await answer_of(session, "status"))["running"] != ""
        assert "50" in await refused(session, "wait_trial", seconds=51)
        gate.touch()
        end = await answer_of(session, "wait_trial", seconds=50)
        assert (end["state"], end["result"]["value"]) == ("finished", 7.0)

    drive(lab, script)


def test_a_trial_outlives_its_server(lab: Path) -> None:
    """The client is gone, the trial goes on; the next server waits for it and has its result."""
    gate = lab.parent / "gate"
    (lab / "train.py").write_text(WAITS.format(gate=str(gate), score=6))

    async def start(session: ClientSession) -> None:
        await answer_of(session, "start_trial", note="outlives")

    async def finish(session: ClientSession) -> None:
        assert (await answer_of(session, "wait_trial", seconds=0))["state"] == "running"
        assert "'outlives'" in await refused(session, "start_trial", note="another")
        gate.touch()
        end = await answer_of(session, "wait_trial", seconds=50)
        assert (end["result"]["word"], end["result"]["value"]) == ("keep", 6.0)

    drive(lab, start)
    drive(lab, finish)


def test_a_trial_that_cannot_begin_says_why(lab: Path) -> None:
    """No edit, no earlier trial, no such trial: each is an answer, not a crash of the server."""

    async def script(session: ClientSession) -> None:
        assert "start_trial" in await refused(session, "wait_trial")
        assert "No study here yet" in await refused(session, "status")
        await run_trial(session, "baseline")
        again = await run_trial(session, "nothing new")
        assert (again["state"], again["result"]) == ("failed", None)
        assert "no change from the best" in again["error"]
        assert "there are: 0 to 0" in await refused(session, "show", trial=99)
        assert "there are: 0 to 0" in await refused(session, "diff", trial=99)

    drive(lab, script)


def test_a_paused_study_begins_no_trial(lab: Path) -> None:
    """`pause` holds for start_trial as for the loop; the agent's edit stays."""

    async def script(session: ClientSession) -> None:
        await run_trial(session, "baseline")
        (lab / "train.py").write_text("SCORE = 7\n")
        [home] = (lab / ".autoresearch").glob("*/ledger.db")
        pause = home.with_name("pause")
        pause.write_text("21 Nov 16:00\n")
        assert "paused since 21 Nov 16:00" in await refused(session, "start_trial", note="mine")
        pause.unlink()
        assert (await run_trial(session, "mine"))["result"]["value"] == 7.0

    drive(lab, script)


def test_a_note_may_hold_anything(lab: Path) -> None:
    """Characters that a command line cannot take are removed."""

    async def script(session: ClientSession) -> None:
        started = await answer_of(session, "start_trial", note="a\0b \x1b[31mred")
        assert started["note"] == "ab red"
        await answer_of(session, "wait_trial", seconds=50)

    drive(lab, script)


def test_a_study_that_another_process_runs_is_left_alone(lab: Path) -> None:
    """While `autoresearch run` holds the study, start_trial names its process."""
    (lab / "train.py").write_text(SLOW)
    git(lab, "commit", "-qam", "slow")
    words = [sys.executable, "-m", "autoresearch", "run", "--tag", "t", "--lab", str(lab)]
    loop = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = lab / ".autoresearch" / "t" / "trials" / "0" / "run-0" / "run.log"
    try:
        wait_for(lambda: log.exists())

        async def script(session: ClientSession) -> None:
            assert f"process {loop.pid} " in await refused(session, "start_trial", note="mine")

        drive(lab, script)
    finally:
        loop.kill()
        loop.wait()


def test_a_folder_that_is_no_lab_is_named(tmp_path: Path) -> None:
    """The server starts, and every tool answers how to make a lab."""

    async def script(session: ClientSession) -> None:
        for tool in ("status", "results", "best", "brief"):
            assert "autoresearch init" in await refused(session, tool)
        assert "autoresearch init" in await refused(session, "start_trial", note="x")

    (tmp_path / "empty").mkdir()
    drive(tmp_path / "empty", script)
    assert list((tmp_path / "empty").iterdir()) == []


def test_without_the_sdk_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    """One line, exit code 2; and importing the package does not need the SDK."""
    program = (
        "import sys; sys.modules['mcp'] = None\n"
        "from autoresearch.cli import main; main(['mcp', '--lab', sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "pip install 'autoresearch[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reused_process_number_does_not_count_as_running(tmp_path: Path) -> None:
    """After a reboot another process may have the recorded number."""
    child = Background(tmp_path)
    started = child.start([sys.executable, "-c", "import time; time.sleep(60)"], "x", tmp_path)
    assert started is not None
    assert Background(tmp_path).running()
    written = tmp_path / "started.json"
    recorded = written.read_text()
    written.write_text(recorded.replace(str(started.born), str(started.born - 99)))
    assert not Background(tmp_path).running()
    written.write_text(recorded)
    psutil.Process(started.pid).kill()
    wait_for(lambda: not child.running())


def wait_for(condition: Callable[[], object]) -> None:
    """Poll, for at most 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
