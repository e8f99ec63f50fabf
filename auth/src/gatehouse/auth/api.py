"""All routes of the front door."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gatehouse.auth import browser
from gatehouse.auth.endpoints import Endpoints
from gatehouse.auth.journey import Journey
from gatehouse.auth.pages import assets, texts
from gatehouse.auth.pages.render import Home, Link
from gatehouse.auth.published import Published
from gatehouse.auth.register import Register
from gatehouse.auth.server import Context
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, allow, public, route

STATIC = "/auth/static"


class AuthApi:
    """The endpoints for programs, the pages for people, and the start page."""

    def __init__(self, endpoints: Endpoints, journey: Journey, context: Context) -> None:
        self._endpoints = endpoints
        self._context = context
        self._published = Published(
            journey.settings.issuer, journey.settings.server, context.mint.ring, context.groups
        )
        self._journey = journey
        self._register = Register(journey.database, journey.seal, journey.clients, journey.settings)
        self._pages = journey.pages
        self._home = Home(
            journey.settings.issuer,
            [one.title for one in journey.providers.by_name.values()],
            [
                Link("What this service says of itself", "/auth/.well-known/openid-configuration"),
                Link("Its public keys", "/auth/jwk"),
                Link("Its API", "/api/openapi.json"),
            ],
            device="/auth/device",
            account="/auth/account",
        )

    def routes(self) -> list[BaseRoute]:
        """Every route under `/auth`, and `/`."""
        return [
            *self._endpoints.routes(),
            *self._published.routes(),
            *self._register.routes(),
            *browser.routes(self._journey, self._context),
            route("/", self.home),
            route(STATIC + "/{name}", self.asset),
        ]

    @allow(public("the start page says who we are").body(KIB), "page")
    @describe({200: "text/html"}, page=True)
    async def home(self, request: Request) -> Response:
        """The start page."""
        texts.choose(request.headers.get("accept-language", ""))
        return self._pages.home(self._home)

    @allow(public("style sheet and logo").body(KIB), "document")
    @describe({200: "*/*"})
    async def asset(self, request: Request) -> Response:
        """A static file."""
        return assets.serve(request)
