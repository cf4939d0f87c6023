"""Reads an agent's output by the rules of its preset: its note, its cost, and its errors."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from autoresearch.files import read_regular
from autoresearch.proposers.command.presets import Preset
from autoresearch.proposers.command.rules import Rule
from autoresearch.proposers.meters import amount, values

LINE = 4 * 2**20  # bytes of one event at most
WHOLE = 32 * 2**20  # bytes of an output file in format json at most
MOST = 100_000  # lines that are read from the start, and again from the end
WORDS = 4000  # characters of the agent's text that are kept, from its end
LAST = 20  # lines that are no event, kept from the end
AT_ONCE = 4 * 2**20  # bytes of a growing log that one read takes
TEXTS = ("text", "command", "thinking", "delta", "message")  # keys of events that hold words
DEPTH = 8  # of an event that is searched for words
MARK = "autoresearch"  # type of the events that our watching script prints
_NOTE = re.compile(r"(?:^[Nn]ote|\bNOTE):\s*(\S.*)")


@dataclass
class AgentOutput:
    """What an agent's output says."""

    words: str = ""
    usd: float = 0.0  # as far as it was stated
    tokens: int = 0
    priced: bool = False  # it states dollars
    unclear: bool = False  # it states dollars that cannot be read
    error: str = ""  # the last one that the agent did not recover from
    code: int | None = None  # HTTP status of that error
    silent: float = 0.0  # seconds of silence after which it was killed
    exit_code: int | None = None  # the agent's own; it proves nothing
    plain: deque[str] = field(default_factory=lambda: deque(maxlen=LAST))  # lines that are no event

    @property
    def cost_known(self) -> bool:
        """Whether the session stated what it cost, and all of that could be read."""
        return self.priced and not self.unclear

    @property
    def note(self) -> str:
        """One line: the text after the last NOTE, else the first line of the agent's text."""
        lines = [line.strip(" *`#>-") for line in self.words.splitlines() if line.strip(" *`#>-")]
        marked = [found[1] for line in lines if (found := _NOTE.search(line))]
        chosen = marked[-1].strip(" *`") if marked else lines[0] if lines else ""
        return chosen[:300]


def read_output(preset: Preset, log: Path, output_file: Path | None = None) -> AgentOutput:
    """Read an agent's log, and its output file if its preset names one."""
    output = AgentOutput()
    for line in _first_and_last(_lines(log)):
        if not _read_own_event(output, line):
            _read_line(output, preset, line)
    if preset.format == "json":
        _read_json_file(output, preset, output_file or log)
    if not output.priced and (price := preset.usd_per_million) is not None:
        output.usd = output.tokens * price / 1e6
        output.priced = bool(output.tokens) or not price
    return output


class LiveLog:
    """An agent's log while the agent writes it: each read goes on where the last one ended."""

    def __init__(self, preset: Preset, log: Path) -> None:
        self.last = ""  # the last thing that the agent printed: its words, or the kind of its event
        self._preset, self._log = preset, log
        self._output, self._rest = AgentOutput(), b""
        self._at, self._opened = 0, time.time()

    @property
    def quiet(self) -> float:
        """Seconds since the agent last printed something, or since it was started."""
        try:
            last = self._log.stat().st_mtime
        except OSError:
            last = self._opened
        return max(0.0, time.time() - last)

    def read(self) -> AgentOutput:
        """What all whole lines so far say."""
        whole, end, self._rest = (self._rest + self._more()).rpartition(b"\n")
        for line in (whole + end).decode(errors="replace").split("\n"):
            if not line.strip() or _read_own_event(self._output, line):
                continue
            _read_line(self._output, self._preset, line)
            event = _json(line)
            self.last = (_words_of(event) if isinstance(event, dict) else line) or self.last
        price = self._preset.usd_per_million or 0.0
        usd = self._output.usd or self._output.tokens * price / 1e6
        return replace(self._output, usd=usd)

    def _more(self) -> bytes:
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._at)
                more = stream.read(AT_ONCE)
        except OSError:
            return b""
        self._at += len(more)
        return more


def _words_of(event: Any, depth: int = 0) -> str:
    """The last text in an event; without one, its kind."""
    found = ""
    inner = event.items() if isinstance(event, dict) else enumerate(event)
    for key, value in inner if depth < DEPTH else ():
        if isinstance(value, str) and (key in TEXTS or (not depth and key == "result")):
            found = next((line for line in reversed(value.splitlines()) if line.strip()), found)
        elif isinstance(value, dict | list):
            found = _words_of(value, depth + 1) or found
    if not found and depth == 0 and isinstance(event.get("type"), str):
        return f"({event['type']})"
    return found


