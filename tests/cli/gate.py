"""A small Gatehouse over real HTTP, for the commands to talk to: device and code flow, tokens, userinfo, jobs."""

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CODE = "TRJF-CDQR"
FINAL = {"Done", "Failed", "Killed", "Completed"}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; `at` is monotonic seconds."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    body: bytes
    bearer: str


@dataclass
class Gate:
    """What the server knows and what it shall do next."""

    issuer: str = ""
    life: int = 7200
    polls: list[str] = field(default_factory=list)
    device: dict[str, Any] = field(default_factory=dict)
    device_error: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    asked: dict[str, str] = field(default_factory=dict)  # the last authorization request
    back: dict[str, str] = field(
        default_factory=dict
    )  # what the answer to it has otherwise; empty for left out
    told: dict[str, Any] = field(default_factory=dict)  # what the token answer has beside
    id_claims: dict[str, Any] = field(default_factory=dict)  # what the ID token has otherwise
    broken: list[int] = field(default_factory=list)
    retry_after: int = 0
    drop: int = 0
    seen: list[Seen] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    refreshable: set[str] = field(default_factory=set)
    revoked: list[str] = field(default_factory=list)
    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    manifests: list[dict[str, Any]] = field(default_factory=list)
    sandboxes: dict[str, bytes] = field(default_factory=dict)
    outputs: dict[int, bytes] = field(default_factory=dict)
    refuse_submit: dict[str, Any] | None = None
    made: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def base(self) -> str:
        return self.issuer.removesuffix("/auth")

    def pair(self, life: int | None = None, client: str = "") -> dict[str, Any]:
        """A fresh token answer; the signature is nobody's business here."""
        self.made += 1
        life = self.life if life is None else life
        claims = {
            "iss": self.issuer,
            "sub": "b0b",
            "exp": int(time.time()) + life,
            "jti": str(self.made),
            "scope": "g:training_user",
            **({"client_id": client} if client else {}),
        }
        access = jwt_of(claims)
        refresh = f"refresh-{self.made}"
        self.live.add(access)
        self.refreshable.add(refresh)
        return {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": life,
            "scope": "g:training_user",
        }

    def of(self, path: str) -> list[Seen]:
        """The requests to one path below the base."""
        return [seen for seen in self.seen if seen.path == path]

    def add_job(self, job_id: int, status: str = "Running", **more: Any) -> None:
        self.jobs[job_id] = {
            "job_id": job_id,
            "owner": "bob",
            "name": "hello",
            "owner_group": "training_user",
            "vo": "training",
            "job_group": "",
            "job_type": "User",
            "site": "ANY",
            "status": status,
            "minor_status": "Application",
            "application_status": "",
            "submission_time": "2026-11-22T19:16:00Z",
            "start_exec_time": None,
            "end_exec_time": None,
            "heart_beat_time": None,
            "cpu_time": 86400,
            "priority": 1,
            **more,
        }

    def store(self, path: Path, life: int | None = None) -> dict[str, Any]:
        """A token file as a login leaves it."""
        pair = self.pair(life)
        path.write_text(json.dumps({**pair, "expires_at": int(time.time()) + int(pair["expires_in"])}))
        path.chmod(0o600)
        return pair


