"""Parses the edits in a model's reply, and applies all of them or none. Pure functions.

A reply gives its reason in a line `NOTE: ...` and its edits in blocks of whole lines:

    <<<<<<< SEARCH train.py          <<<<<<< WHOLE train.py
    lines as they are                all lines of the file
    =======                          >>>>>>> END
    lines as they shall be
    >>>>>>> REPLACE
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoresearch.lab.source import check_limits
from autoresearch.text import clean_line

_OPEN = re.compile(r"<<<<<<< (SEARCH|WHOLE)(?:[ \t]+(\S.*?))?\s*")
_DIVIDER = re.compile(r"=======\s*")
_CLOSE = {"SEARCH": re.compile(r">>>>>>> REPLACE\s*"), "WHOLE": re.compile(r">>>>>>> END\s*")}
_CLOSER = {"SEARCH": ">>>>>>> REPLACE", "WHOLE": ">>>>>>> END"}
_PATH = re.compile(r"[\w./-]+\.\w+")  # a line of this form above a block names its file
_NOTE = re.compile(r"\W*NOTE\W*:\W*(\S.*)", re.IGNORECASE)
_LONGEST_NOTE = 300  # characters
_LINE = re.compile(r"([^\n]*?)(\r?\n|\Z)")
_SHOWN = 40  # lines of a file that are quoted at most
_WIDE = 200  # characters of a line that are compared
_AROUND = 2  # further lines quoted on either side


@dataclass(frozen=True)
class Block:
    """One edit, in lines without line endings. A search of None replaces the whole file."""

    path: str
    search: tuple[str, ...] | None
    replace: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """The note and blocks of a reply, and problems of its form."""

    note: str
    blocks: tuple[Block, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Applied:
    """The changed files; none when there are problems."""

    files: Mapping[str, str]
    problems: tuple[str, ...]


def parse(reply: str, editable: Sequence[str]) -> Reply:
    """Read the note and the blocks of a reply, in order; a malformed block is a problem."""
    lines = reply.replace("\r\n", "\n").split("\n")
    prose: list[str] = []
    blocks: list[Block] = []
    problems: list[str] = []
    at = 0
    while at < len(lines):
        opened = _OPEN.fullmatch(lines[at])
        if opened is None:
            prose.append(lines[at])
            at += 1
            continue
        path = opened[2] or _path_above(prose)
        found, at = _block(lines, at, opened[1], path, editable)
        if isinstance(found, str):
            problems.append(found)
        else:
            blocks.append(found)
    return Reply(_note(prose), tuple(blocks), tuple(problems))


def apply(blocks: Sequence[Block], files: Mapping[str, str]) -> Applied:
    """Apply the blocks one after another; all of them or none. Other lines keep every byte."""
    texts, problems = dict(files), []
    for block in blocks:
        if block.path not in texts:
            names = ", ".join(files)
            problems.append(f"{block.path} may not be edited; only {names} may.")
            continue
        changed_text = _apply_block(block, texts[block.path])
        if changed_text is None:
            problems.append(_explain_miss(block, texts[block.path]))
        else:
            texts[block.path] = changed_text
    changed = {path: text for path, text in texts.items() if text != files[path]}
    return Applied({} if problems else changed, tuple(problems))


# ---- reading a reply ---------------------------------------------------------------------------


def _block(
    lines: Sequence[str], at: int, kind: str, path: str, editable: Sequence[str]
) -> tuple[Block | str, int]:
    """The block that opens at a line, or its problem; and the line after it."""
    where = f"The block that opens with `{lines[at].strip()}`"
    end = next((i for i in range(at + 1, len(lines)) if _CLOSE[kind].fullmatch(lines[i])), None)
    if end is None:
        return f"{where} has no closing line `{_CLOSER[kind]}`.", len(lines)
    body = lines[at + 1 : end]
    if not path and (kind == "WHOLE" or len(editable) > 1):
        return f"{where} names no file: write its path after {kind}.", end + 1
    path = _clean_path(path) if path else editable[0]
    if kind == "WHOLE":
        return Block(path, None, tuple(_without_fence(body, path))), end + 1
    return _search_block(body, path, where), end + 1


def _search_block(body: Sequence[str], path: str, where: str) -> Block | str:
    """A block of search and replacement, or its problem: exactly one divider must be in it."""
    dividers = [i for i, line in enumerate(body) if _DIVIDER.fullmatch(line)]
    if any(_OPEN.fullmatch(line) for line in body):
        return f"{where} is not closed before the next one opens."
    if len(dividers) != 1:
        return (
            f"{where} has {len(dividers)} lines `=======` and needs exactly one. If the text "
            "itself has such a line, send the WHOLE file."
        )
    middle = dividers[0]
    return Block(path, tuple(body[:middle]), tuple(body[middle + 1 :]))


def _path_above(prose: Sequence[str]) -> str:
    """The path that is alone on the last line before a block, fences skipped; or ''."""
    for line in reversed(prose[-3:]):
        words = line.strip().strip("`*#: ")
        if line.strip() and not line.lstrip().startswith("```"):
            return words if _PATH.fullmatch(words) else ""
    return ""


def _clean_path(path: str) -> str:
    return path.strip("`'\" ").removeprefix("./")


def _without_fence(body: Sequence[str], path: str) -> Sequence[str]:
    """The lines of a whole file, without a code fence around them."""
    if path.endswith(".md") or len(body) < 2:
        return body
    fenced = body[0].startswith("```") and body[-1].rstrip() == "```"
    return body[1:-1] if fenced else body


def _note(prose: Sequence[str]) -> str:
    """The text after NOTE, else the first line with text, as one clean line."""
    marked = [match[1] for line in prose if (match := _NOTE.fullmatch(line))]
    others = [line for line in prose if line.strip("`*#-_> \t") and not line.startswith("```")]
    return clean_line((marked or others or [""])[0].strip("*` "), _LONGEST_NOTE)


# ---- applying a block --------------------------------------------------------------------------


def _split(text: str) -> tuple[list[str], list[str]]:
    """Lines and their endings. Only \\n and \\r\\n end a line, unlike in str.splitlines."""
    pairs = [(match[1], match[2]) for match in _LINE.finditer(text) if match[0]]
    return [body for body, _ in pairs], [ending for _, ending in pairs]


def _places(search: Sequence[str], bodies: Sequence[str]) -> list[int]:
    """Indexes at which all lines of a search occur in a row."""
    size = len(search)
    return [i for i in range(len(bodies) - size + 1) if tuple(bodies[i : i + size]) == search]


def _apply_block(block: Block, text: str) -> str | None:
    """The text after a block; None unless its search occurs exactly once."""
    bodies, endings = _split(text)
    if block.search is None:
        ending = next((e for e in endings if e), "\n")
        return "".join(line + ending for line in block.replace)
    places = _places(block.search, bodies)
    if len(places) != 1:
        return None
    before, after = _common(block.search, block.replace)
    start, end = places[0] + before, places[0] + len(block.search) - after
    return _spliced(bodies, endings, start, end, block.replace[before : len(block.replace) - after])


def _common(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """Numbers of equal lines at the beginning and at the end."""
    most, before, after = min(len(old), len(new)), 0, 0
    while before < most and old[before] == new[before]:
        before += 1
    while after < most - before and old[-1 - after] == new[-1 - after]:
        after += 1
    return before, after


def _spliced(
    bodies: list[str], endings: list[str], start: int, end: int, new: Sequence[str]
) -> str:
    """The text with lines replaced. New lines get their neighbours' line ending."""
    near = [*endings[start:end], *endings[max(0, start - 1) : start + 1], *endings]
    ending = next((e for e in near if e), "\n")
    lines = [*bodies[:start], *new, *bodies[end:]]
    ends = [*endings[:start], *[ending] * len(new), *endings[end:]]
    closed = not endings or endings[-1] != ""
    ends = [e or ending for e in ends]
    if ends and not closed:
        ends[-1] = ""
    return "".join(body + e for body, e in zip(lines, ends, strict=True))


