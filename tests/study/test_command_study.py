"""What a study records of agents that misbehave, and that it goes on."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from agent_streams import EDIT, bad, first_on_path, good, stand_in
from autoresearch.executors import Executor
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.probe import make_executor, probe
from autoresearch.proposers import AgentContext, Brief, Proposal
from autoresearch.proposers.command import CommandProposer
from autoresearch.proposers.command.presets import find_preset
from autoresearch.proposers.retry_policy import RetryPolicy
from autoresearch.store.ledger import Status, Trial
from autoresearch.study.loop import StopLimits, research
from tiny_lab import git, make_lab, opened

CRASHES = {
    "deletes the editable file": ("Path('train.py').unlink()", "invalid_edit"),
    "makes a symlink of it": (
        "Path('train.py').unlink(); Path('train.py').symlink_to('/etc/passwd')",
        "invalid_edit",
    ),
    "makes it too large": ("Path('train.py').write_bytes(b'#' * 2**21)", "invalid_edit"),
    "writes 100 MB": (
        EDIT + "\nwith open('big', 'wb') as f:\n    for _ in range(100): f.write(b'x' * 2**20)\n"
        "time.sleep(60)",
        "disk",
    ),
}
HARMLESS = {
    "edits fixed files": "Path('run.py').write_text('print(\"score: 0\")')",
    "leaves children": "subprocess.Popen(['sleep', '300'], start_new_session=True)",
    "commits in its copy": "for w in ('init -q', 'add -A', '-c user.name=a -c user.email=a@b "
    "commit -qm x'): subprocess.run(['git', *w.split()])",
    "adds a link beside": "Path('link').symlink_to('/etc')",
    "exits with 1": "",
}


class Night:
    """Sessions of one stand-in after the other in one study."""

    def __init__(self, root: Path, executor: Executor) -> None:
        self.tools, self.lab, self.executor = root / "tools" / "bin", root / "lab", executor
        self.disk_mb, self.silence = 20, 1
        make_lab(self.lab)

    def run(self, *acts: tuple[str, str, int]) -> tuple[list[Trial], str, list[tuple[str, float]]]:
        """Trials, why it ended, and what was spent for nothing."""
        notes: list[str] = []
        with opened(self.lab) as study:
            why = research(
                study,
                _Changing(self, acts),
                StopLimits(trials=len([a for a in acts if a[1] == good("codex")])),
                retry_policy=RetryPolicy(),
                on_note=notes.append,
                sleep=lambda _: None,
            )
            spends = [(s.kind, s.usd) for s in study.ledger.spends() if s.trial is None]
            return list(study.ledger.trials()), why, spends


class _Changing:
    """The real proposer, with another stand-in behind the same name each time."""

    name = "codex"

    def __init__(self, night: Night, acts: tuple[tuple[str, str, int], ...]) -> None:
        self._night, self._acts = night, list(acts)

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Put the next stand-in in place, and let the proposer use it."""
        act, text, code = self._acts.pop(0)
        stand_in(self._night.tools, "codex", text, act or "pass", code)
        home = self._night.lab / ".autoresearch" / "t" / "agent"
        limits = {"disk_mb": self._night.disk_mb, "silence": self._night.silence}
        preset = find_preset("codex", {"codex": limits})
        ground = AgentContext(home=home, executor=self._night.executor)
        return CommandProposer(preset, ground).propose(workspace, brief)


