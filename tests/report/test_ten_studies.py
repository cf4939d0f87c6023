"""Ten made studies: every output shows the same numbers, and they are those computed by hand."""

from __future__ import annotations

import html
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoresearch.cli import main
from autoresearch.cli.mcp_server import Driver
from autoresearch.cli.report import study_story
from autoresearch.cli.words import summary_text
from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.proposers.fake import Edit, ScriptedProposer
from autoresearch.report.page import page
from autoresearch.report.table import staircase
from autoresearch.store.ledger import Status
from autoresearch.strategies.registry import make_strategy
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import open_study
from autoresearch.study.overview import next_brief
from autoresearch.study.study import Study
from autoresearch.study.verify import ablate, verify
from autoresearch.swarm.mirror_commits import as_body
from tiny_lab import TASK, make_lab

pytest.importorskip("mcp")

# The seed of a run is 42, and 1000 times the trial's number, and twice its index, and one if it is
# of the other commit. A baseline has the indexes 0 to 3, a screening 0 and 1, a confirmation's
# pairs 10, 12 and 14, its claim 56. So the noise of a baseline is -, +, -, +; of a screening -, +;
# of each run of a confirmation and of its claim -. That of verify's seeds is -, -, +.
RUN = """
import os
import train
seed = int(os.environ["AUTORESEARCH_SEED"])
print("score:", repr(train.SCORE + (1, -1)[seed // 2 % 2] * train.NOISE))
"""


@dataclass(frozen=True)
class Made:
    """A study, and what its outputs must show. `scores` are those of its edits; None crashes."""

    baseline: float
    scores: tuple[float | None, ...]
    counts: str
    headline: str
    best: float  # the one measured value of the best, in full
    noise: float = 0.0
    relative: float = 0.0  # noise as a share of the score
    direction: str = "minimize"
    range: str = ""
    keep: str = ""
    stop_early: bool = False  # as Ctrl-C does: the open steps stay open
    after: str = ""  # verify or ablate
    open_text: str = ""

    def train(self, score: float | None, number: int = 0) -> str:
        """train.py of an edit."""
        if score is None:
            return f"NUMBER = {number}\nraise ZeroDivisionError('no data')\n"
        return f"SCORE = {score!r}\nNOISE = {self.noise or self.relative * score!r}\n"

    def task(self) -> str:
        """task.toml of the lab."""
        text = TASK.replace("range = [0.0, 100.0]", self.range)
        text = text.replace('"minimize"', f'"{self.direction}"')
        return f'sandbox = "off"\n{text}[keep]\n{self.keep}\n'