def _explain_miss(block: Block, text: str) -> str:
    """Why a block fits nowhere, or in several places, and how to correct it."""
    bodies, _ = _split(text)
    search = block.search or ()
    if not search:
        return f"{block.path}: an empty SEARCH fits everywhere. Quote the lines to replace."
    if places := _places(search, bodies):
        found = ", ".join(str(i + 1) for i in places[:10])
        return (
            f"{block.path}: the SEARCH that begins `{search[0]}` occurs {len(places)} times "
            f"(lines {found}). Quote more lines around it, so that it fits once."
        )
    first, near = nearest_lines(search, bodies)
    return (
        f"{block.path}: the SEARCH that begins `{search[0]}` does not occur in the file.\n"
        f"The nearest lines, from line {first + 1}, are exactly:\n" + "\n".join(near)
    )


# ---- what a correction quotes ------------------------------------------------------------------


def nearest_lines(search: Sequence[str], lines: Sequence[str]) -> tuple[int, list[str]]:
    """The lines most like a search: index of the first, and the lines, with some around them."""
    if not lines:
        return 0, []
    size = min(len(search), _SHOWN)
    start = max(0, _start(search[:size], lines) - _AROUND)
    return start, list(lines[start : start + size + 2 * _AROUND])


def _start(search: Sequence[str], lines: Sequence[str]) -> int:
    """Index where most characters agree, blanks aside; else by similarity of the longest line."""
    wanted = [line.strip() for line in search]
    there = [line.strip() for line in lines]
    agree = [_agreement(wanted, there, at) for at in range(len(there))]
    if max(agree) > 0:
        return agree.index(max(agree))
    longest = max(range(len(wanted)), key=lambda i: len(wanted[i]))
    return max(0, _likest(wanted[longest][:_WIDE], [line[:_WIDE] for line in there]) - longest)


def _agreement(wanted: Sequence[str], there: Sequence[str], at: int) -> int:
    """Characters in equal lines when the search is placed at an index."""
    pairs = zip(wanted, there[at : at + len(wanted)], strict=False)
    return sum(len(a) for a, b in pairs if a == b)


def _likest(word: str, lines: Sequence[str]) -> int:
    """Index of the line most similar to a text."""
    matcher = difflib.SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(word)
    best, likeness = 0, -1.0
    for number, line in enumerate(lines):
        matcher.set_seq1(line)
        if matcher.real_quick_ratio() <= likeness or matcher.quick_ratio() <= likeness:
            continue
        if (ratio := matcher.ratio()) > likeness:
            best, likeness = number, ratio
    return best


def syntax_problems(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """One problem for each edited Python file that compiled before and no longer does.

    A lab may be written for a newer Python than ours; its files do not compile before either.
    """
    return [
        f"{path}: the edit leaves a syntax error: {problem}"
        for path, text in after.items()
        if path.endswith(".py") and _error(before[path]) is None and (problem := _error(text))
    ]


def _error(text: str) -> str | None:
    """The compiler's error, or None; nothing is run."""
    try:
        check_limits(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text.encode("utf-8", "surrogateescape"), "<edit>", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        return f"{error.msg} (line {error.lineno}): {line}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return None