def _first_and_last(lines: Iterator[str]) -> Iterator[str]:
    """The first and the last lines, each once, so that an endless log takes bounded time."""
    yield from islice(lines, MOST)
    yield from deque(lines, maxlen=MOST)


def _lines(log: Path) -> Iterator[str]:
    """The lines of a file, one at a time; a line that is too long is cut."""
    try:
        stream = log.open("rb")
    except OSError:
        return
    with stream:
        while chunk := stream.readline(LINE):
            while not chunk.endswith(b"\n") and (rest := stream.readline(LINE)):
                chunk = chunk if len(chunk) > LINE else chunk + rest[: 1 + LINE - len(chunk)]
                if rest.endswith(b"\n"):
                    break
            yield chunk.decode(errors="replace").rstrip("\r\n")


def _read_own_event(output: AgentOutput, line: str) -> bool:
    """Read a line of our watching script; return whether it was one."""
    if not line.startswith('{"type": "autoresearch"'):
        return False
    event = _json(line)
    if isinstance(event, dict) and event.get("type") == MARK:
        output.silent = _amount(event.get("silent")) or output.silent
        code = event.get("exit_code")
        output.exit_code = code if isinstance(code, int) else output.exit_code
        output.error = str(event.get("error") or output.error)[:WORDS]
    return True


def _read_line(output: AgentOutput, preset: Preset, line: str) -> None:
    event = _json(line) if preset.format in ("jsonl", "acp") else None
    if isinstance(event, dict):
        for rule in preset.rules:
            if rule.matches(event):
                _apply_rule(output, rule, event)
    elif line.strip():
        output.plain.append(line[:500])
    for rule in preset.rules if preset.format == "text" else ():
        if rule.match and (found := rule.match.search(line[:10_000])):
            _apply_groups(output, rule, found.groupdict())


def _read_json_file(output: AgentOutput, preset: Preset, path: Path) -> None:
    """Read a file that holds one JSON object."""
    try:
        text = read_regular(path, WHOLE)  # the agent made it: it may be a link or a pipe
    except OSError:
        return
    event = _json(text.decode(errors="replace"))
    for rule in preset.rules if isinstance(event, dict) else ():
        if rule.matches(event):
            _apply_rule(output, rule, event)


def _json(text: str) -> Any:
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _apply_rule(output: AgentOutput, rule: Rule, event: object) -> None:
    """Add what an event says at the paths of a rule."""
    texts = {
        name: [str(v) for v in values(event, path) if isinstance(v, str)]
        for name, path in (("note", rule.note), ("piece", rule.piece))
        if path
    }
    _add_text(output, rule, "\n".join(texts.get("note", ())), "".join(texts.get("piece", ())))
    for stated in values(event, rule.usd) if rule.usd else ():
        _add_dollars(output, stated)
    output.tokens += int(sum(_amount(v) for path in rule.tokens for v in values(event, path)))
    codes = [v for v in values(event, rule.code) if isinstance(v, int)] if rule.code else []
    error = next((_text(v) for p in rule.error for v in values(event, p) if v), "")
    _set_error(output, rule, error, codes)


def _apply_groups(output: AgentOutput, rule: Rule, groups: dict[str, str | None]) -> None:
    """Add what a line says in the groups of a rule's pattern."""
    found = {name: text for name, text in groups.items() if text}
    _add_text(output, rule, found.get("note", ""), found.get("piece", ""))
    if "usd" in found:
        _add_dollars(output, found["usd"])
    output.tokens += int(sum(_amount(v) for name, v in found.items() if name.startswith("tokens")))
    codes = [int(found["code"])] if found.get("code", "").isdigit() else []
    _set_error(output, rule, found.get("error", ""), codes)


def _add_dollars(output: AgentOutput, stated: object) -> None:
    dollars = amount(stated)
    output.priced = True
    output.unclear = output.unclear or dollars is None
    output.usd += dollars or 0.0


def _add_text(output: AgentOutput, rule: Rule, note: str, piece: str) -> None:
    if rule.fresh:
        output.words = ""
    output.words = (note or output.words + piece)[-WORDS:]


def _set_error(output: AgentOutput, rule: Rule, error: str, codes: list[int]) -> None:
    if rule.ok:
        output.error, output.code = "", None
    if error:
        output.error, output.code = error[:WORDS], next(iter(codes), None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _amount(value: object) -> float:
    """An amount, and 0 where it is unknown."""
    return amount(value) or 0.0
