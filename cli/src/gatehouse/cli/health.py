"""Liveness and readiness: the one says that the process answers, the other that it can do its work."""

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from gatehouse.registry.database import Database
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, allow, public, route


class Condition(Struct):
    """How the process is."""

    status: str


class Health:
    """`/healthz` and `/readyz`, for whoever watches over the service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def routes(self) -> list[BaseRoute]:
        """Every route of this module."""
        return [route("/healthz", self.alive), route("/readyz", self.ready)]

    @allow(public("says nothing but that the process answers").body(KIB), "document")
    @describe({200: Condition})
    async def alive(self, _request: Request) -> Response:
        """Always yes: also without a database."""
        return JSONResponse({"status": "alive"})

    @allow(public("says nothing but whether the database answers").body(KIB), "document")
    @describe({200: Condition})
    async def ready(self, _request: Request) -> Response:
        """Whether requests that write would be served."""
        try:
            await self._database.write(lambda _tx: None)
        except Problem as problem:
            return JSONResponse({"status": "not ready", **problem.body()}, 503)
        return JSONResponse({"status": "ready"})
