"""The road of a job over HTTP, behind the real gate: people, pilots and runs, each with their own token."""

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatehouse.registry.database import Database
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import LimitSettings
from gatehouse.tokenmanager import gate, limits
from gatehouse.tokenmanager.dpop import Proofs
from gatehouse.tokenmanager.holding import Holders
from gatehouse.tokenmanager.revoke import Revocations
from gatehouse.tokenmanager.verify import Verifier
from gatehouse.wms.api import WmsApi
from tests.clock import HandClock
from tests.wms.house import BASE, SEAL, House
from tests.wms.kit import ALICE, enrolled, principal

OFFER = {"site": "A", "ce": "ce", "tags": [], "cpu_time": 86400, "number_of_processors": 1}
Bearer = dict[str, str]


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return JSONResponse(error.body(), error.status)


class Road:
    """The service, and those who walk."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.revoked = Revocations(house.database, house.clock)
        self.factory = house.factory()
        wms = WmsApi(
            database=house.database,
            mint=house.mint,
            settings=house.settings,
            groups=house.groups,
            revoked=self.revoked,
            clock=house.clock,
            wake=self.factory.wake,
            draw=random.Random(1),
        )
        verifier = Verifier(
            house.ring, f"{BASE}/auth", f"{BASE}/api", house.groups, self.revoked, house.clock
        )
        self.app = FastAPI(exception_handlers={Problem: _problem})
        self.app.router.routes = wms.routes()
        gate.check(self.app.router.routes)
        counted = limits.Limits(LimitSettings(), house.clock)
        holders = Holders(Proofs(SEAL, BASE, house.clock), house.database)
        self.app.state.gate = gate.Gate(verifier, house.groups, counted, holders)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE)
        enrolled(house.database, ALICE, principal("bob"))
        self.alice = self.bearer("person", "id-alice", "training_user", preferred_username="alice")
        self.bob = self.bearer("person", "id-bob", "training_user", preferred_username="bob")

    def bearer(self, kind: str, subject: str, group: str, **claims: str) -> Bearer:
        minted = self.house.mint.access_token(
            "ES256",
            7200,
            subject=subject,
            client_id="t",
            scope="",
            claims={"kind": kind, "group": group, **claims},
        )
        return {"Authorization": f"Bearer {minted.token}"}

    async def ask(self, method: str, path: str, who: Bearer, **more: Any) -> tuple[int, Any]:
        """Status and body."""
        answer = await self.http.request(method, f"/api/{path}", headers=who, **more)
        if answer.headers.get("content-type") == "application/json":
            return answer.status_code, answer.json()
        return answer.status_code, answer.content

    async def submit(self) -> tuple[int, str]:
        """A job with an input sandbox: its id and the sandbox's."""
        status, stored = await self.ask("POST", "sandboxes", self.alice, content=b"input")
        assert status == 201
        manifest = {"executable": "/bin/echo", "arguments": "hello", "input_sandbox": [stored["id"]]}
        status, answer = await self.ask("POST", "jobs", self.alice, json={"jobs": [manifest]})
        assert status == 201
        return answer["ids"][0], stored["id"]

    async def match(self) -> tuple[Bearer, dict[str, Any]]:
        """A pilot, and what it is given."""
        await self.factory.cycle()
        pilot_id = self.house.shelf.sent[-1].pilot_id
        pilot = self.bearer("pilot", f"pilot:{pilot_id}", "training_pilot")
        status, given = await self.ask("POST", "pilots/match", pilot, json=OFFER)
        assert status == 200
        return pilot, given


@pytest.fixture
def road(database: Database, clock: HandClock, tmp_path: Path) -> Road:
    return Road(House(database, clock, tmp_path))


def bearer_of(given: dict[str, Any]) -> Bearer:
    return {"Authorization": f"Bearer {given['token']}"}


def said(status: str) -> dict[str, str]:
    return {"status": status, "minor_status": "m", "application_status": ""}


def test_a_job_is_submitted_run_and_fetched(road: Road) -> None:
    async def walk() -> None:
        job_id, sandbox = await road.submit()
        pilot, given = await road.match()
        assert (given["job_id"], given["attempt"], given["input_sandboxes"]) == (job_id, 1, [sandbox])
        assert given["job"]["arguments"] == "hello"
        run, path = bearer_of(given), f"jobs/{job_id}"
        assert await road.ask("GET", f"sandboxes/{sandbox}", run) == (200, b"input")
        assert await road.ask("POST", f"{path}/status", run, json=said("Running")) == (
            200,
            {"status": "Running"},
        )
        status, nothing = await road.ask("GET", f"{path}/output", road.alice)
        assert (status, nothing["error"]) == (404, "no_output")
        assert (await road.ask("POST", f"{path}/output", run, content=b"out"))[0] == 201
        assert await road.ask("POST", f"{path}/status", run, json=said("Done")) == (200, {"status": "Done"})
        await road.revoked.refresh()
        assert (await road.ask("POST", f"{path}/heartbeat", run, json={}))[0] == 401
        assert await road.ask("GET", f"{path}/output", road.alice) == (200, b"out")
        done = {"status": "Done", "message": "bye"}
        assert await road.ask("POST", "pilots/status", pilot, json=done) == (200, {"status": "Done"})
        assert (await road.ask("POST", "pilots/match", pilot, json=OFFER))[0] == 409
        await look_back(job_id)

    async def look_back(job_id: int) -> None:
        status, job = await road.ask("GET", f"jobs/{job_id}", road.alice)
        assert (status, job["status"], job["owner"], job["site"]) == (200, "Done", "alice", "A")
        assert job["submission_time"].endswith("Z")
        assert await road.ask("GET", "jobs?final=1&status=", road.alice) == (200, {"jobs": [job]})
        log = (await road.ask("GET", f"jobs/{job_id}/log", road.alice))[1]["events"]
        assert [event["status"] for event in log] == ["Waiting", "Matched", "Running", "Done"]

    asyncio.run(walk())


