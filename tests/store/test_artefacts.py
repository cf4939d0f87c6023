"""Artefacts: of the best and the last two trials; logs of all."""

from __future__ import annotations

from pathlib import Path

from autoresearch.proposers.fake import ScriptedProposer
from autoresearch.store.artefacts import keep
from autoresearch.store.heartbeat import SLACK, beat, last_beat
from tiny_lab import RUN, make_lab, opened, scores

LEAVES = RUN + "import pathlib\npathlib.Path('out').mkdir()\n"
LEAVES += "pathlib.Path('out/model.bin').write_text(str(train.SCORE))\n"


def test_the_best_and_the_last_two_keep_what_they_left(tmp_path: Path) -> None:
    """A checkpoint of an old discard goes, its log stays, and the best keeps its own."""
    lab = make_lab(tmp_path / "lab", run_py=LEAVES)
    with opened(lab) as study:
        proposer = ScriptedProposer(scores(9, 12, 13, 14))
        for _ in range(5):
            study.step(proposer)
        left = {
            n: study.paths.log(n, 0).parent / "artefacts" / "out" / "model.bin" for n in range(5)
        }
        assert [n for n in left if left[n].exists()] == [1, 3, 4]
        assert left[1].read_text() == "9"
        assert all(study.paths.log(n, 0).exists() for n in range(5))


def test_links_and_committed_files_are_no_artefacts(tmp_path: Path) -> None:
    """Only regular files that the run made are moved; a link never is."""
    export = tmp_path / "export"
    (export / "__pycache__").mkdir(parents=True)
    for name in ("train.py", "made.txt", "__pycache__/x.pyc"):
        (export / name).write_text(name)
    (export / "link").symlink_to("/etc/passwd")
    assert keep(export, {"train.py"}, tmp_path / "kept") == 1
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["made.txt"]


def test_a_tree_made_to_break_its_reader_is_removed(tmp_path: Path) -> None:
    """Thousands of nested folders, or one closed to its owner, end neither loop nor study."""
    deep = "import os\nfor i in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\n"
    closed = "import os\nos.mkdir('shut')\nopen('shut/f', 'w')\nos.chmod('shut', 0)\n"
    lab = make_lab(tmp_path / "lab", run_py=RUN + deep)
    with opened(lab) as study:
        assert study.baseline().value == 10.0
        assert not study.paths.export.exists()
    other = make_lab(tmp_path / "other", run_py=RUN + closed)
    with opened(other) as study:
        assert study.baseline().value == 10.0
        assert not study.paths.export.exists()


def test_a_heartbeat_tells_work_from_a_stall(tmp_path: Path) -> None:
    """A stage is stalled when it is far beyond its own limit, and not before."""
    beat(tmp_path / "beat", "run", 7, 300.0)
    now = last_beat(tmp_path / "beat")
    assert now is not None
    assert (now.verb, now.trial, now.stalled) == ("run", 7, False)
    assert now.doing == "run of #7"
    beat(tmp_path / "beat", "run", None, -SLACK - 1)
    late = last_beat(tmp_path / "beat")
    assert late is not None
    assert (late.stalled, late.doing) == (True, "run of an earlier commit")
    (tmp_path / "beat").write_text("half a")
    assert last_beat(tmp_path / "beat") is None
