"""What goes into the record of requests that were refused: so much of one address, so that nobody floods it."""

import structlog

from gatehouse.registry import audit
from gatehouse.registry.audit import Fact
from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager.limits import Bucket, neighbourhood

log = structlog.get_logger()

AT_ONCE = 60
PAGES_AT_ONCE = 240  # a room full of people behind one address goes wrong more often
PER_HOUR = 60


class Refusals:
    """Per process and neighbourhood so many events at once and 60 an hour; what is beyond stands in the log alone."""

    def __init__(self, clock: Clock, at_once: int = AT_ONCE) -> None:
        self._now = clock.monotonic
        self._recorded = Bucket(PER_HOUR / 60, at_once)

    def record(
        self, tx: Tx, kind: str, *, address: str, actor: str, subject: str = "", **facts: Fact
    ) -> None:
        """`audit.record`, as long as this address has not filled its part."""
        if self._recorded.wait(neighbourhood(address), self._now()):
            log.info(
                "refusal not recorded", kind=kind, address=address, actor=actor, subject=subject, **facts
            )
        else:
            audit.record(tx, kind, actor=actor, subject=subject, address=address, **facts)
