"""What may interrupt a job, from three sides: the program's end, the gate's orders, the batch system's signal."""

import queue
from enum import StrEnum


class Event(StrEnum):
    """Something that happened while the pilot was doing something else."""

    EXITED = "the program has ended"
    KILL = "the gate asks to kill the job"
    LOST = "the claim on the job is lost"
    STOP = "the batch system asks the pilot to stop"


class StoppedError(Exception):
    """The job goes no further."""

    def __init__(self, event: Event) -> None:
        super().__init__(str(event))
        self.event = event


class Inbox:
    """Events in order of arrival. `put` may be called from threads and from signal handlers."""

    def __init__(self) -> None:
        # SimpleQueue is the one queue whose put() may interrupt itself, as a signal handler does.
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def put(self, event: Event) -> None:
        """Note an event."""
        self._queue.put(event)

    def check(self, *, spare: Event | None = None) -> None:
        """Raise `StoppedError` if something has happened that ends the job, other than `spare`."""
        while not self._queue.empty():
            event = self._queue.get()
            if event is not spare:
                self._stop_at(event)

    def wait(self) -> None:
        """Wait for the program's end; `StoppedError` when something else ends the job first."""
        while self._stop_at(self._queue.get()) is not Event.EXITED:
            continue

    def _stop_at(self, event: Event) -> Event:
        if event is not Event.EXITED:
            raise StoppedError(event)
        return event
