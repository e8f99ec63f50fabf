"""The pilot's own road: redeem the secret, ask for work a few times, run what is given, say that it is through."""

import threading

from gatehouse.wms.agent.gate import Claim, Gate
from gatehouse.wms.agent.inbox import Inbox, StoppedError
from gatehouse.wms.agent.job import Job
from gatehouse.wms.agent.settings import Settings
from gatehouse.wms.agent.transport import LOG, GateError, UnreachableError
from gatehouse.wms.states import PilotStatus

RAN, BROKE = 0, 1
"""Exit codes: a pilot that found no work, or whose job failed, has itself done well."""


class Pilot:
    """One slot, at most one job."""

    def __init__(self, settings: Settings, gate: Gate, inbox: Inbox) -> None:
        self._settings = settings
        self._gate = gate
        self._inbox = inbox
        self._token = ""

    def run(self) -> int:
        """Do all of it; the exit code."""
        try:
            message = self._work()
        except StoppedError as stopped:
            self._finish(PilotStatus.DONE, str(stopped))
            return RAN
        except (GateError, UnreachableError, OSError) as error:
            LOG.error("the pilot gives up: %s", error)
            self._finish(PilotStatus.FAILED, f"{type(error).__name__}: {error}")
            return BROKE
        self._finish(PilotStatus.DONE, message)
        return RAN

    def _work(self) -> str:
        LOG.info("pilot at %s, redeeming its secret", self._settings.url)
        self._token = self._gate.redeem(self._settings.secret)
        claim = self._ask()
        if claim is None:
            LOG.info("no work")
            return "no work"
        LOG.info("job %d, attempt %d", claim.job_id, claim.attempt)
        return Job(claim, self._settings, self._gate, self._inbox).run()

    def _ask(self) -> Claim | None:
        for poll in range(self._settings.polls):
            if poll:
                threading.Event().wait(self._settings.poll_pause)
            self._inbox.check()
            if claim := self._gate.match(self._token, self._settings):
                return claim
        return None

    def _finish(self, status: PilotStatus, message: str) -> None:
        if not self._token:
            return
        LOG.info("pilot %s: %s", status, message)
        try:
            self._gate.finish(self._token, status, message[:250])
        except (GateError, UnreachableError) as error:
            LOG.warning("the pilot's last word was not taken: %s", error)
