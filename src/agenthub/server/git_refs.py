"""Plain git over a project: which refs it shows, what a fetch may ask for, and a push with git.

The refs are not stored: they are made for each request from the index, so that a hundred thousand
commits are a short list. Whatever was pushed can be fetched by its hash.

    HEAD, refs/heads/main    the best replicated commit; before there is one, the newest leaf
    refs/heads/root          the project's canonical first commit
    refs/leaves/HASH         the newest leaves

A push goes to refs/agents/ID/NAME (the frontier) or refs/agents/ID/attempts/NAME, where ID is the
agent whose key it is; all of its refs are taken, or none.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from agenthub.errors import Forbidden, HubError, Missing, Unavailable
from agenthub.git.ingest import Announced
from agenthub.git.packets import FLUSH, NOTHING, Command, packet, read_request, report
from agenthub.git.repository import SENDING, Repository
from agenthub.records.agents import Caller
from agenthub.records.commits import Index
from agenthub.records.hub import Hub, Space

LEAVES = 200  # refs that are shown
HAVES = 1_000  # newest commits that a pusher learns of, so that it does not send them again
_CAPABILITIES = "report-status side-band-64k delete-refs atomic ofs-delta object-format=sha1"
_CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = true
\thooksPath = /dev/null
\tpackedGitWindowSize = 16m
\tpackedGitLimit = 128m
[pack]
\tthreads = 1
\twindowMemory = 64m
[uploadpack]
\tallowAnySHA1InWant = true
\tallowFilter = true
"""
_OWN = re.compile(r"refs/agents/(?P<agent>[^/]+)/(?P<attempt>attempts/)?(?P<name>.+)")


# ---- fetching ----------------------------------------------------------------------------------


def refs_of(space: Space) -> dict[str, str]:
    """The refs that a project shows, by name."""
    leaves = [commit.sha for commit in space.commits.leaves(LEAVES)]
    best = [result.commit for result in space.leaderboard.best(limit=1) if result.commit]
    found = {f"refs/leaves/{sha}": sha for sha in leaves}
    if first := [*best, *leaves]:
        found["refs/heads/main"] = first[0]
    root = space.project.root
    if root and space.commits.find(root) is not None:
        found["refs/heads/root"] = root
    return found


def advertisement(space: Space, version: str) -> Iterator[bytes]:
    """The refs, which `git clone` and `git fetch` read first."""
    if version != "version=2":
        yield packet("# service=git-upload-pack") + FLUSH
    yield from _sent(space, "--http-backend-info-refs", b"", version)


def fetched(space: Space, body: bytes, version: str) -> Iterator[bytes]:
    """The answer of git's own upload-pack to a request that `check_wants` let pass."""
    yield from _sent(space, "--stateless-rpc", body, version)


def check_wants(space: Space, index: Index, wanted: frozenset[str]) -> None:
    """Missing unless all that a fetch asks for are commits of the index, or files of such.

    A partial clone asks for files and folders by their hash; all that is stored was let in with a
    commit.
    """
    others = sorted(wanted - index.known(wanted))
    for name, info in zip(others, space.repository.info(others), strict=True):
        if info is None or info.kind == "commit":
            raise Missing(f"There is no commit {name} in project {space.project.slug}.", hash=name)


@contextlib.contextmanager
def _view(repository: Repository, refs: dict[str, str], request: bytes) -> Iterator[Path]:
    """A repository with refs made for one request, and that request; the objects are elsewhere."""
    with repository.quarantine() as folder:
        rows = "".join(f"{refs[name]} {name}\n" for name in sorted(refs))
        files = {
            "HEAD": b"ref: refs/heads/main\n",
            "config": _CONFIG.encode(),
            "packed-refs": f"# pack-refs with: peeled fully-peeled sorted \n{rows}".encode(),
            "request": request,
        }
        try:
            (folder / "refs").mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise Unavailable(f"The hub cannot answer now: {error.strerror}.") from error
        yield folder


def _sent(space: Space, what: str, request: bytes, version: str) -> Iterator[bytes]:
    repository = space.repository
    objects = str(repository.folder / "objects")
    with _view(repository, refs_of(space), request) as view:
        env = {"GIT_DIR": str(view), "GIT_OBJECT_DIRECTORY": objects, "GIT_PROTOCOL": version}
        words = ("upload-pack", what, str(view))
        with (
            (view / "request").open("rb") as stdin,
            repository.child(words, SENDING, stdin, **env) as child,
        ):
            yield from child.chunks()
            ended = child.ended()
    if ended.stopped or ended.code < 0:  # a refusal is in what was sent
        raise Unavailable(f"git did not send all of it ({ended.stopped or ended.code}). Try again.")


# ---- pushing -----------------------------------------------------------------------------------


def invitation(hub: Hub, space: Space, caller: Caller) -> bytes:
    """The commits that are here, which `git push` reads first so that it does not send them."""
    rows = hub.database.rows(
        "SELECT sha FROM (SELECT sha FROM commits WHERE project = ?1 ORDER BY seq DESC LIMIT ?3) "
        "UNION SELECT sha FROM (SELECT sha FROM commits WHERE project = ?1 AND agent = ?2 "
        "ORDER BY seq DESC LIMIT ?4)",
        *(space.project.id, caller.agent, HAVES, LEAVES),
    )
    haves = sorted({row["sha"] for row in rows} | set(refs_of(space).values()))
    first, *others = [f"{sha} .have" for sha in haves] or [f"{NOTHING} capabilities^{{}}"]
    lines = [packet(f"{first}\0{_CAPABILITIES}"), *map(packet, others)]
    return b"".join([packet("# service=git-receive-pack"), FLUSH, *lines, FLUSH])


def take(hub: Hub, caller: Caller, slug: str, body: Path) -> bytes:
    """Take a push by git, whole or not at all; returns the answer to git, refusals included.

    The caller has counted the push and its bytes. BadInput for what is no push.
    """
    caller.need("push")
    hub.space(slug)  # Missing before anything is read
    with body.open("rb") as stream:
        request = read_request(stream)
    try:
        frontier, attempts = _heads(request.commands, caller)
        heads = tuple(dict.fromkeys([*frontier, *attempts]))
        pushed = hub.push_refs(caller, body, slug, Announced(heads, request.size), frontier)
    except HubError as error:
        return report(request, {command.ref: error.message for command in request.commands})
    outcome = f"{len(pushed.new):,} new" if pushed.new else "known already"
    return report(request, {}, [f"{slug}: {outcome}, as {caller.agent}"])


def _heads(commands: Sequence[Command], caller: Caller) -> tuple[list[str], list[str]]:
    """The commits that are pushed: to the frontier, and as attempts.

    Forbidden for a ref that is not the caller's to write.
    """
    frontier: list[str] = []
    attempts: list[str] = []
    for command in commands:
        own = _OWN.fullmatch(command.ref)
        if own is None or own["agent"] != caller.agent:
            raise Forbidden(
                f"{caller.agent} pushes to refs/agents/{caller.agent}/NAME, or to "
                f"refs/agents/{caller.agent}/attempts/NAME, not to {command.ref}: "
                f"git push URL HEAD:refs/agents/{caller.agent}/NAME"
            )
        if command.deletes:
            raise Forbidden("Nothing is ever deleted here. What was pushed stays.")
        (attempts if own["attempt"] else frontier).append(command.new)
    return frontier, attempts
