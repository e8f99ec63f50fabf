"""Servers to be measured: processes of their own, pinned to one CPU, their CPU time read from /proc."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gatehouse.tokenmanager.seal import new_key
from tests.bench import world

ROOT = Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30.0
CONFIG = "gatehouse.toml"


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on 127.0.0.1:port; `directory` holds its files, if it has any."""

    pid: int
    port: int
    directory: Path

    @property
    def base(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """The configuration file of the service."""
        return self.directory / CONFIG

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, in steps of 10 ms."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2 :].split()  # the name in front may hold blanks
        return (int(fields[11]) + int(fields[12])) / TICK


def cpus() -> tuple[set[int], set[int]]:
    """CPUs for the server and for the generator; the same ones when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return ({allowed[0]}, {allowed[1]}) if len(allowed) > 1 else (set(allowed), set(allowed))


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def started(
    command: list[str], port: int, directory: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server command until the block ends. Errors: RuntimeError with its output if it does not listen."""
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(environ or {})}, stdout=output, stderr=output
        )
    try:
        os.sched_setaffinity(process.pid, cpus()[0])
        _wait_for(process, port, log)
        yield Server(process.pid, port, directory)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not listen on port {port}:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def hello() -> Iterator[Server]:
    """The reference application."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.hello", str(port)]
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as directory,
        started(command, port, Path(directory)) as server,
    ):
        yield server


CLIENT, CLIENT_SECRET = "bench", "only-for-the-bench"
CONFIGURATION = """\
mode = "development"
demo = true  # its two identity providers are in the same process, and idle while rows are measured
database_url = "sqlite:///gatehouse.db"
log_level = "WARNING"
[server]
base_url = "http://127.0.0.1:{port}"
port = {port}
[secrets]
master_key_file = "master.key"
[limits]  # one caller asks for what thousands would: counted as always, refused never
login = 10000000
login_burst = 1000000
token = 10000000
token_burst = 1000000
call = 10000000
call_burst = 1000000
work = 10000000
work_burst = 1000000
page = 10000000
page_burst = 1000000
guess = 10000000
guess_burst = 1000000
document = 10000000
document_burst = 1000000
[[clients]]
client_id = "{client}"
client_secret = "{secret}"
grant_types = [
  "urn:ietf:params:oauth:grant-type:device_code",
  "urn:ietf:params:oauth:grant-type:token-exchange",
  "client_credentials",
  "refresh_token",
]
scopes = ["compute.read"]
resources = ["http://127.0.0.1:{port}/api"]
access_token_alg = "ES256"
"""


@contextlib.contextmanager
def gatehouse(queues: int = 0, jobs: int = 0) -> Iterator[Server]:
    """`gatehouse serve` on SQLite at full durability, with so many jobs waiting in so many queues."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        directory = Path(name)
        new_key(directory / "master.key")
        configuration = directory / CONFIG
        configuration.write_text(CONFIGURATION.format(port=port, client=CLIENT, secret=CLIENT_SECRET))
        world.fill(configuration, queues, jobs)
        command = [str(Path(sys.executable).with_name("gatehouse")), "serve", "--config", str(configuration)]
        with started(command, port, directory) as server:
            yield server
