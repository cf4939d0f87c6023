"""Claims and replication: what one agent has taken, no other one gets until it is given back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agenthub.errors import BadInput, Conflict, Forbidden, HubError, Missing
from agenthub.records.claims import CLAIMS_EACH, PRIORS, Claims
from agenthub.records.commits import ATTEMPT
from agenthub.records.events import Events
from agenthub.records.projects import Rules
from agenthub.records.replication import LEASES_EACH, Lease, Replication
from agenthub.records.results import Draft, Result, Results
from hub_records import NOON, Hub, digest, new

TREE, PATCH = digest("a tree"), digest("a patch")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with a root of ada's."""
    made = Hub(tmp_path)
    made.push(new("root"))
    yield made
    made.database.close()


@pytest.fixture
def claims(hub: Hub) -> Claims:
    """The default project's claims."""
    return Claims(hub.database, hub.project)


def at_once(count: int, work: Callable[[int], Any]) -> tuple[list[Any], list[HubError]]:
    """What so many threads got, and the errors of the others."""
    got: list[Any] = []
    told: list[HubError] = []
    together = threading.Barrier(count)

    def one(number: int) -> None:
        together.wait(30)
        try:
            got.append(work(number))
        except HubError as error:
            told.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return got, told


# ---- claims ------------------------------------------------------------------------------------


def test_a_claim_is_held_until_it_ends(hub: Hub, claims: Claims) -> None:
    """The second agent learns who was first; after the end any agent may claim."""
    first = claims.claim("ada", "try Mu\u202eon", tree=TREE, seconds=60)
    assert first.granted and first.claim is not None and first.prior == ()
    assert (first.claim.text, first.claim.expires) == ("try Muon", NOON + 60)
    second = claims.claim("bob", "Muon too", tree=TREE)
    assert not second.granted
    (prior,) = second.prior
    assert (prior.kind, prior.same, prior.ref, prior.agent) == ("claim", "tree", "1", "ada")
    assert claims.open() == (first.claim,)
    hub.clock.time += 60
    assert claims.open() == ()
    assert claims.claim("bob", "Muon too", tree=TREE).granted
    with pytest.raises(Conflict, match="not held any more"):
        claims.extend(first.claim.id, "ada")


def test_of_many_at_once_one_gets_it(claims: Claims) -> None:
    """No sleep, no second look: one transaction decides."""
    answers, _ = at_once(12, lambda n: claims.claim(("ada", "bob", "cyd")[n % 3], "x", tree=TREE))
    holders = {answer.claim.agent for answer in answers if answer.granted}
    assert len(holders) == 1 and len({a.claim.id for a in answers if a.granted}) == 1
    assert len([answer for answer in answers if not answer.granted]) == 8


def test_the_same_claim_again_is_the_same_claim(hub: Hub, claims: Claims) -> None:
    """Asked twice, or extended: one row, a later end; more said of it is the same one."""
    first = claims.claim("ada", "x", patch_id=PATCH).claim
    hub.clock.time += 100
    again = claims.claim("ada", "x", patch_id=PATCH).claim
    assert first is not None and again is not None
    assert again.id == first.id and again.expires == first.expires + 100
    assert claims.extend(first.id, "ada", 5_000).expires == NOON + 5_100
    assert claims.claim("ada", "x", patch_id=PATCH, tree=TREE).granted
    assert not claims.claim("bob", "x", patch_id=PATCH, anyway=True).granted


def test_what_was_tried_is_found_by_tree_and_by_change(hub: Hub, claims: Claims) -> None:
    """Commits, attempts too, with what they gave; the same change on another parent as well."""
    hub.push(new("a", "root", tree="t", patch="p"), role=ATTEMPT)
    results = Results(hub.database, hub.project)
    gave = results.record("ada", Draft(digest("a"), "H100", "discard", 1.5))
    (prior,) = claims.claim("bob", "x", tree=digest("t")).prior
    assert (prior.kind, prior.same, prior.ref) == ("commit", "tree", digest("a"))
    assert prior.results == (gave,)
    (prior,) = claims.claim("bob", "x", tree=TREE, patch_id=digest("p")).prior
    assert (prior.kind, prior.same, prior.agent) == ("commit", "patch_id", "ada")
    assert claims.prior(tree=digest("t"), patch_id=digest("p"))[0].same == "tree"
    assert claims.prior() == claims.prior(tree=TREE) == ()
    granted = claims.claim("bob", "another seed", tree=digest("t"), anyway=True)
    assert granted.granted and granted.prior[0].ref == digest("a")


