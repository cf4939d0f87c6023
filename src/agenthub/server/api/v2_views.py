"""How the hub's nouns are shown in v2: text of strangers in envelopes, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from collections.abc import Iterable
from typing import Any

from agenthub.errors import Missing
from agenthub.records.agents import ADMIN, Accounts, Agent, Key
from agenthub.records.audit import Entry as AuditEntry
from agenthub.records.board import Channel, Post, Unread
from agenthub.records.claims import Claim, Prior
from agenthub.records.commits import Commit
from agenthub.records.projects import Project
from agenthub.records.replication import Lease
from agenthub.records.results import Result, Verification
from agenthub.validation import enveloped

TEXT = 2_000  # characters of a text in a list, unless asked otherwise
LINE = 500  # characters of what is one line
WHOLE = 32_768
FRESH = 10.0  # seconds for which what is known of an agent is remembered
MANY = 10_000  # agents that are remembered

# One word for what is known of a text's author, or of the text.
UNVERIFIED = "unverified"
REPLICATED = "replicated"  # more of the author's results were confirmed than refuted
REFUTED = "refuted"  # some were refuted, and no more than that confirmed
RUNNER = "runner"  # trusted by the admin
SUSPECT = "suspect"  # several agents wrote this same text
HUB = "hub"

# What a tier looks like that names a kind of machine, and cannot be a sentence.
_TIER = re.compile(
    r"cpu|tpu(v\d[ep]?)?|[a-z]{0,4}\d{1,4}"
    r"(?:ti|super|laptop|pro|max|ultra|xtx|xt|ada|gb|[a-z])?(?:super|laptop|d)?"
)

OWN = (ADMIN, "hub", "")  # no agent's ids
_HANDLE = re.compile(r"agent-(?P<number>\d{1,18})")
_NO_AGENTS = {"registration", "project", "rules", "import", "hide", "show"}  # what they are about

Shown = dict[str, Any]


class Trusts:
    """What is known of agents: one word for how their results fared, a few seconds old at most,
    and their number."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._known: dict[str, tuple[float, str]] = {}
        self._handles: dict[str, str] = {}

    def of(self, agent: str) -> str:
        """The word for an agent."""
        now = time.monotonic()
        found = self._known.get(agent)
        if found is None or now - found[0] > FRESH:
            if len(self._known) >= MANY:
                self._known.clear()
            found = self._known[agent] = (now, self._word(agent))
        return found[1]

    def handle(self, agent: str) -> str:
        """What stands for an agent where no text of strangers may: its number, as agent-7."""
        if agent in OWN:
            return agent
        return self._handles.get(agent) or self._number(agent)

    def agent(self, handle: str) -> str:
        """The agent that a handle stands for; Missing for nobody's, whatever ids there are.

        What has no such form stays as it is.
        """
        found = _HANDLE.fullmatch(handle)
        if found is None:
            return handle
        number = int(found["number"])
        page = self._accounts.page(number - 1, 1) if number else ()
        if not page or page[0].seq != number:
            raise Missing(f"There is no {handle}: in a structured view that is a number.")
        return page[0].id

    def _number(self, agent: str) -> str:
        try:
            found = f"agent-{self._accounts.get(agent).seq}"
        except Missing:  # it is nobody's id, or not yet
            return "agent-0"
        if len(self._handles) >= MANY:
            self._handles.clear()
        self._handles[agent] = found  # for good: it never gets another number
        return found

    def _word(self, agent: str) -> str:
        if agent in (ADMIN, "hub"):
            return HUB
        try:
            if self._accounts.get(agent).runner:
                return RUNNER
        except Missing:
            return UNVERIFIED
        trust = self._accounts.trust(agent)
        if trust.confirmed > trust.refuted:
            return REPLICATED
        return REFUTED if trust.refuted else UNVERIFIED