MADE = {
    "all crash": Made(
        50.0, (None, None, None),
        "3 experiments: 0 keeps, 0 discarded, 3 crashed",
        "score 50.000000, nothing better is confirmed yet", 50.0, noise=1.0,
    ),
    "no keep": Made(
        50.0, (60.0, 70.0),
        "2 experiments: 0 keeps, 2 discarded, 0 crashed",
        "score 50.000000, nothing better is confirmed yet", 50.0, noise=1.0,
    ),
    # Its confirmation measured 0.98 - 0.01.
    "maximise bounded by 1": Made(
        0.5, (0.75, 0.98),
        "2 experiments, 1 confirmation: 1 keep (2 steps), 0 discarded, 0 crashed",
        "score 0.500000 → 0.970000 (+94.00 %)", 0.97, noise=0.01,
        direction="maximize", range="range = [0.0, 1.0]",
    ),
    "loss over six decades": Made(
        988.39, (31.25, 0.9, 0.0009),
        "3 experiments: 3 keeps, 0 discarded, 0 crashed",
        "score 988.390000 → 0.000900 (-99.9999089 %)", 0.0009,
    ),
    "1e-9": Made(
        1.5e-9, (2e-9, 0.9e-9),
        "2 experiments: 1 keep, 1 discarded, 0 crashed",
        "score 1.500e-09 → 9.000e-10 (-40.00 %)", 0.9e-9,
    ),
    "1e12 with differences of 1": Made(
        1e12, (1e12 - 1, 1e12 - 2),
        "2 experiments: 2 keeps, 0 discarded, 0 crashed",
        "score 1,000,000,000,000 → 999,999,999,998 (-2.0e-10 %)", 999999999998.0,
    ),
    # Ten per cent of the level: the confirmation's runs are 10 - 1.
    "noise that shrinks with the level": Made(
        1000.0, (100.0, 10.0),
        "2 experiments, 1 confirmation: 1 keep (2 steps), 0 discarded, 0 crashed",
        "score 1000.00 → 9.00 (-99.10 %)", 9.0, relative=0.1,
    ),
    "Ctrl-C with three steps open": Made(
        50.0, (40.0, 30.0, 20.0),
        "3 experiments: 0 keeps, 3 steps not confirmed, 0 discarded, 0 crashed",
        "score 50.000000, nothing better is confirmed yet", 50.0, noise=1.0, stop_early=True,
        open_text="3 steps look better, the last one measured 20.000000 (#3); not confirmed yet: "
        "that begins at 5 steps, or now, with autoresearch run --trials 0",
    ),
    "verified": Made(
        50.0, (40.0, 30.0),
        "2 experiments, 1 confirmation: 1 keep (2 steps), 0 discarded, 0 crashed",
        "score 49.666667 → 29.666667 (-40.27 %)", 89 / 3, noise=1.0, after="verify",
    ),
    "ablated": Made(
        50.0, (40.0, 30.0),
        "2 experiments, 1 confirmation: 1 keep (2 steps), 0 discarded, 0 crashed",
        "score 50.000000 → 29.000000 (-42.00 %)", 29.0, noise=1.0, after="ablate",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Outputs:
    """A made study's folder, and all that is shown of it."""

    made: Made
    lab: Path
    text: dict[str, str]
    data: dict[str, dict[str, object]]
    best: int  # number of the best trial
    commit: str


@pytest.fixture(scope="module", params=MADE, ids=lambda name: name.replace(" ", "-"))
def outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """One of the ten, played with real processes, and printed by every command."""
    made = MADE[request.param]
    lab = make_lab(
        tmp_path_factory.mktemp("made") / "lab",
        task_toml=made.task(), run_py=RUN, train_py=made.train(made.baseline),
    )  # fmt: skip
    task = Task.load(lab)
    with open_study(task, "t", make_strategy("confirm", task.keep), LocalExecutor()) as study:
        play(study, made)
        best = study.ledger.best()
        assert best is not None
        text = {"end of a session": summary_text(study)}
        text["brief"] = next_brief(task, study.ledger, study.paths, study.git)
        letter = as_body(best, "tiny")
    story = study_story(task, "t")
    text |= {"page": html.unescape(page(story)), "staircase": str(staircase(story, width=200))}
    data: dict[str, dict[str, object]] = {"letter": letter}
    with pytest.MonkeyPatch.context() as patch:
        for command in ("status", "log", "show", "best", "report"):
            text[command] = printed(
                patch, lab, command, *([str(best.number)] * (command == "show"))
            )
        data["status"] = json.loads(printed(patch, lab, "status", "--json"))
        data["show"] = json.loads(printed(patch, lab, "show", str(best.number), "--json"))
        text["tsv"] = printed(patch, lab, "export", "--format", "tsv")
        lines = printed(patch, lab, "export").splitlines()
    data["export"] = next(one for one in map(json.loads, lines) if one["number"] == best.number)
    tools = Driver(lab, "t")
    data["mcp status"], data["mcp best"] = tools.status().model_dump(), tools.best().model_dump()
    return Outputs(made, lab, text, data, best.number, best.commit)


def play(study: Study, made: Made) -> None:
    """All edits, each made from what the one before left."""
    edits = [
        Edit({"train.py": made.train(score, number)}, f"score {score}")
        for number, score in enumerate(made.scores, start=1)
    ]
    proposer = ScriptedProposer(edits)
    if made.stop_early:
        study.baseline()
        for _ in edits:
            study.step(proposer)
    else:
        research(study, proposer, StopLimits(trials=len(edits)))
    if made.after == "verify":
        verify(study, 3)
    elif made.after == "ablate":
        list(ablate(study, 2))


def printed(patch: pytest.MonkeyPatch, lab: Path, *words: str) -> str:
    """What a command prints."""
    out = io.StringIO()
    patch.setattr("sys.stdout", out)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--lab", str(lab), "--tag", "t"])
    patch.undo()
    assert not ended.value.code, out.getvalue()
    return out.getvalue()


def test_the_headline_is_the_same_everywhere(outputs: Outputs) -> None:
    """Two measured values and the percentage between them; on the page, in its markup."""
    made = outputs.made
    for where in ("end of a session", "staircase", "status", "report"):
        assert made.headline in outputs.text[where], where
    assert outputs.data["status"]["headline"] == made.headline
    assert outputs.data["mcp status"]["headline"] == made.headline
    plain = " ".join(re.sub(r"<[^>]*>", " ", outputs.text["page"]).split())
    for value in re.findall(r"[\d.,]*\d(?:e-\d+)?", made.headline.replace("nothing better", "")):
        assert value in plain


def test_the_counts_are_the_same_everywhere(outputs: Outputs) -> None:
    """One vocabulary; the baseline is no experiment and no keep."""
    made = outputs.made
    for where in ("end of a session", "status", "report", "page"):
        assert made.counts in outputs.text[where], where
    assert outputs.data["mcp status"]["outcomes"] == made.counts


def test_the_value_of_the_best_is_the_same_everywhere(outputs: Outputs) -> None:
    """In full where machines read, with the study's digits where people do."""
    value, number = outputs.made.best, outputs.best
    data = outputs.data
    for where in ("show", "export", "mcp best"):
        assert data[where]["value"] == pytest.approx(value, rel=1e-12), where
    for where in ("status", "mcp status"):
        assert data[where]["best"] == pytest.approx(value, rel=1e-12), where
    if outputs.made.after != "verify":  # a letter is sent when the trial ends
        assert data["letter"]["value"] == pytest.approx(value, rel=1e-12)
    row = next(
        line.split("\t")
        for line in outputs.text["tsv"].splitlines()[1:]
        if (line.split("\t")[3] == Status.KEEP and outputs.commit.startswith(line.split("\t")[0]))
        or (number == 0 and line.startswith("baseline"))
    )  # fmt: skip
    assert float(row[1]) == pytest.approx(value, rel=1e-12)
    shown = re.search(r"→ (\S+)|score (\S+), ", outputs.made.headline)
    assert shown is not None
    text = shown[1] or shown[2]
    line = next(one for one in outputs.text["log"].splitlines() if one.split()[:1] == [str(number)])
    assert text in line.split()
    assert re.search(rf"^score: +{re.escape(text)}$", outputs.text["show"], re.MULTILINE)
    assert re.search(rf"^score: +{re.escape(text)}$", outputs.text["best"], re.MULTILINE)
    brief = rf"^- #{number} keep( \(.+\))? score {re.escape(text)}: "
    assert re.search(brief, outputs.text["brief"], re.MULTILINE)


def test_the_gain_is_shown_with_its_interval_and_added_to_nothing(outputs: Outputs) -> None:
    """The same words everywhere; what it would make of the baseline stands nowhere."""
    gain = outputs.data["status"]["gain"]
    if "→" not in outputs.made.headline:
        assert gain is None
        return
    assert isinstance(gain, dict)
    assert gain["low"] <= gain["estimate"] <= gain["high"]
    words = outputs.data["mcp status"]["gain"]
    assert isinstance(words, str)
    for where in ("status", "report", "page"):
        assert words in outputs.text[where], where
    assert words[1:] in outputs.text["end of a session"]


def test_open_steps_are_shown_everywhere(outputs: Outputs) -> None:
    """How many, where they stand, when they are confirmed, and how to have it now."""
    made = outputs.made
    for where in ("end of a session", "status", "report", "page"):
        assert ("; not confirmed yet" in outputs.text[where]) == bool(made.open_text), where
        assert made.open_text in outputs.text[where], where
    assert outputs.data["mcp status"]["steps"] == made.open_text
    steps = outputs.data["status"]["open"]
    assert (steps is not None) == bool(made.open_text)


def test_nothing_outside_what_was_measured_is_drawn(outputs: Outputs) -> None:
    """Each value in the page's table of trials is one that the ledger has or verify measured."""
    cells = re.findall(r'<tr id="trial-\d+".*?</tr>', outputs.text["page"], re.DOTALL)
    assert len(cells) == len(outputs.text["tsv"].splitlines()) - 1
    if outputs.made.range:
        for cell in cells:
            value = re.findall(r'<td class="n">([\d.]+)</td>', cell)[1]
            assert 0.0 <= float(value) <= 1.0
