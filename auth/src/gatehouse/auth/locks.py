"""Which secrets of clients are locked, in memory: what each token request asks.

Wrong secrets are counted in the database. Every process reads from it which are locked, before it serves and then each
second, as it does with revocations; what it locks itself it knows at once.
"""

from collections.abc import Callable

from gatehouse.auth import guesses
from gatehouse.auth.guesses import Tries
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager.limits import neighbourhood
from gatehouse.tokenmanager.seal import Seal

_MOST = 10_000


class Locks:
    """Read by the event loop and by the threads of transactions: single dictionary operations only."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._tries: dict[tuple[str, str], Tries] = {}
        self._until: dict[str, int] = {}
        self._unknown = False

    def tries(self, client_id: str, address: str) -> Tries:
        """How guesses at the secret of a client from there are counted; kept, since the keys cost two MACs."""
        where = client_id, neighbourhood(address)
        found = self._tries.get(where)
        if found is None:
            if len(self._tries) >= _MOST:
                self._tries = {}
            found = self._tries[where] = guesses.of_client(self._seal, *where)
        return found

    def left(self, tries: Tries, now: int) -> int | None:
        """Seconds until secrets are taken again, 0 when they are; None when only the database knows."""
        if self._unknown:
            return None
        return max((self._until[one.id] - now for one in tries if one.id in self._until), default=0)

    def note(self, tx: Tx, tries: Tries) -> int:
        """Take over what the transaction at hand knows; seconds until secrets are taken again."""
        seconds = guesses.locked(tx, tries)
        if seconds and tries:
            self._until = {**self._until, tries[0].id: tx.clock.now() + seconds}
        return seconds

    def load(self, tx: Tx) -> Callable[[], None]:
        """Read what any process locked; the returned function puts it in place."""
        found, now = guesses.all_locked(tx, _MOST + 1), tx.clock.now()

        def apply() -> None:
            # what was locked here a moment ago may not have been there yet when the database was read
            still = {key: until for key, until in self._until.items() if now < until <= now + guesses.WINDOW}
            self._until, self._unknown = {**still, **found}, len(found) > _MOST

        return apply
