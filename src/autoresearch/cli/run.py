"""run and try: make trials, by a proposer or by hand."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from autoresearch.cli.common import lab_option, tag_option
from autoresearch.cli.hub_options import check_hub_options, hub_options, joined_hub
from autoresearch.cli.interrupt import ending_on_ctrl_c
from autoresearch.cli.live import View, make_view
from autoresearch.cli.try_summary import Outcome, as_text, try_view
from autoresearch.cli.try_summary import as_json as as_json_line
from autoresearch.errors import AutoResearchError
from autoresearch.executors.probe import probe
from autoresearch.lab.task import Task
from autoresearch.proposers import AgentContext, Proposal, Proposer
from autoresearch.proposers.record import Recorder, Replayer
from autoresearch.proposers.registry import make_proposer, with_controls
from autoresearch.proposers.retry_policy import RetryPolicy
from autoresearch.store.ledger import Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.strategies import Strategy
from autoresearch.strategies.registry import make_strategy
from autoresearch.study.collaborators import CallbackListener
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import begun_with, default_tag, open_study
from autoresearch.study.overview import pause_told
from autoresearch.study.study import Study, restore_files
from autoresearch.study.tags import choose_tag

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--trials", type=click.IntRange(min=0), help="Stop after this many experiments.")
@click.option("--hours", type=click.FloatRange(min=0), help="Stop after this many hours.")
@click.option("--until", metavar="TIME", help="Stop at 07:30, or at 2026-03-08T07:30.")
@click.option("--max-usd", type=click.FloatRange(min=0), help="Stop when proposals cost this much.")
@click.option(
    "--max-tokens", type=click.IntRange(min=0), help="Stop when proposals took this many tokens."
)
@click.option("--target", type=float, help="Stop when the metric is this good.")
@tag_option
@click.option(
    "--agent",
    default="offline",
    show_default=True,
    help="Proposer: offline, llm:MODEL, codex (see `agents`), codex,llm, mix:offline=0.7,llm=0.3.",
)
@click.option(
    "--control",
    metavar="SHARES",
    help="Control proposers, each with its share of the trials: noop=0.1,random=0.1.",
)
@click.option("--record", type=_FILE, help="Write every proposal to this file, for --replay.")
@click.option("--replay", type=_FILE, help="Proposals from this recording, not --agent.")
@click.option(
    "--strategy", help="The rule that decides what is kept: confirm, greedy (default: task.toml)."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31), default=42, show_default=True, help="Of a new study."
)
@click.option("--no-ahead", is_flag=True, help="Propose only when the previous trial is finished.")
@hub_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a trial, for machines.")
@lab_option
def run(
    trials: int | None,
    hours: float | None,
    until: str | None,
    max_usd: float | None,
    max_tokens: int | None,
    target: float | None,
    tag: str | None,
    agent: str,
    control: str | None,
    record: Path | None,
    replay: Path | None,
    strategy: str | None,
    seed: int,
    no_ahead: bool,
    as_json: bool,
    lab: Path,
    **hub: Any,
) -> None:
    """Research until stopped: propose, run, measure, keep or discard.

    The first trial is the unedited baseline. A study goes on where it stopped. Ctrl-C ends it
    after the current run, twice at once. While a trial runs an agent makes the next proposal.
    Your own files are left alone: the best is on the branch autoresearch/TAG. Dollars and tokens
    count for the whole study, failed proposals included, as the agents report them.

    \b
    autoresearch run                       until Ctrl-C
    autoresearch run --trials 20
    autoresearch run --tag wider --until 07:30
    autoresearch run --agent claude --max-usd 20
    autoresearch run --agent llm:gpt-5-mini,offline
    autoresearch run --agent codex --control noop=0.1,random=0.1
    autoresearch run --hub http://127.0.0.1:8080
    """
    task = Task.load(lab)
    limits = StopLimits(trials, _deadline(hours, until), max_usd, max_tokens, target)
    chosen = choose_tag(task, tag or default_tag(lab))
    name = chosen.name
    agent_context = AgentContext(StudyPaths(lab, name).agent, task.sandbox, task.agents)
    proposer = _proposer(agent, control, seed, agent_context, record, replay)
    rule = _strategy(task, name, strategy)
    check_hub_options(task, hub, partial(click.echo, err=True))
    with open_study(task, name, rule, seed=seed) as study:
        study.ledger.remember(**_budget(limits), **({"controls": control} if control else {}))
        view = make_view(study, limits, as_json=as_json)
        with _watched(study, view):
            for notice in filter(None, (chosen.notice, *study.notices)):
                view.note(notice)
            view.note(_sandbox_line(study))
            with ending_on_ctrl_c(study), joined_hub(study, view.note, hub) as between:
                ahead = not no_ahead
                retries = RetryPolicy(pause_first=0.0) if replay else RetryPolicy()
                why = research(
                    study, proposer, limits, ahead=ahead, retry_policy=retries,
                    on_note=view.note, between=between,
                )  # fmt: skip
            view.end(why)
            if study.ending:
                raise click.exceptions.Exit(130)


@click.command("try")
@click.option("-m", "--message", "note", required=True, help="What you changed, and why.")
@tag_option
@click.option(
    "--strategy", help="The rule that decides what is kept: confirm, greedy (default: task.toml)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
@lab_option
def try_(note: str, tag: str | None, strategy: str | None, as_json: bool, lab: Path) -> None:
    """One experiment with your own edit of the lab's files.

    Commits the editable files as they are, runs and measures them. A keep or a step stays: go on
    from there; when there are enough steps they are confirmed together. After a discard, a crash
    or a failed confirmation the files are put back; your edit stays in the study
    (autoresearch diff N).

    \b
    $EDITOR train.py
    autoresearch try -m "halve the batch: more steps in the same time"

    The first time it runs the unedited baseline before your edit.
    """
    task = Task.load(lab)
    chosen = choose_tag(task, tag or default_tag(lab))
    with open_study(task, chosen.name, _strategy(task, chosen.name, strategy)) as study:
        if paused := pause_told(study.paths):
            raise AutoResearchError(paused)
        for notice in filter(None, (chosen.notice, *study.notices)):
            click.echo(notice, err=True)
        view = try_view(study, as_json=as_json)
        with _watched(study, view):
            outcome = _try(study, note)
        click.echo((as_json_line if as_json else as_text)(outcome, study))


def _proposer(
    agent: str,
    control: str | None,
    seed: int,
    agent_context: AgentContext,
    record: Path | None,
    replay: Path | None,
) -> Proposer:
    """The proposer: an agent, recorded on request, or the replay of a recording."""
    if replay is None:
        made = make_proposer(agent, seed=seed, context=agent_context)
        made = with_controls(made, control, seed, agent_context) if control else made
        return made if record is None else Recorder(made, record)
    if record is not None:
        raise AutoResearchError("--record and --replay exclude each other: a replay is a record.")
    return Replayer(replay)


def _budget(limits: StopLimits) -> dict[str, str]:
    """The limits as `status` shows them, and when it began; an empty string is no limit."""
    named = {"max_usd": limits.usd, "max_tokens": limits.tokens, "target": limits.target}
    shown = {name: "" if value is None else f"{value:.15g}" for name, value in named.items()}
    count = limits.trials
    most = "" if count is None else f"{count} trial{'s' * (count != 1)}"
    end = f"until {datetime.fromtimestamp(limits.until):%d %b %H:%M}" if limits.until else ""
    until = "" if limits.until is None else _utc(limits.until)
    times = {"session_began": _utc(time.time()), "session_until": until}
    return {**shown, **times, "session": ", ".join(filter(None, (most, end)))}


def _utc(moment: float) -> str:
    """Seconds since the epoch as an ISO date and time."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _strategy(task: Task, tag: str, requested: str | None) -> Strategy:
    """The requested rule, else the study's, else the task's."""
    return make_strategy(requested or begun_with(task, tag) or task.keep.strategy, task.keep)


