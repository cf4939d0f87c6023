"""Checks of this machine, and of the agreement of a study's ledger, repository and table."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import AutoResearchError, GitError
from autoresearch.evaluation.evaluator import Evaluator
from autoresearch.executors.gpus import all_gpus
from autoresearch.executors.probe import make_executor, probe
from autoresearch.lab.task import FILE, Task
from autoresearch.store.git import OLDEST, Git, git_version
from autoresearch.store.ledger import Ledger, State, Status, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.store.results import results_tsv
from autoresearch.store.rows import from_trials
from autoresearch.study.branch import LEFT_AT, held_branch
from autoresearch.study.canary import Canary, look
from autoresearch.study.opening import running

AGENTS = ("claude", "codex", "gemini", "opencode", "aider", "mini", "pi", "goose", "cursor-agent")
_TORCH = """
import json, torch
cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
mps = ["mps"] if torch.backends.mps.is_available() else []
print(json.dumps([torch.__version__, cuda + mps]))
"""


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    good: bool  # False: broken, or missing and perhaps needed
    seen: str
    mend: str = ""  # the command, or the advice, that repairs it


def examine_machine(folder: Path) -> Iterator[Check]:
    """Check Python, git, sandbox, disk, torch and its devices, agents."""
    yield Check("python", sys.version_info >= (3, 11), platform.python_version())
    yield _git()
    level = probe()
    why = f"{level.level}" + (
        f" (not higher: {level.why_not_higher})" if level.why_not_higher else ""
    )
    yield Check("sandbox", level.level == "bubblewrap", why, "apt-get install bubblewrap")
    free = shutil.disk_usage(folder).free / 2**30
    yield Check("free disk", free >= 5, f"{free:.1f} GiB at {folder}", "free some space")
    yield _torch()
    used = ", ".join(f"GPU {gpu.index}: {gpu.used:,} MiB in use" for gpu in all_gpus())
    yield Check("nvidia", True, used or "no NVIDIA GPU answers")
    found = [name for name in AGENTS if shutil.which(name)]
    yield Check("agents", True, ", ".join(found) or "no coding agent on PATH; offline needs none")


def examine_study(task: Task, ledger: Ledger, paths: StudyPaths, git: Git) -> Iterator[Check]:
    """Check the invariants that hold between trials, each with the command that repairs it."""
    trials = ledger.trials()
    yield _ledger(ledger)
    yield _unfinished(ledger, paths)
    yield _commits(trials, git)
    yield _branch(trials, ledger, paths, git)
    yield _pins(trials, paths, git)
    yield _table(trials, task, paths)


def examine_canary(ledger: Ledger) -> Iterator[Check]:
    """What the canary of a study showed, if it had one."""
    if (canary := Canary.read(ledger.facts.get("canary"))) is not None:
        yield Check("canary", canary.stands, canary.words, "autoresearch run")


def examine_lab(folder: Path) -> Iterator[Check]:
    """Check whether the command of a lab without a study uses its editable files."""
    if not (folder / FILE).is_file():
        return
    mend = "let the command use the files below its working directory"
    try:
        task = Task.load(folder)
        git = Git.discover(task.folder)
        commit = git.resolve("HEAD")
        if commit is None:
            yield Check("canary", False, "not checked: there is no commit yet", "git commit")
            return
        with tempfile.TemporaryDirectory(prefix="autoresearch-doctor-") as place:
            paths = StudyPaths(Path(place), "doctor")
            paths.home.mkdir(parents=True)
            evaluator = Evaluator(task, git, paths, make_executor(task.sandbox, paths.home))
            canary = look(evaluator, commit, paths.canary)
        yield Check("canary", canary.outcome in ("fails", "off"), canary.words, mend)
    except (AutoResearchError, OSError) as error:
        yield Check("canary", False, f"not checked: {error}")


def _git() -> Check:
    needed = f"install git {OLDEST[0]}.{OLDEST[1]} or newer"
    try:
        version = git_version()
    except GitError:
        return Check("git", False, "not found", needed)
    return Check("git", version >= OLDEST, ".".join(map(str, version)), needed)


def _torch() -> Check:
    """Imported in another process: it takes a second and half a gigabyte."""
    words = [sys.executable, "-c", _TORCH]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        version, devices = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return Check("torch", False, "not installed", "pip install 'autoresearch[train]'")
    return Check("torch", True, f"{version}, {', '.join(devices) or 'CPU only'}")


def _ledger(ledger: Ledger) -> Check:
    answer = ledger.integrity()
    return Check("ledger", answer == "ok", answer, f"sqlite3 {ledger.path} .recover")


def _unfinished(ledger: Ledger, paths: StudyPaths) -> Check:
    trial, holder = ledger.unfinished(), running(paths)
    if trial is not None and holder is not None:
        return Check("unfinished", True, f"trial {trial.number} is running, in {holder}")
    seen = f"trial {trial.number} is {trial.state}" if trial else "all trials are finished"
    return Check("unfinished", trial is None, seen, "autoresearch run --trials 0")


def _commits(trials: Iterable[Trial], git: Git) -> Check:
    lost = [t.number for t in trials if t.commit and git.resolve(t.commit) is None]
    seen = f"missing for trials {_listed(lost)}" if lost else "every trial's commit is there"
    return Check("commits", not lost, seen, "git fsck --lost-found; git fetch from a backup")


def _branch(trials: Iterable[Trial], ledger: Ledger, paths: StudyPaths, git: Git) -> Check:
    kept = [t for t in trials if t.status is Status.KEEP and t.state is State.APPLIED]
    expected = kept[-1].commit if kept else ledger.facts["base"]
    found = git.ref(paths.branch)
    if found and found != expected and found == ledger.facts.get(LEFT_AT):
        why = held_branch(git, paths) or "The next run brings it to the best."
        return Check("branch", True, f"at {found[:12]}, not yet at {expected[:12]}. {why}")
    if found != expected:
        mend = _ref_back(paths.branch, found, expected, paths)
        return Check("branch", False, f"at {found}, the ledger says {expected}", mend)
    strays = [t.number for t in kept if not git.is_ancestor(t.commit, expected)]
    seen = f"kept trials {_listed(strays)} are not below it" if strays else f"at {expected[:12]}"
    return Check("branch", not strays, seen, "autoresearch run --tag NEW")


def _pins(trials: Iterable[Trial], paths: StudyPaths, git: Git) -> Check:
    wanted = {paths.pin(t.number): t.commit for t in trials if t.commit}
    refs = git.refs(paths.pins).items()
    there = {ref: commit for ref, commit in refs if not ref.startswith(paths.met)}
    loose = [ref for ref, commit in wanted.items() if there.get(ref) != commit]
    if loose:
        mend = _ref_back(loose[0], there.get(loose[0]), wanted[loose[0]], paths)
        return Check("pins", False, f"{loose[0]} does not hold its trial's commit", mend)
    others = sorted(set(there) - set(wanted) - {paths.owner})
    beside = f"; {', '.join(others)} beside them is of no trial, and left alone" if others else ""
    return Check("pins", True, f"{len(wanted)} refs, one a trial{beside}")


def _ref_back(ref: str, found: str | None, expected: str, paths: StudyPaths) -> str:
    """The commands that put a ref back; a commit that it holds now gets a name first."""
    if found is None:
        return f"git update-ref {ref} {expected}"
    aside = f"{paths.tag}-{found[:7]}"
    return f"git branch {aside} {found} && git update-ref {ref} {expected} {found}"


def _table(trials: Iterable[Trial], task: Task, paths: StudyPaths) -> Check:
    rows = from_trials(t for t in trials if t.state is State.APPLIED)
    there = paths.results.read_text() if paths.results.is_file() else ""
    same = there == results_tsv(rows, task.metric)
    mend = f"autoresearch export --tag {paths.tag} --format tsv -o {paths.results.name}"
    seen = "results.tsv equals the ledger" if same else "results.tsv differs from the ledger"
    return Check("results.tsv", same, seen, mend)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
