"""One job from its claim to its last report: Running, Completing, then Done, Failed or Killed."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

from gatehouse.wms.agent.gate import Claim, ClaimLostError, Gate
from gatehouse.wms.agent.inbox import Event, Inbox, StoppedError
from gatehouse.wms.agent.lease import Heart, Lease
from gatehouse.wms.agent.output import gather
from gatehouse.wms.agent.payload import Payload, environment, find_program
from gatehouse.wms.agent.settings import Settings
from gatehouse.wms.agent.task import Task, TaskError, read_task
from gatehouse.wms.agent.transport import LOG, GateError
from gatehouse.wms.archive import ArchiveError, unpack
from gatehouse.wms.states import JobStatus, Minor

STATUS_LIMIT = 250
"""Characters of an application status; the gate's column is not much wider."""


class FailureError(Exception):
    """The job ends as Failed, with this minor status and reason."""

    def __init__(self, minor: Minor, reason: str) -> None:
        super().__init__(reason)
        self.minor = minor


class Job:
    """Runs one claimed job in a directory of its own, which is gone afterwards."""

    def __init__(self, claim: Claim, settings: Settings, gate: Gate, inbox: Inbox) -> None:
        self._claim = claim
        self._settings = settings
        self._gate = gate
        self._inbox = inbox
        self._top = Path(tempfile.mkdtemp(prefix=f"job-{claim.job_id}-", dir=settings.workdir))
        self._room = self._top / "work"
        self._room.mkdir(0o700)
        # Beside the job's directory, not in it: no output pattern brings the token home.
        self._lease = Lease(claim.token, self._top / "token")
        self._heart = Heart(gate, self._lease, claim.job_id, settings.heartbeat, inbox.put)
        self._payload: Payload | None = None

    def run(self) -> str:
        """Do all of it; a sentence on how it ended, for the pilot's own report."""
        try:
            return self._run()
        except ClaimLostError as error:
            LOG.warning("job %d: the claim is lost: %s", self._claim.job_id, error)
            return "the claim was lost"
        finally:
            self._stop_payload()
            self._heart.stop()
            self._lease.end()
            shutil.rmtree(self._top, ignore_errors=True)

    def _run(self) -> str:
        try:
            code, application_status = self._work()
        except StoppedError as stopped:
            return self._stopped(stopped.event)
        except FailureError as failure:
            return self._finish(JobStatus.FAILED, failure.minor, str(failure))
        if code == 0:
            return self._finish(JobStatus.DONE, Minor.COMPLETE, application_status)
        return self._finish(JobStatus.FAILED, Minor.APPLICATION_ERRORS, application_status)

    def _work(self) -> tuple[int, str]:
        self._report(JobStatus.RUNNING, Minor.INITIALIZATION)
        self._heart.start()
        try:
            task = read_task(self._claim.manifest)
        except TaskError as error:
            raise FailureError(Minor.ILLEGAL, str(error)) from error
        self._report(JobStatus.RUNNING, Minor.DOWNLOADING_INPUT)
        for sandbox in self._claim.input_sandboxes:
            self._fetch(sandbox)
        code = self._execute(task)
        ended = Minor.APPLICATION_ERRORS if code else Minor.APPLICATION_SUCCESS
        self._report(JobStatus.COMPLETING, ended, how_ended(code))
        return code, self._bring_home(task, how_ended(code))

    def _fetch(self, sandbox: str) -> None:
        try:
            unpack(self._gate.fetch(self._lease.token, sandbox), self._room)
        except ClaimLostError:
            raise
        except (ArchiveError, GateError) as error:
            raise FailureError(Minor.DOWNLOADING_INPUT_FAILED, str(error)) from error

    def _execute(self, task: Task) -> int:
        variables = environment(task, self._own_variables(), os.environ, self._room)
        program = find_program(task.executable, self._room, variables["PATH"])
        if program is None:
            raise FailureError(Minor.APPLICATION_NOT_FOUND, f"{task.executable} is not on this node")
        self._report(JobStatus.RUNNING, Minor.APPLICATION)
        self._payload = Payload(task, program, room=self._room, variables=variables)
        try:
            self._payload.start(lambda: self._inbox.put(Event.EXITED))
        except OSError as error:
            self._payload = None
            reason = f"{task.executable} can't be started: {error.strerror}"
            raise FailureError(Minor.APPLICATION_NOT_FOUND, reason) from error
        self._inbox.wait()
        code = self._payload.close()
        self._payload = None
        LOG.info("job %d: the program has ended: %s", self._claim.job_id, how_ended(code))
        return code

    def _bring_home(self, task: Task, application_status: str) -> str:
        self._report(JobStatus.COMPLETING, Minor.UPLOADING_OUTPUT, application_status)
        archive, note = gather(self._room, (task.std_output, task.std_error), task.output)
        application_status = f"{application_status}; {note}" if note else application_status
        try:
            self._gate.upload(self._lease.token, self._claim.job_id, archive)
        except ClaimLostError:
            raise
        except GateError as error:
            raise FailureError(Minor.UPLOADING_OUTPUT, f"{application_status}; not taken: {error}") from error
        self._report(JobStatus.COMPLETING, Minor.OUTPUT_UPLOADED, application_status)
        return application_status

    def _own_variables(self) -> dict[str, str]:
        job_id = str(self._claim.job_id)
        return {
            "JOBID": job_id,
            "DIRACJOBID": job_id,
            "DIRACSITE": self._settings.site,
            "BEARER_TOKEN_FILE": str(self._lease.path),
        }

    def _report(self, status: JobStatus, minor: Minor, application_status: str = "") -> None:
        """Report a step, unless something has ended the job meanwhile."""
        # A program that has ended is brought home even when the batch system is in a hurry.
        self._inbox.check(spare=Event.STOP if status is JobStatus.COMPLETING else None)
        self._send(status, minor, application_status)

    def _send(self, status: JobStatus, minor: Minor, application_status: str) -> None:
        LOG.info("job %d: %s, %s", self._claim.job_id, status, minor)
        self._heart.application_status = application_status[:STATUS_LIMIT]
        self._gate.report(
            self._lease.token, self._claim.job_id, status, minor, application_status[:STATUS_LIMIT]
        )

    def _stopped(self, event: Event) -> str:
        LOG.warning("job %d: %s", self._claim.job_id, event)
        self._stop_payload()
        if event is Event.LOST:
            return "the claim was lost"
        if event is Event.KILL:
            return self._finish(JobStatus.KILLED, Minor.KILL_RECEIVED, "")
        return self._finish(
            JobStatus.FAILED, Minor.APPLICATION_INCOMPLETE, "The batch system ended the pilot"
        )

    def _stop_payload(self) -> None:
        if self._payload is not None:
            self._payload.kill()
            self._payload.close()
            self._payload = None

    def _finish(self, status: JobStatus, minor: Minor, application_status: str) -> str:
        """The last report. With it the credential dies, so that a refusal after a lost answer means it was heard."""
        self._heart.stop()
        try:
            self._send(status, minor, application_status)
        except ClaimLostError as error:
            if error.attempts == 1:
                raise
            LOG.info("job %d: the last report was heard, its answer was lost", self._claim.job_id)
        return f"job {self._claim.job_id} ended as {status}"


def how_ended(code: int) -> str:
    """An exit code in words; negative ones are signals, as `subprocess` has them."""
    if code >= 0:
        return f"Exited With Status {code}"
    try:
        return f"Ended By Signal {signal.Signals(-code).name}"
    except ValueError:
        return f"Ended By Signal {-code}"
