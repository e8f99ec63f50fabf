"""What the tests of the front door share: forms, a browser made of HTTP, and a look into the database."""

import asyncio
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
import jwt

from gatehouse.auth.providers.relying import challenge
from gatehouse.cli.demo.approve import approve
from gatehouse.registry import audit
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database
from gatehouse.tokenmanager import seal
from tests.service import Service

_PLAIN: Any = {"trust_env": False, "verify": False}  # no TLS here, so no certificates to load each time
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

# beside DIRAC_CLI: a public client with ES256 tokens, and one with a secret
CLIENTS = """
[[clients]]
client_id = "other"
name = "Another program"

[[clients]]
client_id = "portal"
client_secret = "only for this test"
grant_types = ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
redirect_uris = ["https://portal.example.org/back", "https://portal.example.org/other?kept=1"]
post_logout_redirect_uris = ["https://portal.example.org/bye"]
audiences = ["https://storage.example.org"]

[[clients]]
client_id = "native"
name = "An app on a laptop"
grant_types = ["authorization_code"]
redirect_uris = ["http://127.0.0.1/done", "http://[::1]/done", "org.example.app:/done"]
"""
PORTAL = "https://portal.example.org/back"
VERIFIER = "a-verifier-of-more-than-forty-three-characters-0123"


class Event(NamedTuple):
    """An audit event."""

    kind: str
    actor: str
    subject: str
    facts: dict[str, Any]


def post(service: Service, path: str, **form: str) -> httpx.Response:
    """POST a form below the issuer."""
    return httpx.post(f"{service.issuer}/{path}", data=form, timeout=30, **_PLAIN)


def get(service: Service, path: str, token: str = "") -> httpx.Response:
    """GET below the issuer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(f"{service.issuer}/{path}", headers=headers, timeout=30, **_PLAIN)


def begin(service: Service, scope: str = "g:training_user", client: str = "DIRAC_CLI") -> dict[str, Any]:
    """Start a device flow, which must be accepted."""
    answer = post(service, "device", client_id=client, scope=scope)
    assert answer.status_code == 200, answer.text
    started: dict[str, Any] = answer.json()
    return started


def poll(service: Service, started: dict[str, Any], client: str = "DIRAC_CLI") -> httpx.Response:
    """Ask for the tokens of a device flow."""
    return post(
        service, "token", grant_type=DEVICE_GRANT, device_code=started["device_code"], client_id=client
    )


def login(
    service: Service, username: str = "alice", scope: str = "g:training_user", client: str = "DIRAC_CLI"
) -> dict[str, Any]:
    """The whole road; the token answer."""
    started = begin(service, scope, client)
    approve(started["verification_uri_complete"], username)
    answer = poll(service, started, client)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def asking(service: Service, **given: str) -> str:
    """The address of an authorization request of the portal; an empty value leaves a parameter out."""
    said = {
        "response_type": "code",
        "client_id": "portal",
        "redirect_uri": PORTAL,
        "scope": "openid g:training_user",
        "state": "abc",
        "nonce": "n-0",
        "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256",
        **given,
    }
    return f"{service.issuer}/authorization?{urlencode({k: v for k, v in said.items() if v})}"


def redeem(service: Service, code: str, **given: str) -> httpx.Response:
    """The portal brings a code to the token endpoint; an empty value leaves a parameter out."""
    said = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": PORTAL,
        "client_id": "portal",
        "client_secret": "only for this test",
        "code_verifier": VERIFIER,
        **given,
    }
    return post(service, "token", **{name: value for name, value in said.items() if value})


def code_login(service: Service, username: str = "alice", **given: str) -> dict[str, str]:
    """The whole code flow up to the answer that the browser brings back to the client."""
    with Walker(service) as browser:
        return browser.allow(asking(service, **given), username)


def at_once(service: Service, path: str, times: int, **form: str) -> list[httpx.Response]:
    """POST the same form many times in parallel, each on a connection of its own."""

    async def run() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=times)
        async with httpx.AsyncClient(timeout=30, limits=limits, **_PLAIN) as http:
            return await asyncio.gather(
                *(http.post(f"{service.issuer}/{path}", data=form) for _ in range(times))
            )

    return asyncio.run(run())


def error(answer: httpx.Response, status: int, code: str) -> str:
    """Hold an OAuth error against its status and code; its description."""
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert answer.headers["cache-control"] == "no-store"
    description: str = answer.json()["error_description"]
    return description


@contextmanager
def _file(service: Service) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(service.folder / "gatehouse.db", timeout=10)) as connection, connection:
        yield connection


def change(service: Service, statement: str, *values: object) -> int:
    """Change the world behind the service's back, as time or an operator would; how many rows."""
    with _file(service) as connection:
        return connection.execute(statement, values).rowcount


