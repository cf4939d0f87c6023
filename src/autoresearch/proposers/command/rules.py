"""Rules that say what an agent's event means: a note, a cost, an error. Read from a preset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch.proposers.meters import fits
from autoresearch.toml_table import Table

Wanted = Mapping[str, Any]  # path -> value, list of values, or "*" for any value


@dataclass(frozen=True)
class Rule:
    """What one kind of event means. Paths are dotted; `*` stands for all members."""

    where: Wanted = field(default_factory=dict)  # all must hold
    unless: Wanted = field(default_factory=dict)  # none may hold
    match: re.Pattern[str] | None = None  # for lines of text; its groups are named like fields
    note: str = ""  # path of text that replaces the text so far
    piece: str = ""  # path of text that is appended
    fresh: bool = False  # drop the text so far
    usd: str = ""  # path of dollars to add
    tokens: tuple[str, ...] = ()  # paths of tokens to add
    error: tuple[str, ...] = ()  # paths of an error; the first that exists counts
    code: str = ""  # path of the error's HTTP status
    ok: bool = False  # the agent recovered from the last error
    turn: bool = False  # counts as one answer of the model

    def matches(self, event: object) -> bool:
        """Whether an event is of this kind."""
        agrees = all(fits(event, path, value) for path, value in self.where.items())
        return agrees and not any(fits(event, path, value) for path, value in self.unless.items())


ACP_RULES = (
    Rule(where={"type": "acp.text"}, piece="text"),
    Rule(where={"type": "acp.tool"}, fresh=True),
    Rule(where={"type": "acp.end"}, usd="usd", tokens=("tokens",)),
    Rule(where={"type": "acp.error"}, error=("message",), code="code"),
)


def read_rules(table: Table, style: str) -> tuple[Rule, ...]:
    """The rules of a preset's [[events]]."""
    return tuple(_rule(inner, style) for inner in table.list_of_tables("events"))


def _rule(table: Table, style: str) -> Rule:
    rule = Rule(
        where=_wanted(table, "where"),
        unless=_wanted(table, "unless"),
        match=_pattern(table) if style == "text" else None,
        note=table.text("note") or "",
        piece=table.text("piece") or "",
        fresh=table.flag("fresh"),
        usd=table.text("usd") or "",
        tokens=table.texts("tokens", required=False),
        error=table.texts("error", required=False),
        code=table.text("code") or "",
        ok=table.flag("ok"),
        turn=table.flag("turn"),
    )
    table.finish()
    return rule


def _pattern(table: Table) -> re.Pattern[str]:
    text = table.text("match", required=True)
    assert text
    try:
        return re.compile(text)
    except re.error as error:
        raise table.error("match", text, f"a regular expression ({error})") from error


def _wanted(table: Table, key: str) -> Wanted:
    inner = table.table(key)
    return inner.anything() if inner else {}
