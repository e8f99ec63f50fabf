"""The one database: compiled statements, short transactions, one writer with group commit.

On SQLite all writes go through a single thread that puts whatever is waiting into one transaction, each
piece of work in its own savepoint, and answers after the commit: `synchronous=FULL` then costs one fsync for
many. Reads run inline on a connection of the calling thread. On PostgreSQL and MariaDB a small pool of
threads, each with its own connection, runs one transaction per piece of work.

Work is a plain function of a `Tx`. It may be run again after a deadlock, so it must not touch anything else.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar, cast

from sqlalchemy import Table, create_engine, event, insert
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql import ClauseElement
from sqlmodel import SQLModel

from gatehouse.registry.chain import Chain
from gatehouse.registry.clock import Clock
from gatehouse.registry.errors import ConfigurationError, Problem

R = TypeVar("R")
T = TypeVar("T")
Work = Callable[["Tx"], T]

MAX_BATCH = 64
MAX_WAITING = 10_000
_RETRIES = 4  # after a lost connection
_CLASHES = 10  # after a deadlock or a double insert: one of those who clash gets through each time
_DEADLOCK_STATES = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_DEADLOCK_NUMBERS = {1213, 1205}  # MariaDB: deadlock, lock wait timeout


class _Compiled(NamedTuple):
    text: str
    order: tuple[str, ...] | None  # names of positional parameters, None when they go by name
    preset: dict[str, Any]  # values bound in the clause itself


class Statement(Generic[R]):
    """An SQL statement that is compiled once per dialect and run on the driver (stack: 20-40 x cheaper)."""

    __slots__ = ("_clause", "_compiled", "_keys", "make")

    def __init__(self, clause: ClauseElement, row: type[R] | None, keys: list[str] | None) -> None:
        self._clause = clause
        self._keys = keys
        self._compiled: dict[str, _Compiled] = {}
        make: Any = getattr(row, "_make", tuple)
        self.make: Callable[[Any], R] = make

    def on(self, dialect: Dialect) -> _Compiled:
        """The text and parameters for one dialect."""
        found = self._compiled.get(dialect.name)
        if found is None:
            made: Any = self._clause.compile(
                dialect=dialect, column_keys=self._keys, compile_kwargs={"render_postcompile": True}
            )
            order = tuple(made.positiontup) if made.positional else None
            found = self._compiled[dialect.name] = _Compiled(str(made), order, dict(made.params))
        return found


def sql(clause: ClauseElement, row: type[R] | None = None) -> Statement[R]:
    """A statement; `row` is the NamedTuple class that its result rows become."""
    return Statement(clause, row, None)


def table(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a SQLModel class."""
    return cast(Table, getattr(model, "__table__"))  # noqa: B009 - SQLModel does not declare the attribute


def insertion(model: type[SQLModel], *columns: str) -> Statement[tuple[()]]:
    """An INSERT that takes the named columns (default: all) as parameters."""
    target = table(model)
    return Statement(insert(target), None, list(columns) or [c.name for c in target.columns])


class Tx:
    """One transaction on one connection."""

    __slots__ = ("_cursor", "_dialect", "chain", "clock")

    def __init__(self, connection: DBAPIConnection, dialect: Dialect, chain: Chain, clock: Clock) -> None:
        self._cursor: Any = connection.cursor()
        self._dialect = dialect
        self.chain = chain
        self.clock = clock

    def _execute(self, statement: Statement[Any], params: dict[str, Any]) -> Any:
        text, order, preset = statement.on(self._dialect)
        if preset:
            params = {**preset, **params}
        args = params if order is None else tuple([params[name] for name in order])
        return self._cursor.execute(text, args)

    def run(self, statement: Statement[Any], **params: Any) -> int:
        """Execute and return the row count: of a conditional UPDATE, it is the decision."""
        self._execute(statement, params)
        return int(self._cursor.rowcount)

    def one(self, statement: Statement[R], **params: Any) -> R | None:
        """The first row, or None."""
        self._execute(statement, params)
        found = self._cursor.fetchall()  # exhausted, or SQLite would keep an old snapshot open
        return statement.make(found[0]) if found else None

    def all(self, statement: Statement[R], **params: Any) -> list[R]:
        """All rows; bound them with LIMIT in the statement."""
        self._execute(statement, params)
        make = statement.make
        return [make(found) for found in self._cursor.fetchall()]

    def many(self, statement: Statement[Any], rows: Sequence[dict[str, Any]]) -> None:
        """Execute once per row of parameters, in bulk."""
        text, order, preset = statement.on(self._dialect)
        if order is None:
            self._cursor.executemany(text, [{**preset, **row} for row in rows])
        else:
            self._cursor.executemany(text, [tuple([row[name] for name in order]) for row in rows])


class _Item(NamedTuple):
    work: Work[Any]
    future: "Future[Any] | asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop | None  # of the asyncio future


