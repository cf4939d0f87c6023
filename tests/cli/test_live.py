"""The live view in a terminal emulator, and the plain lines elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from autoresearch.cli.live_view import LiveView
from autoresearch.proposers import AgentContext
from autoresearch.proposers.registry import make_proposer
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import Run, State, Status, Trial
from autoresearch.study.loop import StopLimits
from autoresearch.study.study import Study
from tiny_lab import NOISY, TASK, make_lab, opened

SIZES = [(80, 24), (120, 40), (200, 50), (40, 12), (30, 5)]
TRIALS = 200
BORDER = re.compile("[╭╮╰╯]|^│")


class Terminal:
    """A pseudo-terminal and what a terminal emulator makes of all that was written to it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.master, self.slave = pty.openpty()
        self.resize(columns, lines)
        self._read: list[bytes] = []
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def resize(self, columns: int, lines: int) -> None:
        """Make it larger or smaller."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)

    def close(self) -> None:
        """Read the rest, and let go of it."""
        os.close(self.slave)
        self._thread.join(timeout=30)
        os.close(self.master)

    @property
    def output(self) -> bytes:
        """All that was written."""
        return b"".join(self._read)

    def screen(self, output: bytes | None = None) -> pyte.HistoryScreen:
        """The emulator's screen after this output, or after all."""
        screen = pyte.HistoryScreen(self.columns, self.lines, history=10_000, ratio=0.5)
        pyte.ByteStream(screen).feed(self.output if output is None else output)
        return screen

    def _collect(self) -> None:
        with contextlib.suppress(OSError):  # a closed terminal cannot be read
            while chunk := os.read(self.master, 1 << 16):
                self._read.append(chunk)


def scrolled(screen: pyte.HistoryScreen) -> list[str]:
    """The lines that have left the screen at its top."""
    return [
        "".join(line[column].data for column in range(screen.columns)).rstrip()
        for line in screen.history.top
    ]


def shown(screen: pyte.HistoryScreen) -> list[str]:
    """The lines on the screen."""
    return [line.rstrip() for line in screen.display]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A study of many trials, some of them kept, with notes longer than a terminal is wide."""
    lab = make_lab(tmp_path_factory.mktemp("live") / "lab")
    with opened(lab) as made:
        made.ledger._db.execute("PRAGMA synchronous = OFF")  # it may be lost with the power
        best = 100.0
        for number in range(TRIALS):
            better = number % 20 == 0
            best -= better
            status = Status.KEEP if better else Status.DISCARD
            finish(
                made, best if better else best + 3, status, f"note {number} ößü 漢字 " + "x" * 300
            )
        yield made


def finish(study: Study, value: float, status: Status, note: str) -> Trial:
    """One more trial of one run, finished without running anything."""
    ledger = study.ledger
    best = ledger.best()
    parent = best.commit if best else "commit-0"
    trial = ledger.add(Trial(0, parent, note, "hand", created="2026-12-01T10:00:00+00:00"))
    trial = ledger.advance(trial, State.COMMITTED, commit=f"commit-{trial.number}")
    trial = ledger.advance(trial, State.RUNNING)
    run = Run(0, 0, 1.0, 0, value, 0.0, sandbox="landlock")
    trial = ledger.measure_run(ledger.add_run(trial, run), run)
    trial = ledger.advance(trial, State.DECIDED, status=status)
    return ledger.advance(trial, State.APPLIED)


@contextlib.contextmanager
def on(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within: this process writes to the terminal."""
    with os.fdopen(os.dup(terminal.slave), "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", "xterm-256color")
        yield
        stream.flush()
        monkeypatch.undo()


