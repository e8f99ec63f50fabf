"""The calls a pilot makes: redeem, match, fetch, heartbeat, report, upload, finish."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatehouse.wms.agent.settings import Settings
from gatehouse.wms.agent.transport import GateError, Reply, Transport
from gatehouse.wms.archive import LIMITS
from gatehouse.wms.states import JobStatus, PilotStatus

GRANT = "urn:gatehouse:params:oauth:grant-type:pilot-secret"
CLIENT_ID = "gatehouse-pilot"
LAST_WORD = 60.0
"""Seconds to try saying that the pilot is through: nobody's results hang on it."""

_LOST = frozenset({401, 409})
_SANDBOX = re.compile(r"SB:[A-Za-z0-9_-]{1,128}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")


class ClaimLostError(GateError):
    """The job is no longer this pilot's: rescheduled, finished, or given to another."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job given to this pilot: its manifest as it came, the credential for it, and archives to fetch."""

    job_id: int
    attempt: int
    token: str = field(repr=False)
    manifest: Mapping[str, object]
    input_sandboxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat."""

    kill: bool
    token: str | None = field(repr=False)


class Gate:
    """The pilot's side of the pilot wire; every call may be repeated without harm.

    The pilot's token is bound to its key; the job's is for the programs of the job too, who have no key.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def redeem(self, secret: str) -> str:
        """The pilot token for the one-time secret, bound to the pilot's key. `GateError` when it is not."""
        form = {"grant_type": GRANT, "client_id": CLIENT_ID, "pilot_secret": secret}
        body = _object(_expect(self._transport.send("POST", "/auth/token", form=form, proven=True), 200))
        if str(body.get("token_type")).lower() != "dpop":
            raise GateError(200, "malformed", "the pilot token is not bound to the pilot's key")
        return _token(body.get("access_token"))

    def match(self, token: str, settings: Settings) -> Claim | None:
        """A job for this slot, or None. Asked again, the same job."""
        offer: dict[str, object] = {
            "site": settings.site,
            "ce": settings.ce,
            "tags": list(settings.tags),
            "cpu_time": settings.cpu_time,
            "number_of_processors": settings.processors,
        }
        sent = self._transport.send("POST", "/api/pilots/match", token=token, proven=True, json=offer)
        reply = _expect(sent, 200, 204)
        return None if reply.status == 204 else _claim(_object(reply))

    def fetch(self, token: str, sandbox: str) -> bytes:
        """The bytes of an input sandbox."""
        reply = self._transport.send("GET", f"/api/sandboxes/{sandbox}", token=token, limit=LIMITS.compressed)
        return _expect(reply, 200, lost=_LOST).body

    def beat(self, token: str, job_id: int, application_status: str, *, patience: float) -> Beat:
        """Say that the job is alive; hear whether it should go on, and with which token."""
        reply = self._transport.send(
            "POST",
            f"/api/jobs/{job_id}/heartbeat",
            token=token,
            json={"application_status": application_status},
            patience=patience,
        )
        body = _object(_expect(reply, 200, lost=_LOST))
        renewed = body.get("token")
        return Beat(body.get("command") == "kill", None if renewed is None else _token(renewed))

    def report(self, token: str, job_id: int, status: JobStatus, minor: str, application_status: str) -> None:
        """Tell where the job stands."""
        body = {"status": status, "minor_status": minor, "application_status": application_status}
        reply = self._transport.send("POST", f"/api/jobs/{job_id}/status", token=token, json=body)
        _expect(reply, 200, lost=_LOST)

    def upload(self, token: str, job_id: int, archive: bytes) -> None:
        """Hand over the output sandbox."""
        reply = self._transport.send("POST", f"/api/jobs/{job_id}/output", token=token, content=archive)
        _expect(reply, 200, 201, lost=_LOST)

    def finish(self, token: str, status: PilotStatus, message: str) -> None:
        """Say that this pilot is through."""
        body = {"status": status, "message": message}
        path = "/api/pilots/status"
        _expect(
            self._transport.send("POST", path, token=token, proven=True, json=body, patience=LAST_WORD), 200
        )


def _expect(reply: Reply, *statuses: int, lost: frozenset[int] = frozenset()) -> Reply:
    if reply.status in statuses:
        return reply
    code, message = "unexpected", "an answer that is no Gatehouse error"
    try:
        body = json.loads(reply.body)
        code, message = _shown(body["error"]), _shown(body["error_description"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    kind = ClaimLostError if reply.status in lost else GateError
    raise kind(reply.status, code, message, attempts=reply.attempts)


def _shown(value: object) -> str:
    return "".join(character for character in str(value)[:300] if character.isprintable())


def _object(reply: Reply) -> dict[str, object]:
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise GateError(reply.status, "malformed", "the answer is no JSON object")
    return body


def _token(value: object) -> str:
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        return value
    raise GateError(200, "malformed", "the answer has no usable token")


def _claim(body: Mapping[str, object]) -> Claim:
    job_id, attempt, manifest = body.get("job_id"), body.get("attempt"), body.get("job")
    sandboxes = body.get("input_sandboxes") or []
    if not isinstance(job_id, int) or not isinstance(attempt, int) or job_id < 0:
        raise GateError(200, "malformed", "the match has no job")
    if not isinstance(manifest, dict) or not isinstance(sandboxes, list):
        raise GateError(200, "malformed", "the match has no manifest")
    if not all(isinstance(sandbox, str) and _SANDBOX.fullmatch(sandbox) for sandbox in sandboxes):
        raise GateError(200, "malformed", "the match names an input sandbox that can't be one")
    return Claim(job_id, attempt, _token(body.get("token")), manifest, tuple(sandboxes))
