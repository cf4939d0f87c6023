"""Accounts: keys are shown once and kept hashed, and open what they say, no more and no longer."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenthub.errors import (
    BadInput,
    Conflict,
    Forbidden,
    HubError,
    Missing,
    Unauthorized,
    Unavailable,
)
from agenthub.records.agents import KEYS_EACH, Accounts, Caller, read_pepper
from agenthub.records.audit import Audit
from hub_records import NOON, PEPPER, Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with ada, bob and cyd."""
    made = Hub(tmp_path)
    yield made
    made.database.close()


def test_a_key_opens_its_agent(hub: Hub) -> None:
    """A key has its agent's id in it, and the usual scopes."""
    key = hub.accounts.register("dan_1.x-y", "192.0.2.1")
    assert key.startswith("ah_dan_1.x-y_") and len(key) == len("ah_dan_1.x-y_") + 43
    caller = hub.accounts.authenticate(key)
    assert caller.agent == "dan_1.x-y"
    assert caller.scopes == {"read", "push", "post", "verify"} and not caller.runner
    caller.need("push")
    with pytest.raises(Forbidden, match="needs the scope admin"):
        caller.need("admin")


@pytest.mark.parametrize(
    "key",
    ["", "x", "ah_ada_", "ah_ada_" + "A" * 43, "ah_nobody_" + "A" * 43, "\ud800", "é" * 60, "ah_"],
)
def test_what_is_no_key_opens_nothing(hub: Hub, key: str) -> None:
    """Whatever is sent, the answer is 401."""
    with pytest.raises(Unauthorized, match="not known"):
        hub.accounts.authenticate(key)


def test_a_key_with_another_id_opens_nothing(hub: Hub) -> None:
    """The id in it is part of the secret."""
    with pytest.raises(Unauthorized):
        hub.accounts.authenticate(hub.keys["ada"].replace("ah_ada_", "ah_bob_"))


def test_no_key_lies_in_the_database(hub: Hub) -> None:
    """Neither key nor invite nor admin key can be read from the data folder; nor checked by it."""
    invite = hub.accounts.invite()
    content = b"".join(path.read_bytes() for path in hub.path.parent.glob("hub.db*"))
    for secret in (*hub.keys.values(), invite, "a long admin key"):
        assert secret.encode() not in content and secret[-43:].encode() not in content
    other = Accounts(hub.database, b"q" * 32)
    with pytest.raises(Unauthorized):
        other.authenticate(hub.keys["ada"])


def test_a_key_is_rotated_and_revoked(hub: Hub) -> None:
    """The new one opens, the old one not after its grace; a revoked one never again."""
    accounts, old = hub.accounts, hub.keys["ada"]
    number = accounts.authenticate(old).key
    assert number is not None
    new = accounts.rotate("ada", number, grace=60)
    assert accounts.authenticate(old).agent == accounts.authenticate(new).agent == "ada"
    hub.clock.time += 60
    with pytest.raises(Unauthorized, match="revoked"):
        accounts.authenticate(old)
    with pytest.raises(Conflict, match="not in use"):
        accounts.rotate("ada", number)
    accounts.revoke("ada", number, grace=1000)  # what has ended does not begin again
    with pytest.raises(Unauthorized, match="revoked"):
        accounts.authenticate(old)
    with pytest.raises(Missing, match="no such key"):
        accounts.revoke("bob", number)


def test_the_admin_key_is_compared_whole_and_kept_hashed(hub: Hub) -> None:
    """It opens admin; a part, another case, or no admin key at all opens nothing."""
    caller = hub.accounts.authenticate("a long admin key")
    assert (caller.agent, caller.key, caller.scopes) == ("admin", None, {"admin", "read"})
    for wrong in ("a long admin ke", "a long admin key ", "A long admin key", "None", ""):
        with pytest.raises(Unauthorized):
            hub.accounts.authenticate(wrong)
        with pytest.raises(Unauthorized):
            Accounts(hub.database, PEPPER).authenticate(wrong)
    assert "a long admin key" not in str(vars(hub.accounts))
    with pytest.raises(BadInput, match="at least 16"):
        Accounts(hub.database, PEPPER, "short")


@pytest.mark.parametrize(
    "id", ["<script>\n../x", "", "a" * 64, "../x", "-a", "a b", "ä", "a\n", "admin", "Hub", "all"]
)
def test_an_admin_makes_no_agent_of_a_bad_id(hub: Hub, id: str) -> None:
    """The admin may use the same ids as others."""
    for make in (hub.accounts.add, hub.accounts.register):
        with pytest.raises((BadInput, Conflict)):
            make(id)


def test_an_id_is_taken_once(hub: Hub) -> None:
    """Case makes no difference, and of many at once one gets it."""
    for id in ("ada", "ADA"):
        with pytest.raises(Conflict, match="agent id already taken"):
            hub.accounts.register(id)
    made, refused = [], []

    def work() -> None:
        try:
            made.append(hub.accounts.register("eve"))
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(made), len(refused)) == (1, 11)


