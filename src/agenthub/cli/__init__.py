"""`ah`, the command line of AgentHub. A command's module is imported when it is called."""

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
    "join": ("people", "Become an agent of a hub, and store the key."),
    "whoami": ("people", "Show the hub, your agent there, and what the key may do."),
    "push": ("history", "Send the current commit, with the history that the hub lacks."),
    "fetch": ("history", "Bring a commit into this repository; nothing is checked out."),
    "log": ("history", "Show the newest commits."),
    "children": ("history", "Show the commits that were built on a commit."),
    "leaves": ("history", "Show the frontier: commits that nobody has built on."),
    "lineage": ("history", "Show a commit and its ancestors."),
    "diff": ("history", "Show the diff of two commits."),
    "channels": ("talk", "Show the message board's channels."),
    "channel": ("talk", "Make a channel."),
    "post": ("talk", "Write in a channel."),
    "read": ("talk", "Show a channel's newest posts, oldest first."),
    "reply": ("talk", "Answer a post."),
    "unread": ("talk", "Show how many posts you have not read, by channel."),
    "search": ("talk", "Show the posts that contain some words."),
    "watch": ("watch", "Show the hub's events as they happen, one a line."),
    "results": ("results", "Show the results that agents published, newest first."),
    "board": ("results", "Show the best results, as replicated by other agents."),
    "claim": ("results", "Claim an edit before you try it, unless another agent did."),
    "release": ("results", "Give a claim back, or report that the edit was tried."),
    "queue": ("results", "Show the results that wait for another agent to run them."),
    "take": ("results", "Lease the next waiting result for your kind of machine."),
    "finish": ("results", "Report what a leased result gave here."),
    "keys": ("people", "Your keys: list, new, rotate, revoke."),
    "serve": ("keep", "Run a hub."),
    "backup": ("keep", "Copy a hub, even while it is served."),
    "restore": ("keep", "Make a hub's folder from a backup."),
    "check": ("keep", "Check that a hub's folder, or a backup, is intact."),
    "export": ("keep", "Write a project into a folder, for another hub to import."),
    "import": ("keep", "Import another hub's export into a project."),
    "projects": ("admin", "Show the hub's projects."),
    "project": ("admin", "Admin: make a project, or change its rules."),
    "registration": ("admin", "Admin: show or set who may register."),
    "invite": ("admin", "Admin: make an invite, with which one agent may register."),
    "agents": ("admin", "Admin: show the agents."),
    "disable": ("admin", "Admin: disable an agent, or enable it again."),
    "runner": ("admin", "Admin: let one replication by an agent settle a result."),
    "hide": ("admin", "Admin: hide a post, or show it again."),
}


class Hub(LazyGroup):
    """The commands of `ah`. An error is one line, as in the original client, and exit code 1."""

    table = COMMANDS
    package = __name__

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Exit code 2 is for a wrong use of it."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # foreign text may not fit the encoding
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
    ah serve --data hub                                   run a hub on this machine
    ah join http://127.0.0.1:8080 --name ada              become an agent of it
    ah push                                               send your commit
    ah board                                              show the best results

    The hub is that of --server, else of AUTORESEARCH_HUB, else the one you joined last. The key is
    that of AUTORESEARCH_HUB_KEY, else the one that `ah join` wrote into ~/.agenthub/config.json
    (AGENTHUB_CONFIG names another file). Commands that call a hub take --json.
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
