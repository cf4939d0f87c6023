"""The parts of a swarm: outbox, platform, answers, foreign prose, mirror commits, ideas."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from agenthub.validation import check_platform
from autoresearch.cli.diagnosis import examine_study
from autoresearch.errors import GitError
from autoresearch.lab.metric import Metric
from autoresearch.proposers import Proposal
from autoresearch.proposers.fake import Edit, ScriptedProposer
from autoresearch.store.git import Git
from autoresearch.store.ledger import Run, Status, Trial
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.proposing import ProposedEdit
from autoresearch.swarm.hub_protocol import WrongProject, best_first, check_metric, parse_results
from autoresearch.swarm.ideas import MOST_MISSES, Ideas
from autoresearch.swarm.outbox import Outbox, outbox_path, outbox_statuses
from autoresearch.swarm.priors import held_now, tried_before
from autoresearch.swarm.replication import SPENT, Replication
from autoresearch.swarm.settings import SwarmSettings, plain, this_platform
from autoresearch.swarm.strip_comments import strip_comments
from tiny_lab import git, make_lab, opened, scores

ROW = {
    "seq": 7,
    "commit": "a" * 40,
    "agent": "ada",
    "value": 4.0,
    "verdict": "confirmed",
    "runs": 3,
    "mean": 4.5,
}

# ---- the outbox --------------------------------------------------------------------------------


def test_letters_go_out_in_order_and_once(tmp_path: Path) -> None:
    """A key that is known is not written again; what was begun is known to have been begun."""
    with contextlib.closing(Outbox(tmp_path / "box" / "a.db")) as box:
        box.add("trial:0", "trial", {"n": 0})
        box.add("trial:1", "trial", {"n": 1})
        box.add("trial:0", "trial", {"n": 5})
        first = box.next()
        assert first is not None and (first.key, first.body, first.begun) == (
            "trial:0", {"n": 0}, False,
        )  # fmt: skip
        box.begin(first)
    with contextlib.closing(Outbox(tmp_path / "box" / "a.db")) as box:
        same = box.next()
        assert same is not None and (same.key, same.begun) == ("trial:0", True)
        box.sent(same)
        second = box.next()
        assert second is not None and (second.key, second.about) == ("trial:1", "trial #1")
        box.refuse(second, "not wanted")
        assert box.next() is None
        assert (box.count(), box.count("sent"), box.count("refused")) == (0, 1, 1)
        assert box.status().why == "not wanted"


def test_several_writes_are_all_or_none(tmp_path: Path) -> None:
    """What is raised within takes all back."""
    with contextlib.closing(Outbox(tmp_path / "a.db")) as box:
        with contextlib.suppress(sqlite3.Error), box.transaction():
            box.add("trial:0", "trial", {})
            box.note("upto", "0")
            raise sqlite3.OperationalError("disk full")
        assert (box.next(), box.fact("upto", "-1")) == (None, "-1")


def test_each_project_of_each_hub_has_its_own(tmp_path: Path) -> None:
    """Another hub is told everything anew."""
    places = [outbox_path(tmp_path, url, project) for url in "ab" for project in "cd"]
    assert len(set(places)) == 4
    for number, place in enumerate(places):
        with contextlib.closing(Outbox(place)) as box:
            box.remember(url=f"http://{number}", project="main", agent="ada")
    assert {found.url for found in outbox_statuses(tmp_path)} == {f"http://{n}" for n in range(4)}


# ---- platforms ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"),
        ("cpu-Intel(R) Xeon(R) CPU @ 2.20GHz", "cpu-Intel(R) Xeon(R) CPU @ 2.20GHz"),
        ("  <script>\n", "script"),
        ("é", "cpu"),
        ("x" * 100, "x" * 63),
    ],
)
def test_a_platforms_name_is_one_that_hubs_take(name: str, told: str) -> None:
    """Whatever a machine calls itself."""
    assert plain(name) == told
    assert check_platform(plain(name)) == told
    assert check_platform(this_platform())


# ---- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"commit": "abc"},
        {"commit": None},
        {"agent": "ada\nIGNORE"},
        {"agent": "x" * 64},
        {"value": "4"},
        {"value": float("nan")},
        {"value": True},
        {"seq": "7"},
        {"verdict": "wonderful"},
        {"runs": None},
    ],
)
def test_a_result_that_is_not_what_it_must_be_is_passed_over(wrong: dict[str, object]) -> None:
    """Numbers are numbers, hashes are hashes, ids are ids."""
    assert parse_results([ROW | wrong]) == []
    assert len(parse_results([ROW, ROW | wrong, "text", None])) == 1
    assert parse_results({"results": "no list"}) == []


def test_replicated_results_are_worth_what_others_measured() -> None:
    """Claims are worth what they claim."""
    replicated, claimed = parse_results(
        [ROW, ROW | {"verdict": "claimed", "mean": None, "value": 4.2}]
    )
    assert (replicated.worth, claimed.worth) == (4.5, 4.2)
    assert best_first([replicated, claimed], Metric("score"))[0] is claimed
    assert best_first([claimed, replicated], Metric("score", "maximize"))[0] is replicated


def test_another_ruler_is_refused() -> None:
    """The metric and its direction are those of the project."""
    about = {"metric": "score", "direction": "lower"}
    check_metric(about, Metric("score"), "main")
    for metric in (Metric("score", "maximize"), Metric("loss")):
        with pytest.raises(WrongProject, match="measures score lower"):
            check_metric(about, metric, "main")


def test_only_others_runs_of_the_same_files_on_such_a_machine_count() -> None:
    """What we tried ourselves, elsewhere, or on other files tells too little."""
    prior = {"kind": "commit", "same": "tree", "ref": "a" * 40, "agent": "ada"}
    rows = [{"tier": "h100", "value": 4.0}]
    told = f"duplicate of hub commit {'a' * 12}, 4.000000 there"
    assert tried_before([prior | {"results": rows}], "bob", "h100") == told
    crash = [{"tier": "h100", "value": None}]
    assert tried_before([prior | {"results": crash}], "bob", "h100").endswith("a crash there")
    for other in (
        prior | {"results": rows, "agent": "bob"},
        prior | {"results": rows, "same": "patch_id"},
        prior | {"results": rows, "ref": "IGNORE all"},
        prior | {"results": [{"tier": "a100", "value": 4.0}]},
        prior | {"results": []},
        {"kind": "claim", "ref": "3", "agent": "ada"},
        "text",
    ):
        assert tried_before([other], "bob", "h100") == ""
    assert held_now([prior, {"kind": "claim", "ref": "3"}]) == "duplicate of hub claim 3"
    assert held_now([{"kind": "claim", "ref": "IGNORE"}]) == ""
    assert held_now(None) == ""


# ---- prose -------------------------------------------------------------------------------------

OURS = '"""Ours."""\nLR = 0.1  # rate [0.01..1]\n\n\ndef f():\n    """Ours too."""\n    return LR\n'


def test_prose_that_is_not_ours_is_taken_out() -> None:
    """Comments and docstrings; what the code says stays byte for byte what it was."""
    theirs = (
        "#!/usr/bin/env python\n"
        '"""IGNORE\nall of it."""\n'
        "LR = 0.2  # rate [0.01..1]\n"
        "# IGNORE é\n"
        "é = '# no comment'  # IGNORE\n"
        "\n\nclass A:\n    '''IGNORE'''\n\n"
        '    def f(self): "IGNORE"\n'
    )
    found = strip_comments({"train.py": theirs.encode()}, [{"train.py": OURS.encode()}])
    assert found is not None
    text = found["train.py"].decode()
    assert "IGNORE" not in text
    assert "#!" not in text
    assert "LR = 0.2  # rate [0.01..1]\n" in text
    assert "é = '# no comment'\n" in text
    assert strip_comments(found, [{"train.py": OURS.encode()}]) == found
    compile(text, "train.py", "exec")


def test_code_without_strange_prose_stays_as_it_is() -> None:
    """So that it is exactly what was measured elsewhere."""
    theirs = {"train.py": OURS.replace("0.1 ", "0.3 ").encode(), "data.txt": b"# anything\n"}
    assert strip_comments(theirs, [{"train.py": OURS.encode()}]) == theirs


@pytest.mark.parametrize(
    "text", [b"def f(:\n", b"# -*- coding: latin-1 -*-\nx = 1\n", b"x = '\xff'\n", b"x = '''\n"]
)
def test_what_cannot_be_read_is_not_taken(text: bytes) -> None:
    """Broken code and odd encodings could hide what they say."""
    assert strip_comments({"train.py": text}, []) is None


# ---- git ---------------------------------------------------------------------------------------


def test_a_planted_commit_is_the_same_everywhere(tmp_path: Path) -> None:
    """Two repositories with other histories and the same files."""
    planted = []
    for name in ("one", "two"):
        lab = make_lab(tmp_path / name)
        git(lab, "commit", "--allow-empty", "-qm", name)
        found = Git.discover(lab)
        planted.append(found.plant(found.lab_tree("HEAD"), (), "tiny\n", 0))
    assert planted[0] == planted[1]


def test_a_pack_of_others_comes_in_whole_or_not_at_all(tmp_path: Path) -> None:
    """What is damaged or dangerous is refused by git, and nothing of it stays."""
    one, two = (Git.discover(make_lab(tmp_path / name)) for name in ("one", "two"))
    base = one.plant(one.lab_tree("HEAD"), (), "tiny\n", 0)
    made = one.commit("HEAD", {"train.py": b"SCORE = 1\n"}, "better")
    mirror = one.plant(one.lab_tree(made), (base,), "better\n", 1)
    whole = one.pack(mirror)
    for bad in (whole[:-30], whole[:60] + b"\0" + whole[61:], b"no pack"):
        with pytest.raises(GitError):
            two.take_pack(bad)
        assert two.resolve(mirror) is None
    two.take_pack(one.pack(base))
    two.take_pack(one.pack(mirror, [base]))  # leans on what is there
    assert two.read(mirror, "train.py") == b"SCORE = 1\n"


def test_a_patch_id_knows_the_change_and_not_the_place(tmp_path: Path) -> None:
    """The same edit of two commits; nothing for no edit."""
    lab = make_lab(tmp_path / "lab", train_py="A = 1\n" + "\n" * 9 + "SCORE = 2\n")
    here = Git.discover(lab)
    other = here.commit("HEAD", {"train.py": b"B = 3\nA = 1\n" + b"\n" * 9 + b"SCORE = 2\n"}, "x")
    first, second = (
        here.patch_id(
            here.lab_tree(commit),
            here.lab_tree(
                here.commit(
                    commit,
                    {"train.py": here.read(commit, "train.py").replace(b"SCORE = 2", b"SCORE = 1")},
                    "y",
                )
            ),
        )
        for commit in ("HEAD", other)
    )
    assert first == second != ""
    assert here.patch_id(here.lab_tree("HEAD"), here.lab_tree("HEAD")) == ""


# ---- how often others' ideas are tried ---------------------------------------------------------


def test_ideas_that_lead_nowhere_make_the_next_one_wait(tmp_path: Path) -> None:
    """Twice as long each time, up to a limit; one that helps ends the waiting."""
    run = Run(0, 1, 1.0, 0, 5.0, 0.1)
    bad = Trial(1, "p", "n", "hub:ada", status=Status.DISCARD, commit="c", runs=(run,))
    own = Trial(2, "p", "n", "me", status=Status.DISCARD, commit="c", runs=(run,))
    good = Trial(3, "p", "n", "hub:ada", status=Status.KEEP, commit="c", runs=(run,))
    with (
        opened(make_lab(tmp_path / "lab")) as study,
        contextlib.closing(Outbox(tmp_path / "a.db")) as box,
    ):
        ideas = Ideas(study, box, 8)
        waits = []
        for _ in range(MOST_MISSES + 2):
            ideas.count(bad)
            waits.append(ideas.wait)
        assert waits == [2, 4, 8, 16, 32, 64, 64, 64]
        ideas.count(own)
        assert (ideas.wait, ideas.without_gain) == (63, len(waits) + 1)
        ideas.count(good)
        assert (ideas.wait, ideas.misses, ideas.without_gain) == (0, 0, 0)


# ---- the loop's hooks --------------------------------------------------------------------------


class Slow(ScriptedProposer):
    """Its proposals are made ahead."""

    max_seconds = 60.0


def test_an_edit_from_elsewhere_goes_before_the_one_that_is_made_ahead(tmp_path: Path) -> None:
    """Which is not lost: it is the next trial, on whatever is the tip by then."""
    with opened(make_lab(tmp_path / "lab")) as study:
        offers = [None, {"train.py": b"SCORE = 7\n"}, None, None]

        class Offers:
            def offer(self, parent: str) -> ProposedEdit | None:
                files = offers.pop(0)
                return files and ProposedEdit(parent, files, Proposal("theirs"), "hub:ada")

        study.collaborators.attach(source=Offers())
        wide = [Edit({"train.py": f"SCORE = {n}\n"}, f"own {n}") for n in (9, 8, 6)]
        turns: list[int] = []
        research(study, Slow(wide), StopLimits(trials=3), between=lambda: turns.append(1))
        told = [(trial.proposer, trial.note) for trial in study.ledger.trials()]
    assert told[1:3] == [("scripted", "own 9"), ("hub:ada", "theirs")]
    assert len(told) == 4
    assert len(turns) == 3


def test_the_first_replication_comes_early_and_the_share_is_kept_after_it(tmp_path: Path) -> None:
    """Three own runs before the first; 54 before the second, which makes six of sixty."""
    with (
        opened(make_lab(tmp_path / "lab")) as study,
        contextlib.closing(Outbox(tmp_path / "box" / "a.db")) as box,
    ):
        study.baseline()
        replication, usual = Replication(study, box, SwarmSettings("", "")), study.usual_seconds()

        def due(runs: float) -> bool:
            replication.own_seconds = runs * usual
            return replication.is_due()

        assert [due(2.9), due(3.1)] == [False, True]
        box.note(SPENT, f"{3 * usual}")
        assert [due(3.1), due(53.0), due(55.0)] == [False, False, True]


def test_what_others_tried_is_recorded_and_not_run(tmp_path: Path) -> None:
    """It has a commit and a reason, so that proposers know of it; nothing of it ran."""

    class Tried:
        def reason(self, trial: Trial, commit: str) -> str:
            assert commit
            return f"duplicate of hub claim {trial.number}"

    with opened(make_lab(tmp_path / "lab")) as study:
        study.collaborators.attach(veto=Tried())
        research(study, ScriptedProposer(scores(9, 8)), StopLimits(trials=2))
        first, second = study.ledger.trials()[1:]
        brief = study.workspaces.brief(study.ask())
        findings = examine_study(study.task, study.ledger, study.paths, study.git)
        assert all(found.good for found in findings)
    assert (first.status, first.reason) == (Status.CRASH, "duplicate of hub claim 1")
    assert first.commit and not first.runs
    assert [tried.note for tried in brief.history[1:]] == ["score 9", "score 8"]
    assert [tried.outcome for tried in brief.history] == ["keep", "skip", "skip"]
    assert "- #2 skip (duplicate of hub claim 2) score -: score 8" in brief.text
    assert second.parent == first.parent


def test_a_strangers_trial_lends_a_brief_no_words(tmp_path: Path) -> None:
    """Neither the lines of what was put aside nor the log of what crashed."""

    class Peers:
        def results(self) -> str:
            return "- score 4.000000, claimed"

    with opened(make_lab(tmp_path / "lab")) as study:
        study.baseline()
        for text in (b"SCORE = 12  # IGNORE\n", b"raise RuntimeError('IGNORE')\n"):
            study.tell(study.ask(), {"train.py": text}, Proposal("taken"), "hub:ada")
            assert "IGNORE" not in study.workspaces.brief(study.ask()).text
        study.tell(
            study.ask(), {"train.py": b"raise RuntimeError('SEEN')\n"}, Proposal("own"), "me"
        )
        assert "SEEN" in study.workspaces.brief(study.ask()).text
        study.collaborators.attach(peers=Peers())
        assert "## Others on the hub" in study.workspaces.brief(study.ask()).text
