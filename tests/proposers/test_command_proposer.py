"""A coding agent's session: real processes, real executors, stand-ins in place of the programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent_streams import (
    EDIT,
    NOTE,
    PROGRAMS,
    TOKENS,
    USD,
    WITH_USD,
    bad,
    first_on_path,
    good,
    stand_in,
)
from autoresearch.errors import ProposerError
from autoresearch.executors import Executor
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.probe import make_executor, probe
from autoresearch.proposers import AgentContext, Brief, Proposal, ProposalFailed
from autoresearch.proposers.command import CommandProposer, load_presets

KEYS = {
    "claude": "ANTHROPIC_API_KEY",
    "codex": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "cursor": "CURSOR_API_KEY",
}
BRIEF = Brief("Make the score small.", ("train.py",), "c0")
CHILD = (
    "subprocess.Popen(['sleep', '300'], start_new_session=True, stdout=subprocess.DEVNULL)\n" + EDIT
)


class Bench:
    """A workspace, a folder of programs, and an executor."""

    def __init__(self, root: Path, executor: Executor) -> None:
        root.chmod(0o755)
        self.root, self.executor = root, executor
        self.tools = root / "tools" / "bin"
        self.workspace = root / "workspace"
        self.workspace.mkdir()
        (self.workspace / "train.py").write_text("SCORE = 10.0\n")
        (self.workspace / "prepare.py").write_text("FIXED = 1\n")

    def proposer(self, agent: str = "codex", **changed: object) -> CommandProposer:
        """A proposer of that agent, which is a stand-in."""
        preset = replace(load_presets()[agent], **{"model": "m/m", **changed})  # type: ignore[arg-type]
        context = AgentContext(home=self.root / "state" / "agent", executor=self.executor)
        return CommandProposer(preset, context)

    def play(
        self,
        agent: str = "codex",
        text: str = "",
        act: str = EDIT,
        code: int = 0,
        **changed: object,
    ) -> Proposal:
        """One proposal by a stand-in that does this and prints that."""
        stand_in(self.tools, agent, text or good(agent), act, code)
        return self.proposer(agent, **changed).propose(self.workspace, BRIEF)

    def train(self) -> str:
        """The editable file as it stands."""
        return (self.workspace / "train.py").read_text()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Without a sandbox, with a key for every agent."""
    return _bench(tmp_path, monkeypatch, LocalExecutor())


@pytest.fixture
def boxed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """In bubblewrap, where there is one."""
    if probe().level != "bubblewrap":
        pytest.skip("no bubblewrap here")
    return _bench(tmp_path, monkeypatch, make_executor("required"))


def _bench(root: Path, monkeypatch: pytest.MonkeyPatch, executor: Executor) -> Bench:
    bench = Bench(root, executor)
    (root / "state").mkdir()
    monkeypatch.setenv("PATH", first_on_path(bench.tools))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "config"))
    for agent in PROGRAMS:
        monkeypatch.setenv(KEYS.get(agent, "OPENAI_API_KEY"), "sk-test-secret")
    return bench


def failure(call: Callable[[], object]) -> ProposalFailed:
    """The failure that a call ends with."""
    with pytest.raises(ProposalFailed) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("agent", PROGRAMS)
def test_an_edit_and_a_clean_stream_are_a_proposal(agent: str, bench: Bench) -> None:
    """For every preset: the edit stays, note, cost and tokens arrive."""
    proposal = bench.play(agent)
    assert bench.train() == "SCORE = 5.0\n"
    assert (proposal.note, proposal.tokens, proposal.fault) == (NOTE, TOKENS, "")
    assert proposal.cost_usd == (USD if agent in WITH_USD else 0.0)
    assert proposal.unstated_usd == (0.0 if agent in WITH_USD else 2.0)
    assert ("not told" in proposal.details.get("cost", "")) == (agent not in WITH_USD)


