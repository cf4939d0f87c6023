"""The graph's index: every parent counts, the frontier is right, and pages are quick to say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenthub.errors import BadInput, Conflict, Forbidden, HubError, Missing, TooLarge
from agenthub.records.buckets import Quotas
from agenthub.records.commits import ATTEMPT, FRONTIER, Commit, Commits, Index
from agenthub.records.events import Events
from agenthub.records.projects import Counts, Rules
from hub_records import NOON, Hub, digest, new


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with an empty default project."""
    made = Hub(tmp_path)
    yield made
    made.database.close()


def names(hub: Hub, commits: tuple[Commit, ...]) -> list[str]:
    """Commits by the names they were made from."""
    return [commit.subject.removeprefix("add ") for commit in commits]


def test_a_commit_is_read_as_it_was_recorded(hub: Hub) -> None:
    """Every field; who pushed it beside who the commit says wrote it."""
    hub.push(new("root"))
    (found,) = hub.push(new("a", "root"), agent="bob")
    assert found.parents == (digest("root"),) and found.tree == digest("tree of a")
    assert (found.agent, found.author) == ("bob", "Somebody <else@example.org>")
    assert (found.received, found.author_time, found.role) == (NOON, NOON - 60, FRONTIER)
    assert found.is_leaf and found.flags == () and found.patch_id == digest("patch of a")


def test_a_push_of_several_commits_leaves_one_leaf(hub: Hub) -> None:
    """Pushed c1, then c1 to c5 at once: all five are there, one is a leaf, the lineage is whole."""
    hub.push(new("c1"))
    chain = [new(f"c{n}", f"c{n - 1}") for n in range(2, 6)]
    hub.push(*chain)
    assert names(hub, hub.commits.page()) == ["c5", "c4", "c3", "c2", "c1"]
    assert names(hub, hub.commits.leaves()) == ["c5"]
    assert names(hub, hub.commits.lineage(digest("c5"))) == ["c5", "c4", "c3", "c2", "c1"]
    assert hub.commits.counts() == Counts(5, 0, 1)


def test_a_merge_covers_both_its_parents(hub: Hub) -> None:
    """What was merged is no leaf; it has the merge as a child; lineage goes by the first parent."""
    hub.push(new("root"), new("x", "root"), new("y", "root"))
    assert names(hub, hub.commits.leaves()) == ["y", "x"]
    hub.push(new("merge", "y", "x"))
    assert names(hub, hub.commits.leaves()) == ["merge"]
    assert names(hub, hub.commits.children(digest("x"))) == ["merge"]
    assert names(hub, hub.commits.lineage(digest("merge"))) == ["merge", "y", "root"]


def test_two_commits_of_one_second_keep_their_order(hub: Hub) -> None:
    """Order is the order of arrival, also in pages that are cut in the middle of a second."""
    hub.push(new("root"), *[new(f"n{n}", "root") for n in range(9)])
    seen: list[str] = []
    before = None
    while page := hub.commits.page(4, before):
        seen += names(hub, page)
        before = page[-1].seq
    assert seen == [*(f"n{n}" for n in range(8, -1, -1)), "root"]
    assert names(hub, hub.commits.page(2, offset=3)) == ["n5", "n4"]


