"""What every step of a login in the browser needs: its place, its form, and ways to refuse."""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import Response

from gatehouse.auth import certificates, codes, pending, sessions, shapes, walks
from gatehouse.auth.clients import Client, Clients
from gatehouse.auth.pages import texts
from gatehouse.auth.pages.render import Pages, Refused
from gatehouse.auth.pending import Pending
from gatehouse.auth.providers.relying import Provider, ProviderError, Providers
from gatehouse.auth.refusals import Refusals
from gatehouse.auth.sessions import Session
from gatehouse.auth.walks import Step
from gatehouse.registry import audit
from gatehouse.registry.community import Communities
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, allow, public
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.limits import Limit
from gatehouse.tokenmanager.seal import Seal

log = structlog.get_logger()

START_AGAIN = "Start the login again in your terminal, and open the link it prints in this browser."
_PUBLIC = public("the login itself: the walk's cookie and form token guard each step").body(8 * KIB)
_Handler = Callable[[Any, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Journey:
    """The parts that the steps work with, and where a browser stands."""

    database: Database
    seal: Seal
    clients: Clients
    providers: Providers
    communities: Communities
    groups: Groups
    pages: Pages
    settings: Settings
    refusals: Refusals

    @property
    def secure(self) -> bool:
        """Whether the service is reached by https."""
        return self.settings.server.base_url.startswith("https://")

    @property
    def cookie(self) -> str:
        """The name of the walk's cookie; the prefix binds it to this host (RFC 6265bis)."""
        return "__Host-gatehouse-login" if self.secure else "gatehouse-login"

    @property
    def session_cookie(self) -> str:
        """The name of the cookie of a browser in which somebody is logged in."""
        return "__Host-gatehouse-session" if self.secure else "gatehouse-session"

    def set_cookie(self, answer: Response, name: str, value: str, seconds: int) -> None:
        """A cookie for us alone, that scripts cannot read and other sites' forms do not bring along."""
        answer.set_cookie(
            name, value, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    async def session(self, request: Request) -> Session | None:
        """Who is logged in in this browser."""
        cookie = request.cookies.get(self.session_cookie, "")
        if not cookie:
            return None
        return await self.database.read(lambda tx: sessions.find(tx, self.seal, cookie))

    @property
    def certificates(self) -> str:
        """The page where people show a certificate; empty when they cannot."""
        server = self.settings.server
        base = server.certificate_base if server.client_ca else ""
        return f"{base}/auth/certificate" if base else ""

    def title(self, name: str) -> str:
        """A provider's name for people."""
        if name == certificates.PROVIDER:
            return "The Registry"
        provider = self.providers.by_name.get(name)
        return provider.title if provider else name

    async def client(self, client_id: str) -> Client | None:
        """The client of that identifier; the database is asked for registered ones only."""
        known = self.clients.known(client_id)
        return known or await self.database.read(lambda tx: self.clients.find(tx, client_id))

    async def client_name(self, client_id: str) -> str:
        """A client's name for people."""
        client = await self.client(client_id)
        return client.name if client else client_id

    async def walk(self, request: Request) -> Step:
        cookie = request.cookies.get(self.cookie, "")
        walk = await self.database.read(lambda tx: walks.find(tx, self.seal, cookie)) if cookie else None
        if walk is None:
            raise Problem(
                400,
                "no_login",
                "No login is going on in this browser, or it took too long.",
                hint=START_AGAIN,
            )
        return walk

    async def posted(self, request: Request) -> tuple[Step, dict[str, str]]:
        body = await request.body()
        walk = await self.walk(request)
        form = read_form(body)
        if not hmac.compare_digest(form.get("csrf", "").encode(), walks.csrf(self.seal, walk.id).encode()):
            raise Problem(403, "wrong_form", "This form does not belong to your login.", hint=START_AGAIN)
        return walk, form

    async def request(self, walk: Step) -> Pending:
        row = await self.database.read(lambda tx: pending.by_id(tx, walk.request_id))
        if row is None or row.status != "waiting" or row.expires_at <= self.database.clock.now():
            raise Problem(
                410,
                "login_over",
                "This login is over: it was finished, refused, or took too long.",
                hint=START_AGAIN,
            )
        return row

    async def failed(
        self, request: Request, walk: Step, provider: Provider, error: ProviderError, again: str = "login"
    ) -> Problem:
        """Record why a provider's answer was not accepted; the walk may go `again` to choose one."""
        await self.database.write(
            lambda tx: self.refusals.record(
                tx,
                "provider.refused",
                actor=provider.name,
                subject=walk.request_id,
                why=str(error)[:512],
                address=address_of(request),
            )
        )
        return Problem(
            502,
            "provider_error",
            f"{provider.title} could not vouch for you: {error}.",
            hint="Try again, or choose another provider. If it stays so, tell the operator of this service.",
            facts={"again": again},
        )

    async def deny(self, walk: Step, why: str, nothing: Sequence[str] = ()) -> Problem:
        """End the login with a reason; the program that waits for it is told too."""

        def work(tx: Tx) -> Pending | None:
            walks.end(tx, walk.id)
            row = pending.by_id(tx, walk.request_id)
            if pending.deny(tx, walk.request_id, why):
                audit.record(tx, "login.denied", actor="gatehouse", subject=walk.request_id, why=why[:512])
            return row

        row = await self.database.write(work)
        facts: dict[str, object] = {"said": list(nothing[:20])}
        if row is not None and row.kind == "code":
            facts |= {"back": self.back(row, error="access_denied", error_description=why)}
            facts |= {"back_to": await self.client_name(row.client_id)}
        return Problem(
            403,
            "access_denied",
            why,
            hint="Ask the manager of your community to add you, or log in with another group or provider.",
            facts=facts,
        )

    def back(self, row: Pending, **answer: str) -> str:
        """Where the browser goes with the answer to a client's authorization request."""
        asks = row.asks
        return codes.response(asks.redirect_uri, asks.state, self.settings.issuer, **answer)

    def refusal(self, problem: Problem) -> Response:
        """A Problem as a page."""
        error_id = secrets.token_hex(4)
        log.info(
            "page refused", error_id=error_id, code=problem.code, why=problem.message, detail=problem.detail
        )
        said = problem.facts.get("said")
        facts = [("Your provider said", str(value)) for value in said] if isinstance(said, list) else []
        page = self.pages.refused(
            Refused(
                str(problem.facts.get("title", "Not logged in")),
                problem.message,
                problem.hint,
                facts,
                error_id,
                str(problem.facts.get("again", "")),
                str(problem.facts.get("back", "")),
                str(problem.facts.get("back_to", "")),
            ),
            problem.status,
        )
        if "retry_after" in problem.facts:
            page.headers["Retry-After"] = str(problem.facts["retry_after"])
        return page


class _Steps(Protocol):
    """A class whose methods are steps of a journey."""

    journey: Journey


def page(handler: _Handler, limit: Limit = "page") -> _Handler:
    """Declare a step public, and show a Problem as a page with an id that finds its detail in the log."""

    @wraps(handler)
    async def shown(self: _Steps, request: Request) -> Response:
        texts.choose(request.headers.get("accept-language", ""), request.query_params.get("ui_locales", ""))
        try:
            return await handler(self, request)
        except Problem as problem:
            return self.journey.refusal(problem)

    told = describe(shapes.PAGE, form=shapes.PageForm, page=True)
    return allow(_PUBLIC, limit)(told(shown))


def begin(handler: _Handler) -> _Handler:
    """A step that anybody may take and that writes a row: as dear as starting a device login."""
    return page(handler, "login")


def guess(handler: _Handler) -> _Handler:
    """A step whose answer could be guessed, so that fewer are let through."""
    return page(handler, "guess")


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form; nothing of one that is not."""
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=16, keep_blank_values=True))
    except ValueError:
        return {}


def out_of_step() -> Problem:
    return Problem(
        409,
        "out_of_step",
        "This step was taken already, or in another window.",
        hint=START_AGAIN,
    )


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""
