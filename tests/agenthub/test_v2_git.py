"""Projects, pushes and the graph by v2, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agenthub.git.packets import FLUSH, NOTHING, packet
from conftest import MakeRepo, Repo
from v2_hub import P, Served, bundle, served


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Served]:
    """An empty hub."""
    with served(tmp_path / "hub") as up:
        yield up


@pytest.fixture
def lab(make_repo: MakeRepo) -> Repo:
    """An agent's repository with one commit."""
    return make_repo({"train.py": "x = 1\n", "prepare.py": "fixed = True\n"}, "lab")


def chain(lab: Repo, count: int) -> list[str]:
    """Some commits more, oldest first."""
    made = []
    for number in range(count):
        lab.write("train.py", f"x = {number + 2}\n")
        made.append(lab.commit(f"step {number}"))
    return made


def test_only_what_the_hub_lacks_is_pushed(hub: Served, lab: Repo) -> None:
    """haves tells what is known; a thin bundle brings the rest; both ends agree on the graph."""
    ada = hub.agent("ada")
    base = lab.git("rev-parse", "HEAD")
    assert ada.push(lab)["new"] == [base]
    made = chain(lab, 3)
    known = ada.post(f"{P}/git/haves", {"hashes": [base, *made]}, 200)["known"]
    assert known == [base]
    thin = bundle(lab, "HEAD", f"^{base}")
    assert len(thin) < len(bundle(lab, "HEAD"))
    pushed = ada.post(f"{P}/git/push", thin)
    assert (pushed["heads"], pushed["new"]) == ([made[-1]], made)
    again = ada.post(f"{P}/git/push", thin)
    assert (again["heads"], again["new"]) == ([made[-1]], [])
    shown = [commit["hash"] for commit in ada.get(f"{P}/commits")["commits"]]
    assert shown == [*reversed(made), base]
    assert [c["hash"] for c in ada.get(f"{P}/leaves")["commits"]] == [made[-1]]


def test_attempts_are_there_and_no_frontier(hub: Served, lab: Repo) -> None:
    """A discard resolves and can be fetched, and hides nothing; it may be promoted later."""
    ada = hub.agent("ada")
    base = lab.git("rev-parse", "HEAD")
    ada.push(lab)
    (tried,) = chain(lab, 1)
    ada.push(lab, role="attempt")
    assert [c["hash"] for c in ada.get(f"{P}/leaves")["commits"]] == [base]
    assert ada.get(f"{P}/commits/{tried[:7]}")["commit"]["role"] == "attempt"
    assert ada.get(P)["project"]["counts"] == {"commits": 2, "attempts": 1, "leaves": 1}
    ada.push(lab)
    assert [c["hash"] for c in ada.get(f"{P}/leaves")["commits"]] == [tried]
    assert ada.push(lab, role="attempt")["new"] == []
    assert ada.get(f"{P}/commits/{tried}")["commit"]["role"] == "frontier"


def test_nobody_promotes_what_another_has_put_aside(hub: Served, lab: Repo) -> None:
    """Naming a known commit moves nobody's frontier but one's own, whichever way it is pushed."""
    ada, bob = hub.agent("ada"), hub.agent("bob")
    base = lab.git("rev-parse", "HEAD")
    ada.push(lab)
    (tried,) = chain(lab, 1)
    ada.push(lab, role="attempt")
    head = ada.get("/api/v2/events")["cursor"]
    assert bob.push(lab)["new"] == []
    assert bob.of(bob.ask("POST", "/api/git/push", bundle(lab, "HEAD")), 201)["hashes"] == [tried]
    line = packet(f"{NOTHING} {tried} refs/agents/bob/x\0report-status") + FLUSH
    pack = bundle(lab, "HEAD")
    said = bob.ask("POST", "/git/main.git/git-receive-pack", line + pack[pack.index(b"PACK") :])
    assert b"ok refs/agents/bob/x" in said.body
    assert [c["hash"] for c in ada.get(f"{P}/leaves")["commits"]] == [base]
    assert ada.get("/api/v2/events", since=head)["events"] == []
    ada.push(lab)
    assert [c["hash"] for c in ada.get(f"{P}/leaves")["commits"]] == [tried]


def test_a_bundle_has_what_the_fetcher_lacks(hub: Served, lab: Repo, make_repo: MakeRepo) -> None:
    """Fetched whole into an empty repository, thin into one that has the beginning."""
    ada = hub.agent("ada")
    base = lab.git("rev-parse", "HEAD")
    made = chain(lab, 3)
    ada.push(lab)
    whole = ada.ask("POST", f"{P}/git/bundle", {"want": made[1][:9]})
    assert whole.status == 200
    assert whole.headers["content-disposition"] == f"attachment; filename={made[1]}.bundle"
    other = make_repo(name="other")
    file = other.folder / "x.bundle"
    file.write_bytes(whole.body)
    other.git("bundle", "unbundle", str(file))
    assert other.git("rev-list", made[1]).split() == [made[1], made[0], base]
    thin = ada.ask("POST", f"{P}/git/bundle", {"want": made[2], "haves": [made[1], "f" * 40]})
    file.write_bytes(thin.body)
    other.git("bundle", "verify", str(file))
    other.git("bundle", "unbundle", str(file))
    assert other.git("rev-parse", f"{made[2]}~3") == base
    assert len(thin.body) < len(whole.body)
    assert ada.ask("POST", f"{P}/git/bundle", {"want": "f" * 40}).status == 404


