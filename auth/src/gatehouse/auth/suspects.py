"""Clients whose secret was tried in vain lately, as this process remembers: for them no short way is taken."""

from gatehouse.auth.guesses import WINDOW
from gatehouse.registry.clock import Clock
from gatehouse.tokenmanager.limits import neighbourhood

_MOST = 10_000


class Suspects:
    """Written by the threads of transactions, read by the event loop: single dictionary operations only."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._until: dict[tuple[str, str], float] = {}
        self._all_until = float("-inf")

    def add(self, client_id: str, address: str) -> None:
        """Remember a wrong secret. When there are too many to remember, everybody is a suspect for a while."""
        until = self._now() + WINDOW
        if len(self._until) >= _MOST:
            self._all_until = until
            self._until = {}
        self._until[client_id, neighbourhood(address)] = until

    def has(self, client_id: str, address: str) -> bool:
        """Whether the secret of this client was tried in vain from there."""
        if not self._until and self._all_until < self._now():
            return False
        until = self._until.get((client_id, neighbourhood(address)), self._all_until)
        return until > self._now()
