"""Registration over HTTP (RFC 7591 §3) and what a client does with its own afterwards (RFC 7592 §2).

The registration access token is kept through all changes: a client that lost an answer would lose itself otherwise.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gatehouse.auth import invitations, registered, registration, shapes
from gatehouse.auth.clients import Clients
from gatehouse.auth.providers.egress import Guard
from gatehouse.auth.registered import Given, Registered
from gatehouse.auth.registration import Ceiling
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, allow, public, route
from gatehouse.tokenmanager.seal import Seal

MAX_DOCUMENT = 16 * KIB
_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_INVITED = public("an initial access token is asked for inside (RFC 7591 §3)").body(MAX_DOCUMENT)
_OWN = public("the registration access token is asked for inside (RFC 7592 §2)").body(MAX_DOCUMENT)


class Register:
    """`/auth/register` and `/auth/register/{client_id}`."""

    def __init__(self, database: Database, seal: Seal, clients: Clients, settings: Settings) -> None:
        self._database = database
        self._seal = seal
        self._guard = Guard.of(settings, strict=True)
        self._base = f"{settings.issuer}/register"
        self._taken = frozenset(registration.folded(name) for name in clients.names)

    def routes(self) -> list[BaseRoute]:
        """Every route of this module."""
        one = "/auth/register/{client_id}"
        return [
            route("/auth/register", self.register, methods=["POST"]),
            route(one, self.show),
            route(one, self.change, methods=["PUT"]),
            route(one, self.delete, methods=["DELETE"]),
        ]

    @allow(_INVITED, "login")
    @describe({201: shapes.Registration}, body=registration.Metadata)
    async def register(self, request: Request) -> Response:
        """Register a client (RFC 7591 §3.1)."""
        token, given = _bearer(request), await _document(request)

        def work(tx: Tx) -> Given:
            invitation = invitations.shown(tx, self._seal, token)
            if invitation is None:
                raise _unknown("This initial access token is unknown, used up or too old.")
            metadata = registration.understood(given)
            registration.admitted(metadata, invitation.gives, self._guard, self._taken)
            if not invitations.use(tx, invitation):
                raise _unknown("This initial access token was used up just now.")
            return registered.add(tx, self._seal, metadata, invitation.id, _address(request))

        return self._told(201, await self._database.write(work))

    @allow(_OWN, "login")
    @describe({200: shapes.Registration})
    async def show(self, request: Request) -> Response:
        """What a client has registered (RFC 7592 §2.1); its secret is not shown again."""
        token = _bearer(request)
        row = await self._database.read(lambda tx: self._holder(tx, request, token))
        return self._told(200, Given(row, "", token))

    @allow(_OWN, "login")
    @describe({200: shapes.Registration}, body=registration.Metadata)
    async def change(self, request: Request) -> Response:
        """Replace all of it (RFC 7592 §2.2), within what the invitation gives."""
        token, given = _bearer(request), await _document(request)

        def work(tx: Tx) -> Given:
            row = self._holder(tx, request, token)
            registration.unchanged(given, row.id)
            self._same_secret(row, given)
            metadata = registration.understood(given)
            invitation = invitations.by_id(tx, row.invitation)
            # without one nothing can be wanted
            ceiling = invitation.gives if invitation is not None else Ceiling(grants=())
            registration.admitted(metadata, ceiling, self._guard, self._taken)
            done = registered.change(tx, self._seal, row, metadata, token, _address(request))
            if done is None:
                raise Problem(
                    409,
                    "conflict",
                    "This client was changed or deleted at the same moment, so nothing was done.",
                    hint="Read it again, then change it.",
                )
            return done

        return self._told(200, await self._database.write(work))

    @allow(_OWN, "login")
    @describe({204: None})
    async def delete(self, request: Request) -> Response:
        """End a client, and with it all that it was given (RFC 7592 §2.3)."""
        token = _bearer(request)

        def work(tx: Tx) -> None:
            row = self._holder(tx, request, token)
            if not registered.end(tx, row.id, row.id, _address(request)):
                raise _unknown(_NOT_YOURS)

        await self._database.write(work)
        return Response(status_code=204, headers=_HEADERS)

    def _holder(self, tx: Tx, request: Request, token: str) -> Registered:
        """The client of the path, if the token is its own. Raises Problem 401, the same for all reasons."""
        row = registered.holder(tx, self._seal, request.path_params["client_id"], token)
        if row is None:
            raise _unknown(_NOT_YOURS)
        return row

    def _same_secret(self, row: Registered, given: Mapping[str, Any]) -> None:
        """A secret that comes along must be the client's: nobody chooses one (RFC 7592 §2.2)."""
        said = given.get("client_secret", None)
        if said is None:
            return
        if not isinstance(said, str) or not registered.is_secret(self._seal, row, said):
            raise Problem(
                400,
                "invalid_client_metadata",
                "The client_secret is not the one that this client has, and nobody chooses their own.",
            )

    def _told(self, status: int, given: Given) -> Response:
        """The client information response (RFC 7591 §3.2.1, RFC 7592 §3)."""
        row = given.row
        said: dict[str, Any] = {"client_id": row.id, "client_id_issued_at": row.created_at}
        if given.secret:
            said["client_secret"] = given.secret
        said |= {
            "client_secret_expires_at": 0,
            "registration_client_uri": f"{self._base}/{row.id}",
            "registration_access_token": given.token,
            **row.metadata.spoken(),
        }
        return Response(json.encode(said), status, _HEADERS, "application/json")


_NOT_YOURS = "This registration access token is not that of a client of this name."


async def _document(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(400, "invalid_client_metadata", "The body has to be JSON (application/json).")
    return registration.read(await request.body())


def _bearer(request: Request) -> str:
    """The token of the one Authorization header (RFC 6750 §2.1). Raises Problem 401."""
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not 0 < len(token.strip()) <= 512:
        raise Problem(
            401,
            "unauthorized",
            "No token came with this request.",
            hint="Send one as Authorization: Bearer; operators make them with gatehouse clients invite.",
        )
    return token.strip()


def _unknown(why: str) -> Problem:
    return Problem(401, "invalid_token", why, hint="Ask the operator of this service for another.")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
