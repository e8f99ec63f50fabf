"""`gatehouse demo`: the whole road on this machine, as a newcomer would walk it."""

import base64
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import httpx
from rich.console import Console
from rich.rule import Rule

from gatehouse.cli.client import GatehouseClient
from gatehouse.cli.demo.approve import approve
from gatehouse.cli.demo.community import SITE
from gatehouse.cli.device import DeviceCode
from gatehouse.cli.errors import CommandError
from gatehouse.cli.signin import login
from gatehouse.cli.tables import STATUS_STYLES
from gatehouse.registry.clock import SYSTEM
from gatehouse.wms.archive import unpack
from gatehouse.wms.elements import processes

GROUP = "training_user"
_START_SECONDS = 30.0
_JOB_SECONDS = 60.0
_PILOT_SECONDS = 8.0  # a pilot gives its job five to end
_FINAL = {"Done", "Failed", "Killed", "Deleted"}


def demo(once: bool, port: int) -> int:
    """Run the demonstration; with `once` nobody is needed and it ends by itself. Returns the exit code."""
    say = Console(highlight=False)
    # Whatever ends it, the folder with its keys goes too; a script's background job would ignore SIGINT.
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-demo-", ignore_cleanup_errors=True) as name,
        _service(Path(name), port, say) as base,
    ):
        token_file = Path(name) / "token"
        _log_in(base, token_file, once, say)
        code = _run_job(token_file, Path(name), say)
        if once or code:
            return code
        say.print(Rule("the service stays up"))
        say.print(f"Its pages: [link={base}/]{base}/[/link]")
        say.print("In another terminal you are already logged in with")
        say.print(
            f"  export BEARER_TOKEN_FILE={token_file} PATH={Path(sys.executable).parent}:$PATH",
            soft_wrap=True,
        )
        say.print("  dsub /bin/date; dstat -a")
        say.print("Ctrl-C ends it.")
        _wait_for_the_person()
    return 0


@contextlib.contextmanager
def _service(folder: Path, port: int, say: Console) -> Iterator[str]:
    port = port or _free_port()
    base = f"http://127.0.0.1:{port}"
    config = _configuration(folder, base, port)
    say.print(Rule("1. the service, with SQLite and two demo identity providers"))
    log_file = folder / "server.log"
    with log_file.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "gatehouse.cli", "serve", "--config", str(config)],
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no other thread runs yet
        )
    try:
        _wait_until_ready(server, base, log_file)
        say.print(f"Gatehouse answers at {base}/   (log: {log_file})", soft_wrap=True)
        yield base
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
        _end_pilots(folder / "pilots")


def _end_pilots(folder: Path) -> None:
    """Pilots outlive their service, for it may come back; this one does not."""
    found = (processes.parse(file.read_text()) for file in folder.glob("*/process"))
    left = [process for process in found if process is not None]
    for process in left:
        processes.signal_session(process, signal.SIGTERM)
    end = SYSTEM.monotonic() + _PILOT_SECONDS
    while SYSTEM.monotonic() < end and any(processes.alive(process) for process in left):
        sleep(0.05)


def _end_with_parent() -> None:
    """In the child: be told to stop when the demo dies, however it dies (prctl PR_SET_PDEATHSIG, Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _configuration(folder: Path, base: str, port: int) -> Path:
    key = folder / "master.key"
    key.touch(mode=0o600)
    key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    config = folder / "gatehouse.toml"
    config.write_text(f"""\
mode = "development"
demo = true
database_url = "sqlite:///gatehouse.db"

[server]
base_url = "{base}"
port = {port}

[secrets]
master_key_file = "master.key"

[factory]
interval = 1.0
heartbeat = 2

[[elements]]
name = "local"
type = "local"
site = "{SITE}"
vos = ["training.egi.eu"]
work_dir = "pilots"
""")
    return config


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(server: subprocess.Popen[bytes], base: str, log_file: Path) -> None:
    end = SYSTEM.monotonic() + _START_SECONDS
    while SYSTEM.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(f"{base}/readyz", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            sleep(0.05)
    tail = log_file.read_text(errors="replace")[-1500:]
    raise CommandError("the service did not start", why=tail)


def _log_in(base: str, token_file: Path, once: bool, say: Console) -> None:
    say.print(Rule("2. the login: device flow, approved in the browser"))
    say.print(f"$ dirac-login {GROUP} --issuer {base}/auth")

    def show(device: DeviceCode) -> None:
        say.print("Use the following link to continue")
        say.print(device.link, style="bold cyan", soft_wrap=True)
        if once:
            say.print("(ONCE=1: approving as alice, over HTTP, as a browser would)", style="dim")
            approve(device.link, "alice")
        else:
            _show_qr(device.link)
            say.print("Open it, choose a demo provider and sign in as alice or bob.", style="bold")

    done = login(f"{base}/auth", group=GROUP, out=token_file, show=show)
    say.print(f"New token is saved to {done.path}.", soft_wrap=True)
    for line in done.summary.lines() if done.summary else []:
        say.print(line, soft_wrap=True)


def _show_qr(link: str) -> None:
    import segno

    if sys.stdout.isatty():
        segno.make(link, error="l").terminal(compact=True)


def _run_job(token_file: Path, folder: Path, say: Console) -> int:
    say.print(Rule("3. a job: submitted, taken by a pilot, and its output"))
    with GatehouseClient(token_file) as client:
        say.print('$ dsub /bin/echo "Hello world"')
        manifest = {"executable": "/bin/echo", "arguments": "'Hello world'", "name": "hello"}
        [job] = client.submit([manifest])
        say.print(str(job))
        final = _watch(client, job, say)
        say.print(f"$ doutput {job}")
        target = folder / str(job)
        target.mkdir()
        unpack(client.output(job), target)
    text = (target / "std.out").read_text()
    say.print(text.rstrip("\n"), style="bold green")
    return 0 if final == "Done" and text == "Hello world\n" else 1


def _watch(client: GatehouseClient, job: int, say: Console) -> str:
    """Print each step of the job's history as it comes; returns the final status."""
    shown = 0
    end = SYSTEM.monotonic() + _JOB_SECONDS
    while SYSTEM.monotonic() < end:
        events = client.log(job)
        for event in events[shown:]:
            style = STATUS_STYLES.get(event["status"], "")
            say.print(f"  {event['time']}  {event['status']:<11}", style=style, end="")
            say.print(f" {event['minor_status']}  [dim]({event['source']})[/dim]")
        shown = len(events)
        if events and events[-1]["status"] in _FINAL:
            return str(events[-1]["status"])
        sleep(0.1)
    raise CommandError("the job did not end in a minute", next_step="look at: the server's log")


def _wait_for_the_person() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        os.write(1, b"\n")
