"""Results: read from the line, ranked by tier, and true only when somebody else has run them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.errors import BadInput, Conflict, Forbidden, Missing
from agenthub.records.agents import Trust
from agenthub.records.board import Board
from agenthub.records.events import Events
from agenthub.records.projects import Rules
from agenthub.records.result_line import ResultLine, parse, written
from agenthub.records.results import Draft, Leaderboard, Result, Results
from agenthub.records.verdicts import Runs, pooled, runs_of, verdict_on
from agenthub.tiers import tier_of
from hub_records import Hub, digest, new

# ---- the line ----------------------------------------------------------------------------------

KEEP = "commit:a1b2c3d platform:H100 val_bpb:0.997900 vram_gb:44.0 | baseline"


def test_the_originals_lines_are_read() -> None:
    """A keep, a discard and a crash, as program_agenthub.md writes them."""
    assert parse(KEEP) == ResultLine("a1b2c3d", "H100", "val_bpb", 0.9979, 44.0, "keep", "baseline")
    line = "commit:b2c3d4e platform:M4-Max val_bpb:1.005 vram_gb:44.2 | switch to GeLU (DISCARD)"
    found = parse(line)
    assert found is not None and (found.status, found.value) == ("discard", 1.005)
    line = "commit:c3d4e5f platform:4090 val_bpb:--- vram_gb:--- | double width (CRASH: OOM)"
    found = parse(line)
    assert found is not None and (found.status, found.value, found.memory_gb) == (
        "crash",
        None,
        None,
    )
    assert found.description == "double width (CRASH: OOM)"


@pytest.mark.parametrize(
    "content",
    [
        f"  `{KEEP}`  ", f"- {KEEP}", f"**{KEEP}**", f"\n\n{KEEP}\nmore words", f"{KEEP}\r",
        KEEP.replace(" ", "   "), KEEP.replace("a1b2c3d", "A1B2C3D"),
    ],
)  # fmt: skip
def test_a_line_may_be_dressed(content: str) -> None:
    """Markdown around it, words below it."""
    found = parse(content)
    assert found is not None and (found.commit, found.value) == ("a1b2c3d", 0.9979)


@pytest.mark.parametrize(
    "content",
    [
        "", "hello", "commit:a1b2c3d", KEEP.replace("a1b2c3d", "a1b2c3"),
        KEEP.replace("0.997900", "nan"), KEEP.replace("0.997900", "inf"),
        KEEP.replace("0.997900", "1e999"), KEEP.replace("0.997900", "---"),
        KEEP.replace("44.0", "-1.0"), KEEP.replace("H100", "x" * 64), f"words\n{KEEP}",
        KEEP.replace("0.997900", "0.99 0.98"), KEEP.replace("|", ""), "commit:" * 10_000,
        "commit:a1b2c3d platform:" + " " * 30_000 + "val_bpb:1 vram_gb:1 | x", "٣" * 50,
        KEEP.replace("0.997900", "٣"),
    ],
)  # fmt: skip
def test_whatever_does_not_parse_is_just_a_post(content: str) -> None:
    """No error, no guess."""
    assert parse(content) is None


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    commit=st.text("0123456789abcdef", min_size=7, max_size=40),
    platform=st.sampled_from(["H100", "NVIDIA H100 80GB HBM3", "M4-Max", "4090"]),
    value=st.floats(allow_nan=False, allow_infinity=False),
    memory=st.none() | st.floats(0, 1e6),
    words=st.text(max_size=80),
    status=st.sampled_from(["keep", "discard", "crash"]),
)
def test_what_is_written_is_read(
    commit: str, platform: str, value: float, memory: float | None, words: str, status: str
) -> None:
    """Any line that we write reads back as it was, whatever its description holds."""
    end = {"keep": ".", "discard": "(DISCARD)", "crash": "(CRASH: oom)"}[status]
    described = f"{' '.join(words.split())} {end}".strip()
    number = None if status == "crash" else value
    line = ResultLine(commit, platform, "val_bpb", number, memory, status, described)
    found = parse(written(line))
    assert found is not None
    assert replace(found, description="") == replace(line, description="")


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Alone, or within a line."""
    parse(text)
    parse(f"commit:a1b2c3d platform:{text} val_bpb:{text} vram_gb:1 | {text}")


