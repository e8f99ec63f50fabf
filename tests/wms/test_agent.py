"""The pilot as a real process against a real HTTP server that speaks the pilot wire, with faults."""

import bz2
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs

import pytest

from gatehouse.registry.clock import SYSTEM
from gatehouse.tokenmanager.dpop import Proofs, Unproven
from gatehouse.tokenmanager.seal import Seal
from gatehouse.wms.agent.payload import CUT_NOTE, STREAM_LIMIT
from gatehouse.wms.agent.settings import SettingsError, from_environment
from gatehouse.wms.agent.transport import LONGEST_PAUSE, GateError, Transport, UnreachableError, client
from gatehouse.wms.archive import pack, unpack
from gatehouse.wms.manifest import Manifest, manifest

SECRET = "one-time-secret-" + "s" * 30
PILOT_TOKEN = "pilot-token-" + "p" * 30
JOB_TOKEN = "job-token-" + "j" * 30
RENEWED = "renewed-token-" + "r" * 30
SANDBOX = "SB:" + hashlib.sha256(b"").hexdigest()
Answer = tuple[int, object]

STARTED = [
    ("Running", "Job Initialization"),
    ("Running", "Downloading InputSandbox"),
    ("Running", "Application"),
]
SUCCEEDED = [
    ("Completing", "Application Finished Successfully"),
    ("Completing", "Uploading Output Sandbox"),
    ("Completing", "Output Sandbox Uploaded"),
    ("Done", "Execution Complete"),
]
ERRED = [
    ("Completing", "Application Finished With Errors"),
    ("Completing", "Uploading Output Sandbox"),
    ("Completing", "Output Sandbox Uploaded"),
    ("Failed", "Application Finished With Errors"),
]


