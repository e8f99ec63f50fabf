"""A limit on guessing user codes, by address (RFC 8628 §5.1)."""

from ipaddress import IPv6Address, ip_network

from cachetools import TTLCache

from gatehouse.registry.clock import Clock
from gatehouse.registry.errors import Problem

WINDOW = 300
TRIES = 10


class Guesses:
    """Counts wrong codes per address over five minutes."""

    def __init__(self, clock: Clock) -> None:
        self._wrong: TTLCache[str, int] = TTLCache(20_000, WINDOW, timer=clock.monotonic)

    def check(self, address: str) -> None:
        """Raise Problem 429 when an address has guessed too often."""
        if self._wrong.get(neighbourhood(address), 0) >= TRIES:
            raise Problem(
                429,
                "slow_down",
                "Too many wrong codes came from your address.",
                hint="Wait five minutes, then use the link that your program printed.",
            )

    def wrong(self, address: str) -> None:
        """Note a wrong code."""
        where = neighbourhood(address)
        self._wrong[where] = self._wrong.get(where, 0) + 1


def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6 the /64, since every household has 2^64 of them."""
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ip_network((found, 64), strict=False))
