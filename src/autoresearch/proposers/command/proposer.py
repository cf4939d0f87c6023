"""CommandProposer: runs one session of a coding agent per proposal, through an executor.

An agent's exit code proves nothing: a proposal counts when an editable file changed and the
agent's output shows no error.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.executors import Execution, Executor, Job, JobLimits
from autoresearch.executors.probe import make_executor
from autoresearch.files import remove_tree
from autoresearch.proposers import AgentContext, Brief, Progress, Proposal, ProposalFailed
from autoresearch.proposers.command.events import AgentOutput, LiveLog, read_output
from autoresearch.proposers.command.failures import error_lines, kind_of, kind_of_lines, retry_after
from autoresearch.proposers.command.presets import Preset
from autoresearch.proposers.command.workspace_scan import (
    editable_state,
    fixed_state,
    program_folders,
)
from autoresearch.text import clean_line

GRACE = 10.0  # seconds after the deadline in which the ACP client may end the agent cleanly
SECRET = 8  # length from which a key is removed from error messages
MIB = 2**20
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # in lower case as well
MISSING = re.compile(r"no such file|command not found|cannot start", re.IGNORECASE)
ELSEWHERE = (
    " (in the sandbox the agent sees little but its program's folder: add the folders that it "
    "needs to `readable` under [{name}] in agents.toml)"
)
METERS = Path(__file__).parents[1] / "meters.py"  # which both scripts load
FAULTS = {"memory": "oom", "disk": "disk", "processes": "processes"}  # ending -> a crash's reason
ARGUMENT = 100_000  # bytes of a brief passed as an argument at most; the kernel takes 128 KiB
TASK = (
    "You improve a program, one trial at a time; this is one of them. Edit {editable} in the "
    "current folder, then stop. Change no other file, do not commit, do not run it: "
    "that happens afterwards. End your last message with one line that begins with NOTE: and says "
    "what you changed and why.\n\n"
)
RENEWED = "The last sessions gave no edit that could be used: start differently, and do edit.\n\n"
LONG = "Read the file {brief} first: it is your task. Then edit {editable}, and stop.\n"


@dataclass(frozen=True)
class Site:
    """The agent's folders and files for one session."""

    root: Path

    @property
    def home(self) -> Path:
        """The agent's HOME."""
        return self.root / "home"

    @property
    def log(self) -> Path:
        """The agent's output."""
        return self.root / "agent.log"

    @property
    def brief(self) -> Path:
        """The brief, as a file."""
        return self.root / "brief.md"

    @property
    def order(self) -> Path:
        """Instructions for the script that watches the agent in the sandbox."""
        return self.root / "order.json"