@pytest.fixture(params=["none", "bubblewrap"])
def night(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Agents without a sandbox, and in one."""
    if request.param != "none" and probe().level != request.param:
        pytest.skip("no bubblewrap here")
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", first_on_path(tmp_path / "tools" / "bin"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    executor = LocalExecutor() if request.param == "none" else make_executor("required")
    return Night(tmp_path, executor)


def score(value: float) -> str:
    """An act that edits the file for this score."""
    return f"Path('train.py').write_text('SCORE = {value}\\n')"


def test_edits_that_cannot_be_are_crashes_with_a_reason(night: Night) -> None:
    """One row each, then a good one: the study went on, and the lab is as it was."""
    acts = [(act, good("codex"), 0) for act, _ in CRASHES.values()]
    trials, why, _ = night.run(*acts, (score(5), good("codex"), 0))
    assert why == "5 of 5 trials are done"
    assert [t.reason for t in trials[1:-1]] == [reason for _, reason in CRASHES.values()]
    assert all(t.status is Status.CRASH for t in trials[1:-1])
    assert (trials[-1].status, trials[-1].value) == (Status.KEEP, 5.0)
    assert "exceeded its limit of disk" in trials[4].note


def test_what_cannot_enter_does_not_matter(night: Night) -> None:
    """Fixed files, children, commits, links, exit codes: the edit alone is tried."""
    acts = [
        (f"{score(9 - n)}\n{act}", good("codex"), int(name == "exits with 1"))
        for n, (name, act) in enumerate(HARMLESS.items())
    ]
    before = git(night.lab, "rev-parse", "main")
    trials, _, _ = night.run(*acts)
    assert [t.value for t in trials[1:]] == [9.0, 8.0, 7.0, 6.0, 5.0]
    assert "(also edited run.py: ignored)" in trials[1].note
    assert git(night.lab, "rev-parse", "main") == before
    assert git(night.lab, "show", "autoresearch/t:run.py") == git(night.lab, "show", "main:run.py")
    assert git(night.lab, "status", "--porcelain") == "?? results.tsv"


def test_100_mb_that_it_may_write_are_no_part_of_a_candidate(night: Night) -> None:
    """Beside the editable file they do not enter; in its place they are no edit that can be."""
    night.disk_mb, night.silence = 1024, 60  # a slow disk is no silence
    write = "Path({!r}).write_bytes(b'#' * 100 * 2**20)"
    beside = f"{score(5)}\n{write.format('big')}"
    trials, _, _ = night.run(
        (write.format("train.py"), good("codex"), 0), (beside, good("codex"), 0)
    )
    assert [(t.status, t.reason) for t in trials[1:]] == [
        (Status.CRASH, "invalid_edit"),
        (Status.KEEP, ""),
    ]
    assert git(night.lab, "ls-tree", "--name-only", "autoresearch/t").count("big") == 0


def test_children_end_with_the_session(night: Night) -> None:
    """Each begins to sleep before the agent ends, in a session of its own; none is left."""
    mark = f"left-by-{night.lab}"
    child = (
        "child = subprocess.Popen([sys.executable, '-ISc', "
        f"'print(1, flush=True); import time; time.sleep(300)', {mark!r}], "
        "start_new_session=True, stdout=subprocess.PIPE)\nchild.stdout.readline()"
    )
    acts = [(f"{score(9 - n)}\n{child}", good("codex"), 0) for n in range(2)]
    trials, _, _ = night.run(*acts)
    assert [t.value for t in trials[1:]] == [9.0, 8.0]
    assert [
        p.pid for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or ())
    ] == []


def test_failures_are_no_trials_and_their_cost_is_written_down(night: Night) -> None:
    """Errors, empty hands and hangs are answered; then the next proposal comes."""
    acts = [
        ("", bad("codex", "429"), 1),
        ("", bad("codex", "500"), 1),
        ("", bad("codex", "529"), 1),
        ("print('Error: fetch failed: ECONNREFUSED', file=sys.stderr); sys.exit(1)", "", 1),
        ("", bad("codex", "refusal"), 0),
        ("", bad("codex", "context"), 1),
        ("", good("codex").replace("I looked", "I looked well"), 0),
        ("time.sleep(300)", bad("codex", "500"), 0),
        (score(5), good("codex"), 0),
    ]
    trials, why, spends = night.run(*acts)
    assert why == "1 of 1 trials are done"
    unstated = [usd for kind, usd in spends if kind == "unstated"]
    kinds = [kind for kind, _ in spends if kind != "unstated"]
    assert kinds == [*["busy"] * 4, "refusal", "refusal", "empty", "late"]
    assert unstated == [2.0] * 4  # codex tells no dollars; whom it turned away it cost nothing
    assert [t.value for t in trials] == [10.0, 5.0]


@pytest.mark.parametrize(
    ("error", "said"), [("401", "Invalid API key"), ("spend", "credit balance is too low")]
)
def test_what_only_a_person_mends_ends_the_night_with_its_reason(
    error: str, said: str, night: Night
) -> None:
    """A key, an empty account: after a trial that worked; nobody is asked a hundred times."""
    acts = [(score(5), good("codex"), 0), ("", bad("codex", error), 1), (EDIT, good("codex"), 0)]
    trials, why, spends = night.run(*acts)
    assert said in why
    assert (len(trials), spends[-1][0]) == (2, "stop")


def test_an_agent_that_nobody_waits_for_is_killed(night: Night) -> None:
    """The target is reached while the next session is under way: it ends, with its children."""
    mark = f"612.{os.getpid()}"  # of this test's own child
    act = (
        "if 'Runs now' in ' '.join(sys.argv):\n"
        f"    subprocess.Popen(['sleep', '{mark}']); time.sleep(611)\n"
        "Path('train.py').write_text('import time; time.sleep(2)\\nSCORE = 1\\n')"
    )
    stand_in(night.tools, "codex", good("codex"), act)
    preset = find_preset("codex", {"codex": {"disk_mb": 20}})
    home = night.lab / ".autoresearch" / "t" / "agent"
    proposer = CommandProposer(preset, AgentContext(home=home, executor=night.executor))
    assert proposer.max_seconds > 60
    with opened(night.lab) as study:
        assert "reaches the target" in research(study, proposer, StopLimits(target=2.0))
        assert not study.workspaces.busy
    words = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in words if line == f"sleep {mark}"]
