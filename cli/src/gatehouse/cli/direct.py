"""The short way in: plain routes are found by one look into a table and answered without the framework's layers.

Eight layers of ASGI middleware and a list of routes cost more than all that a light call does. What the table does
not know (described routes, unknown paths, wrong methods) goes the long way. Both pass the same gate, and errors
get the same shape.
"""

import re
from collections.abc import Iterable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from gatehouse.cli.edge import HANDLERS
from gatehouse.tokenmanager.gate import GatedRoute

_NUMBER = re.compile(r"(?<=/)[0-9]{1,18}(?=/|\Z)")
_PARAMETER = re.compile(r"\{(\w+):int\}")

_Entry = tuple[GatedRoute, tuple[str, ...]]


class Direct:
    """An ASGI application in front of the framework's."""

    def __init__(self, app: FastAPI, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._table: dict[tuple[str, str], _Entry] = {}
        for route in routes:
            if isinstance(route, GatedRoute):
                self._enter(route)

    def _enter(self, route: GatedRoute) -> None:
        shape = _PARAMETER.sub("{}", route.path)
        if "{" in shape.replace("{}", ""):
            return  # parameters that are not numbers
        names = tuple(_PARAMETER.findall(route.path))
        for method in route.methods or ():
            self._table.setdefault((method, shape), (route, names))

    def _find(self, method: str, path: str) -> tuple[GatedRoute, dict[str, int]] | None:
        found = self._table.get((method, path))
        if found is not None:
            return (found[0], {}) if not found[1] else None
        numbers = _NUMBER.findall(path)
        if not numbers or (found := self._table.get((method, _NUMBER.sub("{}", path)))) is None:
            return None
        route, names = found
        return route, dict(zip(names, map(int, numbers), strict=True))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route, scope["path_params"] = found
        scope["app"] = self._app
        try:
            response = await route.answer(scope, receive)
        except Exception as error:
            response = await _shaped(Request(scope), error)
        await response(scope, receive, send)


async def _shaped(request: Request, error: Exception) -> Response:
    """An error as the framework's own handlers would send it."""
    for kind in type(error).__mro__:
        if kind in HANDLERS:
            response: Response = await HANDLERS[kind](request, error)
            return response
    raise AssertionError("there is a handler for Exception")