@pytest.mark.parametrize("agent", ["codex", "claude"])
def test_tokens_have_the_price_that_is_set(agent: str, bench: Bench) -> None:
    """Tokens are priced for an agent that reports no dollars; reported dollars are used."""
    usd = USD if agent in WITH_USD else TOKENS * 4.0 / 1e6
    assert bench.play(agent, usd_per_million=4.0).cost_usd == pytest.approx(usd)
    failed = failure(lambda: bench.play(agent, act="pass", usd_per_million=4.0))
    assert failed.cost_usd == pytest.approx(usd)


@pytest.mark.parametrize("agent", PROGRAMS)
def test_a_session_that_ended_before_it_told_its_cost_counts_as_its_limit(
    agent: str, bench: Bench
) -> None:
    """Killed by its time limit, it told nothing: unknown is not nothing."""
    failed = failure(lambda: bench.play(agent, act="time.sleep(300)", seconds=2, usd=1.5))
    assert (failed.kind, failed.cost_usd, failed.unstated_usd) == ("late", 0.0, 1.5)


def test_an_agent_that_is_free_counts_as_nothing(bench: Bench) -> None:
    """A price of 0 says it."""
    assert bench.play("codex", usd_per_million=0).unstated_usd == 0.0
    failed = failure(
        lambda: bench.play("codex", act="time.sleep(300)", seconds=2, usd_per_million=0)
    )
    assert failed.unstated_usd == 0.0


@pytest.mark.parametrize("agent", PROGRAMS)
def test_exit_code_0_without_an_edit_is_no_proposal(agent: str, bench: Bench) -> None:
    """An edit must exist; the cost is counted all the same."""
    failed = failure(lambda: bench.play(agent, act="pass"))
    assert failed.kind == "empty"
    assert failed.tokens == TOKENS
    assert "it changed no editable file" in str(failed)


def test_a_failing_exit_code_with_an_edit_is_a_proposal(bench: Bench) -> None:
    """Evidence counts, in this direction too."""
    assert bench.play("gemini", code=145).note == NOTE


@pytest.mark.parametrize("agent", PROGRAMS)
def test_an_error_is_one_even_after_an_edit(agent: str, bench: Bench) -> None:
    """For every preset: too many requests, exit code 0, the file edited: busy, for 20 s."""
    failed = failure(lambda: bench.play(agent, bad(agent, "429")))
    assert (failed.kind, failed.retry_after) == ("busy", 20.0)


@pytest.mark.parametrize(
    "act", ["trajectory.symlink_to('/etc/passwd')", "os.mkfifo(trajectory)", "trajectory.mkdir()"]
)
def test_what_an_agent_leaves_is_read_with_suspicion(act: str, bench: Bench) -> None:
    """A link, a pipe or a folder in place of the file that is read afterwards: there is none."""
    proposal = bench.play("mini-swe-agent", act=f"{EDIT}\n{act}\nsys.exit(0)")
    assert (proposal.note, proposal.tokens) == ("an edit by mini-swe-agent", 0)


def test_words_on_stderr_tell_why_nothing_came(bench: Bench) -> None:
    """A program that fails before its first event prints an error as text."""
    act = "print('Error: not logged in, please run login', file=sys.stderr); sys.exit(1)"
    failed = failure(lambda: bench.play("codex", act=act))
    assert failed.kind == "stop"
    assert "not logged in" in str(failed)


def test_an_agent_that_hangs_without_a_word_is_ended(bench: Bench) -> None:
    """Silence has a limit of its own, long before the time is up."""
    failed = failure(lambda: bench.play(act=EDIT + "\ntime.sleep(300)", silence=0.5))
    assert failed.kind == "late"


