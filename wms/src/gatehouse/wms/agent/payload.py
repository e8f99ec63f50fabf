"""The user's program: its own session and process group, bounded output, and an end when it is told to end."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from gatehouse.wms.agent.task import Task

STREAM_LIMIT = 4 * 1024 * 1024
"""Bytes kept of each of standard output and error: both, even incompressible, fit into one sandbox."""

CUT_NOTE = b"\n[cut here: the job wrote more than is kept]\n"
TERM_GRACE = 5.0
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "X509_CERT_DIR", "X509_VOMS_DIR", "LD_LIBRARY_PATH")
_OWN_PATH = "/usr/local/bin:/usr/bin:/bin"


def environment(task: Task, own: Mapping[str, str], node: Mapping[str, str], room: Path) -> dict[str, str]:
    """What the program sees: little of the node's, what the job asked for, and `own`, which wins."""
    kept = {name: node[name] for name in _KEPT if name in node}
    places = {"HOME": str(room), "PWD": str(room), "TMPDIR": str(room)}
    processors = {"DIRAC_PROCESSORS": str(task.processors), "OMP_NUM_THREADS": str(task.processors)}
    return {"PATH": _OWN_PATH, **kept, **places, **processors, **task.environment, **own}


def find_program(executable: str, room: Path, path: str) -> str | None:
    """The program to run, made executable when it came with the input sandbox; None when there is none.

    A name is looked for in the job's directory, then on the `PATH`; of a path only its last part may be in the
    directory, since sandboxes are flat.
    """
    if os.path.isabs(executable) and os.access(executable, os.X_OK) and os.path.isfile(executable):
        return executable
    for candidate in (room / executable.lstrip("/"), room / os.path.basename(executable)):
        if candidate.is_file() and candidate.resolve().is_relative_to(room.resolve()):
            candidate.chmod(candidate.stat().st_mode | 0o100)
            return str(candidate)
    return shutil.which(executable, path=path) if "/" not in executable else None


class Payload:
    """One run of the program. `exited` is called, from a thread, when the program itself has ended."""

    def __init__(self, task: Task, program: str, *, room: Path, variables: Mapping[str, str]) -> None:
        self._task = task
        self._program = program
        self._room = room
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._pumps: list[threading.Thread] = []

    def start(self, exited: Callable[[], None]) -> None:
        """Start the program; `OSError` when it can't be."""
        # As in DIRAC, a shell reads the arguments (quotes, variables, wildcards); the program's name it never parses.
        command = ["/bin/sh", "-c", f'exec "$0" {self._task.arguments}', self._program]
        merged = self._task.std_output == self._task.std_error
        output = self._open(self._task.std_output)
        error = None if merged else self._open(self._task.std_error)
        process = subprocess.Popen(  # noqa: S603  # running what the owner asks for is what a pilot is for
            command,
            cwd=self._room,
            env=dict(self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        for source, sink in ((process.stdout, output), (process.stderr, error)):
            if source is not None and sink is not None:
                self._thread(_pump, source, sink)
        threading.Thread(target=self._watch, args=(process.pid, exited), daemon=True).start()

    def kill(self) -> None:
        """End the whole group: politely, then not."""
        self._signal(signal.SIGTERM)
        if not self._ended.wait(TERM_GRACE):
            self._signal(signal.SIGKILL)

    def close(self) -> int:
        """What the program ended with (negative: a signal), after ending what it left behind in its group."""
        assert self._process is not None
        self._ended.wait()
        # The program is still unreaped here, so that its group's number can't belong to anybody else.
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        self._process = None
        for pump in self._pumps:
            pump.join(TERM_GRACE)
        return code

    def _watch(self, pid: int, exited: Callable[[], None]) -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self._ended.set()
        exited()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return

    def _open(self, name: str) -> IO[bytes]:
        path = self._room / name
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)

    def _thread(
        self, work: Callable[[IO[bytes], IO[bytes]], None], source: IO[bytes], sink: IO[bytes]
    ) -> None:
        thread = threading.Thread(target=work, args=(source, sink), daemon=True)
        self._pumps.append(thread)
        thread.start()


def _pump(source: IO[bytes], sink: IO[bytes]) -> None:
    """Copy up to the limit; read on to the end, so that the program is never stopped by a full pipe."""
    left, cut = STREAM_LIMIT, False
    with source, sink:
        while chunk := os.read(source.fileno(), 65536):
            try:
                sink.write(chunk[:left])
                if len(chunk) > left and not cut:
                    sink.write(CUT_NOTE)
                    cut = True
            except OSError:  # a full disk: what is on it is all there will be
                left, cut = 0, True
            left = max(0, left - len(chunk))