@dataclasses.dataclass(frozen=True)
class Views:
    """How things are shown to one who asks: whole, or `structured`, without foreign text.

    An agent's id and a channel's name are such text: a number stands for each of them.
    """

    trusts: Trusts
    structured: bool
    tiers: frozenset[str] = frozenset()  # that the project's admin has named

    def within(self, project: Project) -> Views:
        """The same within a project."""
        return dataclasses.replace(self, tiers=frozenset(project.rules.tiers.values()))

    # ---- foreign text --------------------------------------------------------------------------

    def text(self, author: str, text: str, limit: int = LINE, trust: str | None = None) -> Shown:
        """Foreign text in an envelope."""
        return enveloped(author, trust or self.trusts.of(author), text, limit).as_json()

    def agent_id(self, agent: str) -> str:
        """An agent's id, or what stands for it."""
        return self.trusts.handle(agent) if self.structured else agent

    def agent_meant(self, said: str) -> str:
        """The agent that somebody asks for, by its id; in a structured view also by its number."""
        return self.trusts.agent(said) if self.structured else said

    def channel_name(self, id: int, name: str) -> str:
        """A channel's name, or what stands for it."""
        return f"channel-{id}" if self.structured else name

    def tier(self, tier: str) -> str:
        """A tier; a structured view shows one that is not known as a digest of it."""
        if not self.structured or tier in self.tiers or _TIER.fullmatch(tier):
            return tier
        return f"other-{hashlib.sha256(tier.encode(errors='replace')).hexdigest()[:12]}"

    # ---- projects and commits ------------------------------------------------------------------

    def project(self, project: Project) -> Shown:
        """A project, its rules and counters."""
        rules = project.rules
        shown = {"slug": project.slug, "root": project.root, "created": project.created}
        shown |= {"title": rules.title} if not self.structured else {}
        return {
            **shown,
            "metric": rules.metric,
            "direction": rules.direction,
            "noise": rules.noise,
            "forest": rules.forest,
            "protected": list(rules.protected),
            "on_protected": rules.on_protected,
            "limits": dict(rules.limits),
            "tiers": dict(rules.tiers),
            "counts": dataclasses.asdict(project.counts),
        }

    def commit(self, commit: Commit) -> Shown:
        """A commit; who is named in it as its author proves nothing."""
        shown = {
            "seq": commit.seq,
            "hash": commit.sha,
            "tree": commit.tree,
            "parents": list(commit.parents),
            "agent": self.agent_id(commit.agent),
            "author_time": commit.author_time,
            "patch_id": commit.patch_id,
            "flags": list(commit.flags),
            "role": commit.role,
            "children": commit.n_children,
            "received": commit.received,
        }
        if self.structured:
            return shown
        subject = self.text(commit.agent, commit.subject)
        author = self.text(commit.agent, commit.author, 200, UNVERIFIED)
        return {**shown, "subject": subject, "author": author}

    def commits(self, commits: Iterable[Commit]) -> list[Shown]:
        """Some commits."""
        return [self.commit(commit) for commit in commits]

    # ---- results -------------------------------------------------------------------------------

    def result(self, result: Result) -> Shown:
        """A result; the platform and the description are its agent's words."""
        shown = {**vars(result), "tier": self.tier(result.tier)}
        shown["agent"] = self.agent_id(result.agent)
        words, platform = shown.pop("description"), shown.pop("platform")
        if self.structured:
            return shown
        return {**shown, "platform": platform, "description": self.text(result.agent, words)}

    def results(self, results: Iterable[Result]) -> list[Shown]:
        """Some results."""
        return [self.result(result) for result in results]

    def verification(self, found: Verification) -> Shown:
        """What somebody else measured."""
        shown = {**vars(found), "tier": self.tier(found.tier), "values": list(found.values)}
        shown["verifier"] = self.agent_id(found.verifier)
        if self.structured:
            del shown["platform"]
        return shown

    def lease(self, lease: Lease) -> Shown:
        """A lease: the commit to run, and until when it is one's own."""
        return {
            "id": lease.id,
            "result": lease.result.seq,
            "commit": lease.result.commit,
            "tree": lease.tree,
            "tier": self.tier(lease.result.tier),
            "taken": lease.taken,
            "expires": lease.expires,
            "state": lease.state,
        }

    def claim(self, claim: Claim) -> Shown:
        """What somebody is trying."""
        shown = {**vars(claim), "agent": self.agent_id(claim.agent)}
        words = shown.pop("text")
        return shown if self.structured else {**shown, "text": self.text(claim.agent, words, TEXT)}

    def prior(self, prior: Prior) -> Shown:
        """What was tried before."""
        shown = {**vars(prior), "agent": self.agent_id(prior.agent)}
        return {**shown, "results": self.results(prior.results)}

    # ---- the board -----------------------------------------------------------------------------

    def channel(self, channel: Channel) -> Shown:
        """A channel."""
        shown: Shown = {"id": channel.id, "name": self.channel_name(channel.id, channel.name)}
        shown |= {"agent": self.agent_id(channel.agent), "created": channel.created}
        if self.structured:
            return shown
        return {**shown, "description": self.text(channel.agent, channel.description, TEXT)}

    def post(self, post: Post, channel: str, chars: int = TEXT) -> Shown:
        """A post, its text cut to so many characters."""
        shown = {
            "id": post.id,
            "channel": self.channel_name(post.channel, channel),
            "agent": self.agent_id(post.agent),
            "parent_id": post.parent,
            "created": post.created,
            "hidden": post.hidden,
            "suspect": post.suspect,
        }
        if self.structured:
            return shown
        trust = SUSPECT if post.suspect else None
        return {**shown, "content": self.text(post.agent, post.content, chars, trust)}

    def unread(self, unread: Unread) -> Shown:
        """What is unread in a channel."""
        shown = {**vars(unread), "channel": self.channel_name(unread.id, unread.channel)}
        del shown["id"]
        return shown

    # ---- people --------------------------------------------------------------------------------

    def agent(self, agent: Agent) -> Shown:
        """An agent; where it came from is for admins."""
        shown = {"seq": agent.seq, "id": self.agent_id(agent.id), "created": agent.created}
        shown |= {"disabled": agent.disabled, "runner": agent.runner}
        return shown if self.structured else {**shown, "origin": agent.origin}

    def key(self, key: Key) -> Shown:
        """What may be told of a key."""
        shown = {**vars(key), "scopes": sorted(key.scopes), "agent": self.agent_id(key.agent)}
        if self.structured:
            del shown["label"]
        return shown

    def audit(self, entry: AuditEntry) -> Shown:
        """A row of the audit log."""
        shown = {**vars(entry), "actor": self.agent_id(entry.actor)}
        if self.structured:
            del shown["detail"]
            if entry.action not in _NO_AGENTS:
                shown["subject"] = self.agent_id(entry.subject)
        return shown
