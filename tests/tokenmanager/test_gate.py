"""The guard of every route: nothing is open by accident, and each refusal says what is missing and who has it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from gatehouse.registry.database import Database
from gatehouse.registry.errors import ConfigurationError, Problem
from gatehouse.registry.settings import LimitSettings
from gatehouse.tokenmanager import gate
from gatehouse.tokenmanager.gate import (
    Gate,
    GatedAPIRoute,
    allow,
    check,
    either,
    jobs,
    members,
    pilots,
    principal_of,
    public,
    route,
)
from gatehouse.tokenmanager.holding import Holders
from gatehouse.tokenmanager.limits import Limits
from gatehouse.tokenmanager.revoke import grant_name
from tests.clock import HandClock
from tests.tokenmanager.kit import Desk, carrying

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def desk(database: Database, clock: HandClock) -> Desk:
    """A mint and a verifier."""
    return Desk(database, clock)


@allow(public("for tests").body(10), "call")
async def echo(request: Request) -> Response:
    return Response(await request.body())


@allow(members("NormalUser", "Operator").body(10), "call")
async def work(request: Request) -> Response:
    return JSONResponse({"who": principal_of(request).subject, "size": len(await request.body())})


@allow(members(), "call")
async def anybody(request: Request) -> Response:
    return Response(principal_of(request).group)


@allow(pilots(), "call")
async def fly(request: Request) -> Response:
    return Response(principal_of(request).kind)


@allow(either(members("JobAdministrator"), jobs()), "call")
async def both(request: Request) -> Response:
    return Response(principal_of(request).kind)


async def bare(_request: Request) -> Response:
    return Response("open to the world")


@allow(public("in a class that does not exist"), "wrok")  # type: ignore[arg-type]
async def mistyped(_request: Request) -> Response:
    return Response()


async def unlimited(_request: Request) -> Response:
    return Response()


setattr(unlimited, gate._MARK, public("marked by hand, without a class"))


class Caller:
    """Calls the application over HTTP, one request at a time."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def get(self, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._call("GET", path, **given))

    def post(self, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._call("POST", path, **given))

    async def _call(self, method: str, path: str, **given: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            return await client.request(method, path, **given)


@pytest.fixture
def client(desk: Desk) -> Caller:
    """The routes behind the gate, over HTTP."""

    async def shown(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return JSONResponse(error.body(), error.status)

    app = FastAPI(exception_handlers={Problem: shown}, openapi_url=None, docs_url=None, redoc_url=None)
    api = APIRouter(route_class=GatedAPIRoute)
    api.add_api_route("/api/work", work, methods=["POST"])
    app.router.routes = [
        route("/echo", echo, methods=["POST"]),
        route("/work", work, methods=["POST"]),
        route("/anybody", anybody),
        route("/fly", fly),
        route("/both", both),
        *api.routes,
    ]
    check(app.router.routes)
    counted = Limits(LimitSettings(), desk.clock)
    app.state.gate = Gate(desk.verifier, desk.groups, counted, Holders(desk.proofs, desk.database))
    return Caller(app)


def bearing(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return dict(carrying(token))


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a refusal; it always says why and what next."""
    assert answer.status_code == status
    body: dict[str, Any] = answer.json()
    assert body["error_description"].endswith(".")
    assert body["hint"]
    return body


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (lambda: route("/x", bare), "declares no rule"),
        (lambda: GatedAPIRoute("/x", bare), "declares no rule"),
        (lambda: route("/x", mistyped), "no class of limits .'wrok'.: the classes are call, document"),
        (lambda: GatedAPIRoute("/x", mistyped), "no class of limits"),
        (lambda: route("/x", unlimited), "no class of limits"),
        (lambda: Mount("/x", routes=[route("/y", unlimited)]), "no class of limits"),
        (lambda: Route("/x", work), "not behind the gate"),
        (lambda: WebSocketRoute("/x", bare), "not behind the gate"),
        (lambda: Mount("/x", routes=[Route("/y", work)]), "not behind the gate"),
        (lambda: Mount("/x", routes=[Mount("/y", routes=[route("/z", bare)])]), "declares no rule"),
        (lambda: Mount("/x", Starlette()), "holds no routes"),
        (lambda: Mount("/x", StaticFiles(directory=".")), "holds no routes"),
        (lambda: FastAPI(openapi_url=None).router.routes or Route("/", work), "not behind the gate"),
    ],
)
def test_what_is_not_guarded_does_not_start(found: Callable[[], BaseRoute], says: str, desk: Desk) -> None:
    check([route("/fine", work)])
    with pytest.raises(ConfigurationError, match=says):
        check([route("/fine", work), found()])


def test_what_fastapi_adds_by_itself_does_not_start(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="not behind the gate"):
        check(FastAPI().routes)  # its documentation pages


def test_a_route_that_slipped_in_later_is_closed(client: Caller) -> None:
    client.app.router.routes.append(route("/late", bare))
    with pytest.raises(ConfigurationError):
        client.get("/late")


@pytest.mark.parametrize("path", ["/work", "/api/work"])
def test_who_has_the_property_comes_in(client: Caller, desk: Desk, path: str) -> None:
    for group in ("otter_user", "otter_admin", "seal_admin"):
        answer = client.post(path, headers=bearing(desk.token(group=group)), content=b"12345")
        assert answer.json() == {"who": "u-1", "size": 5}


@pytest.mark.parametrize("path", ["/work", "/api/work"])
@pytest.mark.parametrize(
    "header", [{}, {"authorization": "Basic eA=="}, {"authorization": "Bearer"}, {"authorization": "Bearer "}]
)
def test_no_token_is_no_entry(client: Caller, path: str, header: dict[str, str]) -> None:
    body = refused(client.post(path, headers=header), 401)
    assert body["error"] == "unauthorized"
    assert "dirac-login" in body["hint"]


def test_a_bad_token_says_why(client: Caller, desk: Desk, clock: HandClock) -> None:
    token = desk.token(lifetime=60)
    desk.revoked.note(grant_name("g-9"), clock.now() + 600)
    for bad, says in (
        ("noise", "not a token"),
        (token[:-9] + "AAAAAAAAA", "not valid"),
        (desk.token(grant="g-9"), "revoked"),
        (desk.token(group="ghosts"), "no longer exists"),
    ):
        body = refused(client.get("/anybody", headers=bearing(bad)), 401)
        assert body["error"] == "invalid_token"
        assert says in body["error_description"]
        assert bad not in str(body)
    clock.pass_by(60)
    assert "expired" in refused(client.get("/anybody", headers=bearing(token)), 401)["error_description"]


def test_a_missing_property_is_named_with_the_groups_that_have_it(client: Caller, desk: Desk) -> None:
    body = refused(client.get("/both", headers=bearing(desk.token())), 403)
    assert body["error"] == "insufficient_rights"
    assert body["missing"] == ["JobAdministrator"]
    assert body["group"] == "otter_user"
    assert body["groups_with_it"] == ["otter_admin"]
    assert body["hint"] == "Log in with a group that has it: dirac-login otter_admin"
    assert "JobAdministrator" in body["error_description"]


def test_groups_of_another_vo_are_no_way_in_but_are_named(client: Caller, desk: Desk) -> None:
    gone = desk.groups.by_name
    desk.groups.by_name = {name: found for name, found in gone.items() if name != "otter_admin"}
    desk.groups.by_name["otter_odd"] = gone["otter_admin"].__class__("otter_odd", "otter", frozenset(), {})
    desk.groups.version += 1
    body = refused(client.post("/work", headers=bearing(desk.token(group="otter_odd"))), 403)
    assert body["missing"] == ["NormalUser", "Operator"]
    assert body["groups_with_it"] == ["otter_user"]  # of one's own VO first
    body = refused(client.get("/both", headers=bearing(desk.token(group="otter_odd"))), 403)
    assert body["groups_with_it"] == []
    assert "Ask the manager of otter" in body["hint"]


def test_kinds_do_not_mix(client: Caller, desk: Desk) -> None:
    kinds: dict[str, str] = {
        kind: desk.token(kind=kind, group="otter_admin") for kind in ("person", "pilot", "job", "compute")
    }
    may = {"/anybody": {"person"}, "/fly": {"pilot"}, "/both": {"person", "job"}}
    for path, those in may.items():
        for kind, token in kinds.items():
            answer = client.get(path, headers=bearing(token))
            if kind in those:
                assert answer.status_code == 200
            else:
                body = refused(answer, 403)
                assert f"the token of a {kind}" in body["error_description"]


def test_a_property_is_not_lent_to_another_kind_by_either(client: Caller, desk: Desk) -> None:
    """`either` asks people for the property and lets the run of a job in without it."""
    assert client.get("/both", headers=bearing(desk.token(kind="job"))).status_code == 200
    assert client.get("/both", headers=bearing(desk.token(kind="person"))).status_code == 403


def test_public_asks_for_nothing_and_still_bounds_the_body(client: Caller) -> None:
    assert client.post("/echo", content=b"1234567890").content == b"1234567890"
    assert client.post("/echo", headers={"authorization": "Bearer noise"}).status_code == 200
    assert client.post("/echo", content=b"12345678901").status_code == 413


@pytest.mark.parametrize("path", ["/work", "/api/work"])
def test_a_body_is_bounded_with_and_without_a_length(client: Caller, desk: Desk, path: str) -> None:
    headers = bearing(desk.token())

    async def parts(*sizes: int) -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"x" * size

    assert client.post(path, headers=headers, content=b"x" * 10).status_code == 200
    body = refused(client.post(path, headers=headers, content=b"x" * 11), 413)
    assert (body["error"], body["limit"]) == ("too_large", 10)
    assert client.post(path, headers=headers, content=parts(5, 5)).json()["size"] == 10
    assert refused(client.post(path, headers=headers, content=parts(5, 5, 1)), 413)["limit"] == 10
    assert refused(client.post(path, headers=headers, content=parts(11)), 413)


@pytest.mark.parametrize("length", ["-1", "1e3", "²", "0x1", "1 1", "9" * 5000, ""])
def test_a_length_that_is_none_is_refused(client: Caller, length: str) -> None:
    scope: dict[str, Any] = {
        "type": "http",
        "path": "/echo",
        "app": client.app,
        "headers": [(b"content-length", length.encode("latin-1"))],
    }

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    with pytest.raises(Problem) as caught:
        gate._pass(echo, scope, receive)
    assert caught.value.status == 413


def test_a_refusal_comes_before_the_body(client: Caller) -> None:
    """Who may not come in cannot make us read: 401 even though the body is too large."""
    assert client.post("/work", content=b"x" * 1000).status_code == 401


def test_rules_are_values(desk: Desk) -> None:
    rule = either(members("A").body(5), jobs().body(7), why="because")
    assert rule.kinds == {"person", "job"}
    assert rule.any_of == ("A",)
    assert rule.max_body == 7
    assert not rule.public
    assert public("x").public
    assert members().max_body == 64 * gate.KIB
