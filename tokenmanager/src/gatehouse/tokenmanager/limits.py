"""How often one caller may call: a small closed set of classes, and each route is in one of them.

A caller has a share of its own in each class: so many calls at once, and so many a minute after that. On public
routes the caller is the network neighbourhood that the call comes from, behind the gate it is the verified bearer,
so that a hundred people behind one address are not one caller there. Each process counts for itself, in memory.
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from math import ceil
from typing import Literal, get_args

from gatehouse.registry.clock import Clock
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import LimitSettings

Limit = Literal["document", "page", "login", "token", "call", "work", "guess"]
"""What a call costs us, or gives away: keys and metadata, a browser page, the start of a login (which writes a
row), tokens, a light call with a token, a call that writes or moves much, an answer that could be guessed."""

LIMITS: frozenset[str] = frozenset(get_args(Limit))
MOST = 20_000  # callers that a class knows at once; all others then share one share


class Bucket:
    """One rate for many callers: the generic cell rate algorithm, which keeps one time for each.

    `due` is when a caller will have its whole share again. Whoever was not seen for as long as that takes is
    forgotten, by dropping the older of two generations: nothing is ever searched.
    """

    __slots__ = ("_horizon", "_interval", "_most", "_old", "_slack", "_turn", "_young")

    def __init__(self, per_minute: float, burst: int, most: int = MOST) -> None:
        self._interval = 60 / per_minute
        self._slack = (burst - 1) * self._interval
        self._horizon = burst * self._interval
        self._most = most
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}
        self._turn = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def wait(self, who: str, now: float) -> float:
        """Take one call from the share of `who`: 0.0, or the seconds until there is one to take."""
        if not self._turn - self._horizon <= now < self._turn:
            self._next(now)
        young = self._young
        due = young.get(who)
        if due is None:
            due = self._old.get(who, now)
            if len(young) >= self._most:
                who = ""
                due = max(due, young.get("", now))
        if due > now + self._slack:
            if due > now + self._horizon:  # the clock went back: as if the share had been used up just now
                due = young[who] = now + self._horizon
            return due - now - self._slack
        young[who] = (due if due > now else now) + self._interval
        return 0.0

    def _next(self, now: float) -> None:
        if now >= self._turn:
            self._old, self._young = self._young, {}
        self._turn = now + self._horizon


class Limits:
    """The classes with the rates of the settings."""

    def __init__(self, settings: LimitSettings, clock: Clock) -> None:
        self._now = clock.monotonic
        self._buckets = {
            name: Bucket(getattr(settings, name), getattr(settings, f"{name}_burst")) for name in LIMITS
        }

    def take(self, limit: str, who: str) -> None:
        """Count one call. Raises Problem 429 when the caller has to wait (RFC 6585 §4)."""
        wait = self._buckets[limit].wait(who, self._now())
        if wait > 0.0:
            raise slow_down(
                "Too many requests of this kind came from you in a short time.", ceil(wait), limit_class=limit
            )


def slow_down(why: str, seconds: int, **facts: object) -> Problem:
    """The refusal of a call that came too early; the edge sends the seconds as `Retry-After` too."""
    wait = (
        f"{seconds} second{'' if seconds == 1 else 's'}" if seconds < 90 else f"{ceil(seconds / 60)} minutes"
    )
    return Problem(
        429, "slow_down", why, hint=f"Try again in {wait}.", facts={**facts, "retry_after": seconds}
    )


@lru_cache(4096)
def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6 the /64, since every household has 2^64 of them."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ip_network((found, 64), strict=False))
