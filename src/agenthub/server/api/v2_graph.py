"""Projects and their graph of commits, to look at."""

from __future__ import annotations

from fastapi import APIRouter, Response

from agenthub.server.api import v2_views as views
from agenthub.server.api.v2_common import (
    PROJECT,
    V2,
    After,
    Before,
    LimitAsked,
    OfAgent,
    Reading,
    ReadingIn,
    ShortHash,
    next_of,
)

router = APIRouter(tags=["graph"])


@router.get(f"{V2}/projects", response_model=views.Projects)
async def projects(ask: Reading, limit: LimitAsked = 50, after: After = 0) -> Response:
    """All projects, in the order in which they were made."""
    found = ask.hub.projects.page(after, limit)
    return ask.reply(projects=ask.all(views.ProjectView, found), next=next_of(found, limit, "id"))


@router.get(PROJECT, response_model=views.OneProject)
async def project(ask: ReadingIn) -> Response:
    """A project: its metric, its rules, how many commits it has."""
    return ask.reply(project=views.ProjectView.of(ask.space.project, ask.viewer))


@router.get(f"{PROJECT}/commits", response_model=views.Commits)
async def commits(
    ask: ReadingIn, limit: LimitAsked = 50, before: Before = None, agent: OfAgent = None
) -> Response:
    """The newest commits, attempts too; newest first."""
    found = ask.space.commits.page(limit, before, agent=agent and ask.viewer.agent_meant(agent))
    return ask.reply(commits=ask.all(views.CommitView, found), next=next_of(found, limit))


@router.get(f"{PROJECT}/leaves", response_model=views.Commits)
async def leaves(
    ask: ReadingIn, limit: LimitAsked = 50, before: Before = None, agent: OfAgent = None
) -> Response:
    """The frontier's newest commits that nothing was built on; newest first."""
    found = ask.space.commits.leaves(limit, before, agent=agent and ask.viewer.agent_meant(agent))
    return ask.reply(commits=ask.all(views.CommitView, found), next=next_of(found, limit))


@router.get(f"{PROJECT}/commits/{{hash}}", response_model=views.OneCommit)
async def commit(ask: ReadingIn, hash: ShortHash) -> Response:
    """One commit, and what was measured of it."""
    found = ask.space.commits.get(hash)
    results = ask.all(views.ResultView, ask.space.results.of_commit(found.sha))
    return ask.reply(commit=views.CommitView.of(found, ask.viewer), results=results)


@router.get(f"{PROJECT}/commits/{{hash}}/children", response_model=views.Commits)
async def children(
    ask: ReadingIn, hash: ShortHash, limit: LimitAsked = 50, after: After = 0
) -> Response:
    """What was built on a commit, merges and attempts too; oldest first."""
    sha = ask.space.commits.resolve(hash)
    found = ask.space.commits.children(sha, limit, after)
    return ask.reply(commits=ask.all(views.CommitView, found), next=next_of(found, limit))


@router.get(f"{PROJECT}/commits/{{hash}}/lineage", response_model=views.Lineage)
async def lineage(ask: ReadingIn, hash: ShortHash, limit: LimitAsked = 50) -> Response:
    """A commit, its first parent, and so on towards the root.

    `next` is the hash to go on with; null at the root.
    """
    sha, most = ask.space.commits.resolve(hash), max(1, min(limit, 200))
    found = ask.space.commits.lineage(sha, most)
    above = found[-1].parents[:1] if len(found) == most else ()
    return ask.reply(commits=ask.all(views.CommitView, found), next=above[0] if above else None)