def test_finished_is_tried_and_released_is_not(claims: Claims) -> None:
    """Also when it is finished after its end; only its holder may say so, and once."""
    one, two = (claims.claim("ada", "x", tree=digest(n)).claim for n in "ab")
    assert one is not None and two is not None
    with pytest.raises(Forbidden, match="ada's"):
        claims.finish(one.id, "bob")
    assert claims.finish(one.id, "ada").state == "finished"
    assert claims.release(two.id, "ada").state == "released"
    with pytest.raises(Conflict, match="finished already"):
        claims.release(one.id, "ada")
    assert [p.kind for p in claims.claim("bob", "x", tree=digest("a")).prior] == ["claim"]
    assert claims.claim("bob", "x", tree=digest("b")).granted
    assert claims.claim("cyd", "x", tree=digest("a"), anyway=True).granted


def test_a_bad_claim_is_refused(claims: Claims) -> None:
    """Empty text, half a hash, a lease for ever; more than one may hold; one that is not there."""
    for bad in (
        {"text": ""}, {"text": "\u200b"}, {"tree": "abc"}, {"patch_id": "Z" * 40},
        {"seconds": 0}, {"seconds": 10**9},
    ):  # fmt: skip
        with pytest.raises(BadInput):
            claims.claim(**{"agent": "ada", "text": "x", **bad})  # type: ignore[arg-type]
    for number in range(CLAIMS_EACH):
        assert claims.claim("ada", "x", tree=digest(str(number))).granted
    with pytest.raises(Conflict, match="the most there may be"):
        claims.claim("ada", "x")
    assert claims.claim("bob", "x").granted
    for number in (0, 999, 10**30):
        with pytest.raises(Missing):
            claims.get(number)
    assert len(claims.open(limit=3)) == 3


def test_projects_do_not_hinder_each_other(hub: Hub, claims: Claims) -> None:
    """The same tree is claimed in each; a claim is not seen through another project."""
    other = Claims(hub.database, hub.projects.create("other", Rules()).id)
    first = claims.claim("ada", "x", tree=TREE).claim
    assert first is not None and other.claim("bob", "x", tree=TREE).granted
    with pytest.raises(Missing):
        other.finish(first.id, "ada")


def test_the_prior_are_few(hub: Hub, claims: Claims) -> None:
    """However often it was tried."""
    hub.push(*[new(f"n{n}", "root", tree="t") for n in range(30)])
    assert len(claims.prior(tree=digest("t"))) == PRIORS


def test_claims_are_events(hub: Hub, claims: Claims) -> None:
    """Made, finished, released."""
    start = Events(hub.database).head()
    made = claims.claim("ada", "x").claim
    assert made is not None
    claims.finish(made.id, "ada")
    told = Events(hub.database).since(start).events
    assert [(event.kind, event.ref) for event in told] == [("claim", "1"), ("claim finished", "1")]


# ---- replication -------------------------------------------------------------------------------


@pytest.fixture
def replication(hub: Hub) -> Replication:
    """The default project's queue."""
    return Replication(hub.database, hub.project)


def claimed(hub: Hub, name: str, value: float, agent: str = "ada", **other: str) -> Result:
    """A commit of ada's and a result of it."""
    hub.push(new(name, "root"))
    draft = Draft(digest(name), other.pop("platform", "H100"), "keep", value)
    return Results(hub.database, hub.project).record(agent, draft)


def finished(replication: Replication, lease: Lease, *values: float, agent: str = "") -> Result:
    """A lease, done."""
    return replication.finish(
        lease.id, agent or lease.agent, tree=lease.tree, platform="H100", values=values
    )


def test_the_best_claim_waits_first(hub: Hub, replication: Replication) -> None:
    """By claimed rank within a tier; the lease tells what to run; done, it is out of the queue."""
    results = [claimed(hub, f"n{n}", value) for n, value in enumerate((0.99, 0.97, 0.98))]
    claimed(hub, "laptop", 0.1, platform="4090")
    assert [r.value for r in replication.queue("h100")] == [0.97, 0.98, 0.99]
    lease = replication.take("bob", "h100", 60)
    assert lease is not None and lease.result.seq == results[1].seq
    assert (lease.tree, lease.expires) == (digest("tree of n1"), NOON + 60)
    assert [r.value for r in replication.queue("h100")] == [0.98, 0.99]
    assert finished(replication, lease, 0.97, 0.97).verdict == "confirmed"
    assert replication.get(lease.id).state == "done"
    assert [r.value for r in replication.queue()] == [0.1, 0.98, 0.99]


