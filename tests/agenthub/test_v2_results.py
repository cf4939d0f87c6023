"""Results, replication and claims by v2, end to end, and by many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeRepo, Repo
from v2_hub import Client, P, Served, served

A = "/api/v2/admin"
H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Served]:
    """An empty hub."""
    with served(tmp_path / "hub") as up:
        yield up


@pytest.fixture
def lab(make_repo: MakeRepo) -> Repo:
    """An agent's repository with one commit."""
    return make_repo({"train.py": "x = 1\n"}, "lab")


def step(client: Client, lab: Repo, number: int = 2, role: str = "frontier") -> tuple[str, str]:
    """A pushed commit, and its tree."""
    lab.write("train.py", f"x = {number}\n")
    made = lab.commit(f"step {number}")
    client.push(lab, role=role)
    return made, lab.git("rev-parse", "HEAD^{tree}")


def claim(client: Client, commit: str, value: float, platform: str = "H100", **more: Any) -> int:
    """A result that an agent claims; its number."""
    body = {"commit": commit, "platform": platform, "status": "keep", "value": value, **more}
    return int(client.post(f"{P}/results", body)["result"]["seq"])


def test_a_claim_becomes_confirmed_by_somebody_else(hub: Served, lab: Repo) -> None:
    """Its own agent cannot; another who ran the exact tree can; the boards follow."""
    ada, bob = hub.agent("ada"), hub.agent("bob")
    commit, tree = step(ada, lab)
    seq = claim(ada, commit[:7], 0.98, memory_gb=40.5, seed=7, seconds=300, description="more lr")
    assert ada.get(f"{P}/leaderboard")["results"] == []
    (claimed,) = ada.get(f"{P}/leaderboard", replicated=0)["results"]
    assert (claimed["seq"], claimed["verdict"], claimed["commit"]) == (seq, "claimed", commit)
    assert claimed["description"]["text"] == "more lr"
    runs = {"values": [0.979, 0.981, 0.98], "platform": H100, "tree": tree}
    ada.post(f"{P}/results/{seq}/verifications", runs, 403)
    other = {**runs, "tree": "0" * 40}
    assert bob.post(f"{P}/results/{seq}/verifications", other, 409)["tree"] == tree
    found = bob.post(f"{P}/results/{seq}/verifications", runs)["result"]
    assert (found["verdict"], found["runs"]) == ("confirmed", 3)
    bob.post(f"{P}/results/{seq}/verifications", runs, 409)
    (best,) = ada.get(f"{P}/leaderboard")["results"]
    assert best["seq"] == seq and best["mean"] == pytest.approx(0.98)
    one = ada.get(f"{P}/results/{seq}")
    assert one["verifications"][0]["verifier"] == "bob"
    assert one["verifications"][0]["values"] == runs["values"]
    assert ada.get("/api/v2/me")["trust"]["confirmed"] == 1
    assert ada.get(f"{P}/tiers")["tiers"] == [{"tier": "h100", "claimed": 1, "confirmed": 1}]


def test_an_inflated_claim_is_refuted(hub: Served, lab: Repo) -> None:
    """And leaves both boards; what its agent writes is labelled from then on."""
    ada, bob = hub.agent("ada"), hub.agent("bob")
    commit, tree = step(ada, lab)
    body = {"commit": commit, "platform": "H100", "status": "keep", "value": 0.5}
    seq = ada.post(f"{P}/results", body, 201, view="structured")["result"]["seq"]
    runs = {"values": [0.981, 0.98, 0.979], "platform": "H100", "tree": tree}
    said = bob.post(f"{P}/results/{seq}/verifications", runs, 201, view="structured")
    assert said["result"]["verdict"] == "refuted"
    assert bob.get(f"{P}/results/{seq}")["result"]["description"]["trust"] == "refuted"
    for replicated in (0, 1):
        assert ada.get(f"{P}/leaderboard", replicated=replicated)["results"] == []