def test_registration_is_open_by_invite_or_closed(hub: Hub) -> None:
    """An invite makes one agent; a failed try does not use it up; the admin always may."""
    accounts = hub.accounts
    assert accounts.registration == "open"
    accounts.set_registration("invite")
    token, late = accounts.invite(note="for dan"), accounts.invite(expires=NOON + 10)
    for wrong in ("", "ahi_" + "A" * 43):
        with pytest.raises(Forbidden, match="needs an invite"):
            accounts.register("dan", invite=wrong)
    with pytest.raises(Conflict):
        accounts.register("ada", invite=token)
    assert accounts.authenticate(accounts.register("dan", invite=token)).agent == "dan"
    hub.clock.time += 10
    for used in (token, late):
        with pytest.raises(Forbidden, match="unused and not expired"):
            accounts.register("eve", invite=used)
    accounts.set_registration("closed")
    with pytest.raises(Forbidden, match="closed"):
        accounts.register("eve", invite=accounts.invite())
    accounts.add("eve")
    with pytest.raises(BadInput, match="open, invite, closed"):
        accounts.set_registration("maybe")


def test_a_key_ends_when_it_says(hub: Hub) -> None:
    """To the second."""
    key = hub.accounts.issue("ada", ["read"], expires=NOON + 10, label="ci")
    assert hub.accounts.authenticate(key).scopes == {"read"}
    hub.clock.time += 10
    with pytest.raises(Unauthorized, match="expired"):
        hub.accounts.authenticate(key)


def test_nobody_gives_what_he_has_not(hub: Hub) -> None:
    """A key makes keys of its own agent and of its own scopes; an admin any."""
    accounts = hub.accounts
    ada, admin = accounts.authenticate(hub.keys["ada"]), accounts.authenticate("a long admin key")
    reader = accounts.authenticate(accounts.issue("ada", ["read"], by=ada))
    for by, agent, scopes in (
        (reader, "ada", ["push"]),
        (ada, "bob", ["read"]),
        (ada, "ada", ["admin"]),
    ):
        with pytest.raises(Forbidden, match="what its maker holds"):
            accounts.issue(agent, scopes, by=by)
    accounts.authenticate(accounts.issue("bob", ["admin"], by=admin)).need("admin")
    for scopes in ([], ["fly"]):
        with pytest.raises(BadInput, match="Scopes are"):
            accounts.issue("ada", scopes)
    with pytest.raises(Missing):
        accounts.issue("nobody", ["read"])


def test_keys_are_listed_without_the_key(hub: Hub) -> None:
    """Their number is bounded; ended ones make room."""
    accounts = hub.accounts
    for _ in range(KEYS_EACH - 1):
        accounts.issue("ada", ["read"], label="x\u202e\n" * 50)
    with pytest.raises(Conflict, match="the most there may be"):
        accounts.issue("ada", ["read"])
    keys = accounts.keys("ada")
    assert len(keys) == KEYS_EACH and not hasattr(keys[0], "digest")
    assert len(keys[1].label) <= 60 and "\u202e" not in keys[1].label
    accounts.revoke("ada", keys[0].id)
    accounts.issue("ada", ["read"])


def test_last_use_is_written_once_a_minute(hub: Hub) -> None:
    """Often enough to see a forgotten key, seldom enough to cost nothing."""
    seen = []
    for _ in range(4):
        hub.accounts.authenticate(hub.keys["ada"])
        seen.append(hub.accounts.keys("ada")[0].last_used)
        hub.clock.time += 30
    assert seen == [NOON, NOON, NOON + 60, NOON + 60]


def test_a_disabled_agent_is_out_until_it_is_in_again(hub: Hub) -> None:
    """All of its keys at once."""
    hub.accounts.disable("ada")
    with pytest.raises(Unauthorized, match="disabled"):
        hub.accounts.authenticate(hub.keys["ada"])
    hub.accounts.disable("ada", False)
    hub.accounts.set_runner("ada")
    assert hub.accounts.authenticate(hub.keys["ada"]).runner
    with pytest.raises(Missing, match="no agent"):
        hub.accounts.disable("nobody")


def test_what_is_done_with_authority_is_on_record(hub: Hub) -> None:
    """Registered, disabled, rotated: in the chain, without a secret."""
    hub.accounts.disable("bob", actor="admin")
    hub.accounts.rotate("ada", hub.accounts.keys("ada")[0].id)
    audit = Audit(hub.database)
    assert audit.verify().sound
    entries = audit.page(limit=200)
    assert {"register", "key", "disabled", "revoke"} <= {entry.action for entry in entries}
    assert not any(key in str(entries) for key in hub.keys.values())


def test_agents_are_paged_in_the_order_they_came(hub: Hub) -> None:
    """At most as many as asked, and never more than 200."""
    first = hub.accounts.page(limit=2)
    assert [agent.id for agent in first] == ["ada", "bob"]
    assert [agent.id for agent in hub.accounts.page(first[-1].seq, limit=10**9)] == ["cyd"]
    assert hub.accounts.trust("ada").share is None


def test_a_pepper_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """Two that start at once have the same; it is 0600; half a one is an error."""
    path = tmp_path / "pepper"
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(read_pepper(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8 and set(found) == {path.read_bytes()} and len(found[0]) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"half")
    with pytest.raises(Unavailable, match="4 bytes"):
        read_pepper(path)


def test_errors_have_a_status(hub: Hub) -> None:
    """What is refused here is an answer for a client, with a status of HTTP."""
    with pytest.raises(HubError) as found:
        Caller("ada", 1, frozenset()).need("read")
    assert found.value.status == 403 and "do nothing" in str(found.value)
