"""Study: one branch, its ledger, its best. `step` makes one trial, `tell` one of a given edit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from autoresearch.errors import EndAsked, GitError, RunFailed
from autoresearch.evaluation.evaluator import ALL_SETS, VALIDATION, Evaluator
from autoresearch.evaluation.jobs import cache_folder
from autoresearch.evaluation.parsing import (
    out_of_bounds,
    parse_run,
    run_of,
    stated_guards,
    unknown_guard,
)
from autoresearch.executors import Executor
from autoresearch.executors.processes import machine_load
from autoresearch.files import write_whole
from autoresearch.lab.task import Task
from autoresearch.proposers import Proposal, Proposer, max_seconds
from autoresearch.store import artefacts
from autoresearch.store.disk_space import Reserve
from autoresearch.store.git import Git
from autoresearch.store.heartbeat import Stage, beat
from autoresearch.store.ledger import Ledger, Run, State, Status, Trial
from autoresearch.store.locks import alone
from autoresearch.store.paths import StudyPaths
from autoresearch.store.pause import write_pause
from autoresearch.store.results import results_tsv
from autoresearch.store.rows import from_trials
from autoresearch.store.simplicity import FINGERPRINT, fingerprint, size
from autoresearch.strategies import CONFIRMER, Decision, RunRequest, Strategy
from autoresearch.strategies.alarms import pause_due
from autoresearch.study.branch import StudyBranch
from autoresearch.study.canary import Canary, fly
from autoresearch.study.collaborators import Collaborators
from autoresearch.study.proposing import PARTING, Edit, ProposedEdit, Workspaces
from autoresearch.study.repeats import Repeats
from autoresearch.text import clean_line

NOTE = 500  # characters of a note
BASELINE = "baseline"
CONFIRMATION_RUNS = 8  # that a confirmation usually takes
PROPOSE_LIMIT = 3600.0  # seconds until a proposal looks stalled, unless its proposer allows more
WAIT_LIMIT = 24 * 3600.0  # seconds until a wait for another study or a person looks stalled
COPIED = "copied"  # a fact of the study: its score command copies a number that the run wrote
MEASURING = "measuring.lock"  # in the cache folder


@dataclass(frozen=True)
class Measured:
    """One run beside the record, and its score on each requested set."""

    run: Run
    scores: Mapping[str, float]


class Study:
    """Drives trials through their states. `open_study` makes one, after it took the lock."""

    def __init__(
        self,
        task: Task,
        git: Git,
        ledger: Ledger,
        paths: StudyPaths,
        executor: Executor,
        strategy: Strategy,
        collaborators: Collaborators | None = None,
    ) -> None:
        self.task = task
        self.git = git
        self.ledger = ledger
        self.paths = paths
        self.strategy = strategy
        self.evaluator = Evaluator(task, git, paths, executor)
        self.collaborators = collaborators or Collaborators()
        self.workspaces = Workspaces(task, git, ledger, paths, self.evaluator, self.collaborators)
        self.reserve = Reserve(paths.reserve)
        self.repeats = Repeats(self._files)
        self.branch = StudyBranch(git, ledger, paths)
        self.notices: tuple[str, ...] = ()  # for the person, found out at the opening
        self.measuring = False  # a run or a check is under way: an interrupt waits for it
        self.ending = False  # a person requested an end after the run under way

    # ---- the verbs -----------------------------------------------------------------------------

    def step(self, proposer: Proposer, ahead: Callable[[], bool] = lambda: False) -> Trial:
        """One trial: a confirmation if one is due, else an edit of the selected parent.

        If `ahead()` is true, the next proposal is begun while this trial runs.
        """
        if self.ledger.best() is None:
            return self.baseline()
        if (tip := self.strategy.due_confirmation(self.ledger)) is not None:
            return self.confirm(tip)
        parent = self.ask()
        trial = self._enter(self.collaborators.offer(parent) or self.propose(proposer, parent))
        if trial.state is State.COMMITTED and not self.workspaces.busy and ahead():
            self.workspaces.begin(proposer, self.ask())
            self.collaborators.on_stage(Stage("ahead", trial.number + 1, proposer.name))
        return self._walk(trial)

    def ask(self) -> str:
        """The commit that the next candidate starts from."""
        return self.strategy.select(self.ledger)

    def propose(self, proposer: Proposer, parent: str) -> ProposedEdit:
        """An edit of the parent: the proposal begun ahead, or a new one."""
        limit = max(PROPOSE_LIMIT, max_seconds(proposer) + PARTING)
        self._begin(Stage("propose", len(self.ledger), proposer.name), limit)
        return self.workspaces.take(parent) or self.workspaces.propose(proposer, parent)

    def tell(self, parent: str, edit: Edit, proposal: Proposal, by: str) -> Trial:
        """Commit an edit, run, measure, decide and record it; move the branch if it is kept."""
        return self._walk(self._enter(ProposedEdit(parent, edit, proposal, by)))

    def baseline(self) -> Trial:
        """Run the unedited lab, which later trials are compared with; RunFailed without a keep."""
        added = self._add(self.base, BASELINE, BASELINE)
        trial = self._walk(self._pin(added, self.base, self.git.tree(self.base)))
        if trial.status is Status.KEEP:
            return trial
        if trial.value is not None:
            raise RunFailed(
                f"The baseline runs, and is refused: {trial.reason}. "
                "Mend the lab or its task.toml, commit it, and run again."
            )
        log = self.paths.log(trial.number, len(trial.runs) - 1)
        raise RunFailed(
            f"The baseline does not run ({trial.reason}): {trial.detail or 'no output'}. "
            f"Its log: {log}. Mend the lab, commit it, and run again."
        )

    def confirm(self, commit: str) -> Trial:
        """Run the tip against the last keep: a trial without an edit."""
        best = self.ledger.best()
        assert best is not None, "a confirmation is due only after a baseline"
        trial = self._add(best.commit, self._climbed(commit, best.commit), CONFIRMER)
        return self._walk(self._pin(trial, commit, self.git.tree(commit)))

    def finish(self) -> Trial | None:
        """Confirm the steps that are still open, when nothing new will follow; None without any."""
        tip = self.strategy.due_confirmation(self.ledger, last=True)
        return None if tip is None else self.confirm(tip)

    def finish_seconds(self) -> float:
        """Estimate of how long `finish` would take now."""
        if self.strategy.due_confirmation(self.ledger, last=True) is None:
            return 0.0
        return CONFIRMATION_RUNS * self.usual_seconds()

    def usual_seconds(self) -> float:
        """Estimate of how long a run takes: the baseline's mean."""
        baseline = self.ledger.kept()[0]
        return baseline.seconds / len(baseline.runs)

    @property
    def paused(self) -> bool:
        """Whether a person has paused the study: no new trial begins."""
        return self.paths.pause.exists()

    def heed_alarms(self) -> None:
        """Pause the study when the task's alarms demand it after the newest trial."""
        if reason := pause_due(self.ledger, self.task.alarms):
            write_pause(self.paths, reason)

    def begin_pause(self) -> None:
        """Report the pause to listeners and in the heartbeat."""
        self._begin(Stage("pause", len(self.ledger)), WAIT_LIMIT)

    def begin_wait(self, seconds: float) -> None:
        """Report to listeners and in the heartbeat that nothing happens for so many seconds."""
        self._begin(Stage("hold", len(self.ledger)), seconds)

    def recover(self) -> Trial | None:
        """Finish or delete the one trial that an earlier process left unfinished."""
        trial = self.ledger.unfinished()
        if trial is None:
            return None
        if trial.state is State.PROPOSED:
            self.ledger.abandon(trial)
            return None
        return self._walk(trial)

    @property
    def base(self) -> str:
        """The commit that the study began with: its baseline, and the judge's pristine files."""
        return self.ledger.facts["base"]

    # ---- files and commits ---------------------------------------------------------------------

    def read_bytes(self, commit: str, path: str) -> bytes:
        """The bytes of an editable file of a commit."""
        return self.git.read(commit, self.git.prefix + path)

    def write_results(self) -> None:
        """Rewrite results.tsv from the ledger."""
        rows = from_trials(t for t in self.ledger.trials() if t.state is State.APPLIED)
        write_whole(self.paths.results, results_tsv(rows, self.task.metric))

    def renew_fingerprints(self) -> None:
        """Compute fingerprints of an older version again, from the commits.

        Those of commits that are gone become empty: equal to no other.
        """
        if self.ledger.facts.get("fingerprint") == FINGERPRINT:
            return
        commits = {trial.number: trial.commit for trial in self.ledger.trials() if trial.commit}
        known = {commit: self._fingerprint(commit) for commit in set(commits.values())}
        codes = {number: known[commit] for number, commit in commits.items()}
        self.ledger.recode(codes, fingerprint=FINGERPRINT)

    # ---- from state to state -------------------------------------------------------------------

    def _walk(self, trial: Trial) -> Trial:
        """Take a trial from its state to the last one, and report it."""
        actions: dict[State, Callable[[Trial], Trial]] = {
            State.COMMITTED: self._run,
            State.RUNNING: self._run,
            State.EXECUTED: self._measure,
            State.MEASURED: self._decide,
            State.DECIDED: self._apply,
        }
        while trial.state is not State.APPLIED:
            trial = actions[trial.state](trial)
        self.branch.catch_up()
        self.write_results()
        self.measuring = False
        self._prune(trial)
        self.collaborators.on_trial(trial)
        return trial

    def _begin(self, stage: Stage, limit: float) -> None:
        """Report a stage and its time limit, to listeners and in the heartbeat."""
        self.measuring = stage.verb in ("run", "check")
        beat(self.paths.heartbeat, stage.verb, stage.number, limit)
        self.collaborators.on_stage(replace(stage, seconds=limit))

    def _prune(self, trial: Trial) -> None:
        """Remove artefacts, except those of the best and the last two trials."""
        best = self.ledger.best()
        wanted = {trial.number, trial.number - 1} | ({best.number} if best else set())
        artefacts.prune(self.paths.trials, wanted)

    def _add(
        self,
        parent: str,
        note: str,
        by: str,
        cost_usd: float = 0.0,
        tokens: int = 0,
        unstated_usd: float = 0.0,
    ) -> Trial:
        words = clean_line(note, NOTE) or "(no note)"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        trial = Trial(0, parent, words, by, created=now, cost_usd=cost_usd)
        return self.ledger.add(trial, tokens, unstated_usd)

    def _enter(self, made: ProposedEdit) -> Trial:
        """Write an edit into the record: a row, and a commit if something could run."""
        proposal = made.proposal
        costs = proposal.cost_usd, proposal.tokens, proposal.unstated_usd
        trial = self._add(made.parent, proposal.note, made.by, *costs)
        artefacts.write_details(self.paths.trial(trial.number), proposal.details)
        if proposal.fault:
            return self._refuse(trial, proposal.fault)
        rerun = proposal.rerun_parent
        return self._commit(trial, {} if rerun else made.edit, rerun_parent=rerun)

    def _climbed(self, tip: str, since: str) -> str:
        """The note of a confirmation: the steps from one commit up to another."""
        steps = self.ledger.steps_to(tip, since)
        return f"confirmation of {', '.join(f'#{t.number} {t.note}' for t in steps)}"

    def _commit(self, trial: Trial, edit: Edit, *, rerun_parent: bool = False) -> Trial:
        """proposed → committed; or decided, when nothing could run."""
        if isinstance(edit, OSError):
            return self._refuse(trial, "invalid_edit")
        files = {self.git.prefix + name: content for name, content in edit.items()}
        message = f"{trial.note}\n\nTrial: {self.paths.tag}/{trial.number}\n"
        commit = self.git.commit(trial.parent, files, message)
        tree = self.git.tree(commit)
        if tree == self.git.tree(trial.parent):
            if rerun_parent:
                return self._pin(trial, commit, tree)
            return self._refuse(trial, "no_change")
        if earlier := self.ledger.tried(fingerprint(self._files(commit))):
            return self._skip(trial, commit, tree, f"duplicate of #{earlier.number}")
        trial = self.repeats.annotated(trial, commit, edit, self.ledger, NOTE)
        if reason := self.collaborators.reason(trial, commit):
            return self._skip(trial, commit, tree, reason)
        return self._pin(trial, commit, tree)

    def _skip(self, trial: Trial, commit: str, tree: str, reason: str) -> Trial:
        """Decide a trial before it runs; its commit stays on record."""
        known = {"status": Status.CRASH, "reason": reason}
        return self._pin(trial, commit, tree, State.DECIDED, **known)

    def _pin(
        self, trial: Trial, commit: str, tree: str, state: State = State.COMMITTED, **more: Any
    ) -> Trial:
        self.git.set_ref(self.paths.pin(trial.number), commit)
        files, before = self._files(commit), self._files(trial.parent)
        lines, nodes = size(files).over(size(before))
        known = {"lines": lines, "nodes": nodes, "code": fingerprint(files), **more}
        return self.ledger.advance(trial, state, commit=commit, tree=tree, **known)

    def _files(self, commit: str) -> dict[str, bytes]:
        return {name: self.read_bytes(commit, name) for name in self.task.editable}

    def _fingerprint(self, commit: str) -> str:
        """The fingerprint of a commit; empty where it or one of its files is not there."""
        try:
            return fingerprint(self._files(commit))
        except GitError:
            return ""

    def _refuse(self, trial: Trial, reason: str) -> Trial:
        return self.ledger.advance(trial, State.DECIDED, status=Status.CRASH, reason=reason)

    def _run(self, trial: Trial) -> Trial:
        """committed → running → executed: one run, in a clean export."""
        request = self._requested(trial)
        trial = self.ledger.advance(trial, State.RUNNING)
        number = len(trial.runs)
        seed = int(self.ledger.facts["seed"]) + 1000 * trial.number + _seed(request)
        log = self.paths.log(trial.number, number)
        stage = Stage(
            "run", trial.number, trial.note, log, number, request.purpose, bool(request.commit)
        )
        with self._alone(trial.number):
            self._begin(stage, self.task.budget.timeout)
            load = machine_load()
            execution = self.evaluator.run(request.commit or trial.commit, self.base, log, seed)
        if execution.ending == "suspended":  # the machine slept, so its clock is no measure
            return trial
        run = run_of(number, seed, execution, self.task.source)
        run = replace(run, commit=request.commit, purpose=request.purpose, load=load)
        return self.ledger.add_run(trial, run)

    def _alone(self, number: int | None) -> contextlib.AbstractContextManager[None]:
        """Where time is the metric: wait until no other study of this machine measures time."""
        if self.task.keep.noise != "timing":
            return contextlib.nullcontext()

        def wait(holder: str) -> None:
            self._begin(Stage("wait", number, holder), WAIT_LIMIT)

        return alone(cache_folder() / MEASURING, wait)

    def _requested(self, trial: Trial) -> RunRequest:
        """The run that the strategy requests now; after a kill it is the same one again."""
        request = self.strategy.decide(trial, self.ledger).request
        return request or RunRequest(seed_index=len(trial.runs))

    def measure(self, commit: str, seed: int, log: Path, *, holdout: bool = False) -> Measured:
        """Run any commit once more, beside the record: the ledger does not change."""
        stage = Stage("run", None, f"{commit[:8]}, seed {seed}", log)
        sets = ALL_SETS if holdout else VALIDATION
        with self._alone(None):
            self._begin(stage, self.task.budget.timeout)
            execution = self.evaluator.run(commit, self.base, log, seed, sets)
        verdict = self.evaluator.verdict(log)
        run = parse_run(run_of(0, seed, execution, self._trust), log, self.task, verdict)
        return Measured(run, verdict.scores if verdict else {})

    def _measure(self, trial: Trial) -> Trial:
        """executed → measured: read the last run's number from its log or verdict."""
        run = trial.runs[-1]
        log = self.paths.log(trial.number, run.number)
        found = parse_run(run, log, self.task, self.evaluator.verdict(log))
        if trial.is_baseline:
            self._examine_score(log, found)
        return self.ledger.measure_run(trial, replace(found, trust=self._trust))

    @property
    def _trust(self) -> str:
        """Who gives the numbers: a score command that copies them believes the log's author."""
        return "log" if self.ledger.facts.get("score") == COPIED else self.task.source

    def _examine_score(self, log: Path, run: Run) -> None:
        """Find out, once, whether the score command copies a number that the run wrote."""
        if self.task.source != "score" or run.value is None or "score" in self.ledger.facts:
            return
        with self._alone(None):
            copied = self.evaluator.copies(log, self.base, run.seed, run.value)
        self.ledger.remember(score=COPIED if copied else "computed")

    def _decide(self, trial: Trial) -> Trial:
        """measured → decided; or running again, when the strategy requests another run."""
        decision = self._refused(trial) or self.strategy.decide(trial, self.ledger)
        if decision.status is None:
            if self.ending:
                raise EndAsked(f"stopped by Ctrl-C; trial {trial.number} goes on next time")
            return self._run(trial)
        if decision.climbs:
            decision = self._guard(trial, decision)
        return self.ledger.advance(
            trial,
            State.DECIDED,
            status=decision.status,
            reason=decision.reason,
            explanation=decision.explanation,
        )

    def _guard(self, trial: Trial, decision: Decision) -> Decision:
        """Refuse a better number that breaks a bound of the task or fails its checks."""
        if problem := self._out_of_bounds(trial):
            return Decision(Status.DISCARD, problem)
        if not self._passes_checks(trial):
            return Decision(Status.CRASH, "checks_failed")
        return decision

    def _refused(self, trial: Trial) -> Decision | None:
        """The baseline's refusal: a guard without a number, or runs that do not use its files."""
        run = trial.own[-1]
        if not trial.is_baseline or run.value is None or self.ledger.best() is not None:
            return None
        names = [bound.name for bound in self.task.guards]
        problem = unknown_guard(run, self.task, names)
        if problem is None and not (canary := self._canary(trial, run)).stands:
            problem = canary.words
        return Decision(Status.DISCARD, problem) if problem else None

    def _canary(self, trial: Trial, first: Run) -> Canary:
        """The canary of the baseline, once for a commit: what it showed is a fact of the study."""
        known = Canary.read(self.ledger.facts.get("canary"))
        if known is not None and known.stands and known.commit == trial.commit:
            return known
        folder = self.paths.canary
        with self._alone(trial.number):
            limit = self.task.budget.timeout * (1 + len(self.task.editable))
            beat(self.paths.heartbeat, "check", trial.number, limit)
            canary = fly(self.evaluator, trial.commit, self.base, folder, first)
        self.ledger.remember(canary=canary.text())
        return canary

    def _out_of_bounds(self, trial: Trial) -> str | None:
        """Why a guard forbids a keep: its value in the last run, or none in any of its runs."""
        baseline = next(iter(self.ledger.kept()), trial)
        stated = stated_guards(baseline.own, self.task)
        unknown = (unknown_guard(run, self.task, stated) for run in trial.own)
        return next(filter(None, unknown), None) or out_of_bounds(trial.own[-1], self.task)

    def _passes_checks(self, trial: Trial) -> bool:
        if self.task.checks is None:
            return True
        log = self.paths.trial(trial.number) / "checks.log"
        with self._alone(trial.number):
            self._begin(Stage("check", trial.number, trial.note, log), self.task.checks.timeout)
            return self.evaluator.passes_checks(trial.commit, log)

    def _apply(self, trial: Trial) -> Trial:
        """decided → applied: a keep moves the branch, from where the ledger left it."""
        if trial.status is Status.KEEP:
            best = self.ledger.best_before(trial)
            expected = best.commit if best else self.base
            self.branch.advance(trial.commit, expected, self.collaborators.on_note)
        return self.ledger.advance(trial, State.APPLIED)


