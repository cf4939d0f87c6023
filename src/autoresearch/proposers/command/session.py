"""One session of an agent: its folders, what it is told, and the words of its command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.files import remove_tree
from autoresearch.proposers.command.presets import Preset

ARGUMENT = 100_000  # bytes of a brief that is given as an argument; the kernel takes 128 KiB
TASK = (
    "You improve a program, one experiment at a time; this is one of them. Edit {editable} in the "
    "current folder, then stop. Change no other file, do not commit, do not run the experiment: "
    "that happens afterwards. End your last message with one line that begins with NOTE: and says "
    "what you changed and why.\n\n"
)
AGAIN = "The last attempts brought no edit that could be used: begin differently, and do edit.\n\n"
LONG = "Read the file {brief} first: it is your task. Then edit {editable}, and stop.\n"


@dataclass(frozen=True)
class Site:
    """The folders of one proposal: the agent's own, made anew each time."""

    root: Path

    @property
    def home(self) -> Path:
        """HOME."""
        return self.root / "home"

    @property
    def log(self) -> Path:
        """What the agent printed."""
        return self.root / "agent.log"

    @property
    def brief(self) -> Path:
        """What it was told."""
        return self.root / "brief.md"

    @property
    def order(self) -> Path:
        """What the script in the sandbox is to start."""
        return self.root / "order.json"


def made(root: Path) -> Site:
    """The folders, empty."""
    remove_tree(root)
    site = Site(root)
    for folder in (root, site.home, root / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    return site


def write(path: Path, text: str) -> None:
    """For the agent to read, also when it runs as another user."""
    path.write_bytes(text.encode(errors="surrogateescape"))
    path.chmod(0o644)


def filled(
    preset: Preset, known: dict[str, str], lists: dict[str, tuple[str, ...]]
) -> Iterator[str]:
    """The words after the program; a group stands only where all it needs is known."""
    for word in preset.command[1:]:
        if isinstance(word, str):
            yield from lists.get(word) or ([] if word in lists else [_fill(word, known)])
        elif all(known.get(name) for part in word for name in re.findall(r"\{(\w+)\}", part)):
            yield from (_fill(part, known) for part in word)


def _fill(word: str, known: dict[str, str]) -> str:
    """One pass: what is filled in is not looked at again."""
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), word)
