"""What goes into the record of requests that were refused: so much of one address, so that nobody floods it."""

import structlog

from gatehouse.registry import audit
from gatehouse.registry.audit import Fact
from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager.limits import Bucket, neighbourhood

log = structlog.get_logger()

AT_ONCE = 60
PER_HOUR = 60


class Refusals:
    """Per process and neighbourhood 60 events at once and 60 an hour; what is beyond stands in the log alone."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._recorded = Bucket(PER_HOUR / 60, AT_ONCE)

    def record(self, tx: Tx, kind: str, *, address: str, actor: str, **facts: Fact) -> None:
        """`audit.record`, as long as this address has not filled its part."""
        if self._recorded.wait(neighbourhood(address), self._now()):
            log.info("refusal not recorded", kind=kind, address=address, actor=actor, **facts)
        else:
            audit.record(tx, kind, actor=actor, subject="", address=address, **facts)
