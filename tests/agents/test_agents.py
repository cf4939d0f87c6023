"""Real coding agents in real studies, against a scripted model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.model import model, says_nothing, starts
from agents.night import KEY, Night, night
from agents.tools import AGENTS
from autoresearch.executors.probe import probe
from model_server import Reply, Request, Script, fails, hangs

pytestmark = [pytest.mark.agents, pytest.mark.timeout(900)]
CHILD = "setsid sleep 300 >/dev/null 2>&1 & sleep 0"  # in a session of its own
BOTH = pytest.mark.parametrize("agent", ["codex", "mini-swe-agent"])
STATUSES = [("keep", 10.0), ("keep", 9.0), ("discard", 12.0), ("keep", 7.0)]


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """The program of a test's agent; a skip only where the registry will not give it."""
    agent = request.getfixturevalue("agent")
    if agent in AGENTS and (refused := AGENTS[agent][0].install()):
        pytest.skip(f"{agent} could not be installed: {refused}")


def outcomes(night: Night) -> list[tuple[str, float | None]]:
    """Status and score of each trial."""
    return [(str(trial.status), trial.value) for trial in night.trials()]


@pytest.mark.parametrize("agent", [*AGENTS, "llm:scripted"])
def test_three_trials_by_a_real_agent(agent: str, tmp_path: Path) -> None:
    """Its edits are kept and discarded, its words are the notes, its tokens are counted."""
    with night(tmp_path, agent, model(agent.partition(":")[0], [9.0, 12.0, 7.0])) as mine:
        mine.make_lab()
        assert mine.run(trials=3) == 0
        assert outcomes(mine) == STATUSES
        assert [t.note for t in mine.trials()[1:]] == ["score 9", "score 12", "score 7"]
        assert {t.proposer for t in mine.trials()[1:]} == {agent.partition(":")[0]}
        assert mine.for_nothing() == []
        assert len(mine.tokens()) == 3
        assert min(mine.tokens()) > 0


@BOTH
def test_sessions_of_a_real_agent_are_held_ahead(agent: str, tmp_path: Path) -> None:
    """While a trial runs the next session edits; what a keep made obsolete is put aside."""
    with night(tmp_path, agent, model(agent, [9.0, 12.0, 13.0, 14.0])) as mine:
        mine.make_lab()
        assert mine.run(trials=3, ahead=True) == 0
        assert outcomes(mine) == [*STATUSES[:2], ("discard", 13.0), ("discard", 14.0)]
        assert mine.for_nothing() == ["overtaken"]


@BOTH
def test_an_answer_without_an_edit_is_no_trial(agent: str, tmp_path: Path) -> None:
    """The program exits with 0; the night goes on to the next session."""
    with night(tmp_path, agent, model(agent, [says_nothing, 9.0])) as mine:
        mine.make_lab()
        assert mine.run(trials=1) == 0
        assert mine.for_nothing() == ["empty"]
        assert "it changed no editable file" in mine.out
        assert outcomes(mine) == STATUSES[:2]


@pytest.mark.parametrize("agent", AGENTS)
def test_a_key_that_is_refused_ends_it_and_is_named(agent: str, tmp_path: Path) -> None:
    """401: the session ends, the variable is named, the key itself is not shown."""
    with night(tmp_path, agent, lambda _: fails(401, f"Incorrect API key: {KEY}")) as mine:
        mine.make_lab()
        assert mine.run(trials=1) != 0
        assert AGENTS[agent][1] in mine.out
        assert KEY not in mine.out
        assert mine.for_nothing() == ["stop"]
        assert outcomes(mine) == STATUSES[:1]


@BOTH
def test_too_many_requests_pass(agent: str, tmp_path: Path) -> None:
    """429 once: whether the program waits or we do, the next session edits."""

    def busy(request: Request) -> Reply:
        return fails(429, "Rate limit reached", retry_after=1)

    with night(tmp_path, agent, model(agent, [busy, 9.0])) as mine:
        mine.make_lab()
        assert mine.run(trials=1) == 0
        assert set(mine.for_nothing()) <= {"busy"}
        assert outcomes(mine) == STATUSES[:2]


@pytest.mark.parametrize("sandbox", ["required", "off"])
@BOTH
def test_a_hang_is_ended_with_all_that_it_started(agent: str, sandbox: str, tmp_path: Path) -> None:
    """A child in a session of its own, then silence: late, nothing left, and the night goes on."""
    if sandbox == "required" and probe().level != "bubblewrap":
        pytest.skip("no bubblewrap here")
    # codex in its own sandbox ends what a command started with the command
    running = "codex exec" if (agent, sandbox) == ("codex", "off") else "sleep 300"
    seen: list[list[str]] = []
    script = model(agent, [starts(CHILD), 9.0, 9.0, 9.0])  # on a slow machine one more is late
    script = hanging(script, lambda: seen.append(mine.survivors()))
    with night(tmp_path, agent, script) as mine:
        mine.make_lab("seconds = 25", sandbox)
        assert mine.run(trials=1) == 0
        assert any(running in words for words in seen[0])  # it was there
        assert set(mine.for_nothing()) == {"late"}
        assert outcomes(mine) == STATUSES[:2]


def hanging(script: Script, look: Callable[[], None]) -> Script:
    """A script whose first answer to a tool's result does not come; a look at what runs then."""
    held: list[Request] = []

    def hang(request: Request) -> Reply:
        if request.results and not held:
            held.append(request)
            look()
            return hangs(60)
        return script(request)

    return hang