def restore_files(git: Git, task: Task, commit: str, replaced: Path | None = None) -> list[str]:
    """Write a commit's editable files into the lab; the names of those that changed.

    What they replace is copied into the folder `replaced` first, when one is given.
    """
    changed = []
    for name in task.editable:
        target, content = task.folder / name, git.as_checked_out(commit, name)
        now = target.read_bytes() if target.is_file() else None
        if now == content or (now is not None and _same_to_git(git, commit, name, now)):
            continue
        if now is not None and replaced is not None:
            _set_aside(replaced / name, now)
        write_whole(target, content)
        changed.append(name)
    return changed


def _set_aside(path: Path, content: bytes) -> None:
    """Write a copy beside those that are there already: `train.py`, `train.py.2`, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = (path if n == 1 else path.with_name(f"{path.name}.{n}") for n in count(1))
    free = next(one for one in names if not one.exists() or one.read_bytes() == content)
    write_whole(free, content)


def _same_to_git(git: Git, commit: str, name: str, now: bytes) -> bool:
    """Whether git would commit a file as a commit has it, whatever its line endings here."""
    return git.as_committed(name, now) == git.read(commit, git.prefix + name)


def _seed(request: RunRequest) -> int:
    """A run's offset among its trial's seeds: runs that are compared never share a seed."""
    return 2 * request.seed_index + bool(request.commit)