@pytest.mark.parametrize(
    ("platform", "tier"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"), ("H100", "h100"), ("H100 SXM5 80GB", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"), ("4090", "rtx4090"), ("RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"), ("RTX 4070 Ti SUPER", "rtx4070tisuper"),
        ("GTX 1080 Ti", "gtx1080ti"), ("M4-Max", "m4max"), ("Apple M4 Max", "m4max"),
        ("AMD Instinct MI300X", "mi300x"), ("Tesla T4", "t4"), ("NVIDIA B200", "b200"),
        ("NVIDIA L40S", "l40s"), ("NVIDIA H200", "h200"), ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA RTX A6000", "rtxa6000"), ("cpu", "cpu"), ("TPU v5e", "tpuv5e"),
        ("8xH100", "8xh100"), ("My  Strange Box", "my strange box"), ("MY-BOX", "h100"),
        ("RTX 4090 Laptop GPU", "rtx4090laptop"), ("GPU", "gpu"),
    ],
)  # fmt: skip
def test_platforms_have_tiers(platform: str, tier: str) -> None:
    """However it is written; what is not known is itself."""
    assert tier_of(platform, {"my-box": "h100"}) == tier


# ---- the rule ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "values", "noise", "verdict"),
    [
        (1.0, [], 0.0, "claimed"),
        (1.0, [1.001, 0.999, 1.0], 0.0, "confirmed"),
        (1.0, [0.9], 0.0, "confirmed"),  # better than claimed
        (1.0, [1.1], 0.0, "inconclusive"),  # one run, and nobody knows the noise
        (1.0, [1.1, 1.1], 0.0, "inconclusive"),  # two are too few without it
        (1.0, [1.1], 0.01, "refuted"),
        (1.0, [1.015], 0.01, "inconclusive"),
        (1.0, [1.01], 0.01, "confirmed"),
        (1.0, [1.1, 1.101, 1.099], 0.0, "refuted"),
        (1.0, [1.01, 1.02, 1.00, 1.03], 0.0, "inconclusive"),  # the claim was a lucky run
        (1.0, [0.1, 100.0], 0.0, "inconclusive"),  # a spread that would confirm anything
        (1.0, [1.000001, 1.000001, 1.000001], 0.0, "confirmed"),  # rounded when printed
        (-1.0, [-0.9, -0.9, -0.9], 0.0, "refuted"),
        (0.0, [0.0, 0.0], 0.0, "confirmed"),
    ],
)
def test_the_rule(claim: float, values: list[float], noise: float, verdict: str) -> None:
    """Where lower is better, and the mirror image where higher is."""
    parts = [runs_of(values)] if values else []
    assert verdict_on(claim, "lower", parts, noise).word == verdict
    mirrored = [runs_of([-value for value in values])] if values else []
    assert verdict_on(-claim, "higher", mirrored, noise).word == verdict


def test_an_honest_claim_is_seldom_refuted_and_a_false_one_is() -> None:
    """Where nobody knows the noise: single runs as claims, and up to three verifiers of three."""

    def verdict_of(bias: float, dice: random.Random) -> str:
        claim = dice.gauss(1.0, 0.002) - bias * 0.002
        parts: list[Runs] = []
        while len(parts) < 3:
            parts.append(runs_of([dice.gauss(1.0, 0.002) for _ in range(3)]))
            word = verdict_on(claim, "lower", parts, 0.0).word
            if word != "inconclusive":
                return word
        return "inconclusive"

    dice = random.Random(7)
    honest = Counter(verdict_of(0.0, dice) for _ in range(2000))
    false = Counter(verdict_of(8.0, dice) for _ in range(500))
    assert honest["refuted"] <= 60, honest  # 3 %; with 2 for every q it was 11 %
    assert honest["confirmed"] >= 1500, honest
    assert false["refuted"] >= 490, false


def test_a_trusted_runner_counts_alone() -> None:
    """Its runs against any number of others'."""
    liars = [Runs(64, 1.5, 0.001), Runs(64, 1.5, 0.001)]
    trusted = Runs(3, 1.0, 0.001, trusted=True)
    assert verdict_on(1.0, "lower", liars, 0).word == "refuted"
    found = verdict_on(1.0, "lower", [*liars, trusted], 0)
    assert (found.word, found.runs, found.mean) == ("confirmed", 3, 1.0)