class CommandProposer:
    """Proposals by a coding agent's command.

    Made by name: `make_proposer("codex", context=AgentContext(...))`. Raises ProposerError at
    once when the agent is not installed or none of its keys is set.
    """

    def __init__(self, preset: Preset, context: AgentContext | None = None) -> None:
        self.name = preset.name
        self._preset = preset
        self._context = context or AgentContext()
        self._program = find_program(preset)
        self._keys = read_keys(preset)
        self._executor = self._context.executor
        self._renewed = False
        self._in_session = False
        self._live_log: LiveLog | None = None  # of the current session
        if not preset.model and any(word == "{model}" for word in preset.command):
            raise ProposerError(
                f"The agent {preset.name} needs a model: set `model` under [{preset.name}] in "
                f"agents.toml, or under [agent.{preset.name}] in task.toml."
            )

    @property
    def max_seconds(self) -> float:
        """Seconds that one session may take."""
        return self._preset.seconds

    @property
    def pending_cost(self) -> float:
        """The limit of dollars of a session under way: it has not stated its cost yet."""
        return self._preset.usd if self._in_session and self._preset.usd_per_million != 0 else 0.0

    def renew(self) -> bool:
        """Have the next session's brief request a different start."""
        self._renewed = True
        return True

    def progress(self) -> Progress | None:
        """The cost that the agent has reported so far, and the last thing that it printed."""
        log = self._live_log
        if log is None:
            return None
        output = log.read()
        line = clean_line(self._without_keys(log.last), 300)
        return Progress(output.usd, output.tokens, line, log.quiet)

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """One session of the agent in the workspace; ProposalFailed when it gives no edit."""
        with self._site() as site:
            before = editable_state(workspace, brief.editable)
            fixed = fixed_state(workspace, brief.editable)
            self._prepare(site, workspace, brief)
            self._live_log = LiveLog(self._preset, site.log)
            try:
                ended = self._session(site, workspace, brief.cancelled)
            finally:
                self._live_log = None
            output = read_output(self._preset, site.log, self._output_file(site))
            changed = editable_state(workspace, brief.editable) != before
            others = _changed(fixed, fixed_state(workspace, brief.editable))
        self._check(output, ended, changed)
        self._renewed = False
        return self._proposal(output, ended, others)

    # ---- before --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _site(self) -> Iterator[Site]:
        """New folders for a session; in the study's folder the log stays until the next session."""
        if self._context.home is None:
            with tempfile.TemporaryDirectory(prefix="autoresearch-agent-") as folder:
                yield make_site(Path(folder) / "agent")
            return
        site = make_site(self._context.home)
        try:
            yield site
        finally:
            remove_tree(site.home)

    def _prepare(self, site: Site, workspace: Path, brief: Brief) -> None:
        """Write the brief, the order, and the preset's files in HOME."""
        for name, text in self._preset.files.items():
            path = site.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        head = TASK.format(editable=", ".join(brief.editable)) + (RENEWED if self._renewed else "")
        prompt = head + brief.text
        write_readable(site.brief, prompt)
        order = {
            "argv": self._argv(site, workspace, brief, prompt),
            "silence": self._preset.silence,
            "seconds": self._preset.seconds,
            "turns": self._preset.turns,
            "usd": self._preset.usd,
            "counted": counted_events(self._preset),
            "workspace": str(workspace),
            "prompt": prompt,
        }
        write_readable(site.order, json.dumps(order))

    def _argv(self, site: Site, workspace: Path, brief: Brief, prompt: str) -> list[str]:
        """The agent's command line."""
        names = ", ".join(brief.editable)
        if len(prompt.encode(errors="replace")) > ARGUMENT:
            prompt = LONG.format(brief=site.brief, editable=names)
        known = {
            "prompt": prompt,
            "brief": str(site.brief),
            "workspace": str(workspace),
            "home": str(site.home),
            "model": self._preset.model,
            "usd": f"{self._preset.usd:g}",
            "turns": f"{self._preset.turns:.0f}",
        }
        lists = {"{guard}": self._guard(), "{editable}": brief.editable}
        return [self._program, *fill_words(self._preset, known, lists)]

    def _guard(self) -> tuple[str, ...]:
        """The options for the agent's own sandbox, which does not work inside ours."""
        return self._preset.sandboxed if self._is_sandboxed() else self._preset.bare

    def _is_sandboxed(self) -> bool:
        return getattr(self._get_executor(), "name", "") in ("sandbox", "landlock")

    # ---- the session ---------------------------------------------------------------------------

    def _get_executor(self) -> Executor:
        if self._executor is None:
            home = self._context.home
            self._executor = make_executor(self._context.policy, home.parent if home else None)
        return self._executor

    def _session(self, site: Site, workspace: Path, cancelled: threading.Event) -> Execution:
        """One run of the agent, which may cost money from its beginning on."""
        self._in_session = True
        try:
            return self._run(site, workspace, cancelled)
        finally:
            self._in_session = False

    def _unstated(self, output: AgentOutput) -> float:
        """Dollars to count for a cost that the session did not state: up to its limit."""
        return 0.0 if output.cost_known else max(0.0, self._preset.usd - output.usd)

    def _run(self, site: Site, workspace: Path, cancelled: threading.Event) -> Execution:
        """Run the watching script, which runs the agent, in the executor."""
        preset, env = self._preset, self._env(site, workspace)
        script = Path(__file__).with_name("acp.py" if preset.format == "acp" else "watch_agent.py")
        words = [sys.executable, "-I", "-S", str(script), str(site.order)]
        job = Job(
            command=f"exec {shlex.join(words)}",
            folder=workspace,
            log=site.log,
            timeout=preset.seconds + (GRACE if preset.format == "acp" else 0.0),
            env=env,
            limits=JobLimits(disk=int(preset.disk_mb * MIB), processes=500),
            readable=(
                script,
                METERS,
                site.order,
                site.brief,
                *program_folders(self._program),
                *preset.readable,
            ),
            writable=(site.home,),
            network=preset.network,
            env_allowed=tuple(name for name in env if name != "TMPDIR"),  # a sandbox sets it
            cancelled=cancelled,
        )  # fmt: skip
        return self._get_executor().run(job)

    def _env(self, site: Site, workspace: Path) -> dict[str, str]:
        """The agent's whole environment; nothing else of ours is passed."""
        proxies = (*PROXIES, *map(str.lower, PROXIES)) if self._preset.network else ()
        mine = ("PATH", "LANG", "LC_ALL", "TZ", *proxies, *self._preset.passes)
        first = next(iter(self._keys.values()), "")
        return {
            **{name: os.environ[name] for name in mine if name in os.environ},
            **self._keys,
            **{name: text.replace("{key}", first) for name, text in self._preset.env.items()},
            "HOME": str(site.home),
            "TMPDIR": str(site.root / "tmp"),
            # the lab's repository is above
            "GIT_CEILING_DIRECTORIES": str(workspace.resolve().parent),
        }

    def _output_file(self, site: Site) -> Path | None:
        output = self._preset.output
        return Path(output.replace("{home}", str(site.home))) if output else None

    # ---- afterwards ----------------------------------------------------------------------------

    def _check(self, output: AgentOutput, ended: Execution, changed: bool) -> None:
        """ProposalFailed unless an editable file changed and nothing ended it badly."""
        if output.silent or ended.ending in ("timeout", "suspended"):
            after = output.silent or ended.seconds
            raise self._failed("late", output, f"killed after {after:.0f} s; it had not finished")
        if output.error:
            kind = kind_of(output.error, output.code) or "empty"
            raise self._failed(kind, output, output.error, wait=retry_after(output.error))
        if not changed and ended.ending not in FAULTS:
            spoken = self._preset.format in ("text", "json")
            last = error_lines(list(output.plain), spoken, output.exit_code)
            kind = kind_of_lines(last, output.exit_code) or "empty"
            last_line = output.plain[-1] if output.plain else output.note or "nothing"
            words = (
                f"it changed no editable file (exit code {output.exit_code}); it said: {last_line}"
            )
            raise self._failed(kind, output, words, wait=retry_after(last))

    def _failed(
        self, kind: str, output: AgentOutput, words: str, wait: float | None = None
    ) -> ProposalFailed:
        line = clean_line(self._without_keys(words), 300)
        turned_away = kind in ("busy", "stop") and not (output.words or output.tokens)
        if self._is_sandboxed() and MISSING.search(line):
            line += ELSEWHERE.format(name=self.name)
        elif kind == "stop" and self._keys:
            line += f" (its key is that of {' and '.join(self._keys)})"
        return ProposalFailed(
            kind,  # type: ignore[arg-type]
            f"{self.name}: {line}",
            retry_after=wait,
            cost_usd=output.usd,
            tokens=output.tokens,
            unstated_usd=0.0 if turned_away else self._unstated(output),
        )

    def _without_keys(self, words: str) -> str:
        for key in self._keys.values():
            words = words.replace(key, "***") if len(key) >= SECRET else words
        return words

    def _proposal(self, output: AgentOutput, ended: Execution, others: list[str]) -> Proposal:
        note = output.note or f"an edit by {self.name}"
        if others:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            note = f"{note} (also edited {', '.join(others[:3])}{more}: ignored)"
        fault = FAULTS.get(ended.ending, "")
        if fault:
            note = f"{note} ({self.name} was killed: it exceeded its limit of {ended.ending})"
        details = {
            "sandbox": ended.sandbox,
            "ending": ended.ending,
            "also_edited": ", ".join(others),
        }
        if unstated := self._unstated(output):
            details["cost"] = f"not told; ${unstated:.2f} counted, its limit for a session (`usd`)"
        return Proposal(note, output.usd, output.tokens, details, fault, unstated_usd=unstated)


