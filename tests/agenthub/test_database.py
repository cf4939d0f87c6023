"""Database: one writer, readers on the side, and what was acknowledged is there afterwards."""

from __future__ import annotations

import gc
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agenthub.errors import BadInput, Unavailable
from agenthub.records.database import Database
from agenthub.records.schema import MIGRATIONS, VERSION, statements
from hub_records import Hub, taken_back


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh database."""
    with closing(Database(tmp_path / "hub.db")) as made:
        yield made


def put(database: Database, key: str, *, durable: bool = True) -> None:
    """Write one fact."""
    with database.write(durable=durable) as connection:
        connection.execute("INSERT INTO facts VALUES (?, 'x')", (key,))


def facts(database: Database) -> list[str]:
    """All facts."""
    return [row["key"] for row in database.rows("SELECT key FROM facts ORDER BY key")]


def in_threads(count: int, work: object) -> list[BaseException]:
    """Run work(n) in so many threads at once; what they raised."""
    raised: list[BaseException] = []
    together = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            together.wait(30)
            work(number)  # type: ignore[operator]
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_every_connection_has_the_same_rules(database: Database) -> None:
    """The writer and the readers of all threads: foreign keys, patience, WAL."""
    seen: list[tuple[object, ...]] = []

    def look(connection: sqlite3.Connection) -> None:
        names = ("foreign_keys", "busy_timeout", "journal_mode", "query_only")
        seen.append(tuple(connection.execute(f"PRAGMA {n}").fetchone()[0] for n in names))

    assert in_threads(3, lambda _: look(database.read())) == []
    assert seen == [(1, 10_000, "wal", 1)] * 3
    with database.write() as connection:
        look(connection)
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert seen[-1] == (1, 10_000, "wal", 0)


def test_sixteen_threads_write_without_an_error(database: Database) -> None:
    """No caller gets `database is locked`, and nothing is lost."""

    def work(number: int) -> None:
        for turn in range(25):
            put(database, f"{number}-{turn}", durable=turn % 2 == 0)
            assert f"{number}-{turn}" in facts(database)

    assert in_threads(16, work) == []
    assert len(facts(database)) == 400


def test_two_processes_write(database: Database) -> None:
    """Another process that writes the same file waits its turn, and so do we."""
    program = (
        "import sys; from pathlib import Path; from agenthub.records.database import Database\n"
        "d = Database(Path(sys.argv[1]))\n"
        "for n in range(200):\n"
        "    with d.write() as c: c.execute('INSERT INTO facts VALUES (?, 1)', (f'other {n}',))\n"
        "d.close()"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(database.path)])
    for number in range(200):
        put(database, f"mine {number}")
    assert other.wait(60) == 0
    assert len(facts(database)) == 400


def test_an_error_takes_all_of_it_back(database: Database) -> None:
    """A transaction is whole or not at all; one inside another can be undone alone."""
    with taken_back(database):
        put(database, "a")
    assert facts(database) == []
    with database.write():
        put(database, "b")
        with taken_back(database):
            put(database, "c")
        put(database, "d")
        assert facts(database) == ["b", "d"]  # one sees what one has written
    assert facts(database) == ["b", "d"]


def test_readers_see_only_what_was_committed(database: Database) -> None:
    """Another thread reads the old state meanwhile, and does not wait for the writer."""
    seen: list[list[str]] = []
    with database.write():
        put(database, "a")
        thread = threading.Thread(target=lambda: seen.append(facts(database)))
        thread.start()
        thread.join(30)
    assert seen == [[]]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.read().execute("INSERT INTO facts VALUES ('b', 'x')")


def test_a_write_that_may_be_lost_holds_no_durable_one(database: Database) -> None:
    """What must be on disk is not put in a transaction that need not be."""
    with pytest.raises(RuntimeError, match="durable"), database.write(durable=False):
        put(database, "a")
    assert facts(database) == []


def test_listeners_hear_of_news_alone(database: Database) -> None:
    """They are called after the commit, once, when something was announced; never for less."""
    heard: list[list[str]] = []
    stop = database.on_commit(lambda: heard.append(facts(database)))
    put(database, "a")
    with taken_back(database):
        database.announce()
    put(database, "b")
    assert heard == []
    with database.write():
        put(database, "c")
        database.announce()
        database.announce()
    assert heard == [["a", "b", "c"]]
    stop()
    with database.write():
        database.announce()
    assert len(heard) == 1


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """A process that is killed while it writes has written what it said, and whole pairs only."""
    program = (
        "import sys; from pathlib import Path; from agenthub.records.database import Database\n"
        "d = Database(Path(sys.argv[1]))\n"
        "for n in range(100_000):\n"
        "    with d.write() as c:\n"
        "        c.execute('INSERT INTO facts VALUES (?, 1)', (f'{n:06} a',))\n"
        "        c.execute('INSERT INTO facts VALUES (?, 1)', (f'{n:06} b',))\n"
        "    print(n, flush=True)\n"
    )
    path = tmp_path / "hub.db"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(50)]
    child.kill()
    said += [int(line) for line in child.stdout.read().split("\n") if line.strip()]
    child.wait(30)
    child.stdout.close()
    with closing(Database(path)) as database:
        assert {f"{n:06} {half}" for n in said for half in "ab"} <= set(facts(database))
        assert len(facts(database)) % 2 == 0


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The database and its companions are 0600, whatever the umask."""
    old = os.umask(0)
    try:
        with closing(Database(tmp_path / "hub.db")) as database:
            put(database, "a")
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert modes == {"hub.db": 0o600, "hub.db-wal": 0o600, "hub.db-shm": 0o600}