_Outcome = tuple[_Item, Any, BaseException | None]


class Database:
    """The database behind a URL. Make one per process; `close` it at the end."""

    def __init__(self, url: str, clock: Clock, audit_key: bytes, *, connections: int = 8) -> None:
        self.engine = _engine(url)
        self.url = self.engine.url
        self.clock = clock
        self.embedded = self.engine.dialect.name == "sqlite"
        self.integrity_error: type[Exception] = cast(Any, self.engine.dialect.dbapi).IntegrityError
        self._audit_key = audit_key
        self._local = threading.local()
        self._connections: list[DBAPIConnection] = []  # of all threads, to be closed at the end
        self._pool: ThreadPoolExecutor | None = None
        self._room = threading.BoundedSemaphore(MAX_WAITING)
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        if self.embedded:
            self._writer = threading.Thread(target=self._write_loop, name="gatehouse-writer", daemon=True)
            self._writer.start()
        else:
            self._pool = ThreadPoolExecutor(connections, thread_name_prefix="gatehouse-db")

    # -- asynchronous, for the server

    async def read(self, work: Work[T]) -> T:
        """Run reading work; inline on SQLite, in a pool thread elsewhere."""
        if self._pool is None:
            return self._inline(work)
        return await asyncio.wrap_future(self._pool_submit(self._pool, work))

    async def write(self, work: Work[T]) -> T:
        """Run work in one transaction; returns after it is durable. What it raises undoes it alone."""
        if self._pool is not None:
            return await asyncio.wrap_future(self._pool_submit(self._pool, work))
        self._enter()
        try:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[T] = loop.create_future()
            self._queue.put(_Item(work, future, loop))
            return await future
        finally:
            self._room.release()

    # -- blocking, for commands and tests

    def read_now(self, work: Work[T]) -> T:
        """`read` for callers without an event loop."""
        return self._inline(work) if self._pool is None else self._pool_submit(self._pool, work).result()

    def write_now(self, work: Work[T]) -> T:
        """`write` for callers without an event loop."""
        return self._submit(work).result()

    def close(self) -> None:
        """Finish what is queued and let go of the connections."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
        if self._pool is not None:
            self._pool.shutdown()
        for connection in self._connections:
            with contextlib.suppress(Exception):  # dropped before
                connection.close()
        self.engine.dispose()

    # -- bounded waiting

    def _submit(self, work: Work[T]) -> "Future[T]":
        if self._pool is not None:
            return self._pool_submit(self._pool, work)
        self._enter()
        future: Future[T] = Future()
        future.add_done_callback(self._leave)
        self._queue.put(_Item(work, future, None))
        return future

    def _pool_submit(self, pool: ThreadPoolExecutor, work: Work[T]) -> "Future[T]":
        self._enter()
        future = pool.submit(self._pooled, work)
        future.add_done_callback(self._leave)
        return future

    def _enter(self) -> None:
        if not self._room.acquire(blocking=False):
            raise Problem(
                503,
                "temporarily_unavailable",
                "Too many requests are waiting for the database, so nothing was changed.",
                hint="Try again in a moment.",
            )

    def _leave(self, _done: object) -> None:
        self._room.release()

    # -- SQLite: one writer

    def _write_loop(self) -> None:
        tx: Tx | None = None
        running = True
        while running:
            batch: list[_Item] = []
            item = self._queue.get()
            while item is not None:
                # whoever went away while waiting is left out; from here on a future cannot be cancelled,
                # or setting its result would end this thread
                if _wanted(item):
                    batch.append(item)
                if len(batch) == MAX_BATCH or self._queue.empty():
                    break
                item = self._queue.get()
            running = item is not None
            if batch:
                try:
                    tx = tx or self._tx()
                    _answer(_commit_batch(self._local.connection, tx, batch))
                except Exception as error:
                    tx = None
                    self._drop()
                    _answer([(item, None, _unavailable(error)) for item in batch])
        self._drop()

    def _inline(self, work: Work[T]) -> T:
        driver: Any = self.engine.dialect.dbapi
        try:
            return work(self._tx())
        except (driver.OperationalError, driver.InterfaceError) as error:
            raise _unavailable(error) from error

    # -- any thread's own connection

    def _tx(self) -> Tx:
        tx: Tx | None = getattr(self._local, "tx", None)
        if tx is None:
            self._local.connection = _connect(self.engine)
            self._connections.append(self._local.connection)
            self._local.chain = Chain(self._audit_key)
            tx = self._local.tx = Tx(
                self._local.connection, self.engine.dialect, self._local.chain, self.clock
            )
        return tx

    def _drop(self) -> None:
        if getattr(self._local, "tx", None) is not None:
            self._local.tx = None
            self._connections.remove(self._local.connection)
            with contextlib.suppress(Exception):  # it is being thrown away because it failed
                self._local.connection.close()

    def _pooled(self, work: Work[T]) -> T:
        """Run work in a transaction of this pool thread; again after a deadlock or a lost connection."""
        driver: Any = self.engine.dialect.dbapi
        for attempt in range(1, _CLASHES + 1):
            try:
                return self._transact(work)
            except driver.OperationalError as error:
                lost = not _is_deadlock(error)
                if lost:
                    self._drop()
                if attempt >= (_RETRIES if lost else _CLASHES):
                    raise _unavailable(error) from error
            except driver.IntegrityError:
                # two of us inserted the same at once: the second run of the work finds the first one's row
                if attempt == _CLASHES:
                    raise
            except driver.InterfaceError as error:
                self._drop()
                if attempt >= _RETRIES:
                    raise _unavailable(error) from error
        raise AssertionError("unreachable")

    def _transact(self, work: Work[T]) -> T:
        tx = self._tx()
        mark = tx.chain.mark()
        try:
            result = work(tx)
            self._commit()
        except BaseException:
            tx.chain.reset(mark)
            with contextlib.suppress(Exception):  # a lost connection has rolled back by itself
                self._local.connection.rollback()
            raise
        return result

    def _commit(self) -> None:
        driver: Any = self.engine.dialect.dbapi
        try:
            self._local.connection.commit()
        except (driver.OperationalError, driver.InterfaceError) as error:
            if _is_deadlock(error):
                raise
            # the answer to COMMIT is lost: it may have happened, so the work must not be done again
            self._drop()
            raise Problem(
                503,
                "temporarily_unavailable",
                "The database went away at the last moment; whether the change was made is not known.",
                hint="Look whether it was made before you try again.",
                detail=f"{type(error).__name__}: {error}",
            ) from error


def _wanted(item: _Item) -> bool:
    if isinstance(item.future, Future):
        return item.future.set_running_or_notify_cancel()
    return not item.future.cancelled()


def _commit_batch(connection: Any, tx: Tx, batch: list[_Item]) -> list[_Outcome]:
    """Run a batch in one transaction, each item in a savepoint; returns what to answer, after the commit.

    Raises what the database raised when the transaction as a whole failed: then nothing has happened.
    """
    execute, chain = connection.execute, tx.chain
    start = chain.mark()
    outcomes: list[_Outcome] = []
    try:
        execute("BEGIN IMMEDIATE")
        for item in batch:
            mark = chain.mark()
            execute("SAVEPOINT item")
            try:
                outcomes.append((item, item.work(tx), None))
            except Exception as error:
                execute("ROLLBACK TO item")
                chain.reset(mark)
                outcomes.append((item, None, error))
            execute("RELEASE item")
        execute("COMMIT")
    except Exception:
        chain.reset(start)
        if connection.in_transaction:
            execute("ROLLBACK")
        raise
    return outcomes


def _answer(outcomes: list[_Outcome]) -> None:
    """Hand out a batch of answers: one wake-up for each event loop that waits for some."""
    loops: dict[asyncio.AbstractEventLoop | None, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome[0].loop, []).append(outcome)
    for loop, part in loops.items():
        if loop is None:
            _settle(part)
        else:
            with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits any more
                loop.call_soon_threadsafe(_settle, part)


def _settle(outcomes: list[_Outcome]) -> None:
    for item, result, failure in outcomes:
        if item.future.done():
            continue  # whoever asked went away in the meantime
        if failure is None:
            item.future.set_result(result)
        else:
            item.future.set_exception(failure)


def _unavailable(error: Exception) -> Problem:
    return Problem(
        503,
        "temporarily_unavailable",
        "The database does not answer, so nothing was changed.",
        hint="Try again in a moment; the operator sees the reason in the log.",
        detail=f"{type(error).__name__}: {error}",
    )


def _is_deadlock(error: Any) -> bool:
    number = error.args[0] if error.args else None
    return getattr(error, "sqlstate", None) in _DEADLOCK_STATES or number in _DEADLOCK_NUMBERS


def _connect(engine: Engine) -> DBAPIConnection:
    """A driver connection of our own, taken out of SQLAlchemy's pool for good."""
    fairy = engine.raw_connection()
    connection = fairy.driver_connection
    fairy.detach()
    if connection is None:
        raise AssertionError("the pool gave no connection")
    return cast(DBAPIConnection, connection)


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except (ArgumentError, ImportError) as error:
        raise ConfigurationError(
            "database_url names no database that can be used. Write sqlite:///FILE, postgresql+psycopg://… or "
            f"mysql+pymysql://…, and install that driver: {type(error).__name__}."
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    elif engine.dialect.name in ("mysql", "mariadb"):
        event.listen(engine, "connect", _prepare_mariadb)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _prepare_mariadb(connection: Any, _record: object) -> None:
    # READ COMMITTED, as PostgreSQL has it: conditional UPDATEs decide, gap locks would only cause deadlocks
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
