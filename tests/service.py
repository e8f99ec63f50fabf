"""Gatehouse as a process of its own, for tests over a socket: started, killed, started again."""

import base64
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

START_SECONDS = 30.0

CONFIG = """\
mode = "development"
demo = {demo}
database_url = "{database_url}"
log_level = "INFO"

[server]
base_url = "{base}"
port = {port}

[secrets]
master_key_file = "master.key"

[factory]
interval = 0.5
heartbeat = 1

{more}
"""

LOCAL_ELEMENT = """
[[elements]]
name = "local"
type = "local"
site = "DIRAC.Test.local"
vos = ["training.egi.eu"]
work_dir = "pilots"
"""


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """`gatehouse serve` below `folder`, with its demo providers and one local element unless told otherwise."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str = "sqlite:///gatehouse.db",
        demo: bool = True,
        more: str = LOCAL_ELEMENT,
        port: int = 0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.base}/auth"
        self.log = folder / "server.log"
        self.config = folder / "gatehouse.toml"
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        key = folder / "master.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
        self.config.write_text(
            CONFIG.format(
                demo=str(demo).lower(), database_url=database_url, base=self.base, port=self.port, more=more
            )
        )

    def start(self) -> "Service":
        """Start and wait until it is ready. Raises RuntimeError with the log when it does not."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gatehouse.cli", "serve", "--config", str(self.config)],
                stdout=output,
                stderr=output,
                env=self._environ,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                ready = httpx.get(f"{self.base}/readyz", timeout=2, trust_env=False, verify=self.trust)
                if ready.status_code == 200:
                    return self
            except httpx.HTTPError:
                time.sleep(0.05)
        raise RuntimeError("the service did not start:\n" + self.log.read_text()[-3000:])

    @property
    def trust(self) -> ssl.SSLContext | bool:
        """Whose certificates the one who waits believes; the service speaks plain HTTP unless a test says otherwise."""
        return True

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9: no goodbye, nothing flushed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """SIGTERM, as an operator would; does nothing when it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> "Service":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
