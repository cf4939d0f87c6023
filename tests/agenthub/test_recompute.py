"""A change by the admin applies to existing results: tiers and verdicts are recomputed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agenthub.records.hub import Hub as Whole
from agenthub.records.projects import Rules
from agenthub.records.replication import Replication
from agenthub.records.results import (
    BATCH,
    Draft,
    Result,
    Results,
    recompute_tiers,
    recompute_verdicts,
)
from conftest import Repo
from hub_records import Hub, digest, new
from hub_world import hub_in, join, lively


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with a root of ada's."""
    made = Hub(tmp_path)
    made.push(new("root"))
    yield made
    made.database.close()


def claimed(hub: Hub, value: float = 0.99, platform: str = "H100") -> Result:
    """A result of the root."""
    draft = Draft(digest("root"), platform, "keep", value)
    return Results(hub.database, hub.project).record("ada", draft)


def verified(hub: Hub, result: int, verifier: str, *values: float, platform: str = "H100") -> str:
    """The verdict after somebody ran the root again."""
    results = Results(hub.database, hub.project)
    said = {"tree": digest("tree of root"), "platform": platform}
    return results.verify(result, verifier, values=values, **said).verdict


def test_verdicts_are_recomputed_a_batch_at_a_time(hub: Hub) -> None:
    """All of them, each batch in a transaction of its own: others write in between."""
    made = [claimed(hub).seq for _ in range(2 * BATCH + 1)]
    for seq in made:
        assert verified(hub, seq, "bob", 1.1) == "inconclusive"
    hub.projects.change("main", Rules(noise=0.01, forest=True))
    transactions: list[int] = []
    hub.database.on_commit(lambda: transactions.append(1))
    recompute_verdicts(hub.database, hub.project)
    results = Results(hub.database, hub.project)
    assert {results.get(seq).verdict for seq in made} == {"refuted"}
    assert len(transactions) == 3


def test_tiers_are_recomputed(hub: Hub) -> None:
    """A result of an earlier name of its platform is compared, and handed out, by the new one."""
    seq = claimed(hub, platform="my-box").seq
    verified(hub, seq, "bob", 0.99, platform="H100")
    replication = Replication(hub.database, hub.project)
    assert replication.queue("h100") == ()
    hub.projects.change("main", Rules(forest=True, tiers={"my-box": "h100"}))
    recompute_tiers(hub.database, hub.project)
    assert [result.seq for result in replication.queue("h100")] == [seq]
    recompute_verdicts(hub.database, hub.project)
    results = Results(hub.database, hub.project)
    assert results.get(seq).verdict == "confirmed"
    hub.projects.change("main", Rules(forest=True, tiers={"my-box": "h100", "h100": "other"}))
    recompute_tiers(hub.database, hub.project)
    assert [found.tier for found in results.verifications(seq)] == ["other"]


def test_a_runner_is_trusted_by_what_the_admin_says_now(tmp_path: Path, lab: Repo) -> None:
    """Named and un-named: its verdicts are recomputed, and an unknown project is no matter."""
    with hub_in(tmp_path / "hub") as hub:
        lively(hub, lab)
        seq = _disputed(hub)
        assert hub.space().results.get(seq).runs == 6
        hub.set_runner("cyd")
        assert (found := hub.space().results.get(seq)).verdict == "confirmed" and found.runs == 3
        assert [each.runner for each in hub.space().results.verifications(seq)] == [True, False]
        hub.set_runner("cyd", False)
        assert hub.space().results.get(seq).runs == 6
        hub.change_project("main", Rules(noise=1.0, forest=True))
        assert hub.space().results.get(seq).verdict == "confirmed"


def _disputed(hub: Whole) -> int:
    """A result that cyd found again, and dan did not."""
    join(hub, "dan")
    space = hub.space()
    (found,) = space.leaderboard.best("h100")
    assert found.commit is not None
    tree = space.repository.commit_tree(found.commit)
    said = {"tree": tree, "platform": "H100"}
    assert space.results.verify(found.seq, "dan", values=[1.5] * 3, **said).verdict != "confirmed"
    return found.seq