def test_heartbeats_renew_the_credential_when_half_of_it_is_gone(road: Road) -> None:
    async def walk() -> None:
        job_id, _ = await road.submit()
        _, given = await road.match()
        path = f"jobs/{job_id}/heartbeat"
        status, beat = await road.ask("POST", path, bearer_of(given), json={})
        assert (status, beat["command"], beat["token"], beat["expires_in"]) == (200, "continue", None, 3600)
        road.house.clock.pass_by(1801)
        beat = (await road.ask("POST", path, bearer_of(given), json={}))[1]
        assert beat["expires_in"] == 3600
        road.house.clock.pass_by(1800)
        assert (await road.ask("POST", path, bearer_of(given), json={}))[0] == 401
        assert (await road.ask("POST", path, bearer_of(beat), json={}))[0] == 200

    asyncio.run(walk())


def test_a_kill_ends_the_credential_on_this_replica_at_once(road: Road) -> None:
    async def walk() -> None:
        job_id, _ = await road.submit()
        _, given = await road.match()
        path, run = f"jobs/{job_id}", bearer_of(given)
        assert await road.ask("POST", f"{path}/kill", road.alice) == (200, {"status": "Killed"})
        assert (await road.ask("POST", f"{path}/status", run, json=said("Running")))[0] == 401
        assert (await road.ask("POST", f"{path}/kill", road.alice))[0] == 200
        assert await road.ask("POST", f"{path}/delete", road.alice) == (200, {"status": "Deleted"})
        assert (await road.ask("POST", f"{path}/kill", road.alice))[0] == 409

    asyncio.run(walk())


def test_who_may_not_is_refused(road: Road) -> None:
    async def walk() -> None:
        job_id, sandbox = await road.submit()
        pilot, given = await road.match()
        path, run = f"jobs/{job_id}", bearer_of(given)
        for method, there in (
            ("GET", ""),
            ("GET", "/log"),
            ("GET", "/output"),
            ("POST", "/kill"),
            ("POST", "/delete"),
        ):
            assert (await road.ask(method, path + there, road.bob))[0] == 404
            assert (await road.ask(method, path + there, run))[0] == 403
        assert (await road.ask("GET", f"sandboxes/{sandbox}", road.bob))[0] == 404
        assert (await road.ask("GET", f"sandboxes/{sandbox}", pilot))[0] == 403
        for who in (road.alice, pilot):
            assert (await road.ask("POST", f"{path}/status", who, json=said("Done")))[0] == 403
            assert (await road.ask("POST", f"{path}/output", who, content=b"x"))[0] == 403
        other = f"jobs/{job_id + 1}"
        assert (await road.ask("POST", f"{other}/status", run, json=said("Done")))[0] == 403
        assert (await road.ask("POST", f"{other}/output", run, content=b"x"))[0] == 403
        assert (await road.ask("POST", "pilots/match", road.alice, json=OFFER))[0] == 403
        assert (await road.ask("POST", "jobs", pilot, json={"jobs": []}))[0] == 403

    asyncio.run(walk())


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "jobs", b'{"jobs": [{}]}', 400),
        ("POST", "jobs", b"x" * (4 * 1024 * 1024 + 1), 413),
        ("POST", "sandboxes", b"x" * (10 * 1024 * 1024 + 1), 413),
        ("POST", "sandboxes", b"", 400),
        ("GET", "jobs?status=Nonsense", b"", 400),
        ("GET", "jobs?ids=1,x", b"", 400),
        ("GET", f"jobs/{2**70}", b"", 404),
        ("GET", f"jobs/{2**70}/log", b"", 404),
        ("GET", "jobs/0", b"", 404),
        ("GET", "sandboxes/SB:" + "0" * 64, b"", 404),
    ],
)
def test_bad_requests(road: Road, method: str, path: str, body: bytes, status: int) -> None:
    assert asyncio.run(road.ask(method, path, road.alice, content=body))[0] == status


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_description_has_what_is_not_hot(road: Road) -> None:
    paths = road.app.openapi()["paths"]
    assert {"/api/jobs", "/api/jobs/{job_id}/kill", "/api/jobs/{job_id}/output", "/api/pilots/status"} <= set(
        paths
    )
