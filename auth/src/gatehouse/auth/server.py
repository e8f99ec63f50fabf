"""The token endpoint: authlib's protocol logic, run whole inside one database transaction.

Authlib calls its hooks synchronously. Here they run in the transaction's own thread, so that client
authentication, the grant's checks, the one conditional write and the audit event stand or fall together, and no
hook ever is a coroutine (which would count as true).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from unicodedata import normalize
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidRequestError, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.errors import UnauthorizedClientError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from gatehouse.auth import authentication, guesses
from gatehouse.auth.clientkeys import Fetched
from gatehouse.auth.clients import SECRET_METHODS, Client, Clients
from gatehouse.auth.locks import Locks
from gatehouse.auth.refusals import Refusals
from gatehouse.auth.targets import InvalidTargetError, bad_target
from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Tx
from gatehouse.registry.settings import Lifetimes
from gatehouse.tokenmanager.badcertificate import BadCertificate
from gatehouse.tokenmanager.certificates import Presented
from gatehouse.tokenmanager.dpop import INVALID
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.seal import Seal
from gatehouse.tokenmanager.verify import Refused

if TYPE_CHECKING:  # authlib has no type information
    _Server: Any = object
    _Request: Any = object
else:
    _Server, _Request = AuthorizationServer, OAuth2Request

# authlib writes whole tokens to its DEBUG log
logging.getLogger("authlib").setLevel(logging.INFO)

NO_DETAILS = "No type of authorization_details is known here; use scope and resource."
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

    @property
    def issuer(self) -> str:
        """Our own issuer."""
        return self.mint.issuer


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body and headers of an OAuth response."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str]


class Form(dict[str, str]):
    """The parameters of a request; `targets` are the resources and audiences, the only ones that may repeat."""

    targets: tuple[str, ...] = ()


_REPEATABLE = ("resource", "audience")  # RFC 8707 §2, RFC 8693 §2.1


def _pairs(text: str) -> list[tuple[str, str]]:
    """Names and values; the library's parser costs three times as much where hardly anything is escaped."""
    parts = [part for part in text.split("&") if part]
    if len(parts) > MAX_PARAMETERS:
        raise ValueError("too many")
    return [(_plain(name), _plain(value)) for name, _, value in (part.partition("=") for part in parts)]


