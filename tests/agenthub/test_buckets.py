"""Buckets and quotas: nobody takes more than there is, whether it worked or not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenthub.errors import TooLarge, TooMany
from agenthub.records.buckets import Buckets, Limit, Quotas, address_subject
from agenthub.records.database import Database
from hub_records import Clock, taken_back


@pytest.fixture
def clock() -> Clock:
    """Time, turned by hand."""
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    """A fresh database."""
    with closing(Database(tmp_path / "hub.db", clock)) as made:
        yield made


TEN = Limit(10, 100)


def test_a_bucket_empties_and_fills_again(database: Database, clock: Clock) -> None:
    """All may come at once; then as time brings them back, and the answer says when."""
    buckets = Buckets(database)
    assert [buckets.take("agent:ada", "push", TEN) for _ in range(10)] == list(range(9, -1, -1))
    for _ in range(3):
        with pytest.raises(TooMany, match=r"push is limited to 10 in 100 seconds") as found:
            buckets.take("agent:ada", "push", TEN)
        assert found.value.retry_after == 10
    clock.time += 9.5
    with pytest.raises(TooMany) as found:
        buckets.take("agent:ada", "push", TEN)
    assert found.value.retry_after == 1
    clock.time += 0.5
    buckets.take("agent:ada", "push", TEN)
    clock.time += 10_000
    assert buckets.take("agent:ada", "push", TEN) == 9  # no more than a full one
    assert buckets.take("agent:bob", "push", TEN) == buckets.take("agent:ada", "post", TEN) == 9


def test_bytes_are_taken_as_requests_are(database: Database) -> None:
    """A cost of any size; one that no bucket could hold is too large, not too many."""
    buckets, limit = Buckets(database), Limit(1_000_000, 3600)
    assert buckets.take("agent:ada", "bytes", limit, 600_000) == 400_000
    with pytest.raises(TooMany) as found:
        buckets.take("agent:ada", "bytes", limit, 600_000)
    assert found.value.retry_after == 720
    with pytest.raises(TooLarge, match="1,000,000"):
        buckets.take("agent:ada", "bytes", limit, 1_000_001)


def test_what_fails_is_counted(database: Database) -> None:
    """A bucket is taken from before the work: failing gives nothing back, and may cost more."""
    buckets = Buckets(database)
    for _ in range(4):
        buckets.take("agent:ada", "push", TEN)
        with taken_back(database):
            pass
    assert buckets.take("agent:ada", "push", TEN) == 5
    assert buckets.charge("agent:ada", "push", TEN, 20) == -15
    with pytest.raises(TooMany) as found:
        buckets.take("agent:ada", "push", TEN)
    assert found.value.retry_after == 160
    with pytest.raises(RuntimeError, match="before a transaction"), database.write():
        buckets.take("agent:bob", "push", TEN)


def test_sixteen_at_once_take_no_more_than_there_is(database: Database) -> None:
    """Check and count are one statement: of 64 requests, ten get through."""
    buckets, allowed, refused = Buckets(database), [], []

    def work() -> None:
        for _ in range(4):
            try:
                allowed.append(buckets.take("agent:ada", "push", TEN))
            except TooMany as error:
                refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(allowed), len(refused)) == (10, 54)


def test_buckets_outlive_the_process_and_full_ones_go(tmp_path: Path, clock: Clock) -> None:
    """A restart gives nothing back; those that are full again are forgotten."""
    path = tmp_path / "hub.db"
    with closing(Database(path, clock)) as database:
        Buckets(database).take("agent:ada", "push", TEN, 10)
    with closing(Database(path, clock)) as database:
        buckets = Buckets(database)
        with pytest.raises(TooMany):
            buckets.take("agent:ada", "push", TEN)
        assert buckets.sweep() == 0
        clock.time += 100
        assert buckets.sweep() == 1


def test_a_clock_that_is_set_back_locks_nobody_out(database: Database, clock: Clock) -> None:
    """After a jump back tokens come again at their rate from then on."""
    buckets = Buckets(database)
    buckets.take("agent:ada", "push", TEN, 10)
    clock.time -= 1_000_000
    with pytest.raises(TooMany):
        buckets.take("agent:ada", "push", TEN)
    clock.time += 10
    buckets.take("agent:ada", "push", TEN)


steps = st.lists(
    st.tuples(st.sampled_from(["take", "charge", "wait"]), st.integers(1, 12)), max_size=40
)


@given(steps=steps, capacity=st.integers(1, 12), seconds=st.integers(1, 50))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_bucket_is_what_arithmetic_says(
    database: Database, clock: Clock, steps: list[tuple[str, int]], capacity: int, seconds: int
) -> None:
    """Against a model in Python: whatever comes in whatever order, the same is let through."""
    with database.write() as connection:
        connection.execute("DELETE FROM buckets")
    buckets, limit, held = Buckets(database), Limit(capacity, seconds), float(capacity)
    for verb, amount in steps:
        if verb == "wait":
            clock.time += amount
            held = min(capacity, held + amount * capacity / seconds)
        elif verb == "charge":
            held -= amount
            assert buckets.charge("a", "b", limit, amount) == pytest.approx(held)
        elif amount > capacity:
            with pytest.raises(TooLarge):
                buckets.take("a", "b", limit, amount)
        elif held >= amount + 1e-6:
            held -= amount
            assert buckets.take("a", "b", limit, amount) == pytest.approx(held, abs=1e-6)
        elif held < amount - 1e-6:
            with pytest.raises(TooMany) as found:
                buckets.take("a", "b", limit, amount)
            assert found.value.retry_after >= (amount - held) * seconds / capacity - 1e-6


# ---- quotas ------------------------------------------------------------------------------------


def test_stored_bytes_are_counted_with_what_is_stored(database: Database) -> None:
    """Within the transaction: over the quota nothing is counted, and what fails is not either."""
    quotas = Quotas(database)
    assert quotas.add("agent:ada", 600, 1000) == 600
    with pytest.raises(TooLarge, match="1,200 bytes, and 1,000") as found:
        quotas.add("agent:ada", 600, 1000)
    assert found.value.details == {"used": 600, "quota": 1000}
    with taken_back(database):
        quotas.add("agent:ada", 100, 1000)
    assert quotas.used("agent:ada") == 600 and quotas.used("project:1") == 0
    assert quotas.add("agent:ada", -1000, 1) == 0
    assert quotas.add("agent:ada", 5) == 5


# ---- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("192.0.2.7", "ip:192.0.2.7"),
        ("2001:db8:1:2::1", "ip:2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "ip:2001:db8:1:2::/64"),
        ("[2001:db8:1:3::1]", "ip:2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "ip:192.0.2.7"),
        ("fe80::1%eth0", "ip:fe80::/64"),
        ("::1", "ip:::/64"),
        ("", "ip:unknown"),
        ("testclient", "ip:unknown"),
    ],
)
def test_strangers_do_not_share_a_bucket(address: str, subject: str) -> None:
    """One bucket for an IPv4 address or an IPv6 /64, not one for whatever stands before a colon."""
    assert address_subject(address) == subject
