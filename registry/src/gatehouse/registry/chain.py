"""The hash chain of audit events: one chain per writing connection, so that replicas never queue."""

import hashlib
import hmac
import secrets
from collections.abc import Callable

GENESIS = "0" * 64

Mark = tuple[int, str]


class Chain:
    """The head of one chain: `digest(n) = HMAC(key, digest(n-1) || event(n))`.

    The key is not in the database, so who can edit the rows cannot make the chain fit again.
    """

    __slots__ = ("_digest", "_key", "_seq", "name")

    def __init__(self, key: bytes) -> None:
        self.name = secrets.token_hex(8)
        self._key = key
        self._seq = 0
        self._digest = GENESIS

    def append(self, event: Callable[[int], bytes]) -> tuple[int, str]:
        """Put an event, made from its number, on the chain; returns the number and the digest (64 hex)."""
        self._seq += 1
        self._digest = link(self._key, self._digest, event(self._seq))
        return self._seq, self._digest

    def mark(self) -> Mark:
        """Where the chain stands, to come back to with `reset` when a transaction is rolled back."""
        return self._seq, self._digest

    def reset(self, mark: Mark) -> None:
        """Forget what was appended since `mark`."""
        self._seq, self._digest = mark


def link(key: bytes, previous: str, event: bytes) -> str:
    """The digest of an event that follows `previous`."""
    return hmac.digest(key, previous.encode() + b"\n" + event, hashlib.sha256).hex()