def numbers(lines: list[str]) -> Counter[int]:
    """The finished trials whose lines are there, each with how often."""
    found = (re.match(r"#(\d+) +(keep|discard) ", line) for line in lines)
    return Counter(int(match[1]) for match in found if match)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_no_finished_line_is_lost_and_no_border_stays(
    study: Study, monkeypatch: pytest.MonkeyPatch, columns: int, lines: int
) -> None:
    """Trials end every few milliseconds: each line is there once, and the panel is gone."""
    terminal = Terminal(columns, lines)
    with on(terminal, monkeypatch):
        view = LiveView(study, StopLimits(trials=TRIALS))
        with view:
            for trial in study.ledger.trials():
                view.stage(Stage("propose", trial.number, "hand"))
                view.stage(Stage("run", trial.number, trial.note, seconds=20.0))
                time.sleep(0.01)
                view.trial(trial)
            view.note("a message that is " + "very " * 30 + "long")
            view.end("all is done")
    terminal.close()
    screen = terminal.screen()
    everything = scrolled(screen) + shown(screen)
    assert numbers(everything) == Counter(range(TRIALS))
    assert not [line for line in everything if BORDER.search(line)]
    assert "very long" in " ".join(everything).replace("  ", " ") or columns < 60
    assert any(line.startswith("Ended: all is done.") for line in everything)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_the_panel_never_changes_its_height_and_fits(
    study: Study, monkeypatch: pytest.MonkeyPatch, columns: int, lines: int
) -> None:
    """At every moment there is one panel, below all finished lines; none has scrolled away."""
    terminal = Terminal(columns, lines)
    with on(terminal, monkeypatch):
        view = LiveView(study, StopLimits(trials=TRIALS))
        heights = set()
        with view:
            for trial in study.ledger.trials(end=40):
                for stage in (
                    Stage("propose", trial.number, "hand"),
                    Stage("run", trial.number, trial.note, seconds=20.0),
                    Stage("check", trial.number, trial.note, seconds=20.0),
                    Stage("wait", trial.number, "process 1 of somebody", seconds=20.0),
                    Stage("pause", trial.number),
                    Stage("hold", trial.number, seconds=20.0),
                ):
                    view.stage(stage)
                    panel = view.draw(os.terminal_size((columns, lines)))
                    heights.add(len(panel))
                    assert max(line.columns for line in panel) < columns
                view.trial(trial)
            time.sleep(0.6)  # some frames more
    terminal.close()
    assert len(heights) == 1
    before_end = terminal.output.rpartition(b"\x1b[?25h")[0].rpartition(b"\r")[0]
    screen = terminal.screen(before_end)
    assert not [line for line in scrolled(screen) if BORDER.search(line)]
    display = shown(screen)
    if lines >= 10:
        assert sum("╭" in line for line in display) == 1
        top = next(at for at, line in enumerate(display) if "╭" in line)
        bottom = next(at for at, line in enumerate(display) if "╰" in line)
        assert bottom - top + 1 == heights.pop()
        assert not any(display[bottom + 1 :])


@pytest.mark.parametrize(
    ("lines", "rows"),
    [(24, 0), (40, 1), (50, 1)],
)
def test_tall_terminals_show_keeps_and_the_staircase(
    study: Study, monkeypatch: pytest.MonkeyPatch, lines: int, rows: int
) -> None:
    """Where there is room; else the slots, the best and the counts alone."""
    terminal = Terminal(120, lines)
    with on(terminal, monkeypatch), LiveView(study, StopLimits()) as view:
        panel = "\n".join(line.text for line in view.draw(os.terminal_size((120, lines))))
    terminal.close()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", panel)
    assert plain.count("recent keeps") == plain.count("┤") // max(1, plain.count("┤")) == rows
    assert "199 experiments: 9 keeps, 190 discarded, 0 crashed" in plain
    assert "score 99.000000 → 90.000000 (-9.09 %), #180" in plain


def test_a_terminal_that_becomes_narrower_keeps_one_panel(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frame after it moves up by the lines that the terminal has wrapped."""
    terminal = Terminal(120, 40)
    with on(terminal, monkeypatch):
        view = LiveView(study, StopLimits())
        with view:
            view.note("before")
            height = len(view.draw(os.terminal_size((120, 40))))
            terminal.resize(60, 40)
            at = len(terminal.output)
            view.note("after")
            while b"after" not in terminal.output[at:]:
                time.sleep(0.01)
            frame = terminal.output[at:].partition(b"after")[0]
    terminal.close()
    assert frame.count(b"\x1b[1A") == 2 * height - 1
    assert frame.count(b"\x1b[2K") == 2 * height


AGENT = """#!{python}
import json, pathlib, time
print(json.dumps({{"type": "cost", "usd": 0.5, "tokens": 7000}}), flush=True)
print(json.dumps({{"type": "words", "text": "I will halve the batch"}}), flush=True)
time.sleep(300)
"""
MINE = """
[agent.mine]
command = ["{agent}", "{{prompt}}"]
seconds = 900
[[agent.mine.events]]
where = {{ type = "cost" }}
usd = "usd"
tokens = ["tokens"]
"""


def test_a_proposal_under_way_has_a_clock_its_cost_and_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent is named, and a long silence is shown; afterwards the slot is empty."""
    agent = tmp_path / "agent.py"
    agent.write_text(AGENT.format(python=sys.executable))
    agent.chmod(0o755)
    text = TASK.replace("[metric]", 'sandbox = "off"\n[metric]') + MINE.format(agent=agent)
    lab, terminal = make_lab(tmp_path / "lab", task_toml=text), Terminal(120, 24)
    with opened(lab) as study, on(terminal, monkeypatch):
        study.baseline()
        context = AgentContext(study.paths.agent, "off", study.task.agents)
        proposer = make_proposer("mine", seed=1, context=context)
        view = LiveView(study, StopLimits())
        view.stage(Stage("propose", 1, "mine"))
        study.workspaces.begin(proposer, study.ask())
        try:
            while "halve the batch" not in (panel := slots(view)):
                time.sleep(0.05)
            assert re.search(r"propose +mine: \d+ s of at most 15:00 min, \$0.50, 7,000 tok", panel)
            assert "waits for a proposal" in panel
            log = study.paths.agent / "agent.log"
            os.utime(log, (time.time() - 200, time.time() - 200))
            assert "no output for 3:20 min; last: I will halve the batch" in slots(view)
        finally:
            study.workspaces.drop(within=20.0)
        assert "nothing under way" in slots(view).replace("mine works", "nothing under way")
    terminal.close()


def slots(view: LiveView) -> str:
    """The panel's text, without colours."""
    panel = "\n".join(line.text for line in view.draw(os.terminal_size((120, 24))))
    return re.sub(r"\x1b\[[0-9;]*m", "", panel)


def start(lab: Path, terminal: Terminal, term: str, *words: str) -> subprocess.Popen[bytes]:
    """A command in this terminal."""
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "TERM": term}
    return subprocess.Popen(
        [sys.executable, "-m", "autoresearch", *words],
        cwd=lab,
        env=env,
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        start_new_session=True,
    )


