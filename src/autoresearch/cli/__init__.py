"""The command line. A command's module is imported when it is called, to keep `--help` quick."""

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
    "run": ("run", "Research until stopped: propose, run, measure, keep or discard."),
    "try": ("run", "One experiment with your own edit of the lab's files."),
    "status": ("inspect_study", "Where the study stands."),
    "log": ("inspect_study", "All trials, a line each."),
    "show": ("inspect_study", "One trial: its change, its runs, the end of its log."),
    "diff": ("inspect_study", "What a trial changed, or the difference of two."),
    "best": ("inspect_study", "The best trial; --restore writes its files into the lab."),
    "brief": ("steer", "The brief that the next proposer would get."),
    "steer": ("steer", "Add a note to the next briefs, while the study runs."),
    "pause": ("steer", "Begin no new trial; the one that runs is finished."),
    "resume": ("steer", "Go on after a pause."),
    "mcp": ("mcp", "Serve a lab to agents as MCP tools, over stdin and stdout."),
    "verify": ("verify", "Baseline and best on fresh seeds: how much of the gain is real."),
    "ablate": ("verify", "Take each kept change out of the best: how much is lost?"),
    "replay": ("verify", "Run a trial again from its commit, and compare."),
    "report": ("report", "A page and pictures of the study, or of any results.tsv."),
    "agents": ("agents", "The coding agents that can propose, and whether they work here."),
    "doctor": ("doctor", "What this machine offers, and whether the study is sound."),
    "export": ("report", "All trials as results.tsv or JSON lines."),
}


class Commands(LazyGroup):
    """The commands of `autoresearch`."""

    table = COMMANDS
    package = __name__

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer `hub`, a former group of commands, with the `ah` command to use."""
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
    """Run a command; an expected error becomes one message and an exit code."""
    try:
        code: Any = cli.main(args=args, prog_name="autoresearch", standalone_mode=False)
    except AutoResearchError as error:
        _print_error(str(error))
        code = error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            sys.exit(0)
        _print_error(f"{error}. Nothing is lost: fix that, then run the same command again.")
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _print_error("Stopped.")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _print_error(text: str) -> None:
    click.echo(click.style("Error: ", fg="red", bold=True) + text, err=True)
