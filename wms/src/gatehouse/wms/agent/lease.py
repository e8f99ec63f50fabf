"""The credential of the job at hand: held for the pilot, kept in a file for the program, renewed by heartbeats."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from gatehouse.wms.agent.gate import ClaimLostError, Gate
from gatehouse.wms.agent.inbox import Event
from gatehouse.wms.agent.transport import LOG, GateError, UnreachableError


class Lease:
    """The job token; `path` is the file (0600) that `BEARER_TOKEN_FILE` of the program names."""

    def __init__(self, token: str, path: Path) -> None:
        self.path = path
        self._token = token
        self._write(token)

    def __repr__(self) -> str:
        return f"Lease({self.path})"

    @property
    def token(self) -> str:
        """The newest token."""
        return self._token

    def renew(self, token: str) -> None:
        """Take a new token; a reader of the file sees the old one or the new one, never half of one."""
        self._token = token
        self._write(token)

    def end(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def _write(self, token: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(token)
        fresh.rename(self.path)


class Heart:
    """Beats in a thread until stopped, or until the gate says that the claim is lost."""

    def __init__(
        self, gate: Gate, lease: Lease, job_id: int, interval: float, tell: Callable[[Event], None]
    ) -> None:
        self.application_status = ""
        self._gate = gate
        self._lease = lease
        self._job_id = job_id
        self._interval = interval
        self._tell = tell
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heart")

    def start(self) -> None:
        """Begin; the first beat comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; a beat under way is given a moment."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                if not self._beat():
                    return
            except UnreachableError as error:
                # The program goes on: its results may still be wanted when the gate is back.
                LOG.warning("heartbeat: %s", error)
            except GateError as error:
                LOG.warning("heartbeat refused: %s", error)
            except OSError as error:
                LOG.warning("the token file can't be renewed: %s", error.strerror)

    def _beat(self) -> bool:
        """One beat; whether there is any use in another one."""
        try:
            answer = self._gate.beat(
                self._lease.token, self._job_id, self.application_status, patience=self._interval
            )
        except ClaimLostError as error:
            if not self._stopped.is_set():
                LOG.warning("heartbeat: the claim is lost: %s", error)
                self._tell(Event.LOST)
            return False
        if self._stopped.is_set():
            return False
        if answer.token is not None:
            self._lease.renew(answer.token)
            LOG.info("token renewed")
        if answer.kill:
            LOG.info("heartbeat: told to kill the job")
            self._tell(Event.KILL)
        return not answer.kill