@dataclass
class Gatehouse:
    """The server's side of the pilot wire, for one job; `faults` are answers given instead, path by path."""

    job: Manifest
    sandbox: bytes | None = None
    without_work: int = 0
    command: str = "continue"
    renewed: str | None = None
    faults: dict[str, list[Answer | str]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    reports: list[tuple[str, str, str]] = field(default_factory=list)
    beats: list[str] = field(default_factory=list)
    output: bytes | None = None
    pilot: list[tuple[str, str]] = field(default_factory=list)
    offer: dict[str, object] = field(default_factory=dict)
    live: set[str] = field(default_factory=lambda: {JOB_TOKEN})
    used: set[str] = field(default_factory=set)
    challenges: int = 0
    keys: set[str] = field(default_factory=set)
    jtis: list[str] = field(default_factory=list)
    running: threading.Event = field(default_factory=threading.Event)
    beaten: threading.Event = field(default_factory=threading.Event)

    def unproven(self, path: str, authorization: str, proofs: list[str], port: int) -> str:
        """A nonce when there is none yet. Where the pilot speaks for itself, every request must bring a new proof."""
        if path != "/auth/token" and not path.startswith("/api/pilots/"):
            assert proofs == []  # the job's credential is for programs without a key
            return ""
        [text] = proofs
        reader = Proofs(Seal(bytes(32)), f"http://127.0.0.1:{port}", SYSTEM)
        found = reader.read(text, "POST", path, authorization.removeprefix("DPoP "))
        if isinstance(found, Unproven):
            assert found.code == "use_dpop_nonce", found
            self.challenges += 1
            return reader.nonce()
        self.keys.add(found.thumbprint)
        self.jtis.append(found.jti)
        return ""

    def answer(self, path: str, token: str, body: bytes) -> Answer:
        if path == "/auth/token":
            return self._redeem(parse_qs(body.decode()))
        if path.startswith("/api/pilots/"):
            if token != f"DPoP {PILOT_TOKEN}":
                return 401, error("invalid_token")
            return self._match(json.loads(body)) if path.endswith("match") else self._finish(json.loads(body))
        token = token.removeprefix("Bearer ")
        if token not in self.live:
            return 401, error("invalid_token")
        self.used.add(token)
        if path == f"/api/sandboxes/{SANDBOX}" and self.sandbox is not None:
            return 200, self.sandbox
        if path == "/api/jobs/7/output":
            self.output = body
            return 201, {"id": SANDBOX, "size": len(body)}
        if path == "/api/jobs/7/heartbeat":
            return self._beat(json.loads(body))
        if path == "/api/jobs/7/status":
            return self._status(json.loads(body))
        return 404, error("not_found")

    def _redeem(self, form: dict[str, list[str]]) -> Answer:
        expected = {
            "grant_type": ["urn:gatehouse:params:oauth:grant-type:pilot-secret"],
            "client_id": ["gatehouse-pilot"],
            "pilot_secret": [SECRET],
        }
        if form != expected:
            return 400, error("invalid_grant")
        return 200, {"access_token": PILOT_TOKEN, "token_type": "DPoP", "expires_in": 3600, "scope": ""}

    def _match(self, offer: dict[str, object]) -> Answer:
        self.offer = offer
        if self.without_work:
            self.without_work -= 1
            return 204, b""
        sandboxes = [SANDBOX] if self.sandbox is not None else []
        return 200, {
            "job_id": 7,
            "attempt": 1,
            "token": JOB_TOKEN,
            "expires_in": 600,
            "job": self.job,
            "input_sandboxes": sandboxes,
        }

    def _finish(self, body: dict[str, str]) -> Answer:
        self.pilot.append((body["status"], body["message"]))
        return 200, {"status": body["status"]}

    def _beat(self, body: dict[str, str]) -> Answer:
        self.beats.append(body["application_status"])
        if self.renewed:
            self.live.add(self.renewed)
        self.beaten.set()
        return 200, {"command": self.command, "token": self.renewed, "expires_in": 600}

    def _status(self, body: dict[str, str]) -> Answer:
        self.reports.append((body["status"], body["minor_status"], body["application_status"]))
        if body["minor_status"] == "Application":
            self.running.set()
        if body["status"] in {"Done", "Failed", "Killed"}:
            self.live.clear()
        return 200, {"status": body["status"]}

    @property
    def statuses(self) -> list[tuple[str, str]]:
        return [(status, minor) for status, minor, _ in self.reports]


def error(code: str) -> dict[str, str]:
    return {"error": code, "error_description": f"a sentence about {code}"}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, gatehouse: Gatehouse, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.gatehouse = gatehouse

    def handle_error(self, request: object, client_address: object) -> None:
        """A pilot that goes away in mid-request is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        gatehouse = cast("Server", self.server).gatehouse
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        token = self.headers.get("Authorization", "")
        port = cast("Server", self.server).server_port
        nonce = gatehouse.unproven(self.path, token, self.headers.get_all("DPoP", []), port)
        if nonce:
            return self._reply(401, error("use_dpop_nonce"), nonce)
        gatehouse.paths.append(self.path)
        faults = gatehouse.faults.get(self.path) or [""]
        fault = faults.pop(0)
        if isinstance(fault, tuple):
            return self._reply(*fault)
        status, answer = gatehouse.answer(self.path, token, body)
        if fault == "lost":  # done, but the answer never arrives
            self.close_connection = True
            return None
        return self._reply(status, answer)

    def _reply(self, status: int, answer: object, nonce: str = "") -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        if nonce:
            self.send_header("DPoP-Nonce", nonce)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        if status in {429, 503}:
            self.send_header("Retry-After", "1")
        self.end_headers()
        if status != 204:
            self.wfile.write(body)


@contextmanager
def serving(gatehouse: Gatehouse, port: int = 0) -> Iterator[int]:
    server = Server(gatehouse, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Run:
    """A pilot process; leaving the `with` block checks that it kept its secrets and cleaned up."""

    process: subprocess.Popen[bytes]
    cmdline: bytes = b""
    code: int = -1
    log: str = ""

    def wait(self, seconds: float = 30) -> int:
        out, err = self.process.communicate(timeout=seconds)
        assert out == b""
        self.code, self.log = self.process.returncode, err.decode()
        return self.code


@contextmanager
def pilot(port: int, top: Path, **settings: str) -> Iterator[Run]:
    secret = top / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    (top / "work").mkdir(exist_ok=True)
    given = {"SECRET_FILE": str(secret), "WORKDIR": str(top / "work"), "URL": f"http://127.0.0.1:{port}/"}
    given |= {"SITE": "LCG.Test.ch", "CE": "ce.test", "TAGS": "GPU, SSD", "CPU_TIME": "3600"}
    given |= {"HEARTBEAT": "0.2", "POLL_PAUSE": "0.05", "PATIENCE": "20"} | settings
    process = subprocess.Popen(
        [sys.executable, "-m", "gatehouse.wms.agent"],
        env={"PATH": os.environ["PATH"], **{f"GATEHOUSE_PILOT_{key}": value for key, value in given.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    run = Run(process)
    try:
        run.cmdline = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        yield run
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert not secret.exists()
    assert list((top / "work").iterdir()) == []
    for kept in (SECRET, PILOT_TOKEN, JOB_TOKEN, RENEWED):
        assert kept not in run.log
        assert kept.encode() not in run.cmdline
    assert "Traceback" not in run.log


def script(top: Path, text: str) -> bytes:
    path = top / "run.sh"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o644)  # the pilot makes it executable
    return pack([path])


def shell(text: str) -> Manifest:
    """A job without a sandbox: the arguments are read by a shell, as DIRAC does."""
    return {**manifest("/bin/sh"), "arguments": f"-c '{text}'"}


def outputs(gatehouse: Gatehouse, top: Path) -> dict[str, bytes]:
    assert gatehouse.output is not None
    into = top / "output"
    into.mkdir()
    return {str(path.relative_to(into)): path.read_bytes() for path in unpack(gatehouse.output, into)}


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_job_runs_and_its_output_comes_home(tmp_path: Path) -> None:
    text = """
    echo "$JOBID $DIRACSITE $MINE [$1] [$2] $(stat -c %a "$BEARER_TOKEN_FILE") $(cat "$BEARER_TOKEN_FILE" | sha256sum)"
    env | grep -c GATEHOUSE >&2
    mkdir sub; echo deep > sub/o.txt; echo 1 > a.dat; echo 2 > b.dat; echo no > c.txt
    """
    job = manifest("run.sh")
    job["arguments"] = "'one word' two"
    job["environment"] = {"MINE": "x y", "JOBID": "forged"}
    job["output_sandbox"] += ["sub/o.txt", "*.dat"]
    gatehouse = Gatehouse(job, sandbox=script(tmp_path, text), without_work=1)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 0
    assert gatehouse.statuses == STARTED + SUCCEEDED
    assert gatehouse.reports[-1][2] == "Exited With Status 0"
    assert gatehouse.offer == {
        "site": "LCG.Test.ch",
        "ce": "ce.test",
        "tags": ["GPU", "SSD"],
        "cpu_time": 3600,
        "number_of_processors": 1,
    }
    digest = hashlib.sha256(JOB_TOKEN.encode()).hexdigest()
    assert outputs(gatehouse, tmp_path) == {
        "std.out": f"7 LCG.Test.ch x y [one word] [two] 600 {digest}  -\n".encode(),
        "std.err": b"0\n",
        "sub/o.txt": b"deep\n",
        "a.dat": b"1\n",
        "b.dat": b"2\n",
    }
    assert gatehouse.pilot == [("Done", "job 7 ended as Done")]
    assert "Execution Complete" in run.log


def test_rfc9449_8_a_pilot_has_a_key_of_its_own_and_follows_the_nonce(tmp_path: Path) -> None:
    keys: list[str] = []
    for _ in range(2):
        gatehouse = Gatehouse(shell("true"), faults={"/api/pilots/match": [(401, error("use_dpop_nonce"))]})
        with serving(gatehouse) as port, pilot(port, tmp_path) as run:
            assert run.wait() == 0
        assert gatehouse.challenges == 1  # a nonce is used until there is another
        assert len(gatehouse.jtis) == len(set(gatehouse.jtis)) >= 4  # redeem, match twice, goodbye
        keys += gatehouse.keys
    assert len(set(keys)) == len(keys) == 2


def test_rfc9449_8_nonces_without_end_end_the_pilot(tmp_path: Path) -> None:
    faults: dict[str, list[Answer | str]] = {"/auth/token": [(400, error("use_dpop_nonce"))] * 50}
    gatehouse = Gatehouse(shell("true"), faults=faults)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 1
    assert gatehouse.paths.count("/auth/token") < 5


def test_a_failing_job_brings_home_what_there_is(tmp_path: Path) -> None:
    job = shell("echo out; echo err >&2; exit 3")
    job["output_sandbox"] = ["result.root", "../../etc/passwd", "std.out"]
    gatehouse = Gatehouse(job)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 0
    assert gatehouse.statuses == STARTED + ERRED
    expected = "Exited With Status 3; Missing Output: result.root, ../../etc/passwd"
    assert gatehouse.reports[-1][2] == expected
    assert outputs(gatehouse, tmp_path) == {"std.out": b"out\n", "std.err": b"err\n"}
    assert gatehouse.pilot == [("Done", "job 7 ended as Failed")]


def test_one_file_for_both_streams(tmp_path: Path) -> None:
    gatehouse = Gatehouse({**shell("echo out; echo err >&2; kill -9 $$"), "std_error": "std.out"})
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 0
    assert gatehouse.reports[-1][2] == "Ended By Signal SIGKILL; Missing Output: std.err"
    assert outputs(gatehouse, tmp_path) == {"std.out": b"out\nerr\n"}


ALL_PATHS = [
    *("/auth/token", "/api/pilots/match", "/api/jobs/7/status", "/api/jobs/7/heartbeat"),
    *("/api/jobs/7/output", "/api/pilots/status", f"/api/sandboxes/{SANDBOX}"),
]


@pytest.mark.parametrize("fault", [(503, error("temporarily_unavailable")), "lost"])
def test_every_request_survives_faults(tmp_path: Path, fault: Answer | str) -> None:
    faults: dict[str, list[Answer | str]] = {path: [fault, fault] for path in ALL_PATHS}
    gatehouse = Gatehouse(manifest("run.sh"), sandbox=script(tmp_path, "sleep 1; exit 0"), faults=faults)
    with serving(gatehouse) as port, pilot(port, tmp_path, HEARTBEAT="0.8") as run:
        assert run.wait(40) == 0
    assert list(dict.fromkeys(gatehouse.statuses)) == STARTED + SUCCEEDED
    assert outputs(gatehouse, tmp_path) == {"std.out": b"", "std.err": b""}
    assert ("Done", "job 7 ended as Done") in gatehouse.pilot
    assert all(gatehouse.paths.count(path) >= 3 for path in ALL_PATHS if not path.endswith("heartbeat"))


def test_the_last_report_may_lose_its_answer(tmp_path: Path) -> None:
    """The credential dies with the report, so the repeat is refused with 401: that is no lost claim."""
    before = len(STARTED + SUCCEEDED) - 1
    faults: dict[str, list[Answer | str]] = {"/api/jobs/7/status": [*[""] * before, "lost"]}
    gatehouse = Gatehouse(shell("true"), faults=faults)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 0
    assert gatehouse.statuses == STARTED + SUCCEEDED
    assert gatehouse.pilot == [("Done", "job 7 ended as Done")]
    assert "its answer was lost" in run.log


def test_a_server_away_for_three_seconds_is_survived(tmp_path: Path) -> None:
    gatehouse = Gatehouse(shell("sleep 2; echo survived"))
    with serving(gatehouse) as port:
        pass
    with pilot(port, tmp_path) as run:
        time.sleep(3)
        with serving(gatehouse, port):
            assert gatehouse.running.wait(20)
        time.sleep(3)
        with serving(gatehouse, port):
            assert run.wait() == 0
    assert "ConnectError" in run.log
    assert gatehouse.statuses == STARTED + SUCCEEDED
    assert outputs(gatehouse, tmp_path)["std.out"] == b"survived\n"


def busy(tmp_path: Path, *, stubborn: bool = False) -> Manifest:
    """A job of two processes that never end by themselves; their numbers are in `pids`."""
    trap = "trap : TERM; " if stubborn else ""
    text = f"echo $$ >> {tmp_path}/pids; sleep 77 & echo $! >> {tmp_path}/pids; sleep 78; sleep 79"
    return shell(trap + text)


def pids(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "pids").read_text().split()]


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_kill_ends_the_whole_group(tmp_path: Path, stubborn: bool) -> None:
    gatehouse = Gatehouse(busy(tmp_path, stubborn=stubborn))
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert gatehouse.beaten.wait(20)
        time.sleep(0.5)
        gatehouse.command = "kill"
        assert run.wait() == 0
    assert gatehouse.statuses == [*STARTED, ("Killed", "Received Kill signal")]
    assert gatehouse.output is None
    assert len(pids(tmp_path)) == 2
    assert all(gone(pid) for pid in pids(tmp_path))
    assert gatehouse.pilot == [("Done", "job 7 ended as Killed")]


@pytest.mark.parametrize("status", [401, 409])
def test_a_lost_claim_stops_the_job_silently(tmp_path: Path, status: int) -> None:
    lost: Answer = (status, error("conflict"))
    gatehouse = Gatehouse(busy(tmp_path), faults={"/api/jobs/7/heartbeat": ["", "", lost]})
    with serving(gatehouse) as port, pilot(port, tmp_path, HEARTBEAT="0.5") as run:
        assert run.wait() == 0
    assert gatehouse.statuses == STARTED
    assert gatehouse.output is None
    assert all(gone(pid) for pid in pids(tmp_path))
    assert gatehouse.pilot == [("Done", "the claim was lost")]


@pytest.mark.parametrize("before", range(len(STARTED + SUCCEEDED)))
def test_a_refused_report_is_a_lost_claim(tmp_path: Path, before: int) -> None:
    conflict: Answer = (409, error("conflict"))
    faults: dict[str, list[Answer | str]] = {"/api/jobs/7/status": [*([""] * before), conflict]}
    gatehouse = Gatehouse(shell("true"), faults=faults)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 0
    assert gatehouse.statuses == (STARTED + SUCCEEDED)[:before]
    assert gatehouse.paths.count("/api/jobs/7/status") == before + 1
    assert gatehouse.pilot == [("Done", "the claim was lost")]


def test_the_batch_systems_signal_fails_the_job(tmp_path: Path) -> None:
    gatehouse = Gatehouse(busy(tmp_path))
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert gatehouse.beaten.wait(20)
        time.sleep(0.5)
        run.process.send_signal(signal.SIGTERM)
        assert run.wait() == 0
    assert gatehouse.statuses == [*STARTED, ("Failed", "Application thread did not complete")]
    assert all(gone(pid) for pid in pids(tmp_path))


def test_what_the_job_leaves_behind_is_ended(tmp_path: Path) -> None:
    gatehouse = Gatehouse(shell(f"sleep 77 & echo $! > {tmp_path}/pids; exit 0"))
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 0
    assert gatehouse.statuses == STARTED + SUCCEEDED
    assert gone(pids(tmp_path)[0])


def test_a_renewed_token_is_used_by_pilot_and_job(tmp_path: Path) -> None:
    text = 'while ! grep -q renewed "$BEARER_TOKEN_FILE"; do sleep 0.1; done; stat -c %a "$BEARER_TOKEN_FILE"'
    gatehouse = Gatehouse(manifest("run.sh"), sandbox=script(tmp_path, text), renewed=RENEWED)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert gatehouse.beaten.wait(20)
        time.sleep(0.3)
        gatehouse.live.discard(JOB_TOKEN)
        assert run.wait() == 0
    assert gatehouse.used == {JOB_TOKEN, RENEWED}
    assert outputs(gatehouse, tmp_path)["std.out"] == b"600\n"


def test_no_work_is_no_failure(tmp_path: Path) -> None:
    gatehouse = Gatehouse(shell("true"), without_work=9)
    with serving(gatehouse) as port, pilot(port, tmp_path, POLLS="4") as run:
        assert run.wait() == 0
    assert gatehouse.paths == ["/auth/token", *["/api/pilots/match"] * 4, "/api/pilots/status"]
    assert gatehouse.pilot == [("Done", "no work")]


def test_a_refused_secret_ends_the_pilot(tmp_path: Path) -> None:
    gatehouse = Gatehouse(shell("true"), faults={"/auth/token": [(400, error("invalid_grant"))]})
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 1
    assert gatehouse.paths == ["/auth/token"]
    assert "a sentence about invalid_grant" in run.log


EVIL = {**manifest("true"), "std_output": "../../../escape"}
LEADS_OUT = io.BytesIO()
with tarfile.open(fileobj=LEADS_OUT, mode="w:bz2") as archive:
    archive.addfile(tarfile.TarInfo("../escape"))


@pytest.mark.parametrize(
    ("job", "sandbox", "minor", "reason"),
    [
        (manifest("nothing-called-so"), None, "Application not found", "is not on this node"),
        (manifest("/nothing/called/so"), None, "Application not found", "is not on this node"),
        (manifest(""), None, "Illegal Job JDL", "the executable is empty"),
        (EVIL, None, "Illegal Job JDL", "leads out"),
        (manifest("true"), b"no archive", "Failed Downloading InputSandbox", "damaged"),
        (manifest("true"), LEADS_OUT.getvalue(), "Failed Downloading InputSandbox", "leads out"),
        (manifest("true"), bz2.compress(bytes(10))[:5], "Failed Downloading InputSandbox", "too early"),
    ],
)
def test_what_cannot_run_fails_with_its_reason(
    tmp_path: Path, job: Manifest, sandbox: bytes | None, minor: str, reason: str
) -> None:
    gatehouse = Gatehouse(job, sandbox=sandbox)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait() == 0
    assert gatehouse.statuses[-1] == ("Failed", minor)
    assert reason in gatehouse.reports[-1][2]
    assert not (tmp_path / "escape").exists()
    assert gatehouse.pilot == [("Done", "job 7 ended as Failed")]


def test_output_is_bounded(tmp_path: Path) -> None:
    text = f"head -c {STREAM_LIMIT + 5_000_000} /dev/urandom; head -c 11000000 /dev/urandom > big; echo ok > small"
    job = shell(text + "; ln -s /etc/passwd away; ln -s small near")
    job["output_sandbox"] += ["big", "small", "away", "near"]
    gatehouse = Gatehouse(job)
    with serving(gatehouse) as port, pilot(port, tmp_path) as run:
        assert run.wait(60) == 0
    assert gatehouse.reports[-1][0] == "Done"
    assert gatehouse.reports[-1][2] == "Exited With Status 0; Output Left Out: big, away"
    found = outputs(gatehouse, tmp_path)
    assert set(found) == {"std.out", "std.err", "small", "near"}
    assert len(found["std.out"]) == STREAM_LIMIT + len(CUT_NOTE)
    assert found["std.out"].endswith(CUT_NOTE)


class Hands:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.time = 0.0
        self.pauses: list[float] = []

    def now(self) -> int:
        return int(self.time)

    def monotonic(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds
        self.pauses.append(seconds)


def test_patience_ends_and_pauses_grow_to_a_bound() -> None:
    hands = Hands()
    gatehouse = Gatehouse(shell("true"), faults={"/x": [(502, b"")] * 1000, "/y": [(429, b""), (400, b"[]")]})
    with serving(gatehouse) as port, client() as http:
        transport = Transport(
            f"http://127.0.0.1:{port}",
            http,
            patience=300,
            clock=hands,
            pause=hands.pause,
            jitter=lambda _, high: high,
        )
        with pytest.raises(UnreachableError, match="answered 502"):
            transport.send("GET", "/x")
        assert 300 - LONGEST_PAUSE <= hands.time <= 300
        assert 20 < gatehouse.paths.count("/x") < 40
        started = hands.time
        assert transport.send("POST", "/y", content=b"").status == 400
        assert hands.time == started + 1.0
        with pytest.raises(GateError, match="longer than 3 bytes"):
            transport.send("GET", "/nothing", limit=3)
        transport.hurry()
        started = hands.time
        with pytest.raises(UnreachableError):
            transport.send("GET", "/x")
        assert hands.time - started <= 8.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"URL": ""}, "URL is not set"),
        ({"URL": "http://gate.example"}, "must be https"),
        ({"URL": "ftp://gate.example"}, "no base URL"),
        ({"URL": "https://user:pass@gate.example"}, "no base URL"),
        ({"HEARTBEAT": "often"}, "HEARTBEAT is a number"),
        ({"POLLS": "0"}, "POLLS is a number"),
        ({"POLLS": "-1"}, "POLLS is a number"),
    ],
)
def test_settings_are_checked_and_the_secret_is_gone_anyway(
    tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    given = {"URL": "https://gate.example", "SECRET_FILE": str(file)} | changes
    with pytest.raises(SettingsError, match=words) as caught:
        from_environment({f"GATEHOUSE_PILOT_{key}": value for key, value in given.items()})
    assert SECRET not in str(caught.value)
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "two words", "line\nline", "x" * 600, "é"])
def test_a_secret_file_holds_one_secret(tmp_path: Path, content: str) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    with pytest.raises(SettingsError, match="does not hold one secret"):
        from_environment({"GATEHOUSE_PILOT_SECRET_FILE": str(file)})
    assert not file.exists()
    with pytest.raises(SettingsError, match="can't be opened"):
        from_environment({"GATEHOUSE_PILOT_SECRET_FILE": str(file)})


def test_settings_do_not_print_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    settings = from_environment(
        {"GATEHOUSE_PILOT_URL": "https://gate.example/", "GATEHOUSE_PILOT_SECRET_FILE": str(file)}
    )
    assert settings.secret == SECRET
    assert settings.url == "https://gate.example"
    assert SECRET not in repr(settings)


def test_the_agent_and_the_light_client_need_no_server_parts() -> None:
    light = ["agent.__main__", "agent.pilot", "jdl", "archive", "states", "manifest"]
    heavy = {
        "fastapi",
        "starlette",
        "sqlalchemy",
        "sqlmodel",
        "pydantic",
        "authlib",
        "cryptography",
        "msgspec",
    }
    code = f"import sys, {', '.join(f'gatehouse.wms.{name}' for name in light)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert "gatehouse.wms.agent.pilot" in loaded.split()
    assert not heavy & set(loaded.split())
