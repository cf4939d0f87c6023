"""A study as a member of a hub, seen from its loop.

The loop never waits for news or letters: those are the sync thread's. It asks the hub itself for
one thing only, a claim, for a few seconds and while the hub is there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator

from agenthub.client import AgentHubError, HubError
from agenthub.client.hub_client import HubClient
from autoresearch.errors import AutoResearchError, SwarmError, TaskError
from autoresearch.executors.probe import probe
from autoresearch.lab.task import Task
from autoresearch.store.heartbeat import Stage
from autoresearch.store.ledger import State, Status, Trial
from autoresearch.study.proposing import ProposedEdit
from autoresearch.study.study import Study
from autoresearch.swarm.hub_protocol import (
    ASKING,
    HubResult,
    check_metric,
    client_of,
    is_temporary,
    parse_project,
    positive_int,
    whoami,
)
from autoresearch.swarm.ideas import Idea, Ideas, is_exact
from autoresearch.swarm.mirror_commits import as_body
from autoresearch.swarm.outbox import Outbox, outbox_path
from autoresearch.swarm.priors import held_now, tried_before
from autoresearch.swarm.replication import Replication
from autoresearch.swarm.settings import SwarmSettings
from autoresearch.swarm.sync_thread import StudyContext, SyncThread

UPTO, CLAIM, TAKEN = "upto", "claim:", "taken:"
CLAIM_SECONDS = (900, 14_400)  # of a claim, at least and at most
NO_CLAIMS = 60.0  # seconds without claims, after one that was not answered
SHOWN = 3  # results of others in a brief
MOST_VETOES = 5  # candidates in a row that are not run for no other reason than the hub's

Note = Callable[[str], None]


def check_hub(task: Task, settings: SwarmSettings, note: Note) -> None:
    """Raise errors that only a person can fix, before anything begins; note a hub that is away."""
    client = client_of(settings, ASKING)
    try:
        check_metric(parse_project(client.about()), task.metric, settings.project)
        whoami(client)
    except HubError as error:
        if error.status == 401 or not is_temporary(error):
            raise SwarmError(str(error)) from error
        note(f"{error} The study begins alone.")


@contextlib.contextmanager
def joined(study: Study, settings: SwarmSettings, note: Note) -> Iterator[Member]:
    """Within the block, the study is a member of the hub; the loop must call `between`."""
    if len(study.base) != 40:
        raise TaskError(
            "Hubs take repositories with SHA-1 hashes, and this one has others. Make the lab again "
            "with `git init --object-format=sha1`."
        )
    study.git.drop_stale_locks(f"{study.paths.met}*")
    path = outbox_path(study.paths.hubs, settings.url, settings.project)
    study.paths.hubs.mkdir(exist_ok=True, mode=0o700)
    with contextlib.closing(Outbox(path)) as outbox:
        outbox.remember(url=settings.url, project=settings.project)
        context = StudyContext(study.git, study.paths, study.task, study.base, path)
        member = Member(study, settings, note, outbox, SyncThread(context, settings, note))
        member.begin()
        try:
            yield member
        except BaseException:
            member.end(max_seconds=2.0)
            raise
        member.end(settings.parting)


class Member:
    """Offers the hub's edits to a study, claims its candidates, reports its trials."""

    def __init__(
        self, study: Study, settings: SwarmSettings, note: Note, outbox: Outbox, sync: SyncThread
    ) -> None:
        self.study = study
        self.settings = settings
        self.note = note
        self.outbox = outbox
        self.sync = sync
        self.ideas = Ideas(study, outbox, settings.mix_after)
        self.replication = Replication(study, outbox, settings)
        self._client: HubClient = client_of(settings, ASKING)
        self._idea: Idea | None = None  # the one whose trial is about to begin
        self._vetoes = 0  # candidates in a row that were not run because of the hub
        self._no_claims_until = 0.0  # monotonic: the hub did not answer the last claim

    def begin(self) -> None:
        """Attach to the study, and write letters for trials that finished before."""
        runs_foreign_code = may_run_foreign_code(self.study)
        self.study.collaborators.attach(
            source=self if runs_foreign_code else None, veto=self, peers=self, listener=self
        )
        if not runs_foreign_code:
            self.note(
                "No sandbox here, so code of others is not run. To run it all the same, set "
                'sandbox = "off" in task.toml.'
            )
        self._write_letters()
        self.sync.start()

    def end(self, max_seconds: float) -> None:
        """Detach, and send what can be sent soon; the rest waits on disk for the next session."""
        self.study.collaborators.detach(self)
        self.sync.stop(self.outbox, max_seconds)
        if left := self.outbox.count():
            self.note(f"{left} letters wait for the hub; they are sent when the study goes on.")

    # ---- called by the loop --------------------------------------------------------------------

    def between(self) -> None:
        """Between two trials: replicate a result of another agent, when there is time for it."""
        if self.settings.replicate <= 0 or not may_run_foreign_code(self.study):
            return
        with self._noting_disk_errors():
            if (lease := self.sync.lease) is not None:
                if outcome := self.replication.run(lease):
                    self.note(outcome)
                    self.sync.clear_lease()
            elif self.replication.is_due() and not self.sync.away:
                self.sync.request_lease()

    def offer(self, parent: str) -> ProposedEdit | None:
        """An edit of the parent that another agent's commit suggests, when there is a good one."""
        self._idea = None
        with self._noting_disk_errors():
            self._idea = self.ideas.pick(self.sync.view.commits, parent)
        return self._idea.as_edit(parent, self.study.task.metric.name) if self._idea else None

    def reason(self, trial: Trial, commit: str) -> str:
        """Why a candidate need not run: others tried it, or are trying it. Empty: it is claimed."""
        idea, self._idea = self._idea, None
        with self._noting_disk_errors():
            for kind in (TAKEN, CLAIM):
                self.outbox.forget(f"{kind}{trial.number}")  # of a trial that was never committed
            if idea is not None and self._remember_source(idea, trial, commit):
                return ""
            if not self.sync.away and time.monotonic() >= self._no_claims_until:
                return self._limit_vetoes(self._claim(trial, commit))
        return ""

    def on_stage(self, stage: Stage) -> None:
        """Nothing to do: the hub gets finished trials only."""

    def on_note(self, text: str) -> None:
        """Nothing to do: it is for the person."""

    def on_trial(self, trial: Trial) -> None:
        """Write a letter about a finished trial."""
        self.ideas.count(trial)
        self.replication.own_seconds += trial.seconds
        self._write_letters()
        self.sync.wake()

    def results(self) -> str:
        """The best results of others, for a brief: numbers and hashes, no foreign text."""
        view, name = self.sync.view, self.study.task.metric.name
        replicated = view.replicated[:SHOWN]
        shown = {each.commit for each in replicated}
        claimed = [each for each in view.claimed if each.commit not in shown][:SHOWN]
        return "\n".join(_brief_line(each, name) for each in (*replicated, *claimed))

    # ---- inside --------------------------------------------------------------------------------

    def _remember_source(self, idea: Idea, trial: Trial, commit: str) -> bool:
        """Record whose idea a trial is; whether it is exactly their commit."""
        same, result = is_exact(idea, self.study, commit), idea.source.result
        self.outbox.note(f"{TAKEN}{trial.number}", f"{result.commit} {result.seq if same else 0}")
        return same

    def _claim(self, trial: Trial, commit: str) -> str:
        """Claim a candidate; the reason not to run it if others were first, else empty.

        A candidate that we tried before, or others on another kind of machine, is claimed all the
        same; so is a change that was tried on other files. Without an answer the study goes on.
        """
        git, budget = self.study.git, self.study.task.budget
        tree = git.lab_tree(commit)
        patch = git.patch_id(git.lab_tree(trial.parent), tree)
        seconds = int(min(max(4 * budget.timeout, CLAIM_SECONDS[0]), CLAIM_SECONDS[1]))
        try:
            answer = self._client.claim(
                trial.note, tree=tree, patch_id=patch or None, seconds=seconds
            )
            if answer.get("claim") is None:
                agent, tier = self.outbox.fact("agent"), self.outbox.fact("tier")
                reason = tried_before(answer.get("prior"), agent, tier)
                if reason:
                    return reason
                answer = self._client.claim(trial.note, tree=tree, seconds=seconds, anyway=True)
        except (AutoResearchError, AgentHubError, OSError) as error:
            self._no_claims_until = time.monotonic() + (NO_CLAIMS if is_temporary(error) else 0.0)
            return ""
        claim = answer.get("claim")
        if not isinstance(claim, dict):
            return held_now(answer.get("prior"))
        self.outbox.note(f"{CLAIM}{trial.number}", str(positive_int(claim.get("id"))))
        return ""

    def _limit_vetoes(self, reason: str) -> str:
        """The reason, but never too often in a row: a lying hub could give one for each trial."""
        self._vetoes = self._vetoes + 1 if reason else 0
        if self._vetoes <= MOST_VETOES:
            return reason
        self._vetoes = 0
        self.note(f"The hub reports {MOST_VETOES} candidates in a row as tried; this one runs.")
        return ""

    def _write_letters(self) -> None:
        """Write letters about all finished trials that have none yet."""
        with self._noting_disk_errors(), self.outbox.transaction():
            after = int(self.outbox.fact(UPTO, "-1"))
            for trial in self.study.ledger.trials(after + 1):
                if trial.state is not State.APPLIED:
                    break
                broken_lab = trial.is_baseline and trial.status is Status.CRASH
                if trial.commit and trial.own and not broken_lab:
                    self._write(trial)
                self.outbox.note(UPTO, str(trial.number))

    def _write(self, trial: Trial) -> None:
        commit, _, result = self.outbox.fact(f"{TAKEN}{trial.number}").partition(" ")
        name = str(trial.number)
        self.outbox.add(f"trial:{name}", "trial", as_body(trial, self.study.task.name, commit))
        values = [run.value for run in trial.own]
        if int(result or 0) and None not in values:
            tree = self.study.git.lab_tree(trial.commit)
            body = {"result": int(result), "values": values, "tree": tree}
            platform = {"platform": self.settings.platform}
            self.outbox.add(f"verify:{name}", "verify", body | platform)
        if claim := self.outbox.fact(f"{CLAIM}{name}"):
            self.outbox.add(f"claim:{name}", "claim", {"claim": int(claim)})

    @contextlib.contextmanager
    def _noting_disk_errors(self) -> Iterator[None]:
        """An error of the outbox ends no study: it is noted, and the work is done next time."""
        try:
            yield
        except sqlite3.Error as error:
            self.note(f"The outbox for the hub cannot be written: {error}. It is tried again.")


def may_run_foreign_code(study: Study) -> bool:
    """Whether other agents' code may run: in a sandbox, or where the task turns it off."""
    return study.task.sandbox == "off" or probe(study.paths.home).level != "none"


def _brief_line(result: HubResult, metric: str) -> str:
    runs = f", {result.runs} runs of others" if result.replicated else ", claimed"
    return f"- {metric} {result.worth:.6f}{runs}, commit {result.commit[:12]}"