def test_what_the_admin_says_turns_verdicts(hub: Served, lab: Repo) -> None:
    """A runner that is named, or no more, and the noise: what was judged before is judged anew."""
    ada, bob, cyd = hub.agent("ada"), hub.agent("bob"), hub.agent("cyd")
    commit, tree = step(ada, lab)
    seq = claim(ada, commit, 0.98)
    runs = {"platform": H100, "tree": tree}
    bob.post(f"{P}/results/{seq}/verifications", {**runs, "values": [1.5, 1.5, 1.51]})
    cyd.post(f"{P}/results/{seq}/verifications", {**runs, "values": [0.98, 0.981, 0.979]})

    def verdict() -> str:
        return str(ada.get(f"{P}/results/{seq}")["result"]["verdict"])

    assert verdict() == "inconclusive"
    hub.admin.post(f"{A}/agents/cyd/runner", {"runner": True}, 200)
    assert verdict() == "confirmed"
    hub.admin.post(f"{A}/agents/cyd/runner", {"runner": False}, 200)
    assert verdict() == "inconclusive"
    hub.admin.of(hub.admin.ask("PATCH", P, {"noise": 0.5}), 200)
    assert verdict() == "confirmed"


def test_results_are_listed_by_what_was_asked_for(hub: Served, lab: Repo) -> None:
    """Status, tier and agent narrow the list; `next` leads through all of it."""
    ada, bob = hub.agent("ada"), hub.agent("bob")
    commit, _ = step(ada, lab)
    made = [claim(ada, commit, 1.0 - n / 10, "H100" if n % 2 else "4090") for n in range(4)]
    crash = {"commit": commit, "platform": "H100", "status": "crash"}
    made.append(bob.post(f"{P}/results", crash)["result"]["seq"])
    seen, before = [], {}
    while True:
        page = ada.get(f"{P}/results", limit=2, **before)
        seen += [result["seq"] for result in page["results"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert seen == made[::-1]

    def listed(**query: Any) -> list[int]:
        return [result["seq"] for result in ada.get(f"{P}/results", **query)["results"]]

    assert listed(status="crash") == [made[4]]
    assert listed(tier="rtx4090") == [made[2], made[0]]
    assert listed(tier="h100", agent="ada", status="keep") == [made[3], made[1]]
    stairs = ada.get(f"{P}/staircase", tier="h100", replicated=0)
    assert [result["seq"] for result in stairs["results"]] == [made[1], made[3]]
    assert ada.get(f"{P}/staircase")["tier"] in ("h100", "rtx4090")


def test_what_is_no_result_is_refused_with_what_is_allowed(hub: Served, lab: Repo) -> None:
    """The field is named; nothing is written."""
    ada = hub.agent("ada")
    commit, _ = step(ada, lab)
    good = {"commit": commit, "platform": "H100", "status": "keep", "value": 1.0}
    for change, status, word in (
        ({"commit": "abc"}, 400, "abc"),
        ({"commit": "f" * 40}, 404, "not found"),
        ({"commit": 7}, 400, "commit"),
        ({"status": "kept"}, 400, "discard"),
        ({"value": None}, 400, "value"),
        ({"value": "1.0"}, 400, "value"),
        ({"value": True}, 400, "value"),
        ({"platform": "H100\n"}, 400, "platform"),
        ({"memory_gb": -1}, 400, "memory_gb"),
        ({"seed": 2**70}, 400, "seed"),
        ({"metric": "loss"}, 400, "val_bpb"),
        ({"valu": 1}, 400, "valu"),
    ):
        assert word in ada.post(f"{P}/results", {**good, **change}, status)["error"], change
    raw = b'{"commit": "%s", "platform": "H100", "status": "keep", "value": %s}'
    for number in (b"NaN", b"Infinity", b"1e400", b"1" * 5_000):
        said = ada.ask("POST", f"{P}/results", raw % (commit.encode(), number))
        assert said.status == 400, number
    assert ada.get(f"{P}/results")["results"] == []


def test_a_lease_is_one_s_own_until_it_is_given_back(hub: Served, lab: Repo) -> None:
    """Own results are not handed out; a leased one goes to nobody else; released, to the next."""
    ada, bob, eve = hub.agent("ada"), hub.agent("bob"), hub.agent("eve")
    commit, tree = step(ada, lab)
    seq = claim(ada, commit, 0.98)
    take = f"{P}/replication/take"
    assert [r["seq"] for r in bob.get(f"{P}/replication", tier="h100")["results"]] == [seq]
    assert ada.post(take, {"platform": "H100"}, 200)["lease"] is None
    assert bob.post(take, {"platform": "M4-Max"}, 200)["lease"] is None
    lease = bob.post(take, {"platform": H100, "seconds": 60}, 200)["lease"]
    assert (lease["result"], lease["commit"], lease["tree"]) == (seq, commit, tree)
    assert lease["expires"] - lease["taken"] == 60
    assert eve.post(take, {"platform": "H100"}, 200)["lease"] is None
    assert eve.get(f"{P}/replication")["results"] == []
    assert "bob" in eve.of(eve.ask("DELETE", f"{P}/replication/{lease['id']}"), 403)["error"]
    bob.of(bob.ask("DELETE", f"{P}/replication/{lease['id']}"), 200)
    mine = eve.post(take, {"platform": "H100"}, 200)["lease"]
    done = eve.post(
        f"{P}/replication/{mine['id']}/finish", {"values": [0.98], "platform": "H100"}, 200
    )
    assert done["result"]["verdict"] == "confirmed"
    eve.post(f"{P}/replication/{mine['id']}/finish", {"values": [0.98], "platform": "H100"}, 409)
    for body in ({}, {"platform": "H100", "seconds": 0}, {"platform": "H100", "seconds": 10**9}):
        assert eve.post(take, body, 400)["error"]
    for body in ({"values": [], "platform": "H100"}, {"values": ["x"], "platform": "H100"}):
        assert "values" in eve.post(f"{P}/replication/{mine['id']}/finish", body, 400)["error"]


def test_a_claim_is_granted_once(hub: Served, lab: Repo) -> None:
    """Somebody who tries the same is told who holds it; finished or pushed, that it was tried."""
    ada, bob = hub.agent("ada"), hub.agent("bob")
    tree = "a" * 40
    made = ada.post(f"{P}/claims", {"text": "more lr", "tree": tree, "seconds": 60})["claim"]
    again = ada.post(f"{P}/claims", {"text": "more lr", "tree": tree, "seconds": 600})["claim"]
    assert (again["id"], again["expires"] > made["expires"]) == (made["id"], True)
    refused = bob.post(f"{P}/claims", {"text": "mine", "tree": tree}, 409)
    assert refused["prior"][0] == {
        "kind": "claim", "same": "tree", "ref": str(made["id"]), "agent": "ada",
        "time": made["created"], "results": [],
    }  # fmt: skip
    assert "ada" in refused["error"]
    bob.post(f"{P}/claims", {"text": "mine", "tree": tree, "anyway": True}, 409)
    bob.post(f"{P}/claims/{made['id']}/release", None, 403)
    assert [c["id"] for c in bob.get(f"{P}/claims")["claims"]] == [made["id"]]
    ada.post(f"{P}/claims/{made['id']}/extend", {"seconds": 1_000}, 200)
    assert ada.post(f"{P}/claims/{made['id']}/finish", {}, 200)["claim"]["state"] == "finished"
    bob.post(f"{P}/claims", {"text": "mine", "tree": tree}, 409)
    granted = bob.post(f"{P}/claims", {"text": "another seed", "tree": tree, "anyway": True})
    assert granted["prior"][0]["agent"] == "ada"
    assert bob.get(f"{P}/claims")["claims"][0]["text"]["text"] == "another seed"


def test_a_pushed_commit_is_a_prior_with_its_results(hub: Served, lab: Repo) -> None:
    """By tree, and by the change alone on top of something else."""
    ada, bob = hub.agent("ada"), hub.agent("bob")
    ada.push(lab)
    commit, tree = step(ada, lab, role="attempt")
    seq = ada.post(
        f"{P}/results",
        {"commit": commit, "platform": "H100", "status": "discard", "value": 1.2},
    )["result"]["seq"]
    (prior,) = bob.post(f"{P}/claims", {"text": "x", "tree": tree}, 409)["prior"]
    assert (prior["kind"], prior["ref"], prior["agent"]) == ("commit", commit, "ada")
    assert [(r["seq"], r["status"], r["value"]) for r in prior["results"]] == [
        (seq, "discard", 1.2)
    ]
    patch = ada.get(f"{P}/commits/{commit}")["commit"]["patch_id"]
    found = bob.post(f"{P}/claims", {"text": "x", "patch_id": patch}, 409)["prior"]
    assert [row["same"] for row in found] == ["patch_id"]


def test_a_result_line_on_the_board_is_a_result(hub: Served, lab: Repo) -> None:
    """Posted before its commit is pushed, it finds it afterwards."""
    ada = hub.agent("ada")
    ada.post(f"{P}/channels", {"name": "results"})
    lab.write("train.py", "x = 9\n")
    commit = lab.commit("line")
    line = f"commit:{commit[:7]} platform:H100 val_bpb:0.9 vram_gb:40.1 | wider"
    posted = ada.post(f"{P}/channels/results/posts", {"content": line})
    assert posted["result"]["commit"] is None and posted["result"]["source"] == "post"
    ada.push(lab)
    (found,) = ada.get(f"{P}/results")["results"]
    assert (found["commit"], found["post"]) == (commit, posted["post"]["id"])


# ---- by many at once ---------------------------------------------------------------------------


@pytest.mark.slow
def test_no_lease_is_given_twice(hub: Served, lab: Repo) -> None:
    """8 clients take at once until nothing is left: each result goes to exactly one of them."""
    ada = hub.agent("ada")
    commits = []
    for number in range(24):
        lab.write("train.py", f"x = {number + 100}\n")
        commits.append(lab.commit(f"step {number}"))
    ada.push(lab)
    made = {claim(ada, commit, 0.9 + n / 1_000) for n, commit in enumerate(commits)}
    clients = [hub.agent(f"worker-{number}") for number in range(8)]

    def work(client: Client) -> list[int]:
        taken = []
        while True:
            lease = client.post(f"{P}/replication/take", {"platform": "H100"}, 200)["lease"]
            if lease is None:
                return taken
            taken.append(lease["result"])
            body = {"values": [0.9], "platform": "H100", "tree": lease["tree"]}
            client.post(f"{P}/replication/{lease['id']}/finish", body, 200)

    with ThreadPoolExecutor(8) as pool:
        taken = [seq for each in pool.map(work, clients) for seq in each]
    counts = Counter(taken)
    assert set(counts) == made
    # Claims that the single run contradicts stay open to a second opinion, never to the same one.
    by_result = {seq: ada.get(f"{P}/results/{seq}")["verifications"] for seq in made}
    for seq, found in by_result.items():
        verifiers = [row["verifier"] for row in found]
        assert len(verifiers) == len(set(verifiers)) == counts[seq]


@pytest.mark.slow
def test_held_leases_are_never_shared(hub: Served, lab: Repo) -> None:
    """8 clients take at once and keep what they get: no result has two holders."""
    ada = hub.agent("ada")
    commits = []
    for number in range(20):
        lab.write("train.py", f"x = {number + 100}\n")
        commits.append(lab.commit(f"step {number}"))
    ada.push(lab)
    made = {claim(ada, commit, 0.9 + n / 1_000) for n, commit in enumerate(commits)}
    clients = [hub.agent(f"worker-{number}") for number in range(8)]

    def hold(client: Client) -> list[int]:
        take = ("POST", f"{P}/replication/take", {"platform": "H100"})
        asked = [client.ask(*take) for _ in range(4)]
        assert {said.status for said in asked} == {200}
        return [said.json["lease"]["result"] for said in asked if said.json["lease"]]

    with ThreadPoolExecutor(8) as pool:
        held = [seq for each in pool.map(hold, clients) for seq in each]
    assert Counter(held) == Counter(made)


@pytest.mark.slow
def test_no_claim_is_granted_twice(hub: Served) -> None:
    """8 clients claim the same 6 trees at once: one of them gets each."""
    clients = [hub.agent(f"worker-{number}") for number in range(8)]
    trees = [f"{number:040x}" for number in range(1, 7)]

    def work(client: Client) -> list[str]:
        asked = [
            (tree, client.ask("POST", f"{P}/claims", {"text": "it", "tree": tree}))
            for tree in trees
        ]
        assert {said.status for _, said in asked} <= {201, 409}
        return [tree for tree, said in asked if said.status == 201]

    with ThreadPoolExecutor(8) as pool:
        granted = [tree for each in pool.map(work, clients) for tree in each]
    assert sorted(granted) == trees
