"""Fetching what a job brought back."""

from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gatehouse.cli.errors import CommandError, clean


class Outputs(Protocol):
    """Gives output archives; the client, or whatever stands for it."""

    def output(self, job_id: int) -> bytes:
        """The archive of one job."""
        ...


def fetch(client: Outputs, job_id: int, place: Path) -> list[str]:
    """Unpack the output of one job into the directory `place`; the names of its files, relative to it.

    Nothing is overwritten. A directory made for nothing is removed again.
    """
    from gatehouse.wms.archive import ArchiveError, unpack

    archive = client.output(job_id)
    fresh = not place.exists()
    try:
        place.mkdir(parents=True, exist_ok=True)
        written = unpack(archive, place)
    except (ArchiveError, OSError) as error:
        if fresh:
            with suppress(OSError):
                place.rmdir()
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandError(
            f"the output of job {job_id} cannot be unpacked",
            why=clean(why or type(error).__name__),
            next_step="next: name another directory with -D",
        ) from error
    return [str(path.relative_to(place)) for path in written]
