"""Edits in a model's reply: parsed, and applied strictly or not at all. Nothing here has effects.

A reply names its reason in a line `NOTE: ...` and its edits in blocks of whole lines:

    <<<<<<< SEARCH train.py          <<<<<<< WHOLE train.py
    lines as they are                all lines of the file
    =======                          >>>>>>> END
    lines as they shall be
    >>>>>>> REPLACE
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoresearch.proposers.llm.nearest import nearest_lines

_OPEN = re.compile(r"<<<<<<< (SEARCH|WHOLE)(?:[ \t]+(\S.*?))?\s*")
_DIVIDER = re.compile(r"=======\s*")
_CLOSE = {"SEARCH": re.compile(r">>>>>>> REPLACE\s*"), "WHOLE": re.compile(r">>>>>>> END\s*")}
_CLOSER = {"SEARCH": ">>>>>>> REPLACE", "WHOLE": ">>>>>>> END"}
_PATH = re.compile(r"[\w./-]+\.\w+")  # a line above a block that looks like this names its file
_NOTE = re.compile(r"\W*NOTE\W*:\W*(\S.*)", re.IGNORECASE)
_LINE = re.compile(r"([^\n]*?)(\r?\n|\Z)")


@dataclass(frozen=True)
class Block:
    """One edit: lines without their endings. A search of None stands for the whole file."""

    path: str
    search: tuple[str, ...] | None
    replace: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """What a reply holds, and what is wrong with its form."""

    note: str
    blocks: tuple[Block, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Applied:
    """The files that come of it; when there are problems, none."""

    files: Mapping[str, str]
    problems: tuple[str, ...]


def parse(reply: str, editable: Sequence[str]) -> Reply:
    """The note and the blocks of a reply, in order; a broken block is a problem, never a guess."""
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
    """Each block on what the earlier ones left; all of them, or none. Lines outside stay as is."""
    texts, problems = dict(files), []
    for block in blocks:
        if block.path not in texts:
            names = ", ".join(files)
            problems.append(f"{block.path} may not be edited; only {names} may.")
            continue
        done = _applied(block, texts[block.path])
        if done is None:
            problems.append(_miss(block, texts[block.path]))
        else:
            texts[block.path] = done
    changed = {path: text for path, text in texts.items() if text != files[path]}
    return Applied({} if problems else changed, tuple(problems))


# ---- reading a reply ---------------------------------------------------------------------------


def _block(
    lines: Sequence[str], at: int, kind: str, path: str, editable: Sequence[str]
) -> tuple[Block | str, int]:
    """The block that opens at a line, or what is wrong with it; and where to read on."""
    where = f"The block that opens with `{lines[at].strip()}`"
    end = next((i for i in range(at + 1, len(lines)) if _CLOSE[kind].fullmatch(lines[i])), None)
    if end is None:
        return f"{where} has no closing line `{_CLOSER[kind]}`.", len(lines)
    body = lines[at + 1 : end]
    if not path and (kind == "WHOLE" or len(editable) > 1):
        return f"{where} names no file: write its path after {kind}.", end + 1
    path = _plain(path) if path else editable[0]
    if kind == "WHOLE":
        return Block(path, None, tuple(_unfenced(body, path))), end + 1
    return _halves(body, path, where), end + 1


def _halves(body: Sequence[str], path: str, where: str) -> Block | str:
    """A search and a replacement; two dividers, or a second opening, leave no doubt but one."""
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
    """The path that stands alone in the last line before a block, fences aside; or nothing."""
    for line in reversed(prose[-3:]):
        words = line.strip().strip("`*#: ")
        if line.strip() and not line.lstrip().startswith("```"):
            return words if _PATH.fullmatch(words) else ""
    return ""


def _plain(path: str) -> str:
    return path.strip("`'\" ").removeprefix("./")


def _unfenced(body: Sequence[str], path: str) -> Sequence[str]:
    """A whole file without the code fence that models like to put around it."""
    if path.endswith(".md") or len(body) < 2:
        return body
    fenced = body[0].startswith("```") and body[-1].rstrip() == "```"
    return body[1:-1] if fenced else body


def _note(prose: Sequence[str]) -> str:
    """The line marked NOTE, else the first that says anything; in one printable line."""
    marked = [match[1] for line in prose if (match := _NOTE.fullmatch(line))]
    spoken = [line for line in prose if line.strip("`*#-_> \t") and not line.startswith("```")]
    said = (marked or spoken or [""])[0].strip("*` ")
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())[:300]


# ---- applying a block --------------------------------------------------------------------------


def _split(text: str) -> tuple[list[str], list[str]]:
    """Lines and their endings; only \\n and \\r\\n end a line, unlike in str.splitlines."""
    pairs = [(match[1], match[2]) for match in _LINE.finditer(text) if match[0]]
    return [body for body, _ in pairs], [ending for _, ending in pairs]


def _places(search: Sequence[str], bodies: Sequence[str]) -> list[int]:
    """Where all lines of a search stand, one after the other."""
    size = len(search)
    return [i for i in range(len(bodies) - size + 1) if tuple(bodies[i : i + size]) == search]


def _applied(block: Block, text: str) -> str | None:
    """The text after a block; None when its search does not stand there exactly once."""
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
    """How many lines at the beginning, and at the end, are the same."""
    most, before, after = min(len(old), len(new)), 0, 0
    while before < most and old[before] == new[before]:
        before += 1
    while after < most - before and old[-1 - after] == new[-1 - after]:
        after += 1
    return before, after


def _spliced(
    bodies: list[str], endings: list[str], start: int, end: int, new: Sequence[str]
) -> str:
    """Lines replaced; new ones end as their neighbours do, and so does the file as a whole."""
    near = [*endings[start:end], *endings[max(0, start - 1) : start + 1], *endings]
    ending = next((e for e in near if e), "\n")
    lines = [*bodies[:start], *new, *bodies[end:]]
    ends = [*endings[:start], *[ending] * len(new), *endings[end:]]
    closed = not endings or endings[-1] != ""
    ends = [e or ending for e in ends]
    if ends and not closed:
        ends[-1] = ""
    return "".join(body + e for body, e in zip(lines, ends, strict=True))


def _miss(block: Block, text: str) -> str:
    """Why a block fits nowhere, or in several places, and what would help."""
    bodies, _ = _split(text)
    search = block.search or ()
    if not search:
        return f"{block.path}: an empty SEARCH fits everywhere. Quote the lines to replace."
    if places := _places(search, bodies):
        found = ", ".join(str(i + 1) for i in places[:10])
        return (
            f"{block.path}: the SEARCH that begins `{search[0]}` stands there {len(places)} times "
            f"(lines {found}). Quote more lines around it, so that it fits once."
        )
    first, near = nearest_lines(search, bodies)
    return (
        f"{block.path}: the SEARCH that begins `{search[0]}` does not stand there.\n"
        f"The nearest lines, from line {first + 1}, are exactly:\n" + "\n".join(near)
    )
