"""A clock that a test turns by hand."""


class HandClock:
    """Both times in seconds; they move only when told to."""

    def __init__(self, now: int = 1_790_000_000) -> None:
        self._now = now

    def now(self) -> int:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """The same, as a float."""
        return float(self._now)

    def pass_by(self, seconds: int) -> None:
        """Let time go by."""
        self._now += seconds
