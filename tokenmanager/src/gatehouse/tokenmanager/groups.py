"""The groups in memory: what each property check asks at every call."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import select

from gatehouse.registry.database import Tx, sql, table
from gatehouse.registry.models import Group


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group as the gate needs it."""

    name: str
    vo: str
    properties: frozenset[str]
    options: Mapping[str, object]


class _Row(NamedTuple):
    name: str
    vo: str
    properties: str
    options: str


_C = table(Group).c
_ALL = sql(select(_C.name, _C.vo, _C.properties, _C.options), _Row)


@dataclass(slots=True)
class Groups:
    """A snapshot that `load` replaces; `version` counts the changes, so that caches notice."""

    by_name: Mapping[str, GroupFacts] = field(default_factory=dict)
    version: int = 0
    _raw: list[_Row] = field(default_factory=list)

    def load(self, tx: Tx) -> Callable[[], None]:
        """Read the table; the returned function puts the snapshot in place (on the event loop)."""
        rows = sorted(tx.all(_ALL))

        def apply() -> None:
            if rows != self._raw:
                self._raw = rows
                self.by_name = {
                    r.name: GroupFacts(
                        r.name, r.vo, frozenset(json.loads(r.properties)), json.loads(r.options)
                    )
                    for r in rows
                }
                self.version += 1

        return apply

    def with_any(self, properties: tuple[str, ...]) -> list[str]:
        """The names of the groups that hold at least one of these properties."""
        return sorted(g.name for g in self.by_name.values() if g.properties.intersection(properties))
