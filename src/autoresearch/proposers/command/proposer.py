"""CommandProposer: one session of a coding agent, through an executor; what counts is evidence."""

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
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.executors import Execution, Executor, Job, JobLimits
from autoresearch.executors.probe import make_executor
from autoresearch.files import remove_tree
from autoresearch.proposers import AgentContext, Brief, Proposal, ProposalFailed
from autoresearch.proposers.command.events import Heard, hear
from autoresearch.proposers.command.failures import complaints, kind_of, kind_told, retry_after
from autoresearch.proposers.command.presets import Preset
from autoresearch.proposers.command.session import (
    AGAIN,
    ARGUMENT,
    LONG,
    TASK,
    Site,
    filled,
    made,
    write,
)
from autoresearch.proposers.command.workspace_scan import (
    editable_state,
    fixed_state,
    program_folders,
)

GRACE = 10.0  # seconds after an agent's own deadline in which its client may end it in peace
SECRET = 8  # characters from which a key is struck out of an error
MIB = 2**20
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # in small letters as well
MISSING = re.compile(r"no such file|command not found|cannot start", re.IGNORECASE)
ELSEWHERE = (
    " (a sandbox shows it the folder of its program and little else: folders that it needs more "
    "stand in `readable` under [{name}] in agents.toml)"
)
FAULTS = {"memory": "oom", "disk": "disk", "processes": "processes"}  # ending -> reason of a crash