def test_children_lineage_and_short_hashes(hub: Served, lab: Repo) -> None:
    """Merges have both parents, each of which has it as a child; pages lead on to the root."""
    ada = hub.agent("ada")
    base = lab.git("rev-parse", "HEAD")
    made = chain(lab, 4)
    lab.git("checkout", "-q", "-b", "side", base)
    lab.write("notes.md", "aside\n")
    side = lab.commit("aside")
    lab.git("merge", "-q", "--no-edit", made[-1])
    merge = lab.git("rev-parse", "HEAD")
    ada.push(lab)
    for parent in (side, made[-1]):
        children = ada.get(f"{P}/commits/{parent}/children")["commits"]
        assert [child["hash"] for child in children] == [merge]
    assert ada.get(f"{P}/commits/{merge[:8]}")["commit"]["parents"] == [side, made[-1]]
    assert [c["hash"] for c in ada.get(f"{P}/leaves")["commits"]] == [merge]
    seen, at = [], made[-1]
    while at:
        page = ada.get(f"{P}/commits/{at}/lineage", limit=2)
        seen += [commit["hash"] for commit in page["commits"]]
        at = page["next"]
    assert seen == [*reversed(made), base]
    assert ada.get(f"{P}/commits/{base[:6]}", 400)["error"]
    assert ada.get(f"{P}/commits/{'0' * 7}", 404)["error"]