def _sandbox_line(study: Study) -> str:
    """The sandbox level of this machine, and why it is not higher."""
    if study.task.sandbox == "off":
        return "Sandbox: none, as task.toml says."
    found = probe(study.paths.home)
    why = f" ({found.why_not_higher})" if found.why_not_higher else ""
    return f"Sandbox: {found.level}{why}."


def _try(study: Study, note: str) -> Outcome:
    edit, earlier = _collected(study), _earlier_trials(study)
    parent = study.ask()
    start = study.ledger.made(parent)
    if not any(study.read_bytes(parent, name) != content for name, content in edit.items()):
        if earlier:  # the edit is the one that was just run
            return _outcome(study, earlier[-1], None, earlier[:-1])
        names = ", ".join(study.task.editable)
        raise AutoResearchError(f"{names}: no change from the best. Edit first, then try.")
    trial = study.tell(parent, edit, Proposal(note), "hand")
    tip = study.strategy.due_confirmation(study.ledger)
    confirmation = study.confirm(tip) if tip is not None else None
    return _restored(study, edit, _outcome(study, trial, start, earlier, confirmation))


def _collected(study: Study) -> Mapping[str, bytes]:
    """The editable files as git would commit them."""
    edit = study.workspaces.collect(study.task.folder)
    if isinstance(edit, OSError):
        raise AutoResearchError(
            f"The edit cannot be read: {edit}. An editable file is a regular file."
        )
    return {name: study.git.as_committed(name, content) for name, content in edit.items()}


