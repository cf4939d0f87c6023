"""The command line. Commands are imported when they are called: `--help` must be quick."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

from autoresearch import __version__
from autoresearch.cli.lazy_group import LazyGroup
from autoresearch.errors import AutoResearchError

# command -> (module, one line of help); the order is the order of use
COMMANDS = {
    "demo": ("demo", "Try it: a small GPT, a dozen experiments, the staircase."),
    "init": ("init", "Make a lab: a folder with a task, a program and a file to edit."),
    "prepare": ("init", "Run the lab's preparation: data, tokenizer."),
    "run": ("run", "Research until stopped: propose, run, measure, keep or put aside."),
    "try": ("run", "One experiment with your own edit of the lab's files."),
    "status": ("look", "Where the study stands."),
    "log": ("look", "All trials, a line each."),
    "show": ("look", "One trial: what, how it went, the end of its log."),
    "diff": ("look", "What a trial changed, or the difference of two."),
    "best": ("look", "The best trial; --restore writes its files into the lab."),
    "brief": ("steer", "What the next proposer would be told."),
    "steer": ("steer", "Add a note to the next briefs, while the study runs."),
    "pause": ("steer", "Let no new trial begin, while the study runs."),
    "resume": ("steer", "Go on after a pause."),
    "mcp": ("mcp", "Serve a lab to agents as MCP tools, over stdin and stdout."),
    "verify": ("verify", "Baseline and best on fresh seeds: how much of the gain is real."),
    "ablate": ("verify", "Take each kept change out of the best: what does it still bring?"),
    "replay": ("verify", "Run a trial again from its commit, and compare."),
    "report": ("report", "A page and pictures of the study, or of any results.tsv."),
    "agents": ("agents", "The coding agents that can propose, and whether they work here."),
    "doctor": ("doctor", "What this machine offers, and whether the study is sound."),
    "export": ("report", "All trials as results.tsv or JSON lines."),
}


class Commands(LazyGroup):
    """Our own commands."""

    table = COMMANDS
    package = __name__

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """`hub` was a group once: its commands are those of `ah` now."""
        if args and args[0] == "hub":
            rest = " ".join(["ah", *args[1:]])
            ctx.fail(f"`autoresearch hub` is now the command `ah`. Run: {rest}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Research that runs while you sleep.

    \b
    autoresearch demo                          see it work
    autoresearch init my-lab && cd my-lab      make a lab
    autoresearch run                           leave it running
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run a command; our own trouble becomes one message and an exit code."""
    try:
        code: Any = cli.main(args=args, prog_name="autoresearch", standalone_mode=False)
    except AutoResearchError as error:
        _say(str(error))
        code = error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            sys.exit(0)
        _say(f"{error}. Nothing is lost: mend that and run the same command again.")
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("Stopped.")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _say(text: str) -> None:
    click.echo(click.style("Error: ", fg="red", bold=True) + text, err=True)
