"""Member: a study that takes part in a hub, seen from its loop.

What the hub says is used when it is there in time, and never waited for: news and letters are the
courier's. Only a claim is asked for by the loop itself, for a few seconds, while the hub is there.
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
from autoresearch.swarm.discovery import Duty
from autoresearch.swarm.hub_protocol import ASKING, Seen, check_ruler, client_of, passes, whole
from autoresearch.swarm.ideas import Idea, Ideas, exact
from autoresearch.swarm.mirror_commits import as_body
from autoresearch.swarm.outbox import Outbox, outbox_path
from autoresearch.swarm.priors import held_now, tried_before
from autoresearch.swarm.replication import Again
from autoresearch.swarm.settings import SwarmSettings
from autoresearch.swarm.sync_thread import StudyContext, SyncThread, project_of, whoami

UPTO, CLAIM, TAKEN = "upto", "claim:", "taken:"
CLAIM_SECONDS = (900, 14_400)  # of a claim, at least and at most
DEAF = 60.0  # seconds without claims, after one that was not answered
SHOWN = 3  # results of others in a brief
MOST_TAKEN = 5  # candidates in a row that the hub's word alone keeps from being run

Note = Callable[[str], None]


def check_hub(task: Task, settings: SwarmSettings, note: Note) -> None:
    """Errors that only a person can mend, before anything begins; a hub that is away is none."""
    client = client_of(settings, ASKING)
    try:
        check_ruler(project_of(client.about()), task.metric, settings.project)
        whoami(client)
    except HubError as error:
        if error.status == 401 or not passes(error):
            raise SwarmError(str(error)) from error
        note(f"{error} The study begins alone.")


@contextlib.contextmanager
def joined(study: Study, settings: SwarmSettings, note: Note) -> Iterator[Member]:
    """Within: the study publishes and hears of others; the loop is to call `between`."""
    if len(study.base) != 40:
        raise TaskError(
            "Hubs take repositories with SHA-1 hashes, and this one has others. Make the lab anew "
            "with `git init --object-format=sha1`."
        )
    study.git.drop_stale_locks(f"{study.paths.met}*")
    path = outbox_path(study.paths.hubs, settings.url, settings.project)
    study.paths.hubs.mkdir(exist_ok=True, mode=0o700)
    with contextlib.closing(Outbox(path)) as outbox:
        outbox.remember(url=settings.url, project=settings.project)
        ground = StudyContext(study.git, study.paths, study.task, study.base, path)
        member = Member(study, settings, note, outbox, SyncThread(ground, settings, note))
        member.begin()
        try:
            yield member
        except BaseException:
            member.end(max_seconds=2.0)
            raise
        member.end(settings.parting)


class Member:
    """Listens to a study and speaks for it."""

    def __init__(
        self, study: Study, settings: SwarmSettings, note: Note, outbox: Outbox, courier: SyncThread
    ) -> None:
        self.study = study
        self.settings = settings
        self.note = note
        self.outbox = outbox
        self.courier = courier
        self.ideas = Ideas(study, outbox, settings.max_seconds)
        self.again = Again(study, outbox, settings)
        self._client: HubClient = client_of(settings, ASKING)
        self._idea: Idea | None = None  # the one that is being entered
        self._passed = 0  # candidates in a row that were not run, on the hub's word
        self._deaf = 0.0  # until when no claim is asked for: the hub did not answer the last one

    def begin(self) -> None:
        """Listen from now on; what was finished before is told as well."""
        runs = may_run_strangers(self.study)
        self.study.collaborators.attach(
            source=self if runs else None, veto=self, peers=self, listener=self
        )
        if not runs:
            self.note(
                "No sandbox here, so code of others is not run. To run it all the same, say "
                'sandbox = "off" in task.toml.'
            )
        self._post()
        self.courier.start()

    def end(self, max_seconds: float) -> None:
        """Send what can be sent soon; the rest waits on disk for the next session."""
        self.study.collaborators.detach(self)
        self.courier.stop(self.outbox, max_seconds)
        if left := self.outbox.count():
            self.note(f"{left} letters wait for the hub; they are sent when the study goes on.")

    # ---- what the loop calls -------------------------------------------------------------------

    def between(self) -> None:
        """Between two trials: run somebody's result again, when there is time for it."""
        if self.settings.replicate <= 0 or not may_run_strangers(self.study):
            return
        with self._safely():
            if (duty := self.courier.ready) is not None:
                self._replicate(duty)
            elif self.again.is_due() and not self.courier.away:
                self.courier.want()

    def offer(self, parent: str) -> ProposedEdit | None:
        """An edit that somebody else's commit suggests, when there is a good one."""
        self._idea = None
        with self._safely():
            self._idea = self.ideas.pick(self.courier.view.found, parent)
        return self._idea.made(parent, self.study.task.metric.name) if self._idea else None

    def reason(self, trial: Trial, commit: str) -> str:
        """Why a candidate need not run: somebody has tried it, or is trying it. Else claim it."""
        idea, self._idea = self._idea, None
        with self._safely():
            for kind in (TAKEN, CLAIM):
                self.outbox.forget(f"{kind}{trial.number}")  # of one that was never committed
            if idea is not None and self._taken(idea, trial, commit):
                return ""
            if not self.courier.away and time.monotonic() >= self._deaf:
                return self._believed(self._claimed(trial, commit))
        return ""

    def on_stage(self, stage: Stage) -> None:
        """Nothing to do: the hub hears of finished trials alone."""

    def on_trial(self, trial: Trial) -> None:
        """A trial is finished."""
        self.ideas.count(trial)
        self.again.own += trial.seconds
        self._post()
        self.courier.hurry()

    def results(self) -> str:
        """What a proposer is told of others: numbers and hashes, no word of theirs."""
        view, name = self.courier.view, self.study.task.metric.name
        told = [_line(each, name) for each in view.replicated[:SHOWN]]
        shown = {each.commit for each in view.replicated[:SHOWN]}
        more = [each for each in view.claimed if each.commit not in shown]
        return "\n".join([*told, *(_line(each, name) for each in more[:SHOWN])])

    # ---- inside --------------------------------------------------------------------------------

    def _replicate(self, duty: Duty) -> None:
        if told := self.again.run(duty):
            self.note(told)
            self.courier.done()

    def _taken(self, idea: Idea, trial: Trial, commit: str) -> bool:
        """Remember whose idea it is; whether it is exactly theirs: then they have tried it."""
        same, seen = exact(idea, self.study, commit), idea.found.seen
        self.outbox.note(f"{TAKEN}{trial.number}", f"{seen.commit} {seen.seq if same else 0}")
        return same

    def _claimed(self, trial: Trial, commit: str) -> str:
        """Claim a candidate; why not, when others were first. Without an answer: go on.

        What was tried on other machines or by ourselves is claimed all the same, and so is a change
        that was tried on other files.
        """
        git, budget = self.study.git, self.study.task.budget
        tree = git.lab_tree(commit)
        patch = git.patch_id(git.lab_tree(trial.parent), tree)
        seconds = int(min(max(4 * budget.timeout, CLAIM_SECONDS[0]), CLAIM_SECONDS[1]))
        try:
            told = self._client.claim(
                trial.note, tree=tree, patch_id=patch or None, seconds=seconds
            )
            if told.get("claim") is None:
                reason = tried_before(told.get("prior"), *self._who())
                if reason:
                    return reason
                told = self._client.claim(trial.note, tree=tree, seconds=seconds, anyway=True)
        except (AutoResearchError, AgentHubError, OSError) as error:
            self._deaf = time.monotonic() + (DEAF if passes(error) else 0.0)
            return ""
        claim = told.get("claim")
        if not isinstance(claim, dict):
            return held_now(told.get("prior"))
        self.outbox.note(f"{CLAIM}{trial.number}", str(whole(claim.get("id"))))
        return ""

    def _believed(self, reason: str) -> str:
        """A reason not to run a candidate, now and then not taken: a hub can say so of all."""
        self._passed = self._passed + 1 if reason else 0
        if self._passed <= MOST_TAKEN:
            return reason
        self._passed = 0
        self.note(f"{MOST_TAKEN} candidates in a row were tried by others, says the hub; one runs.")
        return ""

    def _who(self) -> tuple[str, str]:
        """Our name there, and our tier."""
        return self.outbox.fact("agent"), self.outbox.fact("tier")

    def _post(self) -> None:
        """Write letters for all finished trials that have none yet."""
        with self._safely(), self.outbox.whole():
            after = int(self.outbox.fact(UPTO, "-1"))
            for trial in self.study.ledger.trials(after + 1):
                if trial.state is not State.APPLIED:
                    break
                if trial.commit and trial.own and not _lame(trial):
                    self._write(trial)
                self.outbox.note(UPTO, str(trial.number))

    def _write(self, trial: Trial) -> None:
        commit, _, result = self.outbox.fact(f"{TAKEN}{trial.number}").partition(" ")
        name = str(trial.number)
        self.outbox.add(f"trial:{name}", "trial", as_body(trial, self.study.task.name, commit))
        values = [attempt.value for attempt in trial.own]
        if int(result or 0) and None not in values:
            tree = self.study.git.lab_tree(trial.commit)
            body = {"result": int(result), "values": values, "tree": tree}
            platform = {"platform": self.settings.platform}
            self.outbox.add(f"verify:{name}", "verify", body | platform)
        if claim := self.outbox.fact(f"{CLAIM}{name}"):
            self.outbox.add(f"claim:{name}", "claim", {"claim": int(claim)})

    @contextlib.contextmanager
    def _safely(self) -> Iterator[None]:
        """What goes wrong with the hub's own papers ends no study; it is done next time."""
        try:
            yield
        except sqlite3.Error as error:
            self.note(f"What is kept for the hub cannot be written: {error}. It is tried again.")


def may_run_strangers(study: Study) -> bool:
    """Whether code of others is run: in a sandbox, or where a person wants none."""
    return study.task.sandbox == "off" or probe(study.paths.home).level != "none"


def _lame(trial: Trial) -> bool:
    """A lab that does not run yet: no news to anybody."""
    return trial.is_baseline and trial.status is Status.CRASH


def _line(each: Seen, metric: str) -> str:
    runs = f", {each.runs} runs of others" if each.replicated else ", claimed"
    return f"- {metric} {each.worth:.6f}{runs}, commit {each.commit[:12]}"
