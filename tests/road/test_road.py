"""The whole road, once, on real parts: a server process, the real commands, a pilot process."""

import base64
import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gatehouse.cli.demo.approve import approve
from tests.road.walkers import BIN, LINK, Person, eventually
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("road")) as running:
        yield running


@pytest.fixture(scope="module")
def alice(service: Service) -> Person:
    person = Person("alice", service.folder, service.issuer)
    person.log_in()
    return person


def test_dirac_login_prints_what_diracs_users_know(service: Service, tmp_path: Path) -> None:
    person = Person("bob", tmp_path, service.issuer)
    command = [str(BIN / "dirac-login"), "training_user", "--issuer", service.issuer]
    with subprocess.Popen(
        command, env=person.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        while not LINK.search(said):
            said += process.stdout.readline()
        link = LINK.search(said)
        assert link is not None
        approve(link.group(), "bob", provider="iam-demo")
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    lines = rest.splitlines()
    start = lines.index(f"New token is saved to {person.token_file}.")
    labels = [line.partition(": ")[0] for line in lines[start + 1 : start + 7]]
    assert labels == [
        "subject      ",
        "issuer       ",
        "timeleft     ",
        "username     ",
        "DIRAC group  ",
        "properties   ",
    ]
    assert lines[start + 2] == f"issuer       : {service.issuer}"
    assert lines[start + 3].startswith(("timeleft     : 01:59:", "timeleft     : 02:00:00"))
    assert lines[start + 4 : start + 7] == [
        "username     : bob",
        "DIRAC group  : training_user",
        "properties   : NormalUser",
    ]
    assert stat.S_IMODE(person.token_file.stat().st_mode) == 0o600
    saved = json.loads(person.token_file.read_text())
    assert saved["token_type"] == "Bearer"
    assert saved["refresh_token"]


def test_a_job_with_sandboxes_walks_the_road(alice: Person) -> None:
    (alice.folder / "words.txt").write_text("a cat\na dog\n")
    script = alice.folder / "count.sh"
    script.write_text("#!/bin/sh\nwc -l < words.txt > lines.txt\necho counted $1\n")
    job = alice.submit("--InputSandbox", "words.txt", "--OutputSandbox", "lines.txt", "count.sh", "with care")
    assert alice.wait_for(job, "Done", "Failed") == "Done"
    alice.say("doutput", str(job))
    folder = alice.folder / str(job)
    assert (folder / "lines.txt").read_text().strip() == "2"
    assert (folder / "std.out").read_text() == "counted with care\n"
    history = alice.say("dlogging", str(job))
    for word in (
        "Waiting",
        "Matched",
        "Running",
        "Downloading InputSandbox",
        "Output Sandbox Uploaded",
        "Done",
    ):
        assert word in history


def test_a_failing_job_says_so(alice: Person) -> None:
    job = alice.submit("/bin/sh", "-c", "echo why >&2; exit 3")
    assert alice.wait_for(job, "Done", "Failed") == "Failed"
    listed = json.loads(alice.say("dstat", "-a", "-f", "json", "-F", "Status,ApplicationStatus", str(job)))
    assert "3" in json.dumps(listed)
    alice.say("doutput", str(job))
    assert (alice.folder / str(job) / "std.err").read_text() == "why\n"


def test_a_running_job_can_be_killed(alice: Person) -> None:
    job = alice.submit("/bin/sleep", "120")
    alice.wait_for(job, "Running")
    alice.say("dkill", str(job))
    assert alice.status(job) == "Killed"

    def payload_gone() -> bool:
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return "/bin/sleep 120" not in listed

    assert eventually(payload_gone, seconds=20)


def test_the_credential_of_a_job_is_its_own_and_dies_with_it(service: Service, alice: Person) -> None:
    """`sub` is the owner, `act` the pilot; after the job it opens nothing (the payload sends itself its token)."""
    job = alice.submit("/bin/sh", "-c", "cat $BEARER_TOKEN_FILE")
    assert alice.wait_for(job, "Done", "Failed") == "Done"
    alice.say("doutput", str(job))
    token = (alice.folder / str(job) / "std.out").read_text().strip()
    middle = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    mine = json.loads(alice.token_file.read_text())["access_token"].split(".")[1]
    owner = json.loads(base64.urlsafe_b64decode(mine + "=" * (-len(mine) % 4)))["sub"]
    assert claims["sub"] == owner
    assert claims["act"]["sub"].startswith("pilot:")
    assert claims["job"] == job
    bearer = {"Authorization": f"Bearer {token}"}

    def refused() -> bool:
        answer = httpx.post(
            f"{service.base}/api/jobs/{job}/heartbeat", json={}, headers=bearer, trust_env=False
        )
        return answer.status_code in (401, 409)

    assert eventually(refused, seconds=5)


def test_start_page_and_health(service: Service) -> None:
    for path, word in (("/", "Gatehouse"), ("/healthz", "alive"), ("/readyz", "ready")):
        answer = httpx.get(service.base + path, trust_env=False)
        assert answer.status_code == 200
        assert word in answer.text
    assert httpx.get(f"{service.base}/api/openapi.json", trust_env=False).json()["openapi"].startswith("3.")
