"""The token endpoint: authlib's protocol logic, run whole inside one database transaction.

Authlib calls its hooks synchronously. Here they run in the transaction's own thread, so that client
authentication, the grant's checks, the one conditional write and the audit event stand or fall together, and no
hook ever is a coroutine (which would count as true).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import normalize
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    InvalidClientError,
    InvalidRequestError,
    OAuth2Error,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from gatehouse.auth.clients import Client, Clients
from gatehouse.registry import audit
from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Tx
from gatehouse.registry.settings import Lifetimes
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.seal import Seal

if TYPE_CHECKING:  # authlib has no type information
    _Server: Any = object
    _Request: Any = object
else:
    _Server, _Request = AuthorizationServer, OAuth2Request

# authlib writes whole tokens to its DEBUG log
logging.getLogger("authlib").setLevel(logging.INFO)

MAX_PARAMETERS = 32
_SILENT = {"authorization_pending"}
# for what authlib refuses without a word
_DESCRIPTIONS = {
    "invalid_request": "A required parameter is missing or malformed.",
    "invalid_grant": "This was not issued to this client. Log in again.",
    "unauthorized_client": "This client may not use this grant.",
    "unsupported_grant_type": "The grant_type is missing or unknown; the metadata lists those that work.",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What the grants work with."""

    mint: Mint
    seal: Seal
    groups: Groups
    lifetimes: Lifetimes
    clock: Clock


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body and headers of an OAuth response."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str]


def read_form(body: bytes) -> dict[str, str] | str:
    """The parameters of a form body, or why it is not one. No parameter may come twice (RFC 6749 §3.2)."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=MAX_PARAMETERS,
            errors="strict",
        )
    except ValueError:
        return "The body is not a form (application/x-www-form-urlencoded, UTF-8)."
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            return f"The parameter {name[:64]!r} comes more than once."
        if not (name + value).isprintable():
            return f"The parameter {name[:64]!r} has control characters."
        form[name] = value
    return form


def sayable(text: str) -> str:
    """A sentence as an error_description may hold it: ASCII without quotes and backslashes (RFC 6749 §5.2)."""
    plain = normalize("NFKD", text.replace('"', "'").replace("\\", "/")).encode("ascii", "ignore").decode()
    return " ".join(plain.split())


class Request(_Request):  # type: ignore[misc]
    """A request as authlib wants it, made from a body already read, with the transaction it runs in."""

    def __init__(
        self,
        tx: Tx,
        form: dict[str, str],
        headers: Mapping[str, str],
        address: str,
        bearer: Principal | None = None,
    ) -> None:
        # The scheme is the listener's business (`safety` refuses plain http); authlib would refuse loopback trials.
        super().__init__("POST", "https://gatehouse/auth", headers=headers)
        self.payload = BasicOAuth2Payload(form)
        self.tx = tx
        self.address = address
        self.bearer = bearer

    @property
    def form(self) -> dict[str, str]:
        """The form parameters."""
        data: dict[str, str] = self.payload.data
        return data

    @property
    def args(self) -> dict[str, str]:
        """No parameter is taken from the query."""
        return {}


class Server(_Server):  # type: ignore[misc]
    """Authlib's authorization server on our clients and transactions."""

    def __init__(self, clients: Clients, context: Context) -> None:
        super().__init__()
        self.clients = clients
        self.context = context

    def query_client(self, client_id: str) -> Client | None:
        """The client of that identifier."""
        return self.clients.find(client_id)

    def save_token(self, token: object, request: object) -> None:
        """Nothing: access tokens are never stored, and grants write what they must themselves."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nothing listens."""

    def create_oauth2_request(self, request: Request) -> Request:
        """Requests are made by the endpoints."""
        return request

    def handle_response(
        self, status: int, body: Mapping[str, object], headers: list[tuple[str, str]]
    ) -> Answer:
        """An answer for the edge."""
        return Answer(status, body, dict(headers))

    def token(self, request: Request) -> Answer:
        """Answer a token request; a refusal is recorded, unless it only says to wait."""
        answer: Answer = self.create_token_response(request)
        return self._noted(request, answer, "token.refused")

    def endpoint(self, name: str, request: Request) -> Answer:
        """Answer a request to another registered endpoint."""
        answer: Answer = self.create_endpoint_response(name, request)
        return self._noted(request, answer, f"{name}.refused")

    def authenticate_client(self, request: Request, methods: list[str], endpoint: str = "token") -> Client:
        """The client of a request. Raises invalid_client, also for a header that authlib cannot read."""
        try:
            client: Client = super().authenticate_client(request, methods, endpoint)
        except UnicodeDecodeError as error:
            raise InvalidClientError(
                "The Authorization header is not that of a client.", status_code=401
            ) from error
        request.client = client
        return client

    def handle_error_response(self, request: Request, error: OAuth2Error) -> Answer:
        """An error for the edge; each says why."""
        error.description = error.get_error_description() or _DESCRIPTIONS.get(error.error, "")
        answer: Answer = super().handle_error_response(request, error)
        return answer

    def answer(self, request: Request, name: str, call: Callable[[], Answer]) -> Answer:
        """Answer by our own logic where authlib has none; OAuth errors become responses as everywhere."""
        try:
            made = call()
        except OAuth2Error as error:
            made = self.handle_error_response(request, error)
        return self._noted(request, made, f"{name}.refused")

    def _noted(self, request: Request, answer: Answer, kind: str) -> Answer:
        error = answer.body.get("error", "")
        if answer.status >= 400 and error not in _SILENT:
            audit.record(
                request.tx,
                kind,
                actor=str(request.form.get("client_id", ""))[:128],
                error=str(error),
                why=str(answer.body.get("error_description", ""))[:512],
                grant_type=str(request.form.get("grant_type", ""))[:128],
                address=request.address,
            )
        return answer


def bad_request(reason: str) -> Answer:
    """A malformed request, before any grant is chosen."""
    error: OAuth2Error = InvalidRequestError(sayable(reason))
    status, body, headers = error()
    return Answer(status, body, dict(headers))
