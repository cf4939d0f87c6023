"""LLMProposer: one conversation with a model, at most three turns, one edit or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch.files import read_regular
from autoresearch.proposers import Brief, Proposal, ProposalFailed
from autoresearch.proposers.llm import edits, prompt
from autoresearch.proposers.llm.client import Answer, Client, Message, load_sdk
from autoresearch.proposers.llm.settings import LLMSettings, from_environment
from autoresearch.proposers.llm.syntax import syntax_problems

TURNS = 3  # the first, and two corrections
LARGEST = 1 << 20  # bytes of an editable file


@dataclass(frozen=True)
class Draft:
    """What one reply comes to."""

    note: str
    files: Mapping[str, str]  # those that change; none while there are problems
    problems: tuple[str, ...]
    empty: bool = False  # there was no edit at all


@dataclass
class Spent:
    """What a conversation has cost so far."""

    usd: float = 0.0
    tokens: int = 0
    turns: int = 0

    def add(self, usd: float, tokens: int) -> None:
        """One more call."""
        self.usd, self.tokens, self.turns = self.usd + usd, self.tokens + tokens, self.turns + 1


class LLMProposer:
    """Asks a model for a hypothesis and an edit, by any server that speaks chat completions.

    Settings come from AUTORESEARCH_LLM_MODEL, _BASE_URL, _KEY_ENV, _MAX_USD_PER_CALL,
    _MAX_TOKENS, _TIMEOUT and _CONTEXT_BYTES; `--agent llm:MODEL` names the model. An edit is
    applied strictly. One that still does not fit after two corrections leaves the files as they
    were; a conversation without any edit is ProposalFailed, kind "empty".
    """

    name = "llm"

    def __init__(self, model: str = "", settings: LLMSettings | None = None) -> None:
        self.settings = settings or from_environment(model)
        self.owed = 0.0  # dollars that the talk under way may have cost
        self.settings.key()  # a missing key is said now, not at midnight
        load_sdk()

    @property
    def max_seconds(self) -> float:
        """Seconds that all turns may take."""
        return TURNS * self.settings.timeout

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Talk, and write the edit that came of it."""
        before = {path: _read(workspace / path) for path in brief.editable}
        spent = Spent()
        try:
            draft = self._talk(workspace, brief, before, spent)
        finally:
            self.owed = 0.0
        for path, text in draft.files.items():
            (workspace / path).write_bytes(text.encode("utf-8", "surrogateescape"))
        told = {"model": self.settings.model, "calls": str(spent.turns)}
        return Proposal(draft.note, spent.usd, spent.tokens, told)

    def _talk(
        self, workspace: Path, brief: Brief, before: Mapping[str, str], spent: Spent
    ) -> Draft:
        """Up to three turns; the first draft without problems, or one that changes nothing."""
        messages = prompt.opening(workspace, brief, before, self.settings.context_bytes)
        with Client(self.settings) as client:
            for _ in range(TURNS):
                self.owed = spent.usd + client.owed(messages)
                answer = _ask(client, messages, spent)
                draft = read_draft(answer, before)
                if not draft.problems or brief.cancelled.is_set():
                    return draft
                messages += prompt.correction(answer.text, draft.problems)
        return self._given_up(draft, spent)

    def _given_up(self, draft: Draft, spent: Spent) -> Draft:
        """After the last turn: nothing to apply."""
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
    """What a reply would make of the files, or all that is wrong with it."""
    reply = edits.parse(answer.text, list(before))
    note = reply.note or "an edit without a note"
    cut = (prompt.CUT,) if answer.cut else ()
    if not reply.blocks and not reply.problems:
        form = prompt.NO_EDIT.format(path=next(iter(before), "FILE"))
        return Draft(note, {}, (*cut, form), empty=True)
    applied = edits.apply(reply.blocks, before)
    problems = [*(cut if reply.problems else ()), *reply.problems, *applied.problems]
    problems += syntax_problems(before, applied.files)
    if not problems and not applied.files:
        problems = [prompt.NOTHING]
    return Draft(note, {} if problems else applied.files, tuple(problems))


def _ask(client: Client, messages: list[Message], spent: Spent) -> Answer:
    """One call, added to what was spent, whether it fails or not."""
    try:
        answer = client.ask(messages)
    except ProposalFailed as failed:
        failed.cost_usd += spent.usd
        failed.tokens += spent.tokens
        raise
    spent.add(answer.cost_usd, answer.tokens)
    return answer


def _read(path: Path) -> str:
    return read_regular(path, LARGEST).decode("utf-8", "surrogateescape")
