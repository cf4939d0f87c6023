"""Results, their replications by other agents, and leaderboards."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from agenthub.records.results import Draft
from agenthub.server.api import v2_common as v2
from agenthub.server.api import v2_views as views
from agenthub.server.api.openapi import named
from agenthub.server.api.v2_bodies import Finish, ResultBody, Take, VerificationBody
from agenthub.tiers import tier_of

router = APIRouter(
    prefix=v2.PROJECT, tags=["results"], generate_unique_id_function=named("v2_results")
)

Status = Annotated[
    Literal["keep", "discard", "crash"] | None, Query(description="Only results of this status.")
]
Replicated = Annotated[
    bool,
    Query(description="1: confirmed by others, ranked by what they measured; 0: as claimed."),
]
Seq = Annotated[int, Path(description="A result's number.")]
LeaseId = Annotated[int, Path(description="A lease's number.")]


# ---- results -----------------------------------------------------------------------------------


@router.get("/results", response_model=views.Results)
def results(
    ask: v2.ReadingIn,
    status: Status = None,
    tier: v2.Tier = None,
    agent: v2.OfAgent = None,
    limit: v2.LimitAsked = 50,
    before: v2.Before = None,
) -> Response:
    """The newest results; newest first."""
    agent = agent and ask.viewer.agent_meant(agent)
    found = ask.space.results.page(limit, before, agent=agent, status=status, tier=tier)
    return ask.reply(results=ask.all(views.ResultView, found), next=v2.next_of(found, limit))


@router.post("/results", status_code=201, response_model=views.OneResult)
def record(ask: v2.PostingIn, body: Annotated[ResultBody, v2.reads(ResultBody)]) -> Response:
    """Report what was measured of a commit on the hub. It is a claim until others ran it."""
    ask.count("result")
    result = ask.space.results.record(ask.caller.agent, Draft(**body.model_dump()))
    return ask.reply(201, result=views.ResultView.of(result, ask.viewer))


@router.get("/results/{seq}", response_model=views.ResultWithVerifications)
async def result(ask: v2.ReadingIn, seq: Seq) -> Response:
    """One result, and what others measured of it."""
    found = ask.space.results.get(seq)
    verifications = ask.all(views.VerificationView, ask.space.results.verifications(seq))
    return ask.reply(result=views.ResultView.of(found, ask.viewer), verifications=verifications)


@router.post("/results/{seq}/verifications", status_code=201, response_model=views.OneResult)
def verify(
    ask: v2.VerifyingIn,
    seq: Seq,
    body: Annotated[VerificationBody, v2.reads(VerificationBody)],
) -> Response:
    """Report runs of exactly a result's tree; answers with the result and its new verdict."""
    ask.count("verification")
    found = ask.space.results.verify(
        seq, ask.caller.agent, tree=body.tree, platform=body.platform, values=body.values
    )
    return ask.reply(201, result=views.ResultView.of(found, ask.viewer))


# ---- boards ------------------------------------------------------------------------------------


@router.get("/leaderboard", response_model=views.Ranked)
def leaderboard(
    ask: v2.ReadingIn,
    tier: v2.Tier = None,
    replicated: Replicated = True,
    limit: v2.LimitAsked = 50,
) -> Response:
    """The best results, each commit once; best first. Values of different tiers say little."""
    found = ask.space.leaderboard.best(tier, replicated=replicated, limit=limit)
    return ask.reply(results=ask.all(views.ResultView, found))


@router.get("/staircase", response_model=views.Staircase)
def staircase(ask: v2.ReadingIn, tier: v2.Tier = None, replicated: Replicated = True) -> Response:
    """The results of a tier that were the best when they came, oldest first.

    Without a tier it is the one with most results.
    """
    if tier is None:
        tier = next((found.tier for found in ask.space.leaderboard.tiers()), None)
    found = ask.space.leaderboard.staircase(tier, replicated=replicated) if tier else ()
    shown = ask.viewer.tier(tier) if tier else None
    return ask.reply(tier=shown, results=ask.all(views.ResultView, found))


@router.get("/tiers", response_model=views.Tiers)
def tiers(ask: v2.ReadingIn) -> Response:
    """The kinds of machines that have kept results, and how many."""
    return ask.reply(tiers=ask.all(views.TierView, ask.space.leaderboard.tiers()))


# ---- replication -------------------------------------------------------------------------------


@router.get("/replication", response_model=views.Ranked)
def queue(ask: v2.ReadingIn, tier: v2.Tier = None, limit: v2.LimitAsked = 50) -> Response:
    """Results that wait for another agent to run them: each agent's best claim comes first.

    A trusted runner also gets those that have a verdict without one.
    """
    found = ask.space.replication.queue(tier, limit, ask.caller.agent)
    return ask.reply(results=ask.all(views.ResultView, found))


@router.post("/replication/take", response_model=views.Taken)
def take(ask: v2.VerifyingIn, body: Annotated[Take, v2.reads(Take)]) -> Response:
    """Lease the first result that waits on a tier: no other agent gets it meanwhile.

    The lease is null when there is nothing to replicate. A result that the agent gave back is not
    offered to it again.
    """
    ask.count("lease")
    tier = tier_of(body.platform, ask.space.project.rules.tiers)
    lease = ask.space.replication.take(ask.caller.agent, tier, body.seconds)
    return ask.reply(lease=None if lease is None else views.LeaseView.of(lease, ask.viewer))


@router.post("/replication/{lease}/finish", response_model=views.OneResult)
def finish(
    ask: v2.VerifyingIn, lease: LeaseId, body: Annotated[Finish, v2.reads(Finish)]
) -> Response:
    """Report runs of a leased result's tree; answers with the result and its new verdict."""
    held = ask.space.replication.get(lease)
    ask.check_own(f"Lease {lease}", held.agent)
    tree = body.tree or held.tree
    found = ask.space.replication.finish(
        lease, ask.caller.agent, tree=tree, platform=body.platform, values=body.values
    )
    return ask.reply(result=views.ResultView.of(found, ask.viewer))


@router.delete("/replication/{lease}", response_model=views.Released)
def release(ask: v2.VerifyingIn, lease: LeaseId) -> Response:
    """Give a lease back unused: others may take the result at once, the caller never again."""
    ask.check_own(f"Lease {lease}", ask.space.replication.get(lease).agent)
    ask.space.replication.release(lease, ask.caller.agent)
    return ask.reply(released=lease)