sane = st.floats(-1e6, 1e6)


@given(st.lists(st.lists(sane, min_size=1, max_size=5), min_size=1, max_size=4))
def test_pooled_runs_are_as_if_one_had_made_them(groups: list[list[float]]) -> None:
    """Mean and standard deviation of all values together."""
    every = [value for group in groups for value in group]
    both, one = pooled([runs_of(group) for group in groups]), runs_of(every)
    assert both.runs == one.runs == len(every)
    assert math.isclose(both.mean, one.mean, rel_tol=1e-9, abs_tol=1e-6)
    if len(every) > 1:
        assert both.sd is not None and one.sd is not None
        assert math.isclose(both.sd, one.sd, rel_tol=1e-6, abs_tol=1e-3)


# ---- records -----------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with a root and a commit of ada's."""
    made = Hub(tmp_path)
    made.push(new("root"), new("a", "root"))
    yield made
    made.database.close()


@pytest.fixture
def results(hub: Hub) -> Results:
    """The default project's results."""
    return Results(hub.database, hub.project)


def draft(name: str, value: float | None = 0.99, **other: Any) -> Draft:
    """A result of a commit called by a name."""
    return Draft(
        **{"commit": digest(name), "platform": "H100", "status": "keep", **other, "value": value}
    )


def verified(results: Results, result: int, verifier: str, *values: float, **other: Any) -> Result:
    """A result after somebody ran the commit called a again."""
    said = {"tree": digest("tree of a"), "platform": "NVIDIA H100 80GB HBM3", **other}
    return results.verify(result, verifier, values=values, **said)


def test_a_result_is_a_record(results: Results) -> None:
    """Its commit whole, its tier, its fields as given; claimed, and waiting for somebody else."""
    made = results.record(
        "ada", draft("a", memory_gb=44.5, seconds=300.0, seed=7, description="Mu\u202eon")
    )
    assert (made.commit, made.value, made.tier) == (digest("a"), 0.99, "h100")
    assert (made.memory_gb, made.seconds, made.seed) == (44.5, 300.0, 7)
    assert (made.description, made.source, made.direction) == ("Muon", "api", "lower")
    assert (made.verdict, made.runs, made.waiting) == ("claimed", 0, True)
    assert results.get(made.seq) == made == results.page()[0] == results.of_commit(digest("a"))[0]
    assert (
        results.record("ada", draft("a", None, status="crash", commit=digest("a")[:7])).value
        is None
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": None}, {"value": math.nan}, {"value": math.inf}, {"status": "best"},
        {"memory_gb": -1.0}, {"seconds": math.inf}, {"seed": 1 << 63}, {"metric": "loss"},
        {"platform": ""}, {"platform": "a|b"}, {"commit": "abc"},
    ],
)  # fmt: skip
def test_a_bad_result_is_refused(results: Results, wrong: dict[str, Any]) -> None:
    """With a word on what is allowed, and nothing written."""
    with pytest.raises(BadInput):
        results.record("ada", replace(draft("a"), **wrong))
    assert results.page() == ()


def test_a_commit_that_is_not_there_has_no_result(results: Results) -> None:
    """Through the API it is Missing."""
    with pytest.raises(Missing):
        results.record("ada", draft("nothing"))


def test_a_posted_line_is_a_result(hub: Hub, results: Results) -> None:
    """In the project's metric; other posts are posts; the post is named."""
    board = Board(hub.database, hub.project)
    board.create("results", "", "ada")

    def posted(text: str) -> Result | None:
        post = board.post("results", "ada", text)
        found = results.from_post("ada", post.content, post.id)
        assert found is None or found.post == post.id
        return found

    found = posted(KEEP.replace("a1b2c3d", digest("a")[:7]))
    assert found is not None and (found.commit, found.source) == (digest("a"), "post")
    assert posted(KEEP.replace("val_bpb", "loss")) is None
    assert posted(KEEP.replace("H100", "<b>")) is None
    assert posted("just words") is None
    assert len(results.page()) == 1