def test_an_agent_that_never_ends_its_talk_is_ended(bench: Bench) -> None:
    """Events without end reach the limit of seconds, and the log stays bounded."""
    act = "while True: print(json.dumps({'type': 'item.started', 'x': 'y' * 1000}))"
    failed = failure(lambda: bench.play(act=act, seconds=2.0))
    assert failed.kind == "late"
    assert (bench.root / "state" / "agent" / "agent.log").stat().st_size < 24 * 2**20


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "opencode", "pi", "cursor"])
def test_an_agent_that_takes_turn_after_turn_is_ended(agent: str, bench: Bench) -> None:
    """Its events are counted while it works; its edits so far do not count."""
    turn = {
        "claude": {"type": "assistant", "message": {}},
        "codex": {"type": "item.completed", "item": {"type": "command_execution"}},
        "gemini": {"type": "tool_use", "tool_name": "x"},
        "opencode": {"type": "step_finish", "part": {"cost": 0.01}},
        "pi": {"type": "message_end", "message": {"role": "assistant"}},
        "cursor": {"type": "assistant", "message": {}},
    }[agent]
    act = f"{EDIT}\nfor _ in range(8): print(json.dumps({turn!r}), flush=True)\ntime.sleep(300)"
    failed = failure(lambda: bench.play(agent, act=act, turns=7))
    assert failed.kind == "late"
    assert "ended after 7 turns" in str(failed)


def test_an_agent_that_spends_too_much_is_ended(bench: Bench) -> None:
    """For an agent that reports dollars while it works; the reported cost counts."""
    step = {"type": "step_finish", "part": {"cost": 0.75}}
    act = f"for _ in range(3): print(json.dumps({step!r}), flush=True)\ntime.sleep(300)"
    failed = failure(lambda: bench.play("opencode", act=act, usd=2.0))
    assert (failed.kind, failed.cost_usd) == ("late", 2.25)
    assert "$2.25" in str(failed)


def test_children_in_sessions_of_their_own_are_killed(bench: Bench) -> None:
    """No process of the agent runs once it has proposed."""
    act = CHILD.replace("subprocess.Popen", "child = subprocess.Popen")
    act += "\nPath('pid').write_text(str(child.pid))"
    bench.play(act=act)
    pid = (bench.workspace / "pid").read_text()
    assert not Path("/proc", pid).exists()


def test_a_child_that_writes_for_ever_does_not_hold_the_proposal_up(bench: Bench) -> None:
    """The session ends with the agent, even if a child holds its output open."""
    act = "subprocess.Popen(['yes', '{}'], start_new_session=True, stdout=sys.stderr)\n" + EDIT
    assert bench.play(act=act).note == NOTE


def test_edits_of_fixed_files_are_named_in_the_note(bench: Bench) -> None:
    """They cannot enter; that they were made is worth knowing."""
    act = EDIT + "\nPath('prepare.py').write_text('FIXED = 2')\nPath('new.txt').write_text('')"
    proposal = bench.play(act=act)
    assert proposal.note == f"{NOTE} (also edited prepare.py: ignored)"
    assert proposal.details["also_edited"] == "prepare.py"


def test_too_many_bytes_are_a_fault(bench: Bench) -> None:
    """100 MB where 20 are allowed: killed, and the trial will be a crash for that reason."""
    act = EDIT + "\nwith open('big', 'wb') as f:\n    for _ in range(100): f.write(b'x' * 2**20)"
    proposal = bench.play(act=act + "\ntime.sleep(60)", disk_mb=20.0)
    assert proposal.fault == "disk"
    assert "exceeded its limit of disk" in proposal.note


def test_bytes_in_its_home_count_as_well(bench: Bench) -> None:
    """There is no second place to fill the disk from."""
    act = "with open(os.environ['HOME'] + '/big', 'wb') as f:\n"
    act += "    for _ in range(100): f.write(b'x' * 2**20)\ntime.sleep(60)"
    assert bench.play(act=act, disk_mb=20.0).fault == "disk"


@pytest.mark.parametrize(
    "act",
    [
        "Path('train.py').unlink()",
        "Path('train.py').unlink(); Path('train.py').symlink_to('/etc/passwd')",
        "Path('train.py').unlink(); Path('train.py').mkdir()",
        "Path('train.py').write_bytes(b'x' * 2**21)",
    ],
)
def test_an_editable_file_that_is_none_any_more_is_an_edit(act: str, bench: Bench) -> None:
    """The study sees such an edit and records why it is invalid."""
    assert bench.play(act=act).note == NOTE