def test_the_line_goes_round_the_agents(hub: Hub, replication: Replication) -> None:
    """An agent with the most and wildest claims has one turn in each round."""
    for number in range(60):
        claimed(hub, f"junk{number}", -1e300 - number, agent="bob")
    honest = [claimed(hub, f"n{n}", value).seq for n, value in enumerate((0.99, 0.98))]
    assert [r.agent for r in replication.queue("h100")][:5] == ["bob", "ada", "bob", "ada", "bob"]
    assert [r.seq for r in replication.queue()][1:4:2] == honest[::-1]


def test_what_was_given_back_is_not_offered_again(hub: Hub, replication: Replication) -> None:
    """And for a day its claimant's next waits for what others claim: junk stops nobody."""
    for number in range(5):
        claimed(hub, f"junk{number}", -1e300, agent="bob")
    honest = [claimed(hub, f"n{n}", 0.99 - n / 100).seq for n in range(3)]
    junk = replication.take("cyd", "h100")
    assert junk is not None and junk.result.agent == "bob"
    replication.release(junk.id, "cyd")
    for seq in honest[::-1]:
        lease = replication.take("cyd", "h100")
        assert lease is not None and lease.result.seq == seq
        finished(replication, lease, lease.result.value or 0.0)
    claimed(hub, "late", 0.95)
    hub.clock.time += 86_400
    lease = replication.take("cyd", "h100")
    assert lease is not None and lease.result.agent == "bob"
    assert lease.result.seq != junk.result.seq


def test_what_was_refuted_has_had_its_turn(hub: Hub, replication: Replication) -> None:
    """Lies without end wait behind what others claim; what is true costs no turn."""
    for number in range(5):
        claimed(hub, f"lie{number}", 0.1, agent="bob")
    for number in range(3):
        claimed(hub, f"n{number}", 0.99)
    agents = []
    while lease := replication.take("cyd", "h100"):
        agents.append(lease.result.agent)
        finished(replication, lease, 0.99, 0.991, 0.989)
    assert agents == ["bob", "ada", "ada", "ada", *["bob"] * 4]


def test_of_one_agents_results_of_one_commit_the_best_waits(
    hub: Hub, replication: Replication
) -> None:
    """It is what the board of claims shows; confirmed, it speaks for the lesser ones."""
    results = Results(hub.database, hub.project)
    first = claimed(hub, "n0", 0.99)
    same = [results.record("ada", Draft(digest("n0"), "H100", "keep", 0.98)) for _ in range(60)]
    laptop = results.record("ada", Draft(digest("n0"), "4090", "keep", 0.97))
    others = results.record("bob", Draft(digest("n0"), "H100", "keep", 0.985))
    assert [r.seq for r in replication.queue("h100")] == [same[0].seq, others.seq]
    assert [r.seq for r in replication.queue()] == [laptop.seq, others.seq, same[0].seq]
    lease = replication.take("cyd", "h100")
    assert lease is not None and lease.result == same[0]
    assert finished(replication, lease, 1.5, 1.5, 1.5).verdict == "refuted"
    lease = replication.take("cyd", "h100")
    assert lease is not None and lease.result == others  # ada had her turn
    finished(replication, lease, 0.985)
    lease = replication.take("cyd", "h100")
    assert lease is not None and lease.result == same[1]
    assert finished(replication, lease, 0.98).verdict == "confirmed"
    assert replication.queue("h100") == () and first.waiting


def test_nobody_replicates_his_own(hub: Hub, replication: Replication) -> None:
    """Neither his result nor another's result of his commit."""
    claimed(hub, "n0", 0.99)
    claimed(hub, "n1", 0.98, agent="bob")
    assert replication.take("ada", "h100") is None
    lease = replication.take("bob", "h100")
    assert lease is not None and lease.result.value == 0.99
    assert replication.take("bob", "h100") is None
    lease = replication.take("cyd", "h100")
    assert lease is not None and lease.result.value == 0.98


def test_of_many_takers_each_gets_another(hub: Hub, replication: Replication) -> None:
    """Atomic: three results, two agents who ask at once; no result is leased twice."""
    for number in range(3):
        claimed(hub, f"n{number}", 0.99 - number / 100)
    leases, told = at_once(8, lambda n: replication.take(("bob", "cyd")[n % 2], "h100"))
    got = [lease for lease in leases if lease is not None]
    assert told == [] and len(got) == 3 == len({lease.result.seq for lease in got})