def test_a_line_before_its_push_is_settled_by_it(hub: Hub, results: Results) -> None:
    """The original's protocol posts first and pushes then; what is never pushed stays open."""
    line = KEEP.replace("a1b2c3d", digest("later")[:8])
    early = results.from_post("ada", line, None)
    never = results.from_post("ada", KEEP, None)
    assert early is not None and never is not None
    assert (early.commit, early.waiting) == (None, False)
    assert Leaderboard(hub.database, hub.project).best(replicated=False) == ()
    assert results.settle([digest("later")]) == 0  # it is not pushed yet
    hub.push(new("later", "a"))
    assert results.settle([digest("root"), digest("later")]) == 1
    found = results.get(early.seq)
    assert (found.commit, found.waiting) == (digest("later"), True)
    assert results.get(never.seq).commit is None
    assert Leaderboard(hub.database, hub.project).best(replicated=False) == (found,)


def test_only_somebody_else_verifies_and_only_the_same_tree(hub: Hub, results: Results) -> None:
    """Neither the claimant nor the commit's agent; not another tree; not twice; not a discard."""
    seq = results.record("bob", draft("a")).seq
    for part in ("ada", "bob"):
        with pytest.raises(Forbidden, match="another agent must"):
            verified(results, seq, part, 0.99)
    with pytest.raises(Conflict, match="Another tree") as found:
        verified(results, seq, "cyd", 0.99, tree=digest("other"))
    assert found.value.details == {"tree": digest("tree of a")}
    for bad in ([], [math.nan], [math.inf], [1.0] * 65):
        with pytest.raises(BadInput):
            verified(results, seq, "cyd", *bad)
    verified(results, seq, "cyd", 0.99)
    with pytest.raises(Conflict, match="already"):
        verified(results, seq, "cyd", 0.98)
    discard = results.record("bob", draft("a", status="discard")).seq
    with pytest.raises(Conflict, match="discard"):
        verified(results, discard, "cyd", 0.99)


def test_a_claim_is_confirmed_refuted_or_neither(hub: Hub, results: Results) -> None:
    """The hub computes it from the numbers and says so in an event; trust follows."""
    start = Events(hub.database).head()
    one, two, three = (
        results.record("ada", draft("a", value)).seq for value in (0.99, 0.5, 0.9895)
    )
    found = verified(results, one, "bob", 0.9901, 0.9899, 0.9902)
    assert (found.verdict, found.runs, found.waiting) == ("confirmed", 3, False)
    assert found.mean == pytest.approx(2.9702 / 3) and found.sd == pytest.approx(1.527525e-4)
    assert verified(results, two, "bob", 0.99, 0.991, 0.989).verdict == "refuted"
    found = verified(results, three, "bob", 0.99)
    assert (found.verdict, found.waiting) == ("inconclusive", True)
    told = Events(hub.database).since(start, kinds=["verdict"]).events
    assert [event.ref for event in told] == [str(one), str(two), str(three)]
    trust = hub.accounts.trust("ada")
    assert (trust.results, trust.confirmed, trust.refuted, trust.inconclusive) == (3, 1, 1, 1)
    assert (trust.clear, trust.share) == (2, None)


@pytest.mark.parametrize(
    ("confirmed", "refuted", "share"),
    [(0, 0, None), (1, 0, None), (4, 0, None), (5, 0, 1.0), (4, 1, 0.8), (0, 5, 0.0)],
)
def test_trust_needs_five_clear_verdicts(confirmed: int, refuted: int, share: float | None) -> None:
    """One confirmed baseline says nothing of an agent, and the undecided do not count."""
    assert Trust(20, confirmed, refuted, 10).share == share


def test_runs_on_another_tier_are_noted_and_do_not_count(results: Results) -> None:
    """A laptop says nothing of an H100."""
    seq = results.record("ada", draft("a")).seq
    found = verified(results, seq, "bob", 2.0, 2.0, 2.0, platform="4090")
    assert (found.verdict, found.runs) == ("claimed", 0) and found.waiting
    (noted,) = results.verifications(seq)
    assert (noted.tier, noted.values, noted.mean) == ("rtx4090", (2.0, 2.0, 2.0), 2.0)


