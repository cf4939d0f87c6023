"""Events and audit: one order for everybody, and a log that cannot be rewritten unseen."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agenthub.records.audit import Audit
from agenthub.records.database import Database
from agenthub.records.events import Event, Events
from hub_records import NOON, Hub, taken_back


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh database."""
    with closing(Database(tmp_path / "hub.db", lambda: float(NOON))) as made:
        yield made


# ---- events ------------------------------------------------------------------------------------


def test_events_come_in_order_and_each_once(database: Database) -> None:
    """A reader that asks with the cursor it got sees everything once, whatever its page."""
    events = Events(database)
    for number in range(23):
        events.append("post", number, "ada")
    for limit in (1, 5, 23, 200):
        cursor, seen = 0, []
        while (page := events.since(cursor, limit)).events:
            assert len(page.events) <= limit and not page.missed
            seen += [event.ref for event in page.events]
            cursor = page.cursor
        assert seen == [str(number) for number in range(23)]
    assert events.since(0, 1).events == (Event(1, None, "post", "0", "ada", NOON),)
    assert events.since(23).cursor == events.since(99).cursor - 76 == 23


def test_a_filter_does_not_look_at_the_same_again(tmp_path: Path) -> None:
    """The cursor passes what was not asked for; kinds and project choose."""
    hub = Hub(tmp_path)
    events, start = Events(hub.database), Events(hub.database).head()
    events.append("post", 1, "ada", hub.project)
    events.append("claim", 2, "ada", hub.project)
    events.append("post", 3, "ada")
    page = events.since(start, kinds=["claim", "lease"])
    assert [event.ref for event in page.events] == ["2"] and page.cursor == start + 3
    assert [event.ref for event in events.since(start, project=hub.project).events] == ["1", "2"]
    assert events.since(start, kinds=["x' OR 1=1 --"]).events == ()
    hub.database.close()


def test_an_event_is_there_only_with_what_it_tells(database: Database) -> None:
    """It is part of the transaction: taken back with it, and its number is not seen either."""
    events = Events(database)
    with taken_back(database):
        events.append("post", 1, "ada")
    assert events.since(0) == events.since(0, 1)
    assert events.head() == 0 and events.since(0).events == ()


def test_the_oldest_events_go_and_their_reader_is_told(database: Database) -> None:
    """About the newest so many stay; numbers go on; a cursor before them hears that it missed."""
    events = Events(database, keep=100)
    for number in range(600):
        events.append("post", number, "ada")
    assert 100 <= database.number("SELECT count(*) FROM events") <= 100 + 256
    page = events.since(0, 1)
    assert page.missed and page.events[0].seq > 1
    assert not events.since(599).missed and events.since(599).events[0].ref == "599"


def test_a_waiter_is_woken(database: Database) -> None:
    """What appends wakes who waits, and the event is there to be read."""
    events, woken = Events(database), threading.Event()
    database.on_commit(woken.set)
    thread = threading.Thread(target=lambda: events.append("post", 7, "ada"))
    thread.start()
    assert woken.wait(30)
    thread.join()
    assert events.since(0).events[0].ref == "7"


# ---- audit -------------------------------------------------------------------------------------


def tampered(database: Database, sql: str) -> None:
    """What somebody does who holds the file."""
    with closing(sqlite3.connect(database.path)) as other:
        other.execute("DROP TRIGGER IF EXISTS audit_stays")
        other.execute("DROP TRIGGER IF EXISTS audit_is_kept")
        other.execute(sql)
        other.commit()


@pytest.fixture
def audit(database: Database) -> Audit:
    """A log of five rows."""
    made = Audit(database)
    for number in range(5):
        made.append("admin", "disable", f"agent-{number}", why="spam ✓", at=number)
    return made


def test_a_log_as_written_is_sound(audit: Audit) -> None:
    """Rows read back as they were written; the walk finds no fault."""
    found = audit.verify()
    assert (found.rows, found.broken, found.sound) == (5, None, True)
    newest = audit.page(limit=2)
    assert [entry.seq for entry in newest] == [5, 4] and newest[0].hash == found.head
    assert newest[0].detail == {"why": "spam ✓", "at": 4} and newest[0].subject == "agent-4"
    assert [entry.seq for entry in audit.page(before=4)] == [3, 2, 1]


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ("UPDATE audit SET subject = 'agent-9' WHERE seq = 3", 3),
        ("UPDATE audit SET detail = '{}' WHERE seq = 1", 1),
        ("UPDATE audit SET time = time + 1 WHERE seq = 5", 5),
        ("UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 1) WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq >= 4", 4),
        ("INSERT INTO audit SELECT 6, time, actor, action, subject, detail, hash FROM audit "
         "WHERE seq = 5", 6),
    ],
)  # fmt: skip
def test_whatever_is_rewritten_is_found(
    audit: Audit, database: Database, sql: str, broken: int
) -> None:
    """Changed, taken out, put in, cut off: the first row that is wrong is named."""
    tampered(database, sql)
    assert audit.verify().broken == broken


def test_the_log_is_only_added_to(audit: Audit, database: Database) -> None:
    """SQLite itself refuses to change or remove a row."""
    for sql in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with (
            pytest.raises(sqlite3.IntegrityError, match="only added to"),
            database.write() as connection,
        ):
            connection.execute(sql)
    assert audit.verify().sound


def test_writers_at_once_make_one_chain(audit: Audit, database: Database) -> None:
    """Eight threads append; no link is lost."""
    threads = [
        threading.Thread(target=lambda: [audit.append("a", "b") for _ in range(10)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (audit.verify().rows, audit.verify().sound) == (85, True)