def test_a_lease_that_runs_out_frees_the_result_for_others(
    hub: Hub, replication: Replication
) -> None:
    """Not to the agent that let it run out, though its late runs count, or that released it."""
    claimed(hub, "n0", 0.99)
    lease = replication.take("bob", "h100", 60)
    assert lease is not None and replication.take("cyd", "h100") is None
    hub.clock.time += 60
    assert replication.take("bob", "h100") is None
    other = replication.take("cyd", "h100")
    assert other is not None and other.result.seq == lease.result.seq
    replication.release(other.id, "cyd")
    assert replication.take("cyd", "h100") is None
    hub.accounts.add("dan")
    again = replication.take("dan", "h100")
    assert again is not None and again.result.seq == lease.result.seq
    assert finished(replication, lease, 1.2).verdict == "inconclusive"
    assert finished(replication, again, 0.99, 0.99, 0.99).runs == 4


def test_what_stays_inconclusive_waits_for_two_more(hub: Hub, replication: Replication) -> None:
    """Then it is left: three agents' runs are enough."""
    for name in ("dan", "eve"):
        hub.accounts.add(name)
    seq = claimed(hub, "n0", 0.99).seq
    for number, agent in enumerate(("bob", "cyd", "dan")):
        assert [r.seq for r in replication.queue()] == [seq]
        lease = replication.take(agent, "h100")
        assert lease is not None
        found = finished(replication, lease, 1.3 + number)  # far apart: nothing can be said
    assert (found.verdict, found.runs) == ("inconclusive", 3)
    assert replication.queue() == () and replication.take("eve", "h100") is None


def test_a_runner_is_offered_results_without_a_trusted_verification(
    hub: Hub, replication: Replication
) -> None:
    """No account that made itself has the last word; others are offered no more than before."""
    for name in ("mallory", "runner", "second"):
        hub.accounts.add(name)
    lie, truth, fresh = (
        claimed(hub, f"n{n}", value, agent="bob").seq for n, value in enumerate((0.5, 0.98, 0.99))
    )
    for seq, values in ((lie, [0.5] * 3), (truth, [2.0, 2.01, 2.02])):
        tree = digest(f"tree of n{seq - 1}")
        Results(hub.database, hub.project).verify(
            seq, "mallory", tree=tree, platform="H100", values=values
        )
    for name in ("runner", "second"):
        hub.accounts.set_runner(name)
    assert [r.seq for r in replication.queue("h100", agent="cyd")] == [fresh]
    assert [r.seq for r in replication.queue("h100")] == [fresh]
    assert [r.seq for r in replication.queue("h100", agent="runner")] == [lie, truth, fresh]
    said = []
    for _ in range(3):
        lease = replication.take("runner", "h100")
        assert lease is not None
        values = (0.98, 0.981, 0.979)
        said.append((lease.result.seq, finished(replication, lease, *values).verdict))
    assert said == [(lie, "refuted"), (truth, "confirmed"), (fresh, "confirmed")]
    assert replication.take("second", "h100") is None


def test_a_lease_is_its_agents(hub: Hub, replication: Replication) -> None:
    """Others cannot end it; it ends once; a wrong tree ends nothing; so many at a time."""
    for number in range(LEASES_EACH + 1):
        claimed(hub, f"n{number}", 0.99 - number / 100)
    leases = [replication.take("bob", "h100") for _ in range(LEASES_EACH)]
    with pytest.raises(Conflict, match="the most there may be"):
        replication.take("bob", "h100")
    lease = leases[0]
    assert lease is not None
    with pytest.raises(Forbidden, match="bob's"):
        finished(replication, lease, 0.9, agent="cyd")
    with pytest.raises(Conflict, match="Another tree"):
        replication.finish(lease.id, "bob", tree=TREE, platform="H100", values=[0.9])
    assert replication.get(lease.id).state == "open"
    finished(replication, lease, 0.9)
    with pytest.raises(Conflict, match="done already"):
        replication.release(lease.id, "bob")
    for number in (999, -1, 10**30):
        with pytest.raises(Missing):
            replication.get(number)
    for seconds in (0, 10**9):
        with pytest.raises(BadInput):
            replication.take("cyd", "h100", seconds)