def test_a_commit_in_the_scratch_copy_reaches_no_repository_above(bench: Bench) -> None:
    """git finds no repository from the workspace, though there is one above it."""
    (bench.root / ".git").mkdir()
    (bench.root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    for folder in ("objects", "refs"):
        (bench.root / ".git" / folder).mkdir()
    act = "git = subprocess.run(['git', 'rev-parse', '--git-dir'], capture_output=True)\n"
    act += "Path('train.py').write_text(f'CODE = {git.returncode}')"
    bench.play(act=act)
    assert bench.train() == "CODE = 128"


def test_only_what_is_named_enters_its_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own key, its own HOME, no stdin; no other variable of ours."""
    for name in filter(lambda name: name.lower().endswith("_proxy"), list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTHER_SECRET", "x")
    monkeypatch.setenv("GITHUB_TOKEN", "x")
    act = "env = {**os.environ, 'stdin': sys.stdin.read()}\n"
    act += "Path('train.py').write_text(json.dumps(env))"
    bench.play(act=act)
    env = json.loads(bench.train())
    allowed = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "TMPDIR", "PWD"}
    allowed |= {
        "GIT_CEILING_DIRECTORIES",
        "OPENAI_API_KEY",
        "CODEX_API_KEY",
        "SHLVL",
        "_",
        "OLDPWD",
    }
    assert set(env) - allowed == {"stdin"}
    assert env["stdin"] == ""
    assert env["CODEX_API_KEY"] == "sk-test-secret"
    assert env["HOME"] != os.environ.get("HOME")
    assert not Path(env["HOME"]).exists()


@pytest.mark.parametrize("network", [True, False])
def test_the_way_through_a_proxy_is_told_where_there_is_a_network(
    network: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In capitals and in small letters, as programs differ; without a network none is needed."""
    told = {"HTTPS_PROXY": "http://127.0.0.1:9", "no_proxy": "localhost"}
    for name, text in told.items():
        monkeypatch.setenv(name, text)
    bench.play(act="Path('train.py').write_text(json.dumps(dict(os.environ)))", network=network)
    env = json.loads(bench.train())
    assert {name: env.get(name) for name in told} == (told if network else dict.fromkeys(told))


def test_a_key_that_is_refused_is_named_and_not_shown(bench: Bench) -> None:
    """The variable that it came from, so that a person knows what to mend."""
    failed = failure(lambda: bench.play(text=bad("codex", "401"), act="pass"))
    assert failed.kind == "stop"
    assert str(failed).endswith("(its key is that of OPENAI_API_KEY)")


def test_the_brief_arrives_whole_however_long(bench: Bench) -> None:
    """As an argument, or in a file that the argument names when it is too long for one."""
    act = "Path('train.py').write_text(sys.argv[-1])"
    bench.play(act=act)
    assert "Make the score small." in bench.train()
    stand_in(
        bench.tools,
        "codex",
        good("codex"),
        "import re\nnamed = re.search(r'Read the file (\\S+)', sys.argv[-1])[1]\n"
        "Path('train.py').write_text(Path(named).read_text())",
    )
    long = replace(BRIEF, text="word " * 60_000 + "the end")
    bench.proposer().propose(bench.workspace, long)
    assert bench.train().endswith("the end")


def test_a_brief_that_begins_like_an_option_or_a_placeholder_stays_a_brief(bench: Bench) -> None:
    """What a person wrote is never taken for a flag, nor filled in."""
    stand_in(bench.tools, "codex", good("codex"), "Path('train.py').write_text(sys.argv[-1])")
    text = "--help {home} {prompt} $(id) 'quoted' \"twice\"\n"
    bench.proposer().propose(bench.workspace, replace(BRIEF, text=text))
    assert bench.train().endswith(text)


def test_renew_asks_for_another_beginning_once(bench: Bench) -> None:
    """After useless sessions the next brief requests another start, until one gives an edit."""
    stand_in(bench.tools, "codex", good("codex"), "Path('train.py').write_text(sys.argv[-1] + '.')")
    proposer = bench.proposer()
    proposer.renew()
    proposer.propose(bench.workspace, BRIEF)
    assert "start differently" in bench.train()
    proposer.propose(bench.workspace, BRIEF)
    assert "start differently" not in bench.train()


def test_an_error_never_shows_a_key(bench: Bench) -> None:
    """Errors are printed and recorded, without keys."""
    words = json.dumps({"type": "turn.failed", "error": {"message": "bad key sk-test-secret"}})
    failed = failure(lambda: bench.play(text=words + "\n"))
    assert "sk-test-secret" not in str(failed)


def test_an_agent_that_is_not_installed_is_an_error_with_the_install_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not in the middle of a night."""
    monkeypatch.setenv("PATH", str(bench.tools))
    with pytest.raises(ProposerError, match=r"claude is not installed.*npm install -g @anthropic"):
        bench.proposer("claude")


def test_a_missing_key_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All variables that would do, and why a login does not."""
    stand_in(bench.tools, "claude", "")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.delenv("CLAUDE_CODE_OAUTH_TOKEN", raising=False)
    with pytest.raises(ProposerError, match="ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN"):
        bench.proposer("claude")


def test_a_model_that_is_needed_and_not_set_is_an_error(bench: Bench) -> None:
    """Where the command makes no sense without one."""
    stand_in(bench.tools, "mini-swe-agent", "")
    with pytest.raises(ProposerError, match=r"needs a model.*\[mini-swe-agent\]"):
        bench.proposer("mini-swe-agent", model="")


@pytest.mark.parametrize("agent", ["claude", "codex", "mini-swe-agent"])
def test_it_works_in_a_sandbox(agent: str, boxed: Bench) -> None:
    """Program, interpreter, brief and HOME are there; the sandbox is recorded."""
    proposal = boxed.play(agent)
    assert boxed.train() == "SCORE = 5.0\n"
    assert (proposal.note, proposal.details["sandbox"]) == (NOTE, "bubblewrap")


def test_a_sandbox_shows_it_nothing_else(boxed: Bench) -> None:
    """It sees neither the lab nor the study beside its workspace, and writes nowhere else."""
    (boxed.root / "state" / "ledger.db").write_text("secret")
    act = f"seen = os.path.exists({str(boxed.root / 'state' / 'ledger.db')!r})\n"
    act += "Path('train.py').write_text(f'SEEN = {seen}')"
    boxed.play(act=act)
    assert boxed.train() == "SEEN = False"


def test_codex_gives_its_own_sandbox_up_where_ours_stands(boxed: Bench) -> None:
    """Two do not fit into each other; without ours its own stays on."""
    act = "Path('train.py').write_text(' '.join(sys.argv))"
    boxed.play(act=act)
    assert "--dangerously-bypass-approvals-and-sandbox" in boxed.train()
    bare = replace(AgentContext(), home=boxed.root / "state" / "agent", executor=LocalExecutor())
    CommandProposer(load_presets()["codex"], bare).propose(boxed.workspace, BRIEF)
    assert "-s workspace-write" in boxed.train()


@pytest.mark.parametrize("policy", ["off", "auto"])
def test_a_context_without_a_home_is_a_temporary_one(policy: str, bench: Bench) -> None:
    """For use from Python, without a study."""
    stand_in(bench.tools, "codex", good("codex"))
    proposer = CommandProposer(load_presets()["codex"], AgentContext(policy=policy))  # type: ignore[arg-type]
    assert proposer.propose(bench.workspace, BRIEF).note == NOTE


@pytest.mark.parametrize("place", ["boxed", "bench"])
def test_what_a_sandbox_may_hide_is_hinted_at(place: str, request: pytest.FixtureRequest) -> None:
    """A program of several folders, such as a version manager's; without a sandbox no such word."""
    used: Bench = request.getfixturevalue(place)
    act = "print('shim: /opt/x/python: No such file or directory', file=sys.stderr); sys.exit(127)"
    failed = failure(lambda: used.play("codex", act=act))
    assert failed.kind == "stop"
    assert ("`readable` under [codex]" in str(failed)) == (place == "boxed")
