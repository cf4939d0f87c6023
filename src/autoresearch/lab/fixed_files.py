"""What of a lab can change its number, and is held fixed while a study lasts; and what cannot."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from autoresearch.errors import TaskError
from autoresearch.executors import JobLimits
from autoresearch.lab.task import FILE, FOR_AGENTS, PROGRAM, Keep, Task

_PROSE = r"(md|markdown|rst|adoc|org|tex|html?|pdf)"
_TITLES = (
    "readme|licen[cs]e|copying|notice|changelog|changes|history|authors|contributors|contributing"
    "|code_of_conduct|security|citation|todo|notes?|codeowners"
)
# Written for people, or by us, whatever a program of the lab says of them.
_ALWAYS = re.compile(
    rf"({_TITLES})([-_][\w-]+)?|({_TITLES})([-_.][\w-]+)*\.({_PROSE}|txt)|citation\.cff"
    r"|\.(gitignore|gitattributes|gitkeep|mailmap|editorconfig)"
    r"|run\.log|results\.tsv|report\.html|progress\.(png|svg)",
    re.IGNORECASE,
)
_FOLDERS = {".github", ".gitlab", ".vscode", ".idea", ".devcontainer"}
# Written for people, unless a program of the lab names them: prose, logs, pictures, notebooks.
_USUALLY = re.compile(
    rf".*\.({_PROSE}|log|png|jpe?g|gif|svg|webp|drawio|ipynb|docx?|pptx?)", re.IGNORECASE
)
_FREE_KEYS = re.compile(
    r"name|(budget|checks|score)\.timeout|score\.max_gb|limits\..+|agent\..+|keep\.(?!strategy).+"
)


def is_instruction(name: str) -> bool:
    """Whether a file instructs proposers: a person may change it at any time."""
    return name in (PROGRAM, *FOR_AGENTS)


def is_document(name: str, programs: Callable[[], Mapping[str, str]]) -> bool:
    """Whether a file of a lab is for people, so that no number depends on it.

    `programs` reads the lab's other text files, by name; it is called when a name is not enough.
    """
    if _is_for_people(name):
        return True
    return bool(_USUALLY.fullmatch(name)) and not any(
        _names(text, name)
        for other, text in programs().items()
        if not _is_for_people(other) and not _USUALLY.fullmatch(other)
    )


def _is_for_people(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(_ALWAYS.fullmatch(path.name)) or bool(_FOLDERS & set(path.parts[:-1]))


def _names(text: str, name: str) -> bool:
    """Whether a program names a file: by its name, a folder that holds it, or its suffix."""
    path = PurePosixPath(name)
    words = [rf"{re.escape(path.name)}\b", rf"\*{re.escape(path.suffix)}\b"]
    words += [rf"{re.escape(folder)}[\"'/]" for folder in path.parts[:-1]]
    words += [rf"[\"']{re.escape(path.suffix)}[\"']"] if path.suffix else []
    return any(re.search(rf"(?<![\w-]){word}", text) for word in words)


def task_changes(old: str, new: str, task: Task) -> tuple[list[str], list[str]]:
    """What differs between two texts of task.toml: what can change the number, and what cannot.

    `task` is the new text as it was read. An old text that cannot be read any more locks.
    """
    if old == new:
        return [], []
    try:
        before = Task.parse(old, task.folder / FILE)
    except TaskError as error:
        return [f"{FILE}: what it was cannot be read ({error})"], []
    changed = list(_changed_keys(tomllib.loads(old), tomllib.loads(new.removeprefix("\ufeff"))))
    free = [words for key, words in changed if _FREE_KEYS.fullmatch(key)]
    fixed = [words for key, words in changed if not _FREE_KEYS.fullmatch(key)]
    if _measured(before) == _measured(task):  # a default that is written out, a comment
        return [], free or ([f"{FILE}: {', '.join(fixed) or 'comments or layout'}"])
    return fixed or [f"{FILE}: it means something else"], free


def _measured(task: Task) -> Task:
    """A task without what says only how long, how much, and by whom."""
    return replace(
        task,
        name="",
        keep=Keep(task.keep.strategy),  # its other settings are compared by themselves
        budget=replace(task.budget, timeout=0.0),
        checks=task.checks and replace(task.checks, timeout=0.0),
        score=task.score and replace(task.score, timeout=0.0, max_bytes=0),
        limits=JobLimits(),
        free_disk=0,
        agents={},
        sandbox="auto" if task.sandbox == "required" else task.sandbox,
    )


def _changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys whose values differ, each with a description."""
    before, now = dict(_flat(old)), dict(_flat(new))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield key, f"{FILE}: {key} {_shown(before.get(key))} -> {_shown(now.get(key))}"


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value!r:.80}"