def test_a_runner_turns_what_others_said(hub: Hub, results: Results) -> None:
    """Its runs count alone, whatever others measured before."""
    seq = results.record("ada", draft("a")).seq
    assert verified(results, seq, "bob", 1.5, 1.5, 1.5).verdict == "refuted"
    hub.accounts.set_runner("cyd")
    assert verified(results, seq, "cyd", 0.988, 0.992).verdict == "confirmed"
    assert results.noise("h100") == 0  # one degree of freedom
    hub.projects.change("main", Rules(noise=0.25, forest=True))
    assert results.noise("h100") == 0.25


def by_runner(results: Results, agent: str, sd: float, count: int, seed: int = 1) -> Counter[str]:
    """Verdicts on honest claims of one run each, after three runs of a trusted runner, cyd."""
    drawn = random.Random(seed)
    verdicts: Counter[str] = Counter()
    for _ in range(count):
        value, *runs = (drawn.gauss(0.99, sd) for _ in range(4))
        seq = results.record(agent, draft("a", value)).seq
        verdicts[verified(results, seq, "cyd", *runs).verdict] += 1
    return verdicts


def test_a_runner_seldom_refutes_what_is_honest(hub: Hub, results: Results) -> None:
    """The noise that it shows is two standard deviations, known from ten degrees of freedom on."""
    hub.accounts.set_runner("cyd")
    verdicts = by_runner(results, "ada", 0.002, 4)
    assert results.noise("h100") == 0
    verdicts += by_runner(results, "ada", 0.002, 146, seed=2)
    assert results.noise("h100") == pytest.approx(0.004, rel=0.1)
    assert results.noise("a100") == 0
    assert verdicts["refuted"] <= 1 and verdicts["confirmed"] >= 140


def test_a_result_does_not_count_for_its_own_noise(hub: Hub, results: Results) -> None:
    """Runs far apart say little of their own claim; those of others say what is usual."""
    hub.accounts.set_runner("cyd")
    by_runner(results, "ada", 0.002, 5)
    seq = results.record("ada", draft("a", 0.93)).seq
    assert verified(results, seq, "cyd", *[0.955, 0.985] * 32).verdict == "refuted"


def test_a_random_program_does_not_poison_the_noise(hub: Hub, results: Results) -> None:
    """Wild runs are left out; an agent whose programs are wilder than others' is one of several."""
    hub.accounts.set_runner("cyd")
    hub.accounts.add("mallory")
    for seed, agent in enumerate(("ada", "bob")):
        by_runner(results, agent, 0.002, 20, seed)
    usual = results.noise("h100")
    by_runner(results, "mallory", 0.5, 10)
    assert results.noise("h100") == usual
    by_runner(results, "mallory", 0.03, 10)
    assert results.noise("h100") == pytest.approx(0.004, rel=0.2)


def test_noise_that_a_claim_cannot_bear_is_not_known(hub: Hub, results: Results) -> None:
    """Over 5 % of the claim it counts as unknown; what the admin set stands."""
    hub.accounts.set_runner("cyd")
    by_runner(results, "ada", 0.03, 20)
    assert results.noise("h100") > 0.05
    for_ten, for_one = (results.record("ada", draft("a", value)).seq for value in (9.0, 0.9))
    assert verified(results, for_one, "cyd", 0.947, 0.9471).verdict == "inconclusive"
    assert verified(results, for_ten, "cyd", 9.3, 9.3).verdict == "refuted"
    hub.projects.change("main", Rules(noise=0.1, forest=True))
    small = results.record("ada", draft("a", 0.01)).seq
    assert verified(results, small, "cyd", 0.1, 0.1).verdict == "confirmed"


def test_a_verdict_is_recomputed_when_the_noise_is_known(hub: Hub, results: Results) -> None:
    """One run could not refute; with the admin's word on the noise it does, once recomputed."""
    seq = results.record("ada", draft("a")).seq
    assert verified(results, seq, "bob", 1.1).verdict == "inconclusive"
    hub.projects.change("main", Rules(noise=0.01, forest=True))
    assert results.get(seq).verdict == "inconclusive"
    unpushed = results.from_post("ada", KEEP, None)
    discard = results.record("ada", draft("a", status="discard"))
    assert unpushed is not None
    results.update_verdicts([seq, unpushed.seq, discard.seq])
    assert results.get(seq).verdict == "refuted"
    assert [results.get(each.seq) for each in (unpushed, discard)] == [unpushed, discard]


