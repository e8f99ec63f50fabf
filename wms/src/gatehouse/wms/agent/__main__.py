"""`python -m gatehouse.wms.agent`: settings from `GATEHOUSE_PILOT_*` variables, a line per step on stderr."""

import ctypes
import logging
import os
import signal
import sys
from types import FrameType

from gatehouse.wms.agent.gate import Gate
from gatehouse.wms.agent.inbox import Event, Inbox
from gatehouse.wms.agent.pilot import BROKE, Pilot
from gatehouse.wms.agent.settings import SettingsError, from_environment
from gatehouse.wms.agent.transport import Prover, Transport, client

PR_SET_DUMPABLE = 4


def close_memory() -> None:
    """Keep the job, which runs under the same account, from reading the pilot's memory (prctl(2), Linux only)."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError):
        logging.getLogger("gatehouse.pilot").info("this system has no prctl")


def own_key() -> Prover:
    """A fresh key that exists in this process only: the pilot's token is of no use without it."""
    from gatehouse.tokenmanager import prover  # noqa: PLC0415 - what the light client shares needs no package

    return prover.Prover()


def main() -> int:
    """Run one pilot; the exit code."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("gatehouse.pilot").setLevel(logging.INFO)
    os.umask(0o077)
    close_memory()
    try:
        settings = from_environment(os.environ)
        http = client(settings.ca)
        prover = own_key()
    except (SettingsError, OSError, ImportError) as error:
        logging.getLogger("gatehouse.pilot").error("the pilot can't start: %s", error)
        return BROKE
    inbox = Inbox()
    transport = Transport(settings.url, http, patience=settings.patience, prover=prover)

    def stop(_number: int, _frame: FrameType | None) -> None:
        transport.hurry()
        inbox.put(Event.STOP)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with http:
        return Pilot(settings, Gate(transport), inbox).run()


if __name__ == "__main__":
    sys.exit(main())