class CommandProposer:
    """Proposals by a coding agent's command.

    Made by name: `make_proposer("codex", ground=Ground(...))`. Raises ProposerError at once when
    the agent is not installed or none of its keys is set.
    """

    def __init__(self, preset: Preset, ground: AgentContext | None = None) -> None:
        self.name = preset.name
        self._preset = preset
        self._ground = ground or AgentContext()
        self._program = installed(preset)
        self._keys = keys(preset)
        self._executor = self._ground.executor
        self._again = False
        if not preset.model and any(word == "{model}" for word in preset.command):
            raise ProposerError(
                f"The agent {preset.name} needs a model: set `model` under [{preset.name}] in "
                f"agents.toml, or under [agent.{preset.name}] in task.toml."
            )

    @property
    def max_seconds(self) -> float:
        """Seconds that one session may take."""
        return self._preset.seconds

    def renew(self) -> bool:
        """Begin the next session otherwise than the last: it led nowhere."""
        self._again = True
        return True

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """One session of the agent in the workspace."""
        with self._site() as site:
            before = editable_state(workspace, brief.editable)
            fixed = fixed_state(workspace, brief.editable)
            self._prepare(site, workspace, brief)
            ended = self._run(site, workspace, brief.cancelled)
            heard = hear(self._preset, site.log, self._output(site))
            changed = editable_state(workspace, brief.editable) != before
            others = _changed(fixed, fixed_state(workspace, brief.editable))
        self._check(heard, ended, changed)
        self._again = False
        return self._proposal(heard, ended, others)

    # ---- before --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _site(self) -> Iterator[Site]:
        """Folders of its own; the log of the last session stays where the study's home is."""
        if self._ground.home is None:
            with tempfile.TemporaryDirectory(prefix="autoresearch-agent-") as folder:
                yield made(Path(folder) / "agent")
            return
        site = made(self._ground.home)
        try:
            yield site
        finally:
            remove_tree(site.home)

    def _prepare(self, site: Site, workspace: Path, brief: Brief) -> None:
        """Write the brief, the order, and the files that the agent finds in its HOME."""
        for name, text in self._preset.files.items():
            path = site.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        head = TASK.format(editable=", ".join(brief.editable)) + (AGAIN if self._again else "")
        prompt = head + brief.text
        write(site.brief, prompt)
        order = {
            "argv": self._argv(site, workspace, brief, prompt),
            "silence": self._preset.silence,
            "seconds": self._preset.seconds,
            "turns": self._preset.turns,
            "usd": self._preset.usd,
            "counted": counted(self._preset),
            "workspace": str(workspace),
            "prompt": prompt,
        }
        write(site.order, json.dumps(order))

    def _argv(self, site: Site, workspace: Path, brief: Brief, prompt: str) -> list[str]:
        """The command's words, filled in."""
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
        return [self._program, *filled(self._preset, known, lists)]

    def _guard(self) -> tuple[str, ...]:
        """What the agent's own sandbox is told: two do not fit into each other."""
        return self._preset.sandboxed if self._boxed() else self._preset.bare

    def _boxed(self) -> bool:
        """Whether a sandbox of ours stands."""
        return getattr(self._place(), "name", "") in ("sandbox", "landlock")

    # ---- the session ---------------------------------------------------------------------------

    def _place(self) -> Executor:
        if self._executor is None:
            home = self._ground.home
            self._executor = make_executor(self._ground.policy, home.parent if home else None)
        return self._executor

    def _run(self, site: Site, workspace: Path, cancelled: threading.Event) -> Execution:
        """The agent, inside the script that watches it, inside the executor."""
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
                script, site.order, site.brief, *program_folders(self._program), *preset.readable
            ),
            writable=(site.home,),
            network=preset.network,
            env_allowed=tuple(name for name in env if name != "TMPDIR"),  # a sandbox has its own
            cancelled=cancelled,
        )  # fmt: skip
        return self._place().run(job)

    def _env(self, site: Site, workspace: Path) -> dict[str, str]:
        """The whole environment: nothing of ours enters that is not named here."""
        proxies = (*PROXIES, *map(str.lower, PROXIES)) if self._preset.network else ()
        mine = ("PATH", "LANG", "LC_ALL", "TZ", *proxies, *self._preset.passes)
        first = next(iter(self._keys.values()), "")
        return {
            **{name: os.environ[name] for name in mine if name in os.environ},
            **self._keys,
            **{name: text.replace("{key}", first) for name, text in self._preset.env.items()},
            "HOME": str(site.home),
            "TMPDIR": str(site.root / "tmp"),
            "GIT_CEILING_DIRECTORIES": str(workspace.resolve().parent),  # our repository is above
        }

    def _output(self, site: Site) -> Path | None:
        output = self._preset.output
        return Path(output.replace("{home}", str(site.home))) if output else None

    # ---- afterwards ----------------------------------------------------------------------------

    def _check(self, heard: Heard, ended: Execution, changed: bool) -> None:
        """ProposalFailed unless an editable file changed and nothing ended it badly."""
        if heard.silent or ended.ending in ("timeout", "suspended"):
            after = heard.silent or ended.seconds
            raise self._failed("late", heard, f"ended after {after:.0f} s without coming to an end")
        if heard.error:
            kind = kind_of(heard.error, heard.code) or "empty"
            raise self._failed(kind, heard, heard.error, wait=retry_after(heard.error))
        if not changed and ended.ending not in FAULTS:
            spoken = self._preset.format in ("text", "json")
            last = complaints(list(heard.plain), spoken, heard.exit_code)
            kind = kind_told(last, heard.exit_code) or "empty"
            said = heard.plain[-1] if heard.plain else heard.note or "nothing"
            words = f"no editable file was changed (exit code {heard.exit_code}); it said: {said}"
            raise self._failed(kind, heard, words, wait=retry_after(last))

    def _failed(
        self, kind: str, heard: Heard, words: str, wait: float | None = None
    ) -> ProposalFailed:
        line = " ".join(words.split())[:300]
        for key in self._keys.values():
            line = line.replace(key, "***") if len(key) >= SECRET else line
        if self._boxed() and MISSING.search(line):
            line += ELSEWHERE.format(name=self.name)
        elif kind == "stop" and self._keys:
            line += f" (its key is that of {' and '.join(self._keys)})"
        return ProposalFailed(
            kind,  # type: ignore[arg-type]
            f"{self.name}: {line}",
            retry_after=wait,
            cost_usd=heard.usd,
            tokens=heard.tokens,
        )

    def _proposal(self, heard: Heard, ended: Execution, others: list[str]) -> Proposal:
        note = heard.note or f"an edit by {self.name}"
        if others:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            note = f"{note} (also edited {', '.join(others[:3])}{more}: ignored)"
        fault = FAULTS.get(ended.ending, "")
        if fault:
            note = f"{note} ({self.name} was killed: it took more {ended.ending} than it may)"
        details = {
            "sandbox": ended.sandbox,
            "ending": ended.ending,
            "also_edited": ", ".join(others),
        }
        return Proposal(note, heard.usd, heard.tokens, details, fault)


def counted(preset: Preset) -> list[dict[str, object]]:
    """The events that the script in the sandbox counts while the agent works."""
    if preset.format != "jsonl":
        return []
    told = (rule for rule in preset.rules if (rule.turn or rule.usd) and not rule.unless)
    return [{"where": dict(rule.where), "turn": rule.turn, "usd": rule.usd} for rule in told]


def installed(preset: Preset) -> str:
    """Where an agent's program is; ProposerError says how to get it."""
    found = shutil.which(preset.program)
    if found is None:
        raise ProposerError(
            f"The agent {preset.name} is not installed: no `{preset.program}` on PATH. "
            f"Install it: {preset.install}"
        )
    return os.path.abspath(found)  # noqa: PTH100 - links stay


def keys(preset: Preset) -> dict[str, str]:
    """The agent's keys, as far as they are set; ProposerError names them when none is."""
    found = {name: os.environ[name] for name in preset.keys if os.environ.get(name)}
    if preset.keys and not found:
        one = " or ".join(preset.keys)
        raise ProposerError(
            f"The agent {preset.name} needs a key: set {one}. Each session has a HOME of its own, "
            "so that a login on this machine does not count."
        )
    return found


def _changed(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[str]:
    """Fixed files that differ or are gone; what is new is no file of the lab."""
    return sorted(name for name, seen in before.items() if after.get(name) != seen)
