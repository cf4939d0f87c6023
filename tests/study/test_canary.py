"""The canary: a study whose runs do not use its editable files does not begin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoresearch.errors import RunFailed
from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.study.canary import Canary
from autoresearch.study.loop import StopLimits, research
from tiny_lab import RUN, TASK, git, make_lab, opened, scores

ELSEWHERE = """
import sys
sys.path.insert(0, {folder!r})  # as an editable install does
import train
print("score:", train.SCORE)
"""


def canary_of(lab: Path) -> Canary:
    """What the canary of a lab showed; the study begins."""
    with opened(lab) as study:
        study.baseline()
        found = Canary.read(study.ledger.facts["canary"])
    assert found is not None
    return found


def refusal(lab: Path) -> str:
    """Why the study does not begin."""
    with opened(lab) as study, pytest.raises(RunFailed) as caught:
        study.baseline()
    return str(caught.value)


def test_a_command_that_fails_without_its_file_is_fine(tmp_path: Path) -> None:
    """What was seen is a fact of the study; table, refs and rows are as without it."""
    lab = make_lab(tmp_path / "lab")
    found = canary_of(lab)
    assert (found.outcome, found.idle) == ("fails", ())
    assert found.words == "train.py replaced: the run fails (failed)"
    assert git(lab, "for-each-ref", "--format=%(refname)", "refs/autoresearch").split() == [
        "refs/autoresearch/t/0",
        "refs/autoresearch/t/owner",
    ]
    assert len((lab / "results.tsv").read_text().splitlines()) == 2
    assert git(lab, "status", "--porcelain", "train.py") == ""


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_command_that_uses_another_copy_is_refused(tmp_path: Path, noise: float) -> None:
    """The message names the file, the number and the likely cause; a mended lab goes on."""
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "train.py").write_text(
        f"import random\nSCORE = 10 + {noise} * random.random()\n"
    )
    run = ELSEWHERE.format(folder=str(tmp_path / "installed"))
    lab = make_lab(tmp_path / "lab", run_py=run)
    said = refusal(lab)
    assert "train.py replaced by code that fails: the command still works (score 10" in said
    assert "pip install -e" in said and '[canary] off = "the reason"' in said
    (lab / "run.py").write_text(RUN)
    git(lab, "commit", "-aqm", "the lab's own train.py")
    assert canary_of(lab).outcome == "fails"


def test_a_command_that_answers_failing_code_with_a_number_is_fine(tmp_path: Path) -> None:
    """An evaluator may catch every error and give the worst score."""
    run = "try:\n    import train\n    score = train.SCORE\nexcept BaseException:\n    score = 99\n"
    found = canary_of(make_lab(tmp_path / "lab", run_py=f"{run}print('score:', score)\n"))
    assert found.outcome == "answers"
    assert "score 99, as it is 10" in found.words


def test_a_command_that_waits_for_ever_is_ended(tmp_path: Path) -> None:
    """No number within the time of a run is no number."""
    run = "import time\ntry:\n    import train\nexcept BaseException:\n    time.sleep(600)\n"
    lab = make_lab(
        tmp_path / "lab",
        task_toml=TASK.replace("timeout = 20", "timeout = 5"),
        run_py=f"{run}print('score:', train.SCORE)\n",
    )
    assert canary_of(lab).words == "train.py replaced: the run fails (timeout)"


def test_of_several_files_one_must_matter_and_idle_ones_are_named(tmp_path: Path) -> None:
    """All together first, then each alone: a file that nobody reads yet is no reason to refuse."""
    lab = tmp_path / "lab"
    task = TASK.replace('["train.py"]', '["train.py", "helper.py", "rates.json"]')
    run = "import json\nimport train\nrates = json.load(open('rates.json'))\n"
    make_lab(lab, task_toml=task, helper_py="A = 1\n", rates_json="{}", run_py=run + RUN)
    found = canary_of(lab)
    assert (found.outcome, found.idle) == ("fails", ("helper.py",))
    assert "helper.py alone: nothing changes, is it used?" in found.words


@pytest.mark.parametrize(("name", "outcome"), [("prompt.txt", "unclear"), ("rates.json", "")])
def test_prose_that_nothing_refuses_to_read_is_no_reason(
    tmp_path: Path, name: str, outcome: str
) -> None:
    """Code and data that are replaced in vain are."""
    task = TASK.replace("train.py", name)
    files = {name.replace(".", "_"): "{}\n"}
    lab = make_lab(tmp_path / "lab", task_toml=task, run_py="print('score: 10')\n", **files)
    if outcome:
        assert canary_of(lab).outcome == outcome
    else:
        assert "rates.json replaced by code that fails" in refusal(lab)


def test_a_session_says_what_is_more_than_a_failure(tmp_path: Path) -> None:
    """Once, after the baseline."""
    run = "try:\n    import train\n    score = train.SCORE\nexcept BaseException:\n    score = 99\n"
    lab = make_lab(tmp_path / "lab", run_py=f"{run}print('score:', score)\n")
    notes: list[str] = []
    with opened(lab) as study:
        for value in (9, 8):
            research(study, ScriptedProposer(scores(value)), StopLimits(1), on_note=notes.append)
    assert notes == ["Canary: train.py replaced: score 99, as it is 10."]


def test_it_can_be_off_with_a_reason(tmp_path: Path) -> None:
    """The reason is on record."""
    task = TASK + '[canary]\noff = "the score is a constant in this test"\n'
    lab = make_lab(tmp_path / "lab", task_toml=task, run_py="print('score: 10')\n")
    found = canary_of(lab)
    assert (found.outcome, found.words) == ("off", "off: the score is a constant in this test")


def test_a_score_command_that_ignores_the_run_is_found_out(tmp_path: Path) -> None:
    """Where a judge or score command gives the number, its verdict is what must change."""
    good = TASK.replace('direction = "minimize"', 'source = "score"')
    good += '[score]\ncommand = "python score.py"\nartefacts = ["out.json"]\n'
    scorer = "import os\nroot = os.environ['AUTORESEARCH_ARTEFACTS']\n"
    scorer += "os.write(3, open(root + '/out.json', 'rb').read())\n"
    writes = "import json, train\njson.dump({'metric': train.SCORE}, open('out.json', 'w'))\n"
    lab = make_lab(tmp_path / "lab", task_toml=good, run_py=writes, score_py=scorer)
    assert canary_of(lab).outcome == "fails"
    deaf = scorer.replace("open(root + '/out.json', 'rb').read()", "b'{\"metric\": 10}'")
    writes = "open('out.json', 'w').write('{}')\n"
    lab = make_lab(tmp_path / "deaf", task_toml=good, run_py=writes, score_py=deaf)
    assert "train.py replaced by code that fails" in refusal(lab)


def test_a_study_that_has_a_baseline_needs_none(tmp_path: Path) -> None:
    """One of an older version goes on as it is."""
    lab = make_lab(tmp_path / "lab")
    with opened(lab) as study:
        study.baseline()
        study.ledger.remember(canary="")
    with opened(lab) as study:
        research(study, ScriptedProposer(scores(9)), StopLimits(trials=1))
        assert study.ledger.facts["canary"] == ""


def test_what_a_study_recorded_is_read_back() -> None:
    """And what is no record is none."""
    one = Canary("fails", "words", "c" * 40, ("a.py",))
    assert Canary.read(one.text()) == one
    for text in (None, "", "{}", "[]", "null", json.dumps({"outcome": 1})):
        assert Canary.read(text) is None
