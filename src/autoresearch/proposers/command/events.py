"""What an agent printed, read as its preset says: its note, its cost, and how it ended."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from autoresearch.files import read_regular
from autoresearch.proposers.command.presets import Preset
from autoresearch.proposers.command.rules import Rule, values

LINE = 4 * 2**20  # bytes of one event
WHOLE = 32 * 2**20  # bytes of a file that is one object
MOST = 100_000  # lines that are looked at, from the beginning and again from the end
WORDS = 4000  # characters of what the agent said that are kept
LAST = 20  # plain lines at the end that are kept
MARK = "autoresearch"  # the type of the lines that our own script in the sandbox prints
_NOTE = re.compile(r"(?:^[Nn]ote|\bNOTE):\s*(\S.*)")
_NUMBER = re.compile(r"([\d.,]+)([kKmM]?)")


@dataclass
class Heard:
    """What there was to hear."""

    words: str = ""
    usd: float = 0.0
    tokens: int = 0
    error: str = ""  # the last one that was not overcome; empty: none
    code: int | None = None  # its HTTP status
    silent: float = 0.0  # seconds of silence that it was ended for
    exit_code: int | None = None  # of the agent itself; it proves nothing
    plain: deque[str] = field(default_factory=lambda: deque(maxlen=LAST))  # what was no event

    @property
    def note(self) -> str:
        """One line: what the agent says it did."""
        lines = [line.strip(" *`#>-") for line in self.words.splitlines() if line.strip(" *`#>-")]
        marked = [found[1] for line in lines if (found := _NOTE.search(line))]
        chosen = marked[-1].strip(" *`") if marked else lines[0] if lines else ""
        return chosen[:300]


def hear(preset: Preset, log: Path, output: Path | None = None) -> Heard:
    """Read a log, and the file that the agent leaves where its preset names one."""
    heard = Heard()
    for line in _ends(_lines(log)):
        if not _marked(heard, line):
            _line(heard, preset, line)
    if preset.format == "json":
        _whole(heard, preset, output or log)
    heard.usd = heard.usd or heard.tokens * preset.usd_per_million / 1e6
    return heard


def _ends(lines: Iterator[str]) -> Iterator[str]:
    """The first and the last lines, each once: a talk without end must not take us as long."""
    yield from islice(lines, MOST)
    yield from deque(lines, maxlen=MOST)


def _lines(log: Path) -> Iterator[str]:
    """The lines of a file, one at a time; of one that is too long only the beginning."""
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


def _marked(heard: Heard, line: str) -> bool:
    """Take a line of our own script."""
    if not line.startswith('{"type": "autoresearch"'):
        return False
    event = _json(line)
    if isinstance(event, dict) and event.get("type") == MARK:
        heard.silent = _amount(event.get("silent")) or heard.silent
        code = event.get("exit_code")
        heard.exit_code = code if isinstance(code, int) else heard.exit_code
        heard.error = str(event.get("error") or heard.error)[:WORDS]
    return True


def _line(heard: Heard, preset: Preset, line: str) -> None:
    event = _json(line) if preset.format in ("jsonl", "acp") else None
    if isinstance(event, dict):
        for rule in preset.rules:
            if rule.holds(event):
                _take(heard, rule, event)
    elif line.strip():
        heard.plain.append(line[:500])
    for rule in preset.rules if preset.format == "text" else ():
        if rule.match and (found := rule.match.search(line[:10_000])):
            _take_groups(heard, rule, found.groupdict())


def _whole(heard: Heard, preset: Preset, path: Path) -> None:
    """A file that is one object."""
    try:
        text = read_regular(path, WHOLE)  # the agent made it: it may be a link, or a pipe
    except OSError:
        return
    event = _json(text.decode(errors="replace"))
    for rule in preset.rules if isinstance(event, dict) else ():
        if rule.holds(event):
            _take(heard, rule, event)


def _json(text: str) -> Any:
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _take(heard: Heard, rule: Rule, event: object) -> None:
    """What an event says, by the paths of a rule."""
    said = {
        name: [str(v) for v in values(event, path) if isinstance(v, str)]
        for name, path in (("note", rule.note), ("piece", rule.piece))
        if path
    }
    _say(heard, rule, "\n".join(said.get("note", ())), "".join(said.get("piece", ())))
    heard.usd += sum(map(_amount, values(event, rule.usd))) if rule.usd else 0.0
    heard.tokens += int(sum(_amount(v) for path in rule.tokens for v in values(event, path)))
    codes = [v for v in values(event, rule.code) if isinstance(v, int)] if rule.code else []
    _end(
        heard, rule, next((_text(v) for p in rule.error for v in values(event, p) if v), ""), codes
    )


def _take_groups(heard: Heard, rule: Rule, groups: dict[str, str | None]) -> None:
    """What a line says, by the groups of a rule's pattern."""
    found = {name: text for name, text in groups.items() if text}
    _say(heard, rule, found.get("note", ""), found.get("piece", ""))
    heard.usd += _amount(found.get("usd"))
    heard.tokens += int(sum(_amount(v) for name, v in found.items() if name.startswith("tokens")))
    codes = [int(found["code"])] if found.get("code", "").isdigit() else []
    _end(heard, rule, found.get("error", ""), codes)


def _say(heard: Heard, rule: Rule, note: str, piece: str) -> None:
    if rule.fresh:
        heard.words = ""
    heard.words = (note or heard.words + piece)[-WORDS:]


def _end(heard: Heard, rule: Rule, error: str, codes: list[int]) -> None:
    if rule.ok:
        heard.error, heard.code = "", None
    if error:
        heard.error, heard.code = error[:WORDS], next(iter(codes), None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _amount(value: object) -> float:
    """A number that is none or less than nothing counts as nothing; 2.1k is 2100."""
    if isinstance(value, str):
        found = _NUMBER.fullmatch(value.strip())
        factor = {"k": 1e3, "m": 1e6}.get(found[2].lower(), 1.0) if found else 0.0
        try:
            value = float(found[1].replace(",", "")) * factor if found else 0.0
        except ValueError:
            return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    number = min(float(value), 1e12) if value < 1e12 else 1e12
    return number if math.isfinite(number) and number > 0 else 0.0
