"""The messages to a model: the form of its reply, the brief, and the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autoresearch.files import read_regular
from autoresearch.proposers import Brief
from autoresearch.proposers.llm.client import Message

FILES = 200  # other files that are considered at most

SYSTEM = """\
You are a researcher. Each reply proposes one trial: a hypothesis and the edit that tests it.
You cannot run anything. The harness applies your edit, runs it and measures it.

Begin your reply with one line that says what you change and why:
NOTE: <what, and why it should help>

Then give the edit, as one or more blocks of whole lines in exactly this form:

<<<<<<< SEARCH path/of/file
lines exactly as they stand in the file
=======
lines that replace them
>>>>>>> REPLACE

The lines under SEARCH must stand in the file exactly once, every blank included. Quote few lines,
but enough that they fit in one place only. Blocks are applied in order, and all of them or none.
To rewrite a file, send all of it:

<<<<<<< WHOLE path/of/file
every line of the file
>>>>>>> END

Edit only the files named as editable. Make one change; do not repeat a trial that was made.
"""

NO_EDIT = (
    "Your reply has no edit in it. Send a NOTE line and at least one block, which begins with "
    "`<<<<<<< SEARCH {path}` and ends with `>>>>>>> REPLACE`, or begins with "
    "`<<<<<<< WHOLE {path}` and ends with `>>>>>>> END`."
)
CUT = "Your reply was cut off at the limit of tokens: send small SEARCH blocks."
NOTHING = "Your edit changes nothing: the files are as they were."


def opening(
    workspace: Path, brief: Brief, files: Mapping[str, str], context_bytes: int
) -> list[Message]:
    """The first messages. What seldom changes comes first, for prompt caches."""
    others = list(_others(workspace, set(files), context_bytes))
    parts = [f"## {path} (read only)\n\n{text}" for path, text in others]
    parts.append(brief.text)
    parts += [f"## {path} (editable)\n\n{text}" for path, text in files.items()]
    return [_message("system", SYSTEM), _message("user", "\n\n".join(parts))]


def correction(reply: str, problems: Sequence[str]) -> list[Message]:
    """The model's reply, and a request to correct its problems."""
    listed = "\n\n".join(problems)
    request = f"Nothing was applied.\n\n{listed}\n\nSend the NOTE and all blocks again, corrected."
    return [_message("assistant", reply), _message("user", request)]


def _message(role: str, content: str) -> Message:
    """A message in valid UTF-8; undecodable bytes are replaced."""
    return {"role": role, "content": content.encode("utf-8", "replace").decode()}


def _others(workspace: Path, editable: set[str], budget: int) -> Iterator[tuple[str, str]]:
    """Text files that are not editable, small ones first, within a budget of bytes."""
    for size, name in sorted(_sizes(workspace, editable)):
        budget -= size
        if budget < 0:
            return
        try:
            yield name, read_regular(workspace / name, size).decode()
        except (OSError, UnicodeDecodeError):
            budget += size


def _sizes(workspace: Path, editable: set[str]) -> Iterator[tuple[int, str]]:
    """Sizes and names of visible files that are not in the brief already."""
    found = sorted(
        path for path in workspace.rglob("*") if path.is_file() and not path.is_symlink()
    )
    for path in found[:FILES]:
        inner = path.relative_to(workspace)
        hidden = any(part.startswith((".", "__")) for part in inner.parts)
        if not hidden and str(inner) not in editable | {"program.md"}:
            yield path.stat().st_size, str(inner)