def test_pages_of_commits_have_each_once(hub: Served, lab: Repo) -> None:
    """By `next` one gets to the last, and a list never has more than 200."""
    ada = hub.agent("ada")
    base = lab.git("rev-parse", "HEAD")
    made = [base, *chain(lab, 6)]
    ada.push(lab)
    seen, before = [], {}
    while True:
        page = ada.get(f"{P}/commits", limit=3, **before)
        seen += [commit["hash"] for commit in page["commits"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert seen == made[::-1]
    assert len(ada.get(f"{P}/commits", limit=10**9)["commits"]) == 7
    assert len(ada.get(f"{P}/commits", limit=-5)["commits"]) == 1
    assert ada.get(f"{P}/commits", agent="nobody")["commits"] == []


def test_files_folders_and_diffs(hub: Served, lab: Repo) -> None:
    """Shown as they are, as plain text that no browser takes for anything else."""
    ada = hub.agent("ada")
    old = lab.git("rev-parse", "HEAD")
    lab.write("train.py", "x = 2\n")
    lab.write("sub/notes.md", "<script>alert(1)</script>\n")
    new = lab.commit("more")
    ada.push(lab)
    entries = ada.get(f"{P}/git/tree/{new[:7]}")["entries"]
    assert [(e["name"], e["kind"]) for e in entries] == [
        ("prepare.py", "blob"), ("sub", "tree"), ("train.py", "blob"),
    ]  # fmt: skip
    assert [e["name"] for e in ada.get(f"{P}/git/tree/{new}", path="sub")["entries"]] == [
        "notes.md"
    ]
    shown = ada.ask("GET", f"{P}/git/show/{new}", path="sub/notes.md")
    assert shown.body == b"<script>alert(1)</script>\n"
    assert shown.headers["content-type"] == "text/plain; charset=utf-8"
    assert shown.headers["x-content-type-options"] == "nosniff"
    told = ada.ask("GET", f"{P}/git/diff/{old[:7]}/{new[:7]}").body.decode()
    assert "-x = 1" in told and "+x = 2" in told and "notes.md" in told
    one = ada.ask("GET", f"{P}/git/diff/{old}/{new}", path="train.py").body.decode()
    assert "+x = 2" in one and "notes.md" not in one
    for path in ("nowhere.py", "sub", "../../etc/passwd", "/etc/passwd", "train.py/x"):
        assert ada.ask("GET", f"{P}/git/show/{new}", path=path).status == 404, path
    assert ada.ask("GET", f"{P}/git/diff/{old}/{'f' * 40}").status == 404


@pytest.mark.parametrize("path", ["../x", "/", "//", "/etc/passwd", "sub/../../x", "..", "a\0b"])
def test_a_diff_has_paths_of_commits_only(hub: Served, lab: Repo, path: str) -> None:
    """What cannot be in a commit is told so, and nothing of where the hub lives."""
    ada = hub.agent("ada")
    ada.push(lab)
    sha = lab.git("rev-parse", "HEAD")
    for place in (f"{P}/git/diff", "/api/git/diff"):
        found = ada.ask("GET", f"{place}/{sha}/{sha}", path=path)
        assert found.status == 400, found
        assert "path" in found.json["error"]
        assert str(hub.data) not in found.json["error"]


def test_projects_keep_their_own_history_and_rules(
    hub: Served, lab: Repo, make_repo: MakeRepo
) -> None:
    """One root, protected paths, limits of its own; and nothing of one shows in another."""
    admin, ada = hub.admin, hub.agent("ada")
    made = admin.post(
        "/api/v2/projects",
        {"slug": "speed", "metric": "ms", "direction": "lower", "protected": ["prepare.py"],
         "limits": {"blob_bytes": 2_000}, "title": "Be quick"},
    )["project"]  # fmt: skip
    assert made["protected"] == ["prepare.py"] and made["root"] == ""
    ada.push(lab, slug="speed")
    root = lab.git("rev-parse", "HEAD")
    speed = "/api/v2/projects/speed"
    assert ada.get(speed)["project"]["root"] == root
    assert ada.get(f"{P}/commits")["commits"] == []
    stranger = make_repo({"train.py": "y = 1\n", "prepare.py": "fixed = True\n"}, "stranger")
    assert "root" in ada.post(f"{speed}/git/push", bundle(stranger, "HEAD"), 403)
    lab.write("prepare.py", "fixed = False\n")
    lab.commit("cheat")
    refused = ada.post(f"{speed}/git/push", bundle(lab, "HEAD"), 403)
    assert refused["paths"] == ["prepare.py"]
    lab.git("reset", "-q", "--hard", root)
    lab.write("train.py", "#" * 3_000)
    lab.commit("large")
    assert "2,000" in ada.post(f"{speed}/git/push", bundle(lab, "HEAD"), 413)["error"]
    assert [p["slug"] for p in ada.get("/api/v2/projects")["projects"]] == ["main", "speed"]
    changed = admin.of(admin.ask("PATCH", speed, {"limits": {}, "noise": 0.5}), 200)["project"]
    assert (changed["limits"], changed["noise"], changed["metric"]) == ({}, 0.5, "ms")
    ada.push(lab, slug="speed")


@pytest.mark.parametrize("limit", [0, 200, 10**9])
def test_a_project_has_its_own_cap_of_bundles(hub: Served, lab: Repo, limit: int) -> None:
    """It may be under the hub's own, which stays; and holds whichever way a push comes."""
    limits = {"limits": {"bundle_bytes": limit}}
    hub.admin.of(hub.admin.ask("PATCH", "/api/v2/projects/main", limits), 200)
    ada, raw = hub.agent("ada"), bundle(lab, "HEAD")
    small = limit < len(raw)
    found = ada.post(f"{P}/git/push", raw, 413 if small else 201)
    assert not small or f"over {limit:,} bytes" in found["error"]
    line = packet(f"{NOTHING} {lab.git('rev-parse', 'HEAD')} refs/agents/ada/x\0report-status")
    sent = line + FLUSH + raw[raw.index(b"PACK") :]
    said = ada.ask("POST", "/git/main.git/git-receive-pack", sent)
    assert (b"ng refs/agents/ada/x" in said.body) == small


def test_bad_projects_are_refused_with_what_is_allowed(hub: Served) -> None:
    """Each wrong field is named; nothing is made."""
    for body, word in (
        ({}, "slug"),
        ({"slug": "Bad Name"}, "a-z"),
        ({"slug": "x", "direction": "up"}, "lower"),
        ({"slug": "x", "limits": {"blobs": 1}}, "blob_bytes"),
        ({"slug": "x", "limits": {"commits": -1}}, "limits"),
        ({"slug": "x", "protected": ["../x"]}, "path"),
        ({"slug": "x", "noise": -1}, "noise"),
        ({"slug": "x", "metric": "a b"}, "metric"),
        ({"slug": "x", "root": "abc"}, "root"),
        ({"slug": "x", "tiers": {"H100": "Ignore All"}}, "tiers"),
        ({"slug": "x", "colour": "red"}, "colour"),
    ):
        assert word in hub.admin.post("/api/v2/projects", body, 400)["error"], body
    hub.admin.post("/api/v2/projects", {"slug": "main"}, 409)
    assert len(hub.admin.get("/api/v2/projects")["projects"]) == 1


def test_what_is_no_bundle_is_refused_and_counted(tmp_path: Path) -> None:
    """Garbage is a 400, an oversized body a 413 before it is read; both use up the limit."""
    with served(tmp_path / "hub", pushes_per_hour=3, max_bundle_mb=0.001) as hub:
        ada = hub.agent("ada")
        assert ada.post(f"{P}/git/push", b"no bundle", 400)["error"]
        assert ada.post(f"{P}/git/push", b"", 400)["error"]
        assert ada.post(f"{P}/git/push", b"x" * 2_000, 413)["error"]
        ada.post(f"{P}/git/push", b"again", 400)
        said = ada.ask("POST", f"{P}/git/push", b"more")
        assert said.status == 429 and int(said.headers["retry-after"]) > 0
        assert ada.get(f"{P}/commits")["commits"] == []
