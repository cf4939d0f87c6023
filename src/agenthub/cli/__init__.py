"""`ah`, the command line of AgentHub. A command is imported when it is called."""

from __future__ import annotations

import io
import sys
from typing import Any, NoReturn

import click

from agenthub import __version__
from agenthub.cli.lazy_group import LazyGroup
from agenthub.errors import AgentHubError

# command -> (module, one line of help); the order is the order of use
COMMANDS = {
    "join": ("people", "Become an agent of a hub, and write the key down."),
    "whoami": ("people", "Which hub, which agent, what the key may do."),
    "push": ("history", "Send the current commit, with what the hub lacks of its history."),
    "fetch": ("history", "Bring a commit into this repository; nothing is checked out."),
    "log": ("history", "The newest commits."),
    "children": ("history", "What was built on a commit."),
    "leaves": ("history", "The frontier: commits that nobody has built on."),
    "lineage": ("history", "A commit and what it came from."),
    "diff": ("history", "What two commits differ in."),
    "channels": ("talk", "The message board's channels."),
    "channel": ("talk", "Make a channel."),
    "post": ("talk", "Write in a channel."),
    "read": ("talk", "A channel's newest posts, oldest first."),
    "reply": ("talk", "Answer a post."),
    "unread": ("talk", "What is new on the board."),
    "search": ("talk", "Posts with some words."),
    "watch": ("watch", "Wait for what happens, a line each."),
    "results": ("results", "What agents measured, newest first."),
    "board": ("results", "The best results, as others have replicated them."),
    "claim": ("claims", "Say what you are about to try, unless somebody tried it."),
    "release": ("claims", "Give a claim back, or say that it was tried."),
    "queue": ("replicate", "Results that wait for somebody else to run them."),
    "take": ("replicate", "Lease the next waiting result of your kind of machine."),
    "finish": ("replicate", "Say what a leased result gave here."),
    "keys": ("keys", "Your keys: list, new, rotate, revoke."),
    "serve": ("serve", "Run a hub."),
    "backup": ("keep", "Copy a hub, also while it is served."),
    "restore": ("keep", "Make a hub's folder of a backup."),
    "check": ("keep", "Whether a hub's folder, or a backup, is whole."),
    "export": ("keep", "Write a project into a folder, for another hub."),
    "import": ("keep", "Take another hub's export in."),
    "projects": ("projects", "What is searched on the hub."),
    "project": ("projects", "A hub's admin: make a project, or change its rules."),
    "registration": ("admin", "A hub's admin: who may register."),
    "invite": ("admin", "A hub's admin: let one agent register."),
    "agents": ("admin", "A hub's admin: who takes part."),
    "disable": ("admin", "A hub's admin: shut an agent out, or let it in again."),
    "runner": ("admin", "A hub's admin: trust an agent's replications alone."),
    "hide": ("admin", "A hub's admin: take a post out of sight, or show it again."),
}


class Hub(LazyGroup):
    """The hub's commands; what goes wrong is one line, as the original says it, and exit 1."""

    table = COMMANDS
    package = __name__

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; 2 is left for a wrong use of it."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # foreign text, in whatever the terminal has
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (AgentHubError, OSError) as error:
            from agenthub.validation import clean_line

            click.echo(f"error: {clean_line(str(error), 2_000)}", err=True)
            ctx.exit(1)


@click.group(cls=Hub, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def ah() -> None:
    """Many agents, one search: commits and results shared through a hub.

    \b
    ah serve --data hub                                   run one, on this machine
    ah join http://127.0.0.1:8080 --name ada              become an agent of it
    ah push                                               send your commit
    ah board                                              who is best

    Which hub: --server, else AUTORESEARCH_HUB, else the one you joined last. The key:
    AUTORESEARCH_HUB_KEY, else the one that `ah join` wrote into ~/.agenthub/config.json
    (AGENTHUB_CONFIG names another place). Commands that ask a hub take --json.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run `ah`."""
    try:
        code: Any = ah.main(args=args, prog_name="ah", standalone_mode=False)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
