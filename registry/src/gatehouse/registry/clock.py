"""The only place that reads the clock; everything else is given a `Clock`."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for what is measured."""

    def now(self) -> int:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never jumps back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Seconds since the epoch, UTC."""
        return int(time.time())

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never jumps back."""
        return time.monotonic()


SYSTEM: Clock = SystemClock()


def iso(at: int | None) -> str | None:
    """Epoch seconds as ISO 8601 UTC (`2026-11-22T19:16:00Z`); None stays None."""
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