def test_a_thread_that_ended_leaves_no_connection(database: Database) -> None:
    """Readers go with their threads."""
    assert in_threads(8, lambda _: facts(database)) == []
    gc.collect()
    assert len(database._readers) == 0


def test_odd_values_are_no_error_of_ours(database: Database) -> None:
    """A number beyond 64 bits finds nothing; half a character is the asker's mistake."""
    put(database, "a")
    assert database.rows("SELECT * FROM facts WHERE key = ?", 10**30) == []
    with pytest.raises(BadInput, match="half a character"):
        database.row("SELECT * FROM facts WHERE key = ?", "\ud800")


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """After close() nothing is read or written, and the message is one for clients."""
    database = Database(tmp_path / "hub.db")
    database.close()
    with pytest.raises(Unavailable, match="shutting down"):
        facts(database)
    with pytest.raises(Unavailable, match="shutting down"), database.write():
        pass


# ---- schema ------------------------------------------------------------------------------------


def test_an_older_database_is_brought_up(tmp_path: Path) -> None:
    """Scripts that were not run yet are run, in order, and none twice."""
    path = tmp_path / "hub.db"
    with closing(Database(path)) as database:
        put(database, "kept")
    later = (*MIGRATIONS, "CREATE TABLE later(a);\nINSERT INTO later VALUES (1);")
    for _ in range(2):
        with closing(Database(path, migrations=later)) as database:
            assert facts(database) == ["kept"]
            assert database.number("SELECT count(*) FROM later") == 1
            assert database.number("PRAGMA user_version") == VERSION + 1


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Half of a script is never there; the old version is, and opens."""
    path = tmp_path / "hub.db"
    Database(path).close()
    broken = (*MIGRATIONS, "CREATE TABLE half(a);\nCREATE TABLE facts(a);")
    with pytest.raises(Unavailable, match="facts already exists"):
        Database(path, migrations=broken)
    with closing(Database(path)) as database:
        assert database.number("SELECT count(*) FROM sqlite_master WHERE name = 'half'") == 0


def test_two_openers_migrate_once(tmp_path: Path) -> None:
    """The second process finds it done."""
    for turn in range(10):
        opened: list[Database] = []
        path = tmp_path / f"{turn}.db"
        assert in_threads(8, lambda _: opened.append(Database(path))) == []  # noqa: B023
        for database in opened:
            assert facts(database) == []
            database.close()


def test_a_newer_or_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """What we do not know we do not touch."""
    path = tmp_path / "hub.db"
    Database(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(Unavailable, match=f"schema {VERSION + 1}.*Update"):
        Database(path)
    foreign = tmp_path / "other.db"
    with closing(sqlite3.connect(foreign)) as other:
        other.execute("CREATE TABLE mine(a)")
    with pytest.raises(Unavailable, match="not a hub's"):
        Database(foreign)
    text = tmp_path / "text.db"
    text.write_text("no database at all" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        Database(text)
    with pytest.raises(Unavailable, match="cannot be opened"):
        Database(tmp_path / "nowhere" / "hub.db")


def test_scripts_are_cut_at_statements() -> None:
    """A trigger's body stays whole, and nothing of a script is left over."""
    for script in MIGRATIONS:
        cut = statements(script)
        assert "".join("".join(cut).split()) == "".join(script.split())
        assert all(sqlite3.complete_statement(statement) for statement in cut)


def test_a_path_relative_to_the_folder_of_now_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is found wherever the process goes, odd characters in its path included."""
    (tmp_path / "a b%20?#").mkdir()
    monkeypatch.chdir(tmp_path / "a b%20?#")
    with closing(Database(Path("hub.db"))) as database:
        monkeypatch.chdir("/")
        put(database, "a")
        assert facts(database) == ["a"]
    assert (tmp_path / "a b%20?#" / "hub.db").exists()


def test_no_row_is_of_an_agent_that_is_not_there(tmp_path: Path) -> None:
    """Foreign keys hold on the writer, always: no commit of an agent called nothing."""
    hub = Hub(tmp_path)
    with pytest.raises(sqlite3.IntegrityError), hub.database.write() as connection:
        connection.execute(
            "INSERT INTO commits(project, sha, tree, parents, agent, subject, author, author_time, "
            "patch_id, flags, role, received) VALUES (1, 'a', 'b', '', '', '', '', 0, '', '[]', "
            "'frontier', 0)"
        )
    assert hub.database.rows("PRAGMA foreign_key_check") == []
    hub.database.close()