def jwt_of(claims: Mapping[str, Any]) -> str:
    """A token with these claims."""
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)] + [b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = (
        64 * 1024
    )  # headers and body in one packet: else each answer waits for a delayed acknowledgement
    gate: Gate

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        form: dict[str, str] = {}
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            form = {k: v[0] for k, v in parse_qs(body.decode(), keep_blank_values=True).items()}
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with self.gate.lock:
            seen = Seen(time.monotonic(), method, parts.path, query, form, body, bearer)
            self.gate.seen.append(seen)
            content: Any
            if self.gate.drop:  # the line breaks when the request has arrived
                self.gate.drop -= 1
                self.close_connection = True
                return
            if self.gate.broken:
                status, content = self.gate.broken.pop(0), {"error": "temporarily_unavailable"}
            else:
                status, content = _route(self.gate, seen)
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        if status == 303:
            self.send_header("Location", sent.decode())
        if status == 429 and self.gate.retry_after:
            self.send_header("Retry-After", str(self.gate.retry_after))
        self.end_headers()
        self.wfile.write(sent)


def _route(gate: Gate, seen: Seen) -> tuple[int, Any]:
    room, _, rest = seen.path.lstrip("/").partition("/")
    if room == "auth":
        return _auth(gate, rest, seen)
    if room == "api":
        if seen.bearer not in gate.live:
            return 401, {"error": "invalid_token", "error_description": "the token is not valid"}
        return _api(gate, rest.split("/"), seen)
    return 404, b"nothing here"


def _auth(gate: Gate, path: str, seen: Seen) -> tuple[int, Any]:
    if path == ".well-known/openid-configuration":
        return (404, b"<html>") if gate.metadata is None else (200, gate.metadata)
    if path == "device":
        if gate.device_error:
            return 400, gate.device_error
        link = f"{gate.issuer}/device"
        answer = {"device_code": "device-secret", "user_code": CODE, "verification_uri": link}
        more = {"verification_uri_complete": f"{link}?user_code={CODE}", "expires_in": 300, "interval": 1}
        return 200, {**answer, **more, **gate.device}
    if path == "authorization":
        gate.asked = seen.query
        answer = {"code": "code-secret", "state": seen.query["state"], "iss": gate.issuer, **gate.back}
        given = {name: value for name, value in answer.items() if value}
        return 303, f"{seen.query['redirect_uri']}?{urlencode(given)}".encode()
    if path == "token":
        return _token(gate, seen.form)
    if path == "revoke":
        gate.revoked.append(seen.form["token_type_hint"])
        gate.live.discard(seen.form["token"])
        gate.refreshable.discard(seen.form["token"])
        return 200, {}
    if path == "userinfo":
        if seen.bearer not in gate.live:
            return 401, {"error": "invalid_token", "error_description": "the token is not valid"}
        who = {"sub": "b0b", "preferred_username": "bob", "group": "training_user", "vo": "training"}
        return 200, {**who, "properties": ["NormalUser", "JobSharing"]}
    return 404, b"nothing here"


def _token(gate: Gate, form: Mapping[str, str]) -> tuple[int, Any]:
    if form["grant_type"] == "refresh_token":
        if form["refresh_token"] not in gate.refreshable:
            return 400, {"error": "invalid_grant", "error_description": f"spent: {form['refresh_token']}"}
        gate.refreshable.remove(form["refresh_token"])
        return 200, gate.pair(client=form.get("client_id", ""))
    if form["grant_type"] == "authorization_code":
        return _redeem(gate, form)
    if gate.polls:
        return 400, {"error": gate.polls.pop(0), "error_description": "says the gate"}
    return 200, {**gate.pair(), **gate.told}


def _redeem(gate: Gate, form: Mapping[str, str]) -> tuple[int, Any]:
    """RFC 7636 §4.6, and the redirect address as it was asked for."""
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if (form["code"], challenge) != ("code-secret", gate.asked["code_challenge"]):
        return 400, {"error": "invalid_grant", "error_description": f"not for {form['code_verifier']}"}
    if form["redirect_uri"] != gate.asked["redirect_uri"]:
        return 400, {"error": "invalid_grant", "error_description": "another redirect_uri"}
    answer = {**gate.pair(client=form["client_id"]), **gate.told}
    if "nonce" in gate.asked:
        claims = {"iss": gate.issuer, "aud": form["client_id"], "nonce": gate.asked["nonce"]}
        answer["id_token"] = jwt_of({**claims, "exp": int(time.time()) + 60, **gate.id_claims})
    return 200, answer


def _api(gate: Gate, path: list[str], seen: Seen) -> tuple[int, Any]:
    if path == ["sandboxes"]:
        name = f"SB:{hashlib.sha256(seen.body).hexdigest()}"
        gate.sandboxes[name] = seen.body
        return 201, {"id": name, "size": len(seen.body)}
    if path == ["jobs"] and seen.method == "POST":
        if gate.refuse_submit:
            return 403, gate.refuse_submit
        asked = json.loads(seen.body)["jobs"]
        gate.manifests += asked
        ids = [max(gate.jobs, default=0) + number for number in range(1, len(asked) + 1)]
        for job_id, job in zip(ids, asked, strict=True):
            gate.add_job(job_id, "Waiting", name=job["name"])
        return 201, {"ids": ids}
    if path == ["jobs"]:
        return 200, {"jobs": [job for job in gate.jobs.values() if _wanted(job, seen.query)]}
    job = gate.jobs.get(int(path[1]))
    if job is None:
        return 404, {"error": "not_found", "error_description": "no such job", "hint": "dstat shows yours"}
    return _job(gate, job, path[2:], seen.method)


def _wanted(job: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    return (
        query.get("owner", "bob") in ("*", job["owner"])
        and ("status" not in query or job["status"] in query["status"].split(","))
        and ("ids" not in query or str(job["job_id"]) in query["ids"].split(","))
        and query.get("job_group", job["job_group"]) == job["job_group"]
        and query.get("name", job["name"]) == job["name"]
        and (query.get("final") != "0" or job["status"] not in FINAL)
    )


def _job(gate: Gate, job: dict[str, Any], action: list[str], method: str) -> tuple[int, Any]:
    if not action:
        return 200, job
    if action == ["log"]:
        event = {"status": "Received", "minor_status": "Job accepted", "application_status": None}
        return 200, {"events": [{**event, "time": "2026-11-22T19:16:00Z", "source": "JobManager"}]}
    if action == ["output"]:
        if job["job_id"] not in gate.outputs:
            return 404, {
                "error": "no_output",
                "error_description": "no output yet",
                "hint": "wait until it is Done",
            }
        return 200, gate.outputs[job["job_id"]]
    assert method == "POST"
    if action == ["kill"] and job["status"] in FINAL:
        return 409, {
            "error": "conflict",
            "error_description": f"a job that is {job['status']} cannot be killed",
        }
    job["status"] = {"kill": "Killed", "delete": "Deleted"}[action[0]]
    return 200, {"status": job["status"]}


@contextmanager
def serve() -> Iterator[Gate]:
    """The gate on a free port of this machine."""
    gate = Gate()
    handler = type("Handler", (_Handler,), {"gate": gate})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    gate.issuer = f"http://127.0.0.1:{server.server_port}/auth"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield gate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(home: Path, **more: str) -> dict[str, str]:
    """A clean environment whose token file is `home/bt`."""
    kept = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return {**kept, "HOME": str(home), "BEARER_TOKEN_FILE": str(home / "bt"), **more}


def command(
    name: str, *arguments: str, env: Mapping[str, str], cwd: Path | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """One of our commands as a real process."""
    return subprocess.run(
        [str(Path(sys.executable).with_name(name)), *arguments],
        env=dict(env),
        cwd=cwd,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def archive(**files: str) -> bytes:
    """A tar.bz2 of these files; `_` in a name stands for a dot, and nothing is checked."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:bz2") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content.encode()))
    return sink.getvalue()


def unpacked(data: bytes) -> dict[str, tuple[str, int]]:
    """Content and permissions of the files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:bz2") as tar:
        return {m.name: (f.read().decode(), m.mode) for m in tar if (f := tar.extractfile(m))}
