"""The description of the API covers every route that exists, and says of each who may call it."""

import re
from typing import Any

import pytest
from starlette.responses import Response
from starlette.routing import Route

from gatehouse.cli import openapi
from gatehouse.tokenmanager import gate
from gatehouse.tokenmanager.describe import describe
from tools import reference

APP = reference.application()
DOCUMENT = openapi.document(APP, APP.router.routes)
ROUTES = list(reference.routes(APP))


def operations() -> dict[tuple[str, str], Any]:
    """Each operation by path and method."""
    return {
        (path, method): said
        for path, by_method in DOCUMENT["paths"].items()
        for method, said in by_method.items()
    }


def test_every_route_is_described_and_nothing_else() -> None:
    wanted = {
        (re.sub(r":\w+\}", "}", route.path), method.lower())
        for route in ROUTES
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert operations().keys() == wanted
    assert len(wanted) > 50


def test_every_operation_has_a_name_of_its_own_and_a_sentence() -> None:
    found = operations().values()
    assert len({one["operationId"] for one in found}) == len(found)
    assert all(one["summary"] for one in found)


@pytest.mark.parametrize("route", ROUTES, ids=lambda one: f"{'-'.join(sorted(one.methods))} {one.path}")
def test_a_token_is_asked_for_where_the_gate_asks_for_one(route: Route) -> None:
    rule = gate.rule_of(route.endpoint)
    assert rule is not None
    for method in (route.methods or set()) - {"HEAD"}:
        said = operations()[re.sub(r":\w+\}", "}", route.path), method.lower()]
        assert bool(said.get("security")) is not rule.public
        assert {"4XX", "5XX"} < said["responses"].keys()


def test_every_reference_leads_somewhere() -> None:
    named = set(re.findall(r"'#/components/schemas/([^']+)'", str(DOCUMENT)))
    assert named
    assert named <= DOCUMENT["components"]["schemas"].keys()


def test_a_route_that_says_nothing_of_itself_is_noticed() -> None:
    @gate.allow(gate.public("for this test"), "call")
    async def silent(_request: object) -> Response:
        return Response()

    with pytest.raises(LookupError, match="GET /silent says nothing"):
        openapi.document(APP, [gate.route("/silent", silent)])
    assert "/told" in openapi.document(APP, [gate.route("/told", describe({204: None})(silent))])["paths"]
