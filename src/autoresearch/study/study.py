"""Study: one branch, its ledger, its best. `step` is the line of one trial, `tell` its half."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoresearch.errors import EndAsked, RunFailed
from autoresearch.evaluation.evaluator import ALL_SETS, VALIDATION, Evaluator
from autoresearch.evaluation.jobs import cache_folder
from autoresearch.evaluation.parsing import out_of_bounds, parse_run, run_of
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
from autoresearch.store.results import results_tsv
from autoresearch.store.rows import from_trials
from autoresearch.store.simplicity import fingerprint, size
from autoresearch.strategies import PROVER, RunRequest, Strategy, Verdict
from autoresearch.study.collaborators import Collaborators
from autoresearch.study.proposing import PARTING, Edit, ProposedEdit, Workspaces
from autoresearch.study.repeats import Repeats
from autoresearch.text import clean_line

NOTE = 500  # characters of a note
BASELINE = "baseline"
PROOF_RUNS = 8  # that a proof takes, as a rule
PROPOSE_LIMIT = 3600.0  # seconds after which a proposer looks stalled that does not say more
WAIT_LIMIT = 24 * 3600.0  # and a study that waits, for others who measure time or a person
MEASURING = "measuring.lock"  # in the cache folder


@dataclass(frozen=True)
class Measured:
    """One run beside the record, and its score on each set that it was asked for."""

    attempt: Run
    scores: Mapping[str, float]


class Study:
    """The loop. Opened by `open_study`, which holds the lock and checks the ground."""

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
        self.measuring = False  # something runs that is worth waiting for
        self.ending = False  # a person wants an end after the run under way

    # ---- the verbs -----------------------------------------------------------------------------

    def step(self, proposer: Proposer, ahead: Callable[[], bool] = lambda: False) -> Trial:
        """One trial: what next, an edit, and all that follows from it.

        Where `ahead` says so, the next proposal is begun while this trial runs.
        """
        if self.ledger.best() is None:
            return self.baseline()
        if (tip := self.strategy.due_confirmation(self.ledger)) is not None:
            return self.prove(tip)
        parent = self.ask()
        trial = self._enter(self.collaborators.offer(parent) or self.propose(proposer, parent))
        if trial.state is State.COMMITTED and not self.workspaces.busy and ahead():
            self.workspaces.begin(proposer, self.ask())
        return self._finish(trial)

    def ask(self) -> str:
        """The commit that the next candidate starts from."""
        return self.strategy.select(self.ledger)

    def propose(self, proposer: Proposer, parent: str) -> ProposedEdit:
        """An edit of the parent: the one that was begun ahead, or a new one."""
        limit = max(PROPOSE_LIMIT, max_seconds(proposer) + PARTING)
        self._begin(Stage("propose", len(self.ledger), proposer.name), limit)
        return self.workspaces.take(parent) or self.workspaces.propose(proposer, parent)

    def tell(self, parent: str, edit: Edit, proposal: Proposal, by: str) -> Trial:
        """Commit an edit, run, measure, judge and record it; move the branch if it is kept."""
        return self._finish(self._enter(ProposedEdit(parent, edit, proposal, by)))

    def baseline(self) -> Trial:
        """Run the unedited lab: the number that all others are compared with."""
        added = self._add(self.base, BASELINE, BASELINE)
        trial = self._finish(self._pin(added, self.base, self.git.tree(self.base)))
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

    def prove(self, commit: str) -> Trial:
        """Measure what was climbed since the last keep against it: a trial without an edit."""
        best = self.ledger.best()
        assert best is not None, "something is unproven only after a baseline"
        trial = self._add(best.commit, self._climbed(commit, best.commit), PROVER)
        return self._finish(self._pin(trial, commit, self.git.tree(commit)))

    def close(self) -> Trial | None:
        """Prove what is still open, when nothing new will follow."""
        tip = self.strategy.due_confirmation(self.ledger, last=True)
        return None if tip is None else self.prove(tip)

    def closing_seconds(self) -> float:
        """About how long `close` would take now."""
        if self.strategy.due_confirmation(self.ledger, last=True) is None:
            return 0.0
        return PROOF_RUNS * self.usual_seconds()

    def usual_seconds(self) -> float:
        """About how long a run takes."""
        baseline = self.ledger.kept()[0]
        return baseline.seconds / len(baseline.runs)

    @property
    def paused(self) -> bool:
        """Whether a person wants no new trial to begin."""
        return self.paths.pause.exists()

    def begin_pause(self) -> None:
        """Tell who listens, and who looks from outside."""
        self._begin(Stage("pause", len(self.ledger)), WAIT_LIMIT)

    def begin_wait(self, seconds: float) -> None:
        """Tell who looks from outside that nothing is to happen for so long."""
        beat(self.paths.heartbeat, "hold", len(self.ledger), seconds)

    def recover(self) -> Trial | None:
        """Finish, or take back, the one trial that an earlier process left on the way."""
        trial = self.ledger.unfinished()
        if trial is None:
            return None
        if trial.state is State.PROPOSED:
            self.ledger.abandon(trial)
            return None
        return self._finish(trial)

    @property
    def base(self) -> str:
        """The commit that the study began with: the baseline, and the files that judge."""
        return self.ledger.facts["base"]

    # ---- files and commits ---------------------------------------------------------------------

    def read_bytes(self, commit: str, path: str) -> bytes:
        """An editable file of a commit, as it is."""
        return self.git.read(commit, self.git.prefix + path)

    def write_results(self) -> None:
        """Write results.tsv anew from the ledger."""
        rows = from_trials(t for t in self.ledger.trials() if t.state is State.APPLIED)
        write_whole(self.paths.results, results_tsv(rows, self.task.metric))

    # ---- from state to state -------------------------------------------------------------------

    def _finish(self, trial: Trial) -> Trial:
        """Walk a trial to the end of the line, from wherever it stands."""
        walk: dict[State, Callable[[Trial], Trial]] = {
            State.COMMITTED: self._run,
            State.RUNNING: self._run,
            State.RAN: self._measure,
            State.JUDGED: self._judge,
            State.DECIDED: self._ratchet,
        }
        while trial.state is not State.APPLIED:
            trial = walk[trial.state](trial)
        self.write_results()
        self.measuring = False
        self._prune(trial)
        self.collaborators.on_trial(trial)
        return trial

    def _begin(self, stage: Stage, limit: float) -> None:
        """Tell who listens, and who looks from outside, what begins and how long it may take."""
        self.measuring = stage.verb in ("run", "check")
        beat(self.paths.heartbeat, stage.verb, stage.number, limit)
        self.collaborators.on_stage(stage)

    def _prune(self, trial: Trial) -> None:
        """Keep artefacts of the best and the last two."""
        best = self.ledger.best()
        wanted = {trial.number, trial.number - 1} | ({best.number} if best else set())
        artefacts.prune(self.paths.trials, wanted)

    def _add(
        self, parent: str, note: str, by: str, cost_usd: float = 0.0, tokens: int = 0
    ) -> Trial:
        words = clean_line(note, NOTE) or "(no note)"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self.ledger.add(Trial(0, parent, words, by, created=now, cost_usd=cost_usd), tokens)

    def _enter(self, made: ProposedEdit) -> Trial:
        """Into the record: a row, and a commit if there is something that could run."""
        told = made.proposal
        trial = self._add(made.parent, told.note, made.by, told.cost_usd, told.tokens)
        artefacts.write_details(self.paths.trial(trial.number), told.details)
        if told.fault:
            return self._refuse(trial, told.fault)
        return self._commit(trial, {} if told.again else made.edit, again=told.again)

    def _climbed(self, tip: str, since: str) -> str:
        """The steps from one commit up to another, in words."""
        steps = self.ledger.steps_to(tip, since)
        return f"proof of {', '.join(f'#{t.number} {t.note}' for t in steps)}"

    def _commit(self, trial: Trial, edit: Edit, *, again: bool = False) -> Trial:
        """proposed → committed; or decided, when there is nothing that could run."""
        if isinstance(edit, OSError):
            return self._refuse(trial, "invalid_edit")
        files = {self.git.prefix + name: content for name, content in edit.items()}
        message = f"{trial.note}\n\nTrial: {self.paths.tag}/{trial.number}\n"
        commit = self.git.commit(trial.parent, files, message)
        tree = self.git.tree(commit)
        if tree == self.git.tree(trial.parent):
            return self._pin(trial, commit, tree) if again else self._refuse(trial, "no_change")
        if earlier := self.ledger.tried(fingerprint(self._files(commit))):
            return self._skip(trial, commit, tree, f"duplicate of #{earlier.number}")
        trial = self.repeats.noted(trial, commit, edit, self.ledger, NOTE)
        if reason := self.collaborators.reason(trial, commit):
            return self._skip(trial, commit, tree, reason)
        return self._pin(trial, commit, tree)

    def _skip(self, trial: Trial, commit: str, tree: str, reason: str) -> Trial:
        """Decided before it runs, and on record: what was written is not lost."""
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

    def _refuse(self, trial: Trial, reason: str) -> Trial:
        return self.ledger.advance(trial, State.DECIDED, status=Status.CRASH, reason=reason)

    def _run(self, trial: Trial) -> Trial:
        """committed → running → ran: one attempt, in a clean export."""
        look = self._look(trial)
        trial = self.ledger.advance(trial, State.RUNNING)
        number = len(trial.runs)
        seed = int(self.ledger.facts["seed"]) + 1000 * trial.number + _seed(look)
        log = self.paths.log(trial.number, number)
        stage = Stage("run", trial.number, trial.note, log, again=_again(look, number))
        with self._quiet(trial.number):
            self._begin(stage, self.task.budget.timeout)
            load = machine_load()
            execution = self.evaluator.run(look.commit or trial.commit, self.base, log, seed)
        if execution.ending == "suspended":  # the machine slept: its clock says nothing
            return trial
        attempt = run_of(number, seed, execution, self.task.source)
        attempt = replace(attempt, commit=look.commit, role=look.role, load=load)
        return self.ledger.add_run(trial, attempt)

    def _quiet(self, number: int | None) -> contextlib.AbstractContextManager[None]:
        """Where time is measured: while no other such run is under way on this machine."""
        if self.task.keep.noise != "timing":
            return contextlib.nullcontext()

        def wait(holder: str) -> None:
            self._begin(Stage("wait", number, holder), WAIT_LIMIT)

        return alone(cache_folder() / MEASURING, wait)

    def _look(self, trial: Trial) -> RunRequest:
        """What is to be run now; after a kill it is what was asked for before."""
        asked = self.strategy.judge(trial, self.ledger).look
        return asked or RunRequest(draw=len(trial.runs))

    def measure(self, commit: str, seed: int, log: Path, *, holdout: bool = False) -> Measured:
        """Run any commit once more, beside the record: nothing of it enters the ledger."""
        stage = Stage("run", None, f"{commit[:8]}, seed {seed}", log)
        sets = ALL_SETS if holdout else VALIDATION
        with self._quiet(None):
            self._begin(stage, self.task.budget.timeout)
            execution = self.evaluator.run(commit, self.base, log, seed, sets)
        verdict = self.evaluator.verdict(log)
        attempt = parse_run(run_of(0, seed, execution, self.task.source), log, self.task, verdict)
        return Measured(attempt, verdict.scores if verdict else {})

    def _measure(self, trial: Trial) -> Trial:
        """ran → judged: what the attempt's log is worth."""
        attempt = trial.runs[-1]
        log = self.paths.log(trial.number, attempt.number)
        found = parse_run(attempt, log, self.task, self.evaluator.verdict(log))
        return self.ledger.measure_run(trial, found)

    def _judge(self, trial: Trial) -> Trial:
        """judged → decided; or running again, when the strategy wants another look."""
        verdict = self.strategy.judge(trial, self.ledger)
        if verdict.status is None:
            if self.ending:
                raise EndAsked(f"stopped by Ctrl-C; trial {trial.number} goes on next time")
            return self._run(trial)
        if verdict.climbs:
            verdict = self._guard(trial, verdict)
        return self.ledger.advance(
            trial, State.DECIDED, status=verdict.status, reason=verdict.reason
        )

    def _guard(self, trial: Trial, verdict: Verdict) -> Verdict:
        """What may stand between a better number and a keep."""
        if problem := out_of_bounds(trial.own[-1], self.task):
            return Verdict(Status.DISCARD, problem)
        if not self._passes_checks(trial):
            return Verdict(Status.CRASH, "checks_failed")
        return verdict

    def _passes_checks(self, trial: Trial) -> bool:
        if self.task.checks is None:
            return True
        log = self.paths.trial(trial.number) / "checks.log"
        with self._quiet(trial.number):
            self._begin(Stage("check", trial.number, trial.note, log), self.task.checks.timeout)
            return self.evaluator.passes_checks(trial.commit, log)

    def _ratchet(self, trial: Trial) -> Trial:
        """decided → applied: the branch moves, if it is a keep, from where the ledger left it."""
        if trial.status is Status.KEEP:
            best = self.ledger.best_before(trial)
            expected = best.commit if best else self.base
            if self.git.ref(self.paths.branch) != trial.commit:
                self.git.move_ref(self.paths.branch, trial.commit, expected)
        return self.ledger.advance(trial, State.APPLIED)


def restore_files(git: Git, task: Task, commit: str, replaced: Path | None = None) -> list[str]:
    """Write a commit's editable files into the lab; the names of those that changed.

    What they replace is copied into the folder `replaced` first, when one is given.
    """
    changed = []
    for name in task.editable:
        target, content = task.folder / name, git.read(commit, git.prefix + name)
        now = target.read_bytes() if target.is_file() else None
        if now == content:
            continue
        if now is not None and replaced is not None:
            (replaced / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(replaced / name, now)
        write_whole(target, content)
        changed.append(name)
    return changed


def _seed(look: RunRequest) -> int:
    """Within a trial: no run shares its seed with what it is compared with."""
    return 2 * look.draw + bool(look.commit)


def _again(look: RunRequest, number: int) -> str:
    """What a further run is for, in words."""
    if number == 0:
        return ""
    what = "the incumbent" if look.commit else "itself"
    return f"{look.role}: {what}, seed {look.draw}"