def look(service: Service, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Rows of the database."""
    with _file(service) as connection:
        return connection.execute(statement, values).fetchall()


def events(service: Service, kind: str = "") -> list[Event]:
    """The audit events of a kind (default: all), oldest first."""
    rows = look(service, "SELECT kind, actor, subject, facts FROM audit_event ORDER BY id")
    return [Event(k, actor, subject, json.loads(f)) for k, actor, subject, f in rows if kind in ("", k)]


def broken(service: Service) -> list[audit.Recorded]:
    """The audit events that do not follow from their predecessors."""
    key = seal.from_text((service.folder / "master.key").read_text()).derive("audit")
    database = Database(f"sqlite:///{service.folder / 'gatehouse.db'}", SYSTEM, key)
    try:
        return database.read_now(lambda tx: list(audit.broken(tx, key)))
    finally:
        database.close()


class Walker:
    """A browser that keeps cookies and follows nothing by itself."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.http = httpx.Client(timeout=30, **_PLAIN)

    def __enter__(self) -> "Walker":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def open(self, started: dict[str, Any]) -> httpx.Response:
        """The page behind the link."""
        return self.http.get(started["verification_uri_complete"])

    def submit(self, page: httpx.Response, **values: str) -> httpx.Response:
        """Post the form of a page, its hidden fields and these values."""
        found = re.search(r'<form[^>]*\baction="([^"]*)"', page.text)
        assert found is not None, page.text
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        return self.http.post(urljoin(str(page.url), unescape(found[1])), data={**hidden, **values})

    def confirm(self, started: dict[str, Any]) -> httpx.Response:
        """Open the link, say yes; the page with the providers."""
        return self.follow(self.submit(self.open(started), action="confirm"))

    def consent(self, address: str) -> httpx.Response:
        """The consent page of an authorization request."""
        return self.follow(self.http.get(address))

    def allow(self, address: str, username: str = "alice", provider: str = "egi-demo") -> dict[str, str]:
        """Allow a client everything; what it is told by redirect."""
        answer = self.submit(self.consent(address), action="confirm")
        if urlsplit(answer.headers.get("location", "")).path.endswith("login"):
            self.follow(answer)
            answer = self.log_in(provider, username)
        assert answer.is_redirect, answer.text
        return query(answer.headers["location"])

    def follow(self, answer: httpx.Response) -> httpx.Response:
        """The page that a redirect leads to."""
        assert answer.is_redirect, answer.text
        return self.http.get(urljoin(str(answer.url), answer.headers["location"]))

    def leave(self, provider: str) -> httpx.Response:
        """Choose a provider."""
        return self.http.get(f"{self.service.issuer}/login/{provider}")

    def visit(self, provider: str, username: str) -> str:
        """Choose a provider and log in there; the callback that it sends the browser to."""
        away = self.leave(provider)
        assert away.status_code == 302, away.text
        back = self.http.get(f"{away.headers['location']}&login_hint={username}")
        assert back.status_code == 303, back.text
        return str(back.headers["location"])

    def log_in(self, provider: str, username: str) -> httpx.Response:
        """Choose a provider, log in there, come back; the page that follows."""
        return self.http.get(self.visit(provider, username))


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, believed or not."""
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


def words(page: httpx.Response) -> str:
    """What a page says, without its markup."""
    body = page.text.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def query(url: str) -> dict[str, str]:
    """The query parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
