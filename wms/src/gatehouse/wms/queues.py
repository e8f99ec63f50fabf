"""Task queues: jobs of one owner that ask for the same wait together, so that a match is an index look-up."""

import hashlib
import json
import random
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.wms.intake import Manifest
from gatehouse.wms.models import QueueSite, TaskQueue

LOTS = 2**31
ANY_SITE = ""
# Requests are rounded up, so that they fall together (DIRAC's classes, seconds)
_CLASSES = (
    *(360, 1800, 3600, 21600, 43200, 86400, 172800, 259200, 345600, 518400, 691200, 864000),
    *(1080000, 10_000_000, 100_000_000),
)
_MASK_BITS = 62

_Q, _S = table(TaskQueue).c, table(QueueSite).c
_ADD_QUEUE = insertion(TaskQueue)
_ADD_SITE = insertion(QueueSite)
_BUMP: Statement[tuple[()]] = sql(
    update(table(TaskQueue)).where(_Q.id == bindparam("queue"), _Q.waiting == 1).values(stamp=_Q.stamp + 1)
)
_FILL: Statement[tuple[()]] = sql(
    update(table(TaskQueue)).where(_Q.id == bindparam("queue")).values(stamp=_Q.stamp + 1, waiting=1)
)
_EMPTY: Statement[tuple[()]] = sql(
    update(table(TaskQueue))
    .where(_Q.id == bindparam("queue"), _Q.stamp == bindparam("seen"), _Q.waiting == 1)
    .values(waiting=0)
)
_SHOW: Statement[tuple[()]] = sql(
    update(table(QueueSite)).where(_S.queue_id == bindparam("queue")).values(waiting=bindparam("shown"))
)
_STAMP: Statement[tuple[int]] = sql(select(_Q.stamp).where(_Q.id == bindparam("queue")))


class Need(NamedTuple):
    """What the jobs of a queue ask for: part of its identity."""

    sites: tuple[str, ...]
    banned_sites: tuple[str, ...]
    platforms: tuple[str, ...]
    tags: tuple[str, ...]
    cpu_time: int
    processors: int


class Exact(NamedTuple):
    """The part of a need that is checked outside SQL."""

    tags: frozenset[str]
    banned_sites: frozenset[str]
    platforms: frozenset[str]

    def fits(self, site: str, tags: frozenset[str]) -> bool:
        """Whether a pilot at a site, with these tags, will do. Pilots announce platforms among their tags."""
        return (
            self.tags <= tags
            and site not in self.banned_sites
            and (not self.platforms or not self.platforms.isdisjoint(tags))
        )


def need(job: Manifest) -> Need:
    """What a job asks for, in one form however it was written."""
    return Need(
        _sorted(job.sites),
        _sorted(job.banned_sites),
        _sorted(job.platforms),
        _sorted(job.tags),
        next(seconds for seconds in _CLASSES if job.cpu_time <= seconds),
        job.number_of_processors,
    )


def _sorted(words: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words))) if words else ()


def tag_mask(tags: Iterable[str]) -> int:
    """A bit per tag: tags of a job that a pilot lacks mostly show as a bit that the pilot lacks."""
    mask = 0
    for tag in tags:
        mask |= 1 << (zlib.crc32(tag.encode()) % _MASK_BITS)
    return mask


def lacking(tags: Iterable[str]) -> int:
    """The bits that a pilot with these tags does not have."""
    return ((1 << _MASK_BITS) - 1) & ~tag_mask(tags)


@lru_cache(4096)
def exact(needs: str) -> Exact:
    """The `needs` column, read."""
    tags, banned, platforms = json.loads(needs) if needs else ((), (), ())
    return Exact(frozenset(tags), frozenset(banned), frozenset(platforms))


def enter(
    tx: Tx, asked: Need, *, owner_id: str, owner_group: str, vo: str, share: int, draw: random.Random
) -> str:
    """The id of the queue for a need, found or made, and marked as holding jobs from this transaction on.

    Two replicas that make the same queue at once: one fails with the driver's IntegrityError and may try again.
    """
    key = json.dumps([vo, owner_group, owner_id, *asked], separators=(",", ":"))
    queue = hashlib.sha256(key.encode()).hexdigest()[:32]
    if wake(tx, queue):
        return queue
    tx.run(_ADD_QUEUE, id=queue, vo=vo, owner_id=owner_id, owner_group=owner_group, stamp=1, waiting=1)
    beyond_sql = (asked.tags, asked.banned_sites, asked.platforms)
    row = {
        "queue_id": queue,
        "vo": vo,
        "owner_group": owner_group,
        "waiting": 1,
        "lot": draw.randrange(LOTS),
        "share": share,
        "cpu_time": asked.cpu_time,
        "processors": asked.processors,
        "tag_mask": tag_mask(asked.tags),
        "needs": json.dumps(beyond_sql, separators=(",", ":")) if any(beyond_sql) else "",
    }
    tx.many(_ADD_SITE, [{**row, "site": site} for site in asked.sites or (ANY_SITE,)])
    return queue


def wake(tx: Tx, queue: str) -> bool:
    """Note that a job comes into a queue. False when there is no such queue."""
    if tx.run(_BUMP, queue=queue):
        return True
    if not tx.run(_FILL, queue=queue):
        return False
    tx.run(_SHOW, queue=queue, shown=1)
    return True


def stamp(tx: Tx, queue: str) -> int:
    """The stamp to be taken before looking whether a queue is empty."""
    found = tx.one(_STAMP, queue=queue)
    return found[0] if found else 0


def close(tx: Tx, queue: str, seen: int) -> None:
    """Hide a queue that was seen to be empty, unless a job came in since its stamp was taken."""
    if tx.run(_EMPTY, queue=queue, seen=seen):
        tx.run(_SHOW, queue=queue, shown=0)
