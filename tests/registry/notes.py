"""Small things to write down and read back, for tests of the ground."""

from sqlalchemy import bindparam, select, update

from gatehouse.registry.database import Database, Statement, Tx, insertion, sql, table
from gatehouse.registry.models import Counter

_C = table(Counter).c
ADD = insertion(Counter)
NAMES: Statement[tuple[str]] = sql(select(_C.name).order_by(_C.name))
VALUE: Statement[tuple[int]] = sql(select(_C.value).where(_C.name == bindparam("which")))
RAISE: Statement[tuple[()]] = sql(
    update(table(Counter)).where(_C.name == bindparam("which")).values(value=_C.value + bindparam("by"))
)


def note(tx: Tx, name: str, value: int = 0) -> str:
    """Write a name down once; a second time it is an IntegrityError."""
    tx.run(ADD, name=name, value=value)
    return name


def noted(database: Database) -> set[str]:
    """The names that are written down."""
    return {name for (name,) in database.read_now(lambda tx: tx.all(NAMES))}


def value(database: Database, name: str) -> int:
    """The value of a name."""
    found = database.read_now(lambda tx: tx.one(VALUE, which=name))
    assert found is not None
    return found[0]
