"""LLMProposer: one conversation with a model, of at most three turns, for one edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch.files import read_regular
from autoresearch.proposers import Brief, Progress, Proposal, ProposalFailed
from autoresearch.proposers.llm import edits, prompt
from autoresearch.proposers.llm.client import Answer, Client, Message, load_sdk
from autoresearch.proposers.llm.settings import LLMSettings, from_environment

TURNS = 3  # the first, and two corrections
LARGEST = 1 << 20  # bytes of an editable file at most


@dataclass(frozen=True)
class Draft:
    """What one reply would change."""

    note: str
    files: Mapping[str, str]  # changed files; empty when there are problems
    problems: tuple[str, ...]
    empty: bool = False  # the reply holds no edit


@dataclass
class Spent:
    """Cost of a conversation so far."""

    usd: float = 0.0
    tokens: int = 0
    turns: int = 0
    unpriced: int = 0  # calls whose cost is unknown

    def add(self, answer: Answer) -> None:
        """Count one call."""
        self.usd, self.tokens = self.usd + answer.cost_usd, self.tokens + answer.tokens
        self.turns, self.unpriced = self.turns + 1, self.unpriced + (not answer.priced)


class LLMProposer:
    """Requests a hypothesis and an edit from a model, on any server of the chat completions API.

    Settings come from AUTORESEARCH_LLM_MODEL, _BASE_URL, _KEY_ENV, _MAX_USD_PER_CALL,
    _MAX_TOKENS, _TIMEOUT and _CONTEXT_BYTES; `--agent llm:MODEL` names the model. An edit is
    applied strictly: one that still does not fit after two corrections leaves the files unchanged.
    A conversation without any edit is ProposalFailed, kind "empty".
    """

    name = "llm"

    def __init__(self, model: str = "", settings: LLMSettings | None = None) -> None:
        self.settings = settings or from_environment(model)
        self.pending_cost = 0.0  # dollars that the current conversation may have cost
        self._spent: Spent | None = None  # by the current conversation
        self.settings.key()  # a missing key is reported now, not in the middle of the night
        load_sdk()

    @property
    def max_seconds(self) -> float:
        """Seconds that all turns may take."""
        return TURNS * self.settings.timeout

    def progress(self) -> Progress | None:
        """What the current conversation cost so far, and which reply is awaited."""
        spent = self._spent
        if spent is None:
            return None
        reply = f"waits for reply {min(spent.turns + 1, TURNS)} of at most {TURNS}"
        return Progress(spent.usd, spent.tokens, f"{self.settings.model} {reply}")

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Hold the conversation, and write its edit into the workspace."""
        before = {path: _read(workspace / path) for path in brief.editable}
        spent = self._spent = Spent()
        try:
            draft = self._converse(workspace, brief, before, spent)
        finally:
            self.pending_cost, self._spent = 0.0, None
        for path, text in draft.files.items():
            (workspace / path).write_bytes(text.encode("utf-8", "surrogateescape"))
        details = {"model": self.settings.model, "calls": str(spent.turns)}
        if spent.unpriced:
            details["cost"] = f"not told for {spent.unpriced} calls; each counted as its cap"
        return Proposal(draft.note, spent.usd, spent.tokens, details)

    def _converse(
        self, workspace: Path, brief: Brief, before: Mapping[str, str], spent: Spent
    ) -> Draft:
        """Up to three turns; the first draft without problems, or an empty one."""
        messages = prompt.opening(workspace, brief, before, self.settings.context_bytes)
        with Client(self.settings) as client:
            for _ in range(TURNS):
                self.pending_cost = spent.usd + client.highest_cost(messages)
                answer = _ask(client, messages, spent)
                draft = read_draft(answer, before)
                if not draft.problems or brief.cancelled.is_set():
                    return draft
                messages += prompt.correction(answer.text, draft.problems)
        return self._give_up(draft, spent)

    def _give_up(self, draft: Draft, spent: Spent) -> Draft:
        """After the last turn: a draft that changes nothing, or ProposalFailed."""
        if draft.empty:
            raise ProposalFailed(
                "empty",
                f"{self.settings.model} sent no edit in {spent.turns} replies.",
                cost_usd=spent.usd,
                tokens=spent.tokens,
            )
        why = draft.problems[-1].partition("\n")[0]
        return Draft(f"no edit that fits, {spent.turns} times ({draft.note}): {why}", {}, ())


def read_draft(answer: Answer, before: Mapping[str, str]) -> Draft:
    """The changes that a reply makes to the files, or all its problems."""
    reply = edits.parse(answer.text, list(before))
    note = reply.note or "an edit without a note"
    cut = (prompt.CUT,) if answer.cut else ()
    if not reply.blocks and not reply.problems:
        form = prompt.NO_EDIT.format(path=next(iter(before), "FILE"))
        return Draft(note, {}, (*cut, form), empty=True)
    applied = edits.apply(reply.blocks, before)
    problems = [*(cut if reply.problems else ()), *reply.problems, *applied.problems]
    problems += edits.syntax_problems(before, applied.files)
    if not problems and not applied.files:
        problems = [prompt.NOTHING]
    return Draft(note, {} if problems else applied.files, tuple(problems))


def _ask(client: Client, messages: list[Message], spent: Spent) -> Answer:
    """One call; its cost is counted whether it fails or not."""
    try:
        answer = client.ask(messages)
    except ProposalFailed as failed:
        failed.cost_usd += spent.usd
        failed.tokens += spent.tokens
        raise
    spent.add(answer)
    return answer


def _read(path: Path) -> str:
    return read_regular(path, LARGEST).decode("utf-8", "surrogateescape")