def run_in(terminal: Terminal, lab: Path, term: str, *words: str) -> list[str]:
    """All lines that a command leaves in a terminal."""
    process = start(lab, terminal, term, *words)
    assert process.wait(timeout=100) == 0, terminal.output.decode()
    terminal.close()
    screen = terminal.screen()
    return scrolled(screen) + shown(screen)


def test_a_real_session_on_a_terminal(tmp_path: Path) -> None:
    """Its lines, the warning once, and the state of the study in the end; keys show nothing."""
    lab = make_lab(
        tmp_path / "lab", task_toml=TASK.replace("[metric]", 'sandbox = "off"\n[metric]')
    )
    terminal = Terminal(100, 24)
    os.write(terminal.master, b"typed\n")
    lines = run_in(terminal, lab, "xterm", "run", "--agent", "tiny_agents:Crasher", "--trials", "5")
    assert [line.split()[:2] for line in lines if line.startswith("#")] == [
        ["#0", "keep"],
        *[[f"#{number}", "crash"] for number in range(1, 6)],
    ]
    warnings = [line for line in lines if line.startswith("Warning")]
    assert warnings == [
        "Warning: 3 of 3 crashed alike: RuntimeError: boom.",
        "Warning: 5 of 5 crashed alike: RuntimeError: boom.",  # of the end
    ]
    assert "5 experiments: 0 keeps, 0 discarded, 5 crashed." in lines
    assert not [line for line in lines if BORDER.search(line)]


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path, term: str) -> None:
    """No cursor moves; each line begins with the time of day; a proposal has a line."""
    lab = make_lab(tmp_path / "lab")
    terminal = Terminal(200, 60)
    words = ("run", "--agent", "tiny_agents:Countdown", "--trials", "2", "--tag", "t")
    lines = [line for line in run_in(terminal, lab, term, *words) if line]
    assert b"\x1b" not in terminal.output
    timed = [line for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    text = [line[9:] for line in timed]
    assert text[0] == "Study t of tiny."
    assert "#0 runs: baseline (run 1, to measure the noise)" in text
    assert text.index("#1 is proposed by countdown") < text.index("#1 runs: score 9")
    ended = next(at for at, line in enumerate(text) if line.startswith("#1   keep"))
    assert text.index("#1 runs: score 9") < ended


def test_a_confirmation_has_its_notes_once(tmp_path: Path) -> None:
    """Its first line has them; each further run says which pair and which side it is."""
    lab = make_lab(tmp_path / "lab", **NOISY)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    words = ["run", "--agent", "tiny_agents:Climber", "--trials", "2", "--tag", "t"]
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch", *words],
        cwd=lab,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line[9:] for line in done.stdout.splitlines()]
    runs = [line for line in lines if line.startswith("#3 runs: ")]
    steps = "#3 runs: confirmation of 2 steps: "
    assert runs[0] == f"{steps}pair 1 of 3, tip: #1 score 40, #2 score 30"
    expected = ["pair 1 of 3, incumbent", "pair 2 of 3, incumbent, gain so far +"]
    expected += ["pair 2 of 3, tip, gain so far +", "pair 3 of 3, tip, gain so far +"]
    expected += ["pair 3 of 3, incumbent, gain so far +", "one more pair, to measure the gain, "]
    for line, words_of in zip(runs[1:], expected, strict=False):
        assert line.startswith(steps + words_of)
    assert len(runs) == 8
    assert sum("score 40, #2 score 30" in line for line in lines) == 1
    (outcome,) = [line for line in lines if line.startswith("#3   keep")]
    assert outcome.endswith("confirmation of 2 steps (#1, #2)")


def test_plain_lines_warn_once_and_the_end_says_it_again(tmp_path: Path) -> None:
    """After the third crash, not after each."""
    lab = make_lab(
        tmp_path / "lab", task_toml=TASK.replace("[metric]", 'sandbox = "off"\n[metric]')
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    words = ["run", "--agent", "tiny_agents:Crasher", "--trials", "5", "--tag", "t"]
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch", *words],
        cwd=lab,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    at = [at for at, line in enumerate(lines) if "Warning: " in line]
    assert [lines[one].partition("Warning: ")[2] for one in at] == [
        "3 of 3 crashed alike: RuntimeError: boom.",
        "5 of 5 crashed alike: RuntimeError: boom.",
    ]
    assert "#3   crash" in lines[at[0] - 1]
    assert "Ended: " in lines[at[1] - 1]
