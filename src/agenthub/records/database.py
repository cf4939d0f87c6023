"""The hub's database: one writer at a time, readers that never wait, durable transactions.

`write()` opens a transaction. The same thread may open it again inside: the inner one is a
savepoint, so an error undoes the inner part, or everything if it is not caught.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agenthub.errors import BadInput, Unavailable
from agenthub.records.schema import MIGRATIONS, statements

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
LAST = 1 << 62
BUSY_SECONDS = 10  # to wait for another process that writes


class Database:
    """`hub.db`: a writer behind a lock, a read-only connection per thread, a clock."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        migrations: Sequence[str] = MIGRATIONS,
    ) -> None:
        self.path = path.absolute()
        self.clock = clock
        self._lock = threading.RLock()
        self._depth = 0  # of write(), in the thread that holds the lock
        self._owner: int | None = None  # the thread inside write()
        self._durable = True
        self._news = False
        self._listeners: list[Callable[[], None]] = []
        self._local = threading.local()
        self._readers: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._closed = False
        _make_private(self.path)
        self._writer = self._connect(self.path.as_uri())
        try:
            self._open(migrations)
        except BaseException:
            self._writer.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._closed = True
            for reader in list(self._readers):
                reader.close()
            self._writer.close()

    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock())

    # ---- reading and writing -------------------------------------------------------------------

    def read(self) -> sqlite3.Connection:
        """This thread's read-only connection; inside its own `write()`, the writer."""
        if self.writing:
            return self._writer
        found = getattr(self._local, "reader", None)
        if found is None:
            self._check_open()
            found = self._connect(f"{self.path.as_uri()}?mode=ro")
            found.execute("PRAGMA query_only = ON")
            self._local.reader = found
            self._readers.add(found)
        return found

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        with _explained(self.path), _storable():
            return self.read().execute(query, [_small(value) for value in values]).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(query, *values)
        return found[0] if found else None

    def number(self, query: str, *values: object) -> int:
        """The whole number in a query's first row; 0 for none."""
        found = self.row(query, *values)
        return 0 if found is None or found[0] is None else int(found[0])

    def batches(self, query: str, *values: object, size: int) -> Iterator[list[sqlite3.Row]]:
        """All rows of a query, `size` at a time, each time after the last row's first column.

        The query's last two parameters are that column's value and the size.
        """
        after = 0
        while rows := self.rows(query, *values, after, size):
            yield rows
            after = rows[-1][0]

    def insert(self, table: str, **values: object) -> sqlite3.Row:
        """Insert a row, inside `write()`; returns it with all its columns."""
        assert self.writing
        names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
        query = f"INSERT INTO {table}({names}) VALUES ({marks}) RETURNING *"
        rows: list[sqlite3.Row] = self._writer.execute(query, tuple(values.values())).fetchall()
        return rows[0]

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, all or nothing, which is on disk when the block ends.

        With `durable=False` a power cut may undo it (counters, cursors), but no end of the process
        may, and earlier transactions stay.
        """
        with self._lock:
            if self._depth:
                yield from self._savepoint(durable)
                return
            yield from self._transaction(durable)
            announced, self._news = self._news, False
        if announced:
            for listener in list(self._listeners):
                listener()

    @property
    def writing(self) -> bool:
        """Whether this thread is inside `write()`."""
        return self._owner == threading.get_ident()

    def faults(self) -> tuple[str, ...]:
        """What SQLite finds wrong with the file, in words; empty when it is sound."""
        torn = [row[0] for row in self.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
        loose = self.rows("PRAGMA foreign_key_check")[:20]
        return (*torn, *(f"{row[0]} row {row[1]} names no {row[2]}" for row in loose))

    # ---- news ----------------------------------------------------------------------------------

    def announce(self) -> None:
        """Call the listeners once the current transaction is on disk."""
        self._news = True

    def on_commit(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call a listener after each transaction that announced; returns how to stop that.

        It runs in the writing thread, outside the lock: it must be fast and not raise.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---- inside --------------------------------------------------------------------------------

    def _connect(self, uri: str) -> _Connection:
        with _explained(self.path):
            made = sqlite3.connect(
                uri,
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=BUSY_SECONDS,
                cached_statements=256,
                factory=_Connection,
            )
            made.row_factory = sqlite3.Row
            made.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            made.execute("PRAGMA foreign_keys = ON")
        return made

    def _open(self, migrations: Sequence[str]) -> None:
        with _explained(self.path):
            mode = self._want_wal()
            if mode != "wal":
                raise Unavailable(
                    f"SQLite cannot keep {self.path} in WAL mode (its answer is {mode!r}). "
                    "Put the hub's data on a local disk."
                )
            self._writer.execute("PRAGMA synchronous = FULL")
            self._migrate(migrations)

    def _want_wal(self) -> str:
        """Set and return the journal's mode; SQLite does not wait while another process sets it."""
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return str(self._writer.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _migrate(self, migrations: Sequence[str]) -> None:
        found = -1
        while found < len(migrations):
            with self.write() as connection:  # of two processes, one finds it migrated
                found = connection.execute("PRAGMA user_version").fetchone()[0]
                self._check_version(found, len(migrations))
                for script in migrations[found : found + 1]:
                    for statement in statements(script):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {found + 1}")

    def _check_version(self, found: int, ours: int) -> None:
        if found > ours:
            raise Unavailable(
                f"{self.path} was written by a newer AutoResearch (schema {found}, this one knows "
                f"up to {ours}). Update AutoResearch, or use another data folder."
            )
        tables = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found == 0 and tables:
            raise Unavailable(
                f"{self.path} is a database, but not a hub's. Move it away, or use another data "
                "folder."
            )

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The hub is shutting down. Try again in a moment.")

    def _transaction(self, durable: bool) -> Iterator[sqlite3.Connection]:
        self._check_open()
        with _explained(self.path):
            if durable is not self._durable:
                self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._writer.execute("BEGIN IMMEDIATE")
            self._depth, self._owner, self._news = 1, threading.get_ident(), False
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # on a full disk SQLite has ended it already
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._depth, self._owner = 0, None

    def _savepoint(self, durable: bool) -> Iterator[sqlite3.Connection]:
        if durable and not self._durable:
            raise RuntimeError("a durable write cannot be part of one that is not")
        name = f"depth_{self._depth}"
        self._writer.execute(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            yield self._writer
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute(f"ROLLBACK TO {name}")
            raise
        finally:
            self._depth -= 1
            if self._writer.in_transaction:
                self._writer.execute(f"RELEASE {name}")


class _Connection(sqlite3.Connection):
    """A connection that closes itself when its thread ends."""

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # it was never opened
            self.close()


def _make_private(path: Path) -> None:
    """Create the file, readable by its owner alone; SQLite gives its companions the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise Unavailable(
            f"The hub's database {path} cannot be opened: {error.strerror}."
        ) from error


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into Unavailable, except broken constraints: those are bugs."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise Unavailable(f"The hub's database {path.name} cannot be used: {error}.") from error


@contextlib.contextmanager
def _storable() -> Iterator[None]:
    """Turn text that SQLite cannot store, in a query, into BadInput."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise BadInput(
            "The text holds half a character (a lone surrogate). Leave it out."
        ) from error


def noun(kind: type[T], row: sqlite3.Row, **other: object) -> T:
    """A dataclass of a row's columns, each under its own name, and of other values."""
    columns = kind.__dataclass_fields__.keys() - other.keys()
    return kind(**{name: row[name] for name in columns}, **other)


def narrowed(where: str, values: Sequence[object], **wanted: object) -> tuple[str, list[object]]:
    """A condition and its values, and one condition more for each column that has a value."""
    for column, value in wanted.items():
        if value is not None:
            where, values = f"{where} AND {column} = ?", [*values, value]
    return where, list(values)


def upto(before: int | None) -> int:
    """The number before which a page of newest rows ends; all numbers for None."""
    return LAST if before is None else before


def _small(value: object) -> object:
    """A number within SQLite's range; the ends of the range name no row."""
    return max(-LAST, min(value, LAST)) if isinstance(value, int) else value