def _plain(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    if text.startswith("urn%3A"):
        return _urn(text)
    return unquote_plus(text, errors="strict")


@lru_cache(64)
def _urn(text: str) -> str:
    """The names of grants and token types are the same few all day."""
    return unquote_plus(text, errors="strict")


def read_form(body: bytes) -> Form | str:
    """The parameters of a form body, or why it is not one. No other parameter may come twice (RFC 6749 §3.2)."""
    try:
        pairs = _pairs(body.decode("ascii"))
    except ValueError:
        return "The body is not a form (application/x-www-form-urlencoded, UTF-8)."
    form, targets, seen = Form(), [], set[str]()
    for name, value in pairs:
        if name in seen and name not in _REPEATABLE:
            return f"The parameter {name[:64]!r} comes more than once."
        if not (name + value).isprintable():
            return f"The parameter {name[:64]!r} has control characters."
        seen.add(name)
        if not value:
            continue  # as if it were not there (RFC 6749 §3.1, §3.2)
        form[name] = value
        if name in _REPEATABLE:
            targets.append(value)
    form.targets = tuple(dict.fromkeys(targets))
    return form


def sayable(text: str) -> str:
    """A sentence as an error_description may hold it: printable ASCII, no quote or backslash (RFC 6749 §5.2)."""
    plain = normalize("NFKD", text.replace('"', "'").replace("\\", "/")).encode("ascii", "ignore").decode()
    return "".join(c for c in " ".join(plain.split()) if c.isprintable())


class Request(_Request):  # type: ignore[misc]
    """A request as authlib wants it, made from a body already read, with the transaction it runs in.

    `tokens` are the access tokens that came as parameters, by name, each verified or refused; `binding` is the key or
    certificate that the caller proved to hold, `certificate` the subject of a verified TLS client certificate, `shown`
    that certificate or why it is none, `published` the key of an assertion as its client's `jwks_uri` has it.
    """

    def __init__(
        self,
        tx: Tx,
        form: Form,
        headers: Mapping[str, str],
        address: str,
        tokens: Mapping[str, Principal | Refused] | None = None,
        binding: str = "",
        certificate: str = "",
        shown: Presented | BadCertificate | None = None,
        published: Fetched | None = None,
    ) -> None:
        # The scheme is the listener's business (`safety` refuses plain http); authlib would refuse loopback trials.
        super().__init__("POST", "https://gatehouse/auth", headers=headers)
        self.payload = BasicOAuth2Payload(form)
        self.tx = tx
        self.address = address
        self.tokens = tokens or {}
        self.binding = binding
        self.certificate = certificate
        self.shown = shown
        self.published = published
        self.targets = form.targets

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
        self.locks = Locks(context.seal)
        self.refusals = Refusals(context.clock)

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
        """Answer a token request. What every grant needs is checked here, before the grant is asked anything."""
        return self.answer(request, "token", lambda: self._token(request))

    def _token(self, request: Request) -> Answer:
        grant = self.get_token_grant(request)
        client = self.authenticate_client(request)
        if not client.check_grant_type(request.payload.grant_type):
            raise UnauthorizedClientError(f"{client.client_id} may not use the grant {grant.GRANT_TYPE}.")
        if client.dpop_only and not request.binding.startswith("jkt:"):  # RFC 9449 §5.2
            raise OAuth2Error(
                error=INVALID,
                description=f"{client.client_id} must send a DPoP proof with each token request.",
            )
        self.check_target(request)
        grant.validate_token_request()
        answer: Answer = self.handle_response(*grant.create_token_response())
        return answer

    def endpoint(self, name: str, request: Request) -> Answer:
        """Answer a request to another registered endpoint."""
        answer: Answer = self.create_endpoint_response(name, request)
        return self._noted(request, answer, f"{name}.refused")

    def authenticate_client(
        self, request: Request, methods: object = None, endpoint: str = "token"
    ) -> Client:
        """The client of a request, authenticated once however many ask. Raises invalid_client.

        `methods` and `endpoint` are authlib's: here the client's own registration decides how it authenticates.
        """
        if request.client is None:
            shown = authentication.presented(request.form, request.headers, request.certificate)
            request.client, request.auth_method = self._proved(request, shown), shown.method
        found: Client = request.client
        return found

    def _proved(self, request: Request, shown: authentication.Presented) -> Client:
        """The client, if it is who it says; wrong secrets are counted, and too many lock the client's secret there."""
        context, tx = self.context, request.tx
        tries = guesses.NONE
        if shown.method in SECRET_METHODS:
            tries = self.locks.tries(shown.client_id, request.address)
        self._unlocked(self.locks.left(tries, context.clock.now()), tx, tries)
        client = self.clients.find(tx, shown.client_id)
        given, published = request.published, {}
        if client and given and given.jwks_uri == client.jwks_uri:
            published = {given.kid: given.key}
        if client and authentication.prove(tx, client, shown, context.issuer, context.clock, published):
            self._bind(request, client, shown)
            return client
        if tries:
            self._unlocked(None, tx, tries)
            guesses.wrong(tx, tries)
            self.locks.note(tx, tries)
        raise authentication.refused()

    def _unlocked(self, left: int | None, tx: Tx, tries: guesses.Tries) -> None:
        """Raise slow_down while the secret is locked; without `left` the database is asked."""
        seconds = self.locks.note(tx, tries) if left is None else left
        if seconds > 0:
            raise OAuth2Error(
                error="slow_down",
                description=f"Too many wrong secrets came for this client. Try again in {seconds} s.",
                status_code=429,
            )

    def _bind(self, request: Request, client: Client, shown: authentication.Presented) -> None:
        """Tokens for the certificate that the client just authenticated with, if it wants them so (RFC 8705 §3)."""
        certificate = request.shown
        if not client.certificate_bound or request.binding or not isinstance(certificate, Presented):
            return
        if shown.method == "tls_client_auth":
            request.binding = f"x5t:{certificate.fingerprint}"

    def check_target(self, request: Request) -> None:
        """Raise invalid_target when the client may not have tokens for what it names (RFC 8707 §2).

        Raises invalid_authorization_details for those: no type of them is known here (RFC 9396 §5).
        """
        if "authorization_details" in request.form:
            raise OAuth2Error(error="invalid_authorization_details", description=NO_DETAILS)
        why = bad_target(request.client, request.targets, self.context.mint.audience)
        if why:
            raise InvalidTargetError(sayable(why))

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
            self.refusals.record(
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
