"""A stolen database, a leaked log, a curious neighbour with `ps`: none of them finds a credential.

One login and one job on a real service; every secret that was seen on the way is then looked for.
"""

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gatehouse.cli.client import GatehouseClient
from gatehouse.cli.demo.approve import approve
from gatehouse.cli.device import DeviceCode
from gatehouse.cli.signin import login
from gatehouse.cli.tokenfile import read
from tests.service import Service

# what any credential of ours looks like, also those that only the server and its pilots see
SHAPES = (
    rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}",  # a signed token
    rb"gh1\.[A-Za-z0-9_-]{20,}",  # a refresh token
    rb"ghp1\.[A-Za-z0-9_-]{20,}",  # a pilot secret
    rb"-----BEGIN [A-Z ]*PRIVATE KEY",
)
VERIFIER = re.compile(rb"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 §4.1


@dataclass
class Seen:
    """What went by."""

    secrets: dict[str, str] = field(default_factory=dict)
    challenges: set[str] = field(default_factory=set)
    processes: dict[str, bytes] = field(default_factory=dict)

    def request(self, sent: httpx.Request) -> None:
        """Remember what a browser sends."""
        for pair in sent.headers.get("cookie", "").split("; "):
            name, _, value = pair.partition("=")
            if value:
                self.secrets[f"cookie {name} {len(self.secrets)}"] = value.strip('"')
        query = parse_qs(urlsplit(str(sent.url)).query)
        self.challenges.update(query.get("code_challenge", []))
        for name in ("state", "code", "nonce"):
            for value in query.get(name, []):
                self.secrets[f"{name} {sent.url.path}"] = value
        form = parse_qs(sent.content.decode()) if sent.method == "POST" else {}
        for value in form.get("csrf", []):
            self.secrets[f"csrf {sent.url.path}"] = value


def _processes(folder: Path) -> dict[str, bytes]:
    """Command line and environment of every process that has to do with this service."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                both = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
            except OSError:  # gone, or not ours
                continue
            if str(folder).encode() in both:
                found[process.name] = both
    return found


@dataclass
class World:
    """A service on which somebody has logged in and run a job, and everything that can be read of it."""

    service: Service
    seen: Seen

    def database(self) -> dict[str, bytes]:
        """The files of the database, the write-ahead log among them."""
        return {path.name: path.read_bytes() for path in self.service.folder.glob("gatehouse.db*")}

    def logs(self) -> dict[str, bytes]:
        """What the server and the pilots wrote."""
        paths = [self.service.log, *self.service.folder.rglob("pilot.log")]
        return {str(path.relative_to(self.service.folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One walk through the house, with everything remembered."""
    folder = tmp_path_factory.mktemp("secrets")
    seen = Seen()
    with Service(folder) as service:

        def show(device: DeviceCode) -> None:
            seen.secrets["device code"] = device.device_code
            seen.secrets["user code"] = device.user_code
            approve(device.link, "alice", before=seen.request)

        token_file = folder / "alice.token"
        login(service.issuer, group="training_user", out=token_file, show=show)
        tokens = read(token_file)
        assert tokens is not None
        seen.secrets["access token"] = tokens.access_token
        seen.secrets["refresh token"] = tokens.refresh_token
        copy, go = folder / "job.token", folder / "go"
        script = f'cp "$BEARER_TOKEN_FILE" {copy}.new && mv {copy}.new {copy}; while [ ! -e {go} ]; do sleep 0.1; done'
        with GatehouseClient(token_file=token_file) as client:
            (job,) = client.submit([{"executable": "/bin/sh", "arguments": f"-c '{script}'"}])
            _until(lambda: copy.exists() or client.job(job)["status"] in ("Failed", "Done"))
            assert copy.exists(), client.log(job)
            seen.secrets["job token"] = _token_in(copy.read_text())
            seen.processes = _processes(folder)
            go.touch()
            _until(lambda: client.job(job)["status"] in ("Failed", "Done"))
            assert client.job(job)["status"] == "Done"
        seen.secrets["master key"] = (folder / "master.key").read_text().strip()
        yield World(service, seen)


def _until(done: object) -> None:
    assert callable(done)
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def _token_in(text: str) -> str:
    if not text.startswith("{"):
        return text.strip()
    found: str = json.loads(text)["access_token"]
    return found


def forms(secret: str) -> set[bytes]:
    """How a secret may be written down."""
    raw = secret.encode()
    written = {raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw)}
    if secret.count(".") == 2:
        written.add(secret.rpartition(".")[2].encode())  # the signature makes the rest usable
    return written


def found_in(places: dict[str, bytes], secrets: dict[str, str]) -> list[str]:
    """Which secret lies where."""
    return [
        f"{name} in {place}"
        for name, secret in secrets.items()
        for place, content in places.items()
        if any(written in content for written in forms(secret))
    ]


def shaped_in(places: dict[str, bytes]) -> list[str]:
    """What looks like a credential, and where."""
    return [
        f"{match[:12]!r}… in {place}"
        for place, content in places.items()
        for shape in SHAPES
        for match in re.findall(shape, content)
    ]


def test_the_walk_has_shown_every_kind_of_secret(world: World) -> None:
    """Or the tests below would look for nothing."""
    kinds = {name.split()[0] for name in world.seen.secrets}
    assert kinds >= {
        "access",
        "refresh",
        "device",
        "user",
        "job",
        "master",
        "cookie",
        "state",
        "code",
        "csrf",
    }
    assert all(len(secret) >= 8 for secret in world.seen.secrets.values())
    assert world.seen.challenges
    assert len(world.seen.processes) >= 3  # server, pilot, payload


def test_the_search_finds_what_is_there(world: World) -> None:
    token = world.seen.secrets["access token"]
    assert found_in({"x": b"a " + token.encode() + b" b"}, {"token": token}) == ["token in x"]
    assert shaped_in({"x": b"a " + token.encode()})
    assert b"alice" in world.database()["gatehouse.db"] + world.database()["gatehouse.db-wal"]


def test_a_stolen_database_holds_no_secret(world: World) -> None:
    places = world.database()
    assert "gatehouse.db-wal" in places
    others = {name: secret for name, secret in world.seen.secrets.items() if name != "user code"}
    assert found_in(places, others) == []
    assert shaped_in(places) == []


def test_a_stolen_database_holds_no_user_code(world: World) -> None:
    """Who has one can lead somebody else's waiting login to an account of their own."""
    assert found_in(world.database(), {"user code": world.seen.secrets["user code"]}) == []


def test_a_stolen_database_holds_no_pkce_verifier(world: World) -> None:
    for content in (*world.database().values(), *world.logs().values()):
        for candidate in set(VERIFIER.findall(content)):
            digest = base64.urlsafe_b64encode(hashlib.sha256(candidate).digest()).rstrip(b"=").decode()
            assert digest not in world.seen.challenges


def test_no_log_holds_a_secret(world: World) -> None:
    places = world.logs()
    assert any("pilot.log" in name for name in places)
    assert found_in(places, world.seen.secrets) == []
    assert shaped_in(places) == []


def test_no_process_shows_a_secret(world: World) -> None:
    assert found_in(world.seen.processes, world.seen.secrets) == []
    assert shaped_in(world.seen.processes) == []
