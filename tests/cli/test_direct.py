"""The short way in: the same gate, the same answers and the same errors as the long way."""

import asyncio
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from gatehouse.cli.direct import Direct
from gatehouse.cli.edge import HANDLERS
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager import gate
from gatehouse.tokenmanager.gate import GatedRoute, Rule, allow, members, public, route
from gatehouse.tokenmanager.holding import presented


class OnlyAlice:
    """A gate that knows one token, and counts nobody."""

    def count(self, scope: Scope, rule: Rule) -> None:
        """Everybody may call as often as they like."""

    def admit(self, scope: Scope, rule: Rule) -> object:
        if presented(scope).token != "alice":
            raise Problem(401, "invalid_token", "Who are you?")
        return SimpleNamespace(username="alice")


@allow(members(), "call")
async def show(request: Request) -> Response:
    return JSONResponse([gate.principal_of(request).username, request.path_params])


@allow(public("a test").body(4), "call")
async def take(request: Request) -> Response:
    return Response(await request.body())


@allow(public("a test"), "call")
async def fail(request: Request) -> Response:
    raise RuntimeError("a defect")


@allow(public("a test"), "call")
async def named(request: Request) -> Response:
    return Response(request.path_params["name"])


def application() -> tuple[Direct, FastAPI]:
    app = FastAPI(openapi_url=None, exception_handlers=HANDLERS)
    app.router.routes = [
        route("/things/{thing:int}", show),
        route("/things/{thing:int}/parts/{part:int}", show),
        route("/take", take, methods=["POST"]),
        route("/fail", fail),
        route("/named/{name}", named),
    ]
    app.state.gate = OnlyAlice()
    return Direct(app, app.router.routes), app


def send(app: object, method: str, path: str, body: bytes = b"", token: str = "alice") -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=cast("FastAPI", app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            headers = {"Authorization": f"Bearer {token}"}
            return await client.request(method, path, content=body, headers=headers)

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("method", "path", "body", "token", "status"),
    [
        ("GET", "/things/7", b"", "alice", 200),
        ("GET", "/things/007/parts/12", b"", "alice", 200),
        ("GET", "/things/7", b"", "mallory", 401),
        ("GET", "/things/{}", b"", "alice", 404),
        ("GET", "/things/7/parts", b"", "alice", 404),
        ("GET", "/things/" + "7" * 40, b"", "alice", 200),
        ("GET", "/things/\u0667", b"", "alice", 404),
        ("POST", "/things/7", b"", "alice", 405),
        ("POST", "/take", b"abcd", "", 200),
        ("POST", "/take", b"abcde", "", 413),
        ("GET", "/named/7", b"", "", 200),
        ("GET", "/nothing", b"", "", 404),
    ],
)
def test_both_ways_answer_alike(method: str, path: str, body: bytes, token: str, status: int) -> None:
    direct, app = application()
    short, long = send(direct, method, path, body, token), send(app, method, path, body, token)
    assert short.status_code == status
    assert (short.status_code, short.content, short.headers) == (long.status_code, long.content, long.headers)


def test_a_defect_is_answered_with_a_number_and_nothing_else() -> None:
    answer = send(application()[0], "GET", "/fail")
    assert answer.status_code == 500
    assert answer.json()["error"] == "server_error"
    assert "a defect" not in answer.text


def test_plain_routes_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The framework is not asked for them: without it, they still answer."""
    direct, _ = application()

    async def gone(*_: object) -> None:
        raise AssertionError("the long way")

    monkeypatch.setattr(FastAPI, "__call__", gone)
    assert send(direct, "GET", "/things/7").status_code == 200
    assert send(direct, "HEAD", "/things/7").status_code == 200


def test_a_route_without_a_rule_is_not_answered() -> None:
    async def bare(_request: Request) -> Response:
        return Response("open")

    _, app = application()
    found = GatedRoute("/bare", bare)
    assert send(Direct(app, [found]), "GET", "/bare").status_code == 500
