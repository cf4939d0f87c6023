"""The Agent Client Protocol: one client for all agents, which permits edits in the workspace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent_streams import first_on_path, script
from autoresearch.executors import Executor
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.probe import make_executor, probe
from autoresearch.proposers import AgentContext, Brief, Proposal, ProposalFailed
from autoresearch.proposers.registry import make_proposer
from stand_in_acp import HELLO, acp_program

EDIT = (
    "say('Looking. ')\nassert may('edit', cwd + '/train.py')\n"
    "text = read(cwd + '/train.py')\nassert write(cwd + '/train.py', text.replace('10', '5'))\n"
    "usage(1000, 0.1)\nusage(1500, 0.25)\nsay('NOTE: halved ')\nsay('the score')"
)


class Bench:
    """A workspace, and agents that speak the protocol."""

    def __init__(self, root: Path, executor: Executor) -> None:
        root.chmod(0o755)
        (root / "state").mkdir()
        self.root, self.executor = root, executor
        self.workspace = root / "workspace"
        self.workspace.mkdir()
        (self.workspace / "train.py").write_text("SCORE = 10.0\n")

    def play(self, turn: str = EDIT, hello: str = HELLO, **changed: object) -> Proposal:
        """One proposal by an agent that runs this turn."""
        script(self.root / "tools" / "bin", "speaker", acp_program(sys.executable, turn, hello))
        mine = {"command": ["speaker"], "format": "acp", **changed}
        context = AgentContext(
            home=self.root / "state" / "agent", executor=self.executor, agents={"speaker": mine}
        )
        brief = Brief("Make the score small.", ("train.py",), "c0")
        return make_proposer("speaker", context=context).propose(self.workspace, brief)

    def train(self) -> str:
        """The editable file as it stands."""
        return (self.workspace / "train.py").read_text()

    def answers(self, *questions: str) -> list[bool]:
        """What the client answers to each; the agent writes it down in the editable file."""
        asked = ", ".join(f"bool({question})" for question in questions)
        self.play(f"answers = [{asked}]\nPath(cwd, 'train.py').write_text(repr(answers))")
        return list(eval(self.train()))


@pytest.fixture(params=["none", "bubblewrap"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Without a sandbox, and in one."""
    if request.param != "none" and probe().level != request.param:
        pytest.skip("no bubblewrap here")
    monkeypatch.setenv("PATH", first_on_path(tmp_path / "tools" / "bin"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    executor = LocalExecutor() if request.param == "none" else make_executor("required")
    return Bench(tmp_path, executor)


def failure(bench: Bench, *args: str, **changed: object) -> ProposalFailed:
    """The failure that a session ends with."""
    with pytest.raises(ProposalFailed) as caught:
        bench.play(*args, **changed)
    return caught.value


def test_a_session_from_handshake_to_note(bench: Bench) -> None:
    """The agent asks, reads and writes through the client; cost, tokens and note arrive."""
    proposal = bench.play()
    assert bench.train() == "SCORE = 5.0\n"
    assert (proposal.note, proposal.cost_usd, proposal.tokens) == ("halved the score", 0.25, 1500)


def test_the_policy_is_edits_inside_the_workspace_and_nothing_else(bench: Bench) -> None:
    """By locations, diffs or raw input; commands, fetches and the outside are refused."""
    (bench.workspace / "way-out").symlink_to("/etc")
    good = [
        "may('edit', 'train.py')",
        "may('edit', cwd + '/train.py', 'content')",
        "may('edit', cwd + '/new.py', 'filePath')",
    ]
    bad = [
        "may('edit', '/etc/passwd')",
        "may('edit', '../state/x', 'file_path')",
        "may('edit', cwd + '/way-out/x')",
        "may('edit', '')",
        "may('execute', cwd + '/train.py')",
        "may('delete', cwd + '/train.py')",
        "may('fetch', cwd + '/train.py')",
        "may('', cwd + '/train.py')",
    ]
    assert bench.answers(*good, *bad) == [True] * len(good) + [False] * len(bad)


def test_files_are_read_and_written_inside_the_workspace_only(bench: Bench) -> None:
    """Not through a link either; single lines can be read; there is no terminal."""
    (bench.workspace / "way-out").symlink_to("/etc")
    (bench.workspace / "latin.txt").write_bytes(b"caf\xe9")
    assert bench.answers(
        "read(cwd + '/train.py') == 'SCORE = 10.0\\n'",
        "read(cwd + '/train.py', line=2, limit=1) == ''",
        "read('/etc/passwd')",
        "read(cwd + '/way-out/passwd')",
        "read(cwd)",
        "read(cwd + '/latin.txt')",
        "write('/tmp/outside', '')",
        "write(cwd + '/way-out/x', '')",
        "write(cwd + '/sub/new.txt', 'x')",
        "'error' not in ask('terminal/create', command='id')",
        "'error' not in ask('fs/read_text_file')",
    ) == [True, True, False, False, False, False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("turn", "kind"),
    [
        ("return 'refusal'", "refusal"),
        ("return 'max_turn_requests'", "late"),
        ("return 'max_tokens'", "refusal"),
        ("return {'code': -32000, 'message': 'Authentication required'}", "stop"),
        ("return {'code': -32603, 'message': 'Internal error', 'data': {'code': 429}}", "busy"),
        ("return 'end_turn'", "empty"),
        ("sys.exit(3)", "empty"),
        ("print('x' * 20_000_000, flush=True)", "empty"),
    ],
)
def test_an_end_that_is_none(turn: str, kind: str, bench: Bench) -> None:
    """Reasons, errors and an agent that is gone: each has its kind."""
    assert failure(bench, turn).kind == kind


@pytest.mark.parametrize(
    "told",
    [
        "'usage': {'totalTokens': 220}",
        "'_meta': {'quota': {'token_count': {'input_tokens': 200, 'output_tokens': 20}}}",
    ],
)
def test_tokens_are_read_from_the_end_of_a_turn(told: str, bench: Bench) -> None:
    """Where no update reported them before."""
    turn = "Path(cwd, 'train.py').write_text('SCORE = 5.0')\n"
    turn += f"send(id=asking['id'], result={{'stopReason': 'end_turn', {told}}})"
    assert bench.play(turn + "\ntime.sleep(60)").tokens == 220


def test_another_version_of_the_protocol_is_said(bench: Bench) -> None:
    """Rather than guessed at."""
    hello = HELLO.replace('"protocolVersion": 1', '"protocolVersion": 99')
    assert "speaks ACP 99" in str(failure(bench, EDIT, hello))


def test_silence_is_ended_with_a_cancel(bench: Bench) -> None:
    """The agent is requested to stop, then killed; its cost so far is known."""
    turn = "usage(10, 0.5)\nlog = cwd + '/heard'\nPath(log).write_text(json.dumps(hear()))\n"
    failed = failure(bench, turn + "time.sleep(300)", silence=1)
    assert (failed.kind, failed.cost_usd) == ("late", 0.5)
    assert "session/cancel" in (bench.workspace / "heard").read_text()


def test_tool_after_tool_is_ended_with_a_cancel(bench: Bench) -> None:
    """Each tool call is a turn; the agent is requested to stop before it is killed."""
    turn = "log = cwd + '/heard'\nfor n in range(4): tool(f'look {n}')\n"
    turn += "Path(log).write_text(json.dumps(hear()))\ntime.sleep(300)"
    failed = failure(bench, turn, turns=3)
    assert failed.kind == "late"
    assert "ended after 3 turns" in str(failed)
    assert "session/cancel" in (bench.workspace / "heard").read_text()


def test_dollars_over_the_limit_end_it(bench: Bench) -> None:
    """By the dollars in its updates."""
    failed = failure(bench, "usage(10, 2.5)\ntime.sleep(300)", usd=2.0)
    assert (failed.kind, failed.cost_usd) == ("late", 2.5)


def test_an_agent_that_is_not_executable_in_there_is_said(bench: Bench) -> None:
    """A script whose interpreter is missing cannot start: a person must fix it."""
    tools = bench.root / "tools" / "bin"
    script(tools, "gone", "#!/no/such/interpreter\n")
    mine = {"command": ["gone"], "format": "acp"}
    context = AgentContext(
        bench.root / "state" / "agent", executor=bench.executor, agents={"gone": mine}
    )
    proposer = make_proposer("gone", context=context)
    with pytest.raises(ProposalFailed, match="cannot start") as caught:
        proposer.propose(bench.workspace, Brief("x", ("train.py",), "c0"))
    assert caught.value.kind == "stop"