def test_a_commit_stays_its_first_pushers(hub: Hub) -> None:
    """A later pusher is not its agent; not even when both push at once."""
    hub.push(new("root"), agent="ada")
    hub.push(new("root"), agent="bob")
    assert hub.commits.get(digest("root")).agent == "ada"
    together = threading.Barrier(8)

    def work(agent: str) -> None:
        together.wait(30)
        hub.push(*(new(f"n{n}", "root") for n in range(20)), agent=agent)

    threads = [threading.Thread(target=work, args=(("ada", "bob")[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert hub.commits.counts() == Counts(21, 0, 20)
    assert len({commit.agent for commit in hub.commits.leaves()}) == 1


def test_an_attempt_is_no_leaf_and_hides_none(hub: Hub) -> None:
    """A discard on top of a commit leaves it on the frontier; it can be looked at."""
    hub.push(new("root"), new("keep", "root"))
    hub.push(new("worse", "keep"), role=ATTEMPT)
    assert names(hub, hub.commits.leaves()) == ["keep"]
    assert names(hub, hub.commits.children(digest("keep"))) == ["worse"]
    assert hub.commits.get(digest("worse")).role == ATTEMPT
    assert names(hub, hub.commits.page(role=ATTEMPT)) == ["worse"]
    assert hub.commits.counts() == Counts(3, 1, 1)


def test_who_builds_on_an_attempt_takes_it_to_the_frontier(hub: Hub) -> None:
    """It and what it builds on; or its agent promotes it by name; an attempt promotes nothing."""
    hub.push(new("root"))
    hub.push(new("a", "root"), new("b", "a"), new("c", "b"), role=ATTEMPT)
    hub.push(new("c", "b"), role=ATTEMPT)
    assert hub.commits.counts() == Counts(4, 3, 1)
    hub.push(new("d", "b"))
    assert names(hub, hub.commits.leaves()) == ["d"]
    assert hub.commits.counts() == Counts(5, 1, 1)
    assert not Index(hub.database, hub.project, "bob").promote(digest("c"))
    hub.push(new("c", "b"), agent="bob")  # another that came in between
    assert hub.commits.get(digest("c")).role == ATTEMPT
    index = Index(hub.database, hub.project, "ada")
    assert index.promote(digest("c")) and not index.promote(digest("c"))
    assert names(hub, hub.commits.leaves()) == ["d", "c"]
    assert hub.commits.get(digest("c")).agent == "ada"


def test_an_admin_promotes_what_others_have_tried(hub: Hub) -> None:
    """As an import does."""
    hub.push(new("root"), role=ATTEMPT)
    assert Index(hub.database, hub.project, "bob", admin=True).promote(digest("root"))
    assert names(hub, hub.commits.leaves()) == ["root"]


def test_known_are_those_of_the_project(hub: Hub) -> None:
    """Of many hashes, in one question; other projects' commits are not known here."""
    other = hub.projects.create("other", Rules(forest=True)).id
    hub.push(new("root"), new("a", "root"))
    hub.push(new("root"), project=other)
    many = [digest(f"x{n}") for n in range(5_000)]
    asked = [digest("root"), digest("a"), *many, "' OR 1=1"]
    assert Index(hub.database, hub.project, "ada").known(asked) == {digest("root"), digest("a")}
    assert Index(hub.database, other, "ada").known(asked) == {digest("root")}


def test_projects_have_histories_of_their_own(hub: Hub) -> None:
    """The same hash twice is two commits; each has its own children and counters."""
    other = hub.projects.create("other", Rules(forest=True)).id
    hub.push(new("root"), new("a", "root"))
    hub.push(new("root"), agent="bob", project=other)
    assert names(hub, hub.commits.leaves()) == ["a"]
    there = Commits(hub.database, other)
    assert names(hub, there.leaves()) == ["root"] and there.counts() == Counts(1, 0, 1)
    assert there.get(digest("root")).agent == "bob" and there.find(digest("a")) is None


def test_a_parent_that_is_not_there_is_refused_whole(hub: Hub) -> None:
    """Nothing of the push is recorded, and its pack is not let in."""
    admitted: list[int] = []
    index = Index(hub.database, hub.project, "ada")
    with pytest.raises(BadInput, match="parent commit not found"):
        index.record([new("root"), new("a", "missing")], lambda: admitted.append(1))
    assert hub.commits.page() == () and hub.commits.counts() == Counts(0, 0, 0)
    assert admitted == [] and hub.projects.get("main").root == ""


def test_what_is_not_admitted_is_not_recorded(hub: Hub) -> None:
    """An error while the pack moves in takes rows, counters, events and bytes back."""
    head = Events(hub.database).head()

    def full() -> None:
        raise OSError("No space left on device")

    index = Index(hub.database, hub.project, "ada", size=100)
    with pytest.raises(OSError, match="No space"):
        index.record([new("root")], full)
    assert hub.commits.page() == () and hub.commits.counts() == Counts(0, 0, 0)
    assert Events(hub.database).head() == head and Quotas(hub.database).used("agent:ada") == 0
    seen: list[Commit] = []
    index.record([new("root")], lambda: seen.extend(hub.commits.page()))
    assert names(hub, tuple(seen)) == ["root"]  # all is written when the pack moves in
    assert Quotas(hub.database).used("agent:ada") == Quotas(hub.database).used("project:1") == 100


def test_stored_bytes_have_a_quota(hub: Hub) -> None:
    """Of the agent, and of the project; over it nothing is let in."""
    for quotas in ((50, None), (None, 50)):
        index = Index(hub.database, hub.project, "ada", size=60, quotas=quotas)
        with pytest.raises(TooLarge, match="quota"):
            index.record([new("root")], lambda: pytest.fail("it was let in"))
    assert hub.commits.page() == ()


def test_one_root_unless_the_project_is_a_forest(hub: Hub) -> None:
    """The first commit without parents is the root; a second one only in a forest."""
    hub.push(new("root"), new("orphan"))
    assert hub.projects.get("main").root == digest("root")
    one = hub.projects.create("one", Rules()).id
    hub.push(new("root"), project=one)
    with pytest.raises(Forbidden, match="keeps one history") as found:
        hub.push(new("orphan"), project=one)
    assert found.value.details == {"root": digest("root")}
    given_ = hub.projects.create("given", Rules(), root=digest("r")).id
    with pytest.raises(Forbidden):
        hub.push(new("root"), project=given_)
    hub.push(new("r"), project=given_)


def test_short_hashes_resolve_when_they_are_unique(hub: Hub) -> None:
    """Seven digits or more; several candidates are listed, none is Missing, fewer is BadInput."""
    shas = ["abcdef0" + "0" * 33, "abcdef0" + "f" * 33, "abcdee0" + "0" * 33]
    base = new("root")
    commits = [type(base)(sha, digest(sha), (), "s", "a", 0, "") for sha in shas]
    hub.push(*commits)
    assert hub.commits.resolve("abcdee0") == shas[2]
    assert hub.commits.resolve("abcdef0f") == hub.commits.get(shas[1]).sha == shas[1]
    with pytest.raises(Conflict, match="several") as found:
        hub.commits.resolve("abcdef0")
    assert found.value.details["candidates"] == shas[:2]
    with pytest.raises(Missing, match="commit not found"):
        hub.commits.resolve("abcdef1")
    for bad in ("abcdef", "", "ABCDEF0", "zzzzzzz", "a" * 41, "abcdef0%", "abcdef0\n"):
        with pytest.raises(BadInput):
            hub.commits.resolve(bad)


def test_the_same_files_and_the_same_change_are_found(hub: Hub) -> None:
    """By tree, by patch-id on another parent; no patch-id is not the same as no patch-id."""
    hub.push(new("root"), new("other root"), new("a", "root", tree="t", patch="p"))
    hub.push(new("b", "other root", patch="p"), new("c", "b", tree="t"))
    assert names(hub, hub.commits.by_tree(digest("t"))) == ["a", "c"]
    assert names(hub, hub.commits.by_patch_id(digest("p"))) == ["a", "b"]
    assert hub.commits.by_patch_id("") == ()


def test_listings_are_capped_and_by_agent(hub: Hub) -> None:
    """However much is asked for: 200; a lineage has its own cap."""
    hub.push(new("root"), *[new(f"n{n}", "root") for n in range(250)])
    hub.push(new("bobs", "root"), agent="bob")
    assert len(hub.commits.page(10**9)) == len(hub.commits.leaves(10**9)) == 200
    assert len(hub.commits.children(digest("root"), 10**9)) == 200
    assert len(hub.commits.page(-5)) == 1
    assert names(hub, hub.commits.leaves(agent="bob")) == ["bobs"]
    assert names(hub, hub.commits.page(agent="bob")) == ["bobs"]
    after = hub.commits.children(digest("root"))[-1].seq
    assert len(hub.commits.children(digest("root"), after=after)) == 51
    assert hub.commits.children(digest("nothing")) == hub.commits.lineage("x") == ()


def test_a_push_tells_of_its_heads(hub: Hub) -> None:
    """One event for each new head, not one for each commit, in the project's own name."""
    start = Events(hub.database).head()
    hub.push(new("root"), new("a", "root"), new("b", "root"))
    hub.push(new("c", "a"), role=ATTEMPT)
    told = Events(hub.database).since(start).events
    assert [(event.kind, event.ref) for event in told] == [
        ("commit", digest("a")), ("commit", digest("b")), ("attempt", digest("c")),
    ]  # fmt: skip
    assert {(event.project, event.actor) for event in told} == {(hub.project, "ada")}


pushes = st.lists(
    st.tuples(
        st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=1, max_size=4),
        st.sampled_from([FRONTIER, ATTEMPT]),
        st.sampled_from(["ada", "bob"]),
    ),
    max_size=8,
)


@given(pushes=pushes)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_counters_are_what_counting_gives(
    hub: Hub, pushes: list[tuple[list[list[int]], str, str]]
) -> None:
    """Any graph, pushed in any pieces as frontier or attempts: leaves and counters are right."""
    count = hub.database.number("SELECT count(*) FROM projects")
    project = hub.projects.create(f"p{count}", Rules(forest=True)).id
    made: list[str] = []
    for parents, role, agent in pushes:
        batch = []
        for above in parents:
            known = [made[n % len(made)] for n in above if made]
            made.append(f"n{len(made)}")
            batch.append(new(made[-1], *known))
        hub.push(*batch, role=role, agent=agent, project=project)
    check_against_counting(hub, project)
    assert Commits(hub.database, project).faults() == ()


def test_a_counter_that_is_wrong_is_named(hub: Hub) -> None:
    """By counting everything, as a check of the hub does."""
    hub.push(new("root"), new("a", "root"))
    assert hub.commits.faults() == hub.database.faults() == ()
    with hub.database.write() as connection:
        connection.execute("UPDATE projects SET leaves = 7")
        connection.execute("UPDATE commits SET n_children = 3 WHERE sha = ?", (digest("root"),))
    leaves, children = hub.commits.faults()
    assert "leaves is 7, counted 1" in leaves and digest("root") in children


def check_against_counting(hub: Hub, project: int) -> None:
    """Leaves, children and counters against what follows from the parents alone."""
    commits = Commits(hub.database, project)
    every = {commit.sha: commit for commit in commits.page(200)}
    frontier = [commit for commit in every.values() if commit.role == FRONTIER]
    covered = {parent for commit in frontier for parent in commit.parents}
    leaves = {commit.sha for commit in frontier if commit.sha not in covered}
    assert {commit.sha for commit in commits.leaves(200)} == leaves
    assert commits.counts() == Counts(len(every), len(every) - len(frontier), len(leaves))
    for commit in every.values():
        below = [other for other in every.values() if commit.sha in other.parents]
        assert {child.sha for child in commits.children(commit.sha)} == {c.sha for c in below}
        assert commit.n_children == len([c for c in below if c.role == FRONTIER])
        if commit.role == FRONTIER:  # what the frontier builds on is of it
            assert all(every[parent].role == FRONTIER for parent in commit.parents)


def test_pages_are_read_by_an_index(hub: Hub) -> None:
    """No listing looks at every commit or sorts: the plan names an index for each."""
    hub.push(new("root"))
    for where in (
        "project = 1 AND seq < 9",
        "project = 1 AND agent = 'ada' AND seq < 9",
        "project = 1 AND role = 'attempt' AND seq < 9",
        "project = 1 AND n_children = 0 AND role = 'frontier' AND seq < 9",
        "project = 1 AND agent = 'ada' AND n_children = 0 AND role = 'frontier' AND seq < 9",
    ):
        query = f"EXPLAIN QUERY PLAN SELECT * FROM commits WHERE {where} ORDER BY seq DESC LIMIT 50"
        plan = " ".join(row["detail"] for row in hub.database.rows(query))
        assert "USING INDEX" in plan and "SCAN" not in plan and "TEMP B-TREE" not in plan, where


# ---- projects ----------------------------------------------------------------------------------


def test_a_project_has_its_rules(hub: Hub) -> None:
    """Read back as given; changed by an admin; the ruler stays once something was measured."""
    rules = Rules("T\u202eitle", "acc", "higher", 0.01, True, ("b", "a/c.py"), "flag", {"n": 2.0})
    made = hub.projects.create("bigram", rules)
    assert made.rules.title == "Title" and made.rules.protected == ("a/c.py", "b")
    assert (made.rules.metric, made.rules.direction, made.rules.limits) == (
        "acc",
        "higher",
        {"n": 2},
    )
    assert hub.projects.change("bigram", Rules(metric="loss")).rules.metric == "loss"
    with pytest.raises(Conflict, match="already"):
        hub.projects.create("bigram", rules)
    with pytest.raises(Missing):
        hub.projects.get("nothing")
    assert [p.slug for p in hub.projects.page()] == ["main", "bigram"]
    assert hub.projects.default() == hub.projects.get("main") == hub.projects.by_id(hub.project)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(direction="up"), Rules(metric="a b"), Rules(metric=""), Rules(on_protected="x"),
        Rules(noise=-1.0), Rules(noise=float("nan")), Rules(protected=("../x",)),
        Rules(protected=("",)), Rules(protected=("/etc/passwd",)), Rules(limits={"n": -1.0}),
    ],
)  # fmt: skip
def test_a_bad_rule_is_refused(hub: Hub, rules: Rules) -> None:
    """And nothing is made."""
    with pytest.raises(BadInput):
        hub.projects.create("bad", rules)
    with pytest.raises(HubError):
        hub.projects.get("bad")
    for slug in ("", "../x", "A", "a" * 40, "a/b"):
        with pytest.raises(BadInput):
            hub.projects.create(slug, Rules())