def test_boards_rank_by_tier_and_direction(hub: Hub, results: Results) -> None:
    """Replicated by what was measured again, claimed without what was refuted; a commit once."""
    board = Leaderboard(hub.database, hub.project)
    hub.push(*[new(f"b{n}", "a", tree="tree of a") for n in range(4)])
    made = [results.record("ada", draft(f"b{n}", 0.99 - n / 100)) for n in range(4)]
    results.record("ada", draft("b3", 0.97))
    other = results.record("ada", draft("b0", 0.1, platform="4090"))
    results.record("ada", draft("b1", 0.2, status="discard"))
    assert board.best("h100") == ()
    verified(results, made[0].seq, "bob", 0.95)
    verified(results, made[1].seq, "bob", 0.96)
    verified(results, made[3].seq, "bob", 1.5, 1.5, 1.51)
    assert [r.seq for r in board.best("h100")] == [made[0].seq, made[1].seq]
    claimed = board.best("h100", replicated=False)
    assert [r.value for r in claimed] == [0.97, 0.97, 0.98, 0.99]
    assert [r.commit for r in claimed][:2] == [digest("b2"), digest("b3")]
    assert board.best(None, replicated=False, limit=1) == (other,)
    assert [(t.tier, t.claimed, t.confirmed) for t in board.tiers()] == [
        ("h100", 5, 2), ("rtx4090", 1, 0),
    ]  # fmt: skip


def test_the_staircase_is_what_was_best_when_it_came(hub: Hub, results: Results) -> None:
    """Each step better than all before, in order of arrival; where higher is better too."""
    values = [0.99, 0.98, 0.985, 0.98, 0.97, 0.99]
    for value in values:
        results.record("ada", draft("a", value))
    board = Leaderboard(hub.database, hub.project)
    assert [r.value for r in board.staircase("h100", replicated=False)] == [0.99, 0.98, 0.97]
    assert [r.value for r in board.staircase("h100", replicated=False, limit=2)] == [0.98, 0.97]
    assert board.staircase("h100") == ()
    up = hub.projects.create("up", Rules(metric="acc", direction="higher")).id
    hub.push(new("root"), new("a", "root"), project=up)
    more = Results(hub.database, up)
    for value in values:
        more.record("ada", draft("a", value))
    found = Leaderboard(hub.database, up).staircase("h100", replicated=False)
    assert [r.value for r in found] == [0.99]
    assert Leaderboard(hub.database, up).best("h100", replicated=False)[0].value == 0.99
    assert verified(more, 7, "bob", 1.2).verdict == "confirmed"


def test_listings_of_results_are_capped(hub: Hub, results: Results) -> None:
    """200, and by agent."""
    with hub.database.write():
        for _ in range(205):
            results.record("ada", draft("a"))
    mine = results.record("bob", draft("a"))
    assert len(results.page(10**9)) == len(results.of_commit(digest("a"), 10**9)) == 200
    assert results.page(agent="bob") == (mine,)
    assert len(Leaderboard(hub.database, hub.project).best("h100", replicated=False)) == 1
    with pytest.raises(Missing):
        results.get(10**30)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_who_says_many_numbers_overturns_no_verdict(noise: float) -> None:
    """A true claim is not refuted, nor a false one confirmed, by 64 numbers of one agent."""
    honest = [runs_of([1.0, 1.01, 0.99]), runs_of([1.0, 1.0, 1.01])]
    assert verdict_on(1.0, "lower", honest, noise).word == "confirmed"
    for lie in (1.5, 1.2, 1.1):
        liar = runs_of([lie] * 64)
        assert verdict_on(1.0, "lower", [*honest, liar], noise).word != "refuted"
    for lie in (0.5, 0.4, 0.1):
        liar = runs_of([lie] * 64)
        assert verdict_on(0.5, "lower", [honest[0], liar], noise).word != "confirmed"
