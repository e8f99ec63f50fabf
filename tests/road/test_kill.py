"""kill -9 of the server between any two steps: after a restart the road goes on, no job is lost, none runs twice."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gatehouse.cli.demo.approve import approve
from gatehouse.cli.device import DeviceCode
from gatehouse.cli.errors import CommandError
from gatehouse.cli.signin import login
from tests.road.walkers import Person, eventually
from tests.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path) as running:
        yield running


def _again(service: Service) -> None:
    service.kill()
    service.start()


def test_a_login_survives_a_crash_before_every_request_of_the_browser(service: Service) -> None:
    """The server dies before each page the browser asks for, and the walk still ends with the right person."""
    crashed: list[str] = []

    def crash(request: httpx.Request) -> None:
        # the demo provider lives in the same process and forgets its codes: its own steps are left alone
        if "/demo/" not in request.url.path and request.url.path != "/auth/redirect":
            _again(service)
            crashed.append(request.url.path)

    def show(device: DeviceCode) -> None:
        approve(device.link, "alice", before=crash)
        _again(service)

    done = login(service.issuer, group="training_user", out=service.folder / "token", show=show)
    assert crashed == [
        "/auth/device",
        "/auth/login/confirm",
        "/auth/login",
        "/auth/login/egi-demo",
    ]
    assert done.summary is not None
    assert done.summary.username == "alice"


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.008, 0.012, 0.02])
def test_a_crash_while_the_answer_is_taken_leaves_the_login_open(service: Service, delay: float) -> None:
    """The server dies a moment after the callback was sent: the same link, opened again, leads to the end."""
    timers: list[threading.Timer] = []

    def crash(request: httpx.Request) -> None:
        if request.url.path == "/auth/redirect":
            timers.append(threading.Timer(delay, service.kill))
            timers[-1].start()

    def show(device: DeviceCode) -> None:
        try:
            approve(device.link, "alice", before=crash)
        except (httpx.HTTPError, CommandError):
            finished = False
        else:
            finished = True
        timers[0].join()
        service.start()
        if not finished and _waiting(device):
            approve(device.link, "alice")

    done = login(service.issuer, group="training_user", out=service.folder / "token", show=show)
    assert done.summary is not None
    assert done.summary.group == "training_user"


def _waiting(device: DeviceCode) -> bool:
    """Whether the link still leads to a question; after an approval whose answer was lost it does not."""
    return httpx.get(device.link, trust_env=False).status_code == 200


@pytest.mark.parametrize("moment", ["Waiting", "Matched", "Running", "Completing"])
def test_a_job_survives_a_crash_and_runs_once(service: Service, moment: str) -> None:
    alice = Person("alice", service.folder, service.issuer)
    alice.log_in()
    traces = service.folder / "ran"
    job = alice.submit("/bin/sh", "-c", f"echo ran >> {traces}; sleep 1.5; echo done")
    if moment != "Waiting":
        eventually(lambda: _reached(alice, job, moment), seconds=30, every=0.02)
    _again(service)
    assert alice.wait_for(job, "Done", "Failed", seconds=90) == "Done"
    alice.say("doutput", str(job))
    assert (alice.folder / str(job) / "std.out").read_text() == "done\n"
    assert traces.read_text() == "ran\n"


def _reached(alice: Person, job: int, moment: str) -> bool:
    return moment in alice.say("dlogging", str(job))


def test_crash_after_crash_while_jobs_run(service: Service) -> None:
    """Five crashes during twelve jobs: each of them runs exactly once, and its output comes home."""
    alice = Person("alice", service.folder, service.issuer)
    alice.log_in()
    traces = service.folder / "ran"
    traces.mkdir()
    jobs = [
        alice.submit("/bin/sh", "-c", f"mktemp {traces}/{number}.XXXXXX; sleep 0.7") for number in range(12)
    ]
    for _ in range(5):
        time.sleep(1.0)
        _again(service)
    for job in jobs:
        assert alice.wait_for(job, "Done", "Failed", seconds=120) == "Done"
    ran = sorted(int(trace.name.partition(".")[0]) for trace in traces.iterdir())
    assert ran == list(range(12))