def _earlier_trials(study: Study) -> tuple[Trial, ...]:
    """Finish what must come first: the trial of an earlier process, and the baseline."""
    left = study.recover()
    first = study.baseline() if study.ledger.best() is None else None
    return tuple(trial for trial in (left, first) if trial is not None)


def _outcome(
    study: Study,
    trial: Trial,
    start: Trial | None,
    others: tuple[Trial, ...],
    confirmation: Trial | None = None,
) -> Outcome:
    best = study.ledger.best()
    assert best is not None
    steps = len(study.ledger.steps_to(study.ask(), best.commit))
    return Outcome(trial, start, best, steps, confirmation, others)


def _restored(study: Study, edit: Mapping[str, bytes], outcome: Outcome) -> Outcome:
    """Put the files back, unless the next trial starts from this one."""
    parent = study.ask()
    if parent == outcome.trial.commit:
        return outcome
    changed = _collected(study) != edit  # during the run
    aside = study.paths.home / "replaced" if changed else None
    names = restore_files(study.git, study.task, parent, aside)
    return replace(outcome, restored=tuple(names), replaced=str(aside or ""))


@contextlib.contextmanager
def _watched(study: Study, view: View) -> Iterator[None]:
    study.collaborators.attach(listener=CallbackListener(view.stage, view.trial, view.note))
    with view:
        try:
            yield
        except KeyboardInterrupt:
            view.end("stopped by Ctrl-C at once; an unfinished trial runs again next time")
            raise click.exceptions.Exit(130) from None


def _deadline(hours: float | None, until: str | None) -> float | None:
    """The earlier of the two, as seconds since the epoch."""
    ends = [time.time() + hours * 3600] if hours is not None else []
    if until is not None:
        ends.append(_moment(until))
    return min(ends, default=None)


def _moment(text: str) -> float:
    """The next 07:30 for `07:30`; else an ISO date and time. Seconds since the epoch."""
    now = datetime.now().astimezone()
    if match := re.fullmatch(r"(\d{1,2}):(\d{2})", text):
        hour, minute = int(match[1]), int(match[2])
        if hour < 24 and minute < 60:
            then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return (then if then > now else then + timedelta(days=1)).timestamp()
    with contextlib.suppress(ValueError):
        then = datetime.fromisoformat(text).astimezone()
        if then > now:
            return then.timestamp()
        raise AutoResearchError(f"--until is {text!r}, and that time is over.")
    raise AutoResearchError(
        f"--until is {text!r}; allowed is 07:30, or a date and time: 2026-03-08T07:30."
    )
