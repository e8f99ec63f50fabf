"""Somebody else's public keys: cached, fetched again at a pace that nobody else sets, kept when the answer is bad."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK

from gatehouse.auth.providers.fetch import Fetched, Fetcher, FetchError
from gatehouse.registry.clock import Clock

FRESH = 3600.0  # when the sender says nothing
MIN_FRESH, MAX_FRESH = 300.0, 6 * 3600.0  # WLCG profile §4.3.1: refreshed every 6 h at least
EXPIRY = 4 * 86400.0  # the same: no key is believed longer than this after it was last seen
COOL_DOWN = 10.0  # after a failure
UNKNOWN = 300.0  # between two fetches for the sake of an unknown key id
_MAX_KEYS = 32
_RSA_BITS = range(2048, 8193)  # RFC 7518 §3.3; above, a check costs more than anybody needs

Where = Callable[[], Awaitable[str]]


def lifetime(fetched: Fetched) -> float:
    """For how many seconds a document is fresh: what its sender says, within bounds."""
    return FRESH if fetched.max_age is None else min(max(float(fetched.max_age), MIN_FRESH), MAX_FRESH)


def ago(failure: str, seconds: float) -> str:
    """A reason, and how old it is, if it is not of just now: nobody was asked again since."""
    return f"{failure} (asked {seconds:.0f} s ago)" if seconds >= 1 else failure


class KeySet:
    """The keys behind an address, which `where` tells (and may raise FetchError).

    However many ask, one fetch is under way at a time. A key id that nobody knows leads to one fetch in five minutes
    for the whole set, so there is nothing to remember of such ids, and nothing that they could fill.
    """

    def __init__(self, where: Where, fetcher: Fetcher, clock: Clock) -> None:
        self._where = where
        self._fetcher = fetcher
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: dict[str | int, PyJWK] = {}
        self._failure = ""
        self._seen_at = self._stale_at = self._failed_at = self._unknown_at = float("-inf")

    async def key(self, kid: str | None) -> PyJWK | None:
        """The key of that id, or the only key if there is no id; None: not published. Raises FetchError."""
        # whoever has a usable key need not wait for the one who is fetching
        if self._due(kid) and not (self._lock.locked() and self._usable(kid)):
            async with self._lock:
                if self._due(kid):  # whoever was before us may have fetched it
                    await self._load(kid)
        if not self._keys and self._failure:
            raise FetchError(ago(self._failure, self._clock.monotonic() - self._failed_at))
        if self._keys and self._expired():
            raise FetchError(f"its keys are older than {EXPIRY / 86400:.0f} days: {self._failure}")
        return self._pick(kid)

    def _due(self, kid: str | None) -> bool:
        now = self._clock.monotonic()
        if now - self._failed_at < COOL_DOWN:
            return False
        if now >= self._stale_at:
            return True
        return self._pick(kid) is None and now - self._unknown_at >= UNKNOWN

    def _usable(self, kid: str | None) -> bool:
        return self._pick(kid) is not None and not self._expired()

    def _expired(self) -> bool:
        return self._clock.monotonic() - self._seen_at >= EXPIRY

    async def _load(self, kid: str | None) -> None:
        """Replace the set; an empty or broken answer leaves the old one."""
        now = self._clock.monotonic()
        if now < self._stale_at:
            self._unknown_at = now
        try:
            fetched = await self._fetcher.look(await self._where())
        except FetchError as error:
            self._failed_at, self._failure = self._clock.monotonic(), str(error)
            return
        keys = read_keys(fetched.document)
        if not keys:
            self._failed_at, self._failure = self._clock.monotonic(), "it publishes no key that can be used"
            return
        self._keys, self._failure = keys, ""
        self._seen_at = self._clock.monotonic()
        self._stale_at = self._seen_at + lifetime(fetched)

    def _pick(self, kid: str | None) -> PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)


def read_keys(document: dict[str, Any]) -> dict[str | int, PyJWK]:
    """The usable public keys of a JWK Set (RFC 7517 §5) by id; those without one by their place."""
    found = document.get("keys")
    keys: dict[str | int, PyJWK] = {}
    for index, entry in enumerate(found[:_MAX_KEYS] if isinstance(found, list) else []):
        alg = _algorithm(entry)
        key = _read_key(entry, alg) if alg else None
        if key is not None:
            kid = entry.get("kid")
            keys[kid if isinstance(kid, str) else index] = key
    return keys


def _read_key(entry: dict[str, Any], alg: str) -> PyJWK | None:
    """A key, or None: one that cannot be read signs nothing for us."""
    try:
        made = PyJWK(entry, algorithm=alg)
    except Exception:
        return None  # the library has many ways to say that this is no key
    if isinstance(made.key, RSAPublicKey) and made.key.key_size not in _RSA_BITS:
        return None
    return made


def _algorithm(entry: Any) -> str | None:
    """The one algorithm a key may be used with; keys for encryption, of other kinds, or told to all are left out."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    natural = {"RSA": "RS256", "EC": "ES256"}.get(str(entry.get("kty")))
    if natural == "ES256" and entry.get("crv") != "P-256":
        return None
    return natural if entry.get("alg", natural) == natural else None