def counted_events(preset: Preset) -> list[dict[str, object]]:
    """The events that the watching script counts, for its limits on turns and dollars."""
    if preset.format not in ("jsonl", "text"):
        return []
    return [
        {
            "where": dict(rule.where),
            "unless": dict(rule.unless),
            "match": rule.match.pattern if rule.match else "",
            "turn": rule.turn,
            "usd": rule.usd,
        }
        for rule in preset.rules
        if rule.turn or rule.usd or (rule.match and "usd" in rule.match.groupindex)
    ]


def find_program(preset: Preset) -> str:
    """Absolute path of an agent's program; ProposerError says how to install it."""
    found = shutil.which(preset.program)
    if found is None:
        raise ProposerError(
            f"The agent {preset.name} is not installed: no `{preset.program}` on PATH. "
            f"Install it: {preset.install}"
        )
    return os.path.abspath(found)  # noqa: PTH100 - does not follow links


def read_keys(preset: Preset) -> dict[str, str]:
    """The agent's keys that are set, by variable; ProposerError names them when none is."""
    found = {name: os.environ[name] for name in preset.keys if os.environ.get(name)}
    if preset.keys and not found:
        one = " or ".join(preset.keys)
        raise ProposerError(
            f"The agent {preset.name} needs a key: set {one}. Each session has its own HOME, "
            "so a login on this machine does not count."
        )
    return found


def _changed(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[str]:
    """Fixed files that differ or are gone; new files do not belong to the lab."""
    return sorted(name for name, seen in before.items() if after.get(name) != seen)


def make_site(root: Path) -> Site:
    """Create the folders of a session, empty."""
    remove_tree(root)
    site = Site(root)
    for folder in (root, site.home, root / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    return site


def write_readable(path: Path, text: str) -> None:
    """Write a file that the agent can read even when it runs as another user."""
    path.write_bytes(text.encode(errors="surrogateescape"))
    path.chmod(0o644)


def fill_words(
    preset: Preset, known: dict[str, str], lists: dict[str, tuple[str, ...]]
) -> Iterator[str]:
    """The words after the program; a group is left out when one of its values is unknown."""
    for word in preset.command[1:]:
        if isinstance(word, str):
            yield from lists.get(word) or ([] if word in lists else [_fill(word, known)])
        elif all(known.get(name) for part in word for name in re.findall(r"\{(\w+)\}", part)):
            yield from (_fill(part, known) for part in word)


def _fill(word: str, known: dict[str, str]) -> str:
    """Replace {names} in one pass, so that inserted values are not expanded themselves."""
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), word)
