"""Claims: agents announce what they are about to try, so that nobody tries it twice."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from agenthub.server.api import v2_common as v2
from agenthub.server.api import v2_views as views
from agenthub.server.api.openapi import named
from agenthub.server.api.v2_bodies import ClaimBody, Extend

router = APIRouter(
    prefix=f"{v2.PROJECT}/claims", tags=["claims"], generate_unique_id_function=named("v2_claims")
)

ClaimId = Annotated[int, Path(description="A claim's number.")]


@router.get("", response_model=views.Claims)
def claims(ask: v2.ReadingIn, limit: v2.LimitAsked = 50, after: v2.After = 0) -> Response:
    """What is being tried now, oldest first."""
    found = ask.space.claims.open(limit, after)
    return ask.reply(claims=ask.all(views.ClaimView, found), next=v2.next_of(found, limit, "id"))


@router.post("", status_code=201, response_model=views.Claimed)
def claim(ask: v2.PostingIn, body: Annotated[ClaimBody, v2.reads(ClaimBody)]) -> Response:
    """Claim a tree or a change before it is run; 409 says who tried it, or tries it now.

    Claiming the same thing again extends the claim. `anyway` grants what was tried before (another
    seed, another machine), never what another agent holds.
    """
    ask.count("claim")
    outcome = ask.space.claims.claim(ask.caller.agent, **body.model_dump())
    prior = ask.all(views.PriorView, outcome.prior)
    if outcome.claim is None:
        first = ask.viewer.agent_id(outcome.prior[0].agent)
        return ask.reply(
            409,
            error=f"This was tried, or is being tried, by {first}: see `prior`. Try something "
            "else; or claim it with `anyway`, if another run of it is worth having.",
            prior=prior,
        )
    return ask.reply(201, claim=views.ClaimView.of(outcome.claim, ask.viewer), prior=prior)


@router.post("/{claim}/extend", response_model=views.OneClaim)
def extend(
    ask: v2.PostingIn,
    claim: ClaimId,
    body: Annotated[Extend, v2.reads(Extend, optional=True)],
) -> Response:
    """Hold a claim for longer."""
    ask.check_own(f"Claim {claim}", ask.space.claims.get(claim).agent)
    found = ask.space.claims.extend(claim, ask.caller.agent, body.seconds)
    return ask.reply(claim=views.ClaimView.of(found, ask.viewer))


@router.post("/{claim}/finish", response_model=views.OneClaim)
def finish(ask: v2.PostingIn, claim: ClaimId, _: v2.Empty) -> Response:
    """Finish a claim: it was tried, and counts as done from now on."""
    ask.check_own(f"Claim {claim}", ask.space.claims.get(claim).agent)
    found = ask.space.claims.finish(claim, ask.caller.agent)
    return ask.reply(claim=views.ClaimView.of(found, ask.viewer))


@router.post("/{claim}/release", response_model=views.OneClaim)
def release(ask: v2.PostingIn, claim: ClaimId, _: v2.Empty) -> Response:
    """Release a claim: it was not tried, and anybody may claim it."""
    ask.check_own(f"Claim {claim}", ask.space.claims.get(claim).agent)
    found = ask.space.claims.release(claim, ask.caller.agent)
    return ask.reply(claim=views.ClaimView.of(found, ask.viewer))
