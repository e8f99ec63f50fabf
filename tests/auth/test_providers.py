"""Gatehouse as a relying party: a real provider that misbehaves is noticed, told, recorded, and survived."""

import asyncio
import base64
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from gatehouse.cli.demo.idp import create_idp
from gatehouse.cli.demo.idp_tweaks import (
    Claims,
    Hook,
    Tweaks,
    confused,
    failing,
    replacing,
    signed_by,
    slow,
    unsigned,
)
from gatehouse.cli.demo.people import PEOPLE
from gatehouse.registry.clock import SYSTEM
from tests.auth.kit import Walker, begin, broken, error, events, look, poll, words
from tests.service import Service, free_port

KEY, STRANGER, NEXT = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3))
COOL_DOWN = 10.0  # seconds before an unreachable provider is asked again

Answer = Callable[[Request], Response]

REGISTRY = """
Registry
{
  VO
  {
    training.egi.eu
    {
      IdProvider = NAMES
    }
  }
  Groups
  {
    training_user
    {
      Properties = NormalUser
      VO = training.egi.eu
      VOMSRole = /training.egi.eu
    }
  }
}
"""

UNLIMITED = """
[limits]
page = 60000
page_burst = 10000
login = 60000
login_burst = 10000
"""

PROVIDER = """
[[providers]]
name = "NAME"
title = "The NAME provider"
issuer = "ISSUER"
kind = "aarc"
client_id = "gatehouse"
client_secret = "only for this test"
scope = "openid profile email voperson_id entitlements eduperson_entitlement"
namespaces = ["urn:mace:egi.eu"]
authorities = ["aai.egi.eu"]
user_claim = "voperson_id"
"""


def redirecting(request: Request) -> Response:
    """The document is elsewhere, and there it is right."""
    return RedirectResponse(str(request.url) + "?there", 302)


def compressed(request: Request) -> Response:
    """A document that grows when it is unpacked."""
    packed = gzip.compress(b"{" + b" " * 50_000_000 + b"}")
    return Response(packed, media_type="application/json", headers={"Content-Encoding": "gzip"})


def trickling(request: Request) -> Response:
    """One byte a second: no single wait is long."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(1)

    return StreamingResponse(drops(), media_type="application/json")


@dataclass
class Farm:
    """Several providers on one port, each with its own tweaks; some whose discovery answers otherwise."""

    port: int
    redirect_uri: str
    tweaks: dict[str, Tweaks] = field(default_factory=dict)
    issuers: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)

    def add(self, name: str, discovery: Answer | None = None) -> None:
        """Another provider."""
        issuer = self.issuers[name] = f"http://127.0.0.1:{self.port}/{name}"
        tweaks = self.tweaks[name] = Tweaks()
        idp = create_idp(
            issuer,
            "checkin",
            PEOPLE,
            "gatehouse",
            "only for this test",
            [self.redirect_uri],
            SYSTEM,
            allow_login_hint=True,
            key=KEY,
            tweaks=tweaks,
        )
        self.mounts.append(Mount(f"/{name}", app=_instead(idp, discovery) if discovery else idp))

    def honest(self) -> None:
        """Nobody misbehaves any more."""
        for tweaks in self.tweaks.values():
            vars(tweaks).update(vars(Tweaks()))

    def absent(self, name: str) -> None:
        """A provider that nobody runs."""
        self.issuers[name] = f"http://127.0.0.1:{free_port()}/{name}"

    def configuration(self) -> str:
        """The `[[providers]]` of all of them."""
        return "".join(
            PROVIDER.replace("NAME", name).replace("ISSUER", issuer) for name, issuer in self.issuers.items()
        )


def _instead(idp: ASGIApp, discovery: Answer) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"].endswith("/openid-configuration")
        other = asked and not scope["query_string"]
        await (discovery(Request(scope)) if other else idp)(scope, receive, send)

    return app


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Farm]]:
    """A farm of providers in a thread, and a service that knows them all."""
    folder, port = tmp_path_factory.mktemp("gatehouse"), free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        farm = Farm(listener.getsockname()[1], f"http://127.0.0.1:{port}/auth/redirect")
        for name in ("main", "lying", "huge", "poor", "keyless", "turning", "erring", "late"):
            farm.add(name)
        for name, answer in (("moved", redirecting), ("packed", compressed), ("trickle", trickling)):
            farm.add(name, answer)
        farm.absent("absent")
        config = uvicorn.Config(Starlette(routes=farm.mounts), log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        (folder / "dirac.cfg").write_text(REGISTRY.replace("NAMES", ", ".join(farm.issuers)))
        more = f'[registry]\nfile = "{folder / "dirac.cfg"}"\n{UNLIMITED}' + farm.configuration()
        try:
            with Service(folder, demo=False, more=more, port=port) as running:
                yield running, farm
                assert broken(running) == []
                assert "Traceback" not in running.log.read_text()
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def service(world: tuple[Service, Farm]) -> Service:
    """The service."""
    return world[0]


@pytest.fixture
def farm(world: tuple[Service, Farm]) -> Farm:
    """The providers, all honest at the beginning."""
    world[1].honest()
    return world[1]


@dataclass
class Attempted:
    """A login that is under way."""

    browser: Walker
    started: dict[str, Any]

    def refused(self, provider: str, reason: str, go: Callable[[], httpx.Response]) -> None:
        """What `go` shows must be a clear page with the reason, recorded, with nothing half done."""
        service = self.browser.service
        before = look(service, "SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM identity)")
        recorded = len(events(service))
        page = go()
        assert page.status_code == 502, words(page)
        said = words(page)
        assert f"The {provider} provider could not vouch for you" in said
        assert reason in said
        assert re.search(r"mention this number: [0-9a-f]{8}", said)
        assert "Traceback" not in said
        (event,) = events(service)[recorded:]
        assert (event.kind, event.actor) == ("provider.refused", provider)
        assert reason in event.facts["why"]
        assert before == look(
            service, "SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM identity)"
        )
        error(poll(service, self.started), 400, "authorization_pending")
        # the page leads back to the choice
        again = re.search(r'<a class="button quiet" href="([^"]+)">', page.text)
        assert again is not None
        choice = self.browser.http.get(page.url.join(again[1]))
        assert 'href="login/main"' in choice.text

    def succeeds(self, provider: str = "main") -> None:
        """In the same browser, an honest login goes through to the tokens."""
        page = self.browser.log_in(provider, "alice")
        assert page.status_code == 200, words(page)
        assert "Authorization complete" in words(page)
        assert poll(self.browser.service, self.started).status_code == 200


@pytest.fixture
def attempt(service: Service) -> Iterator[Attempted]:
    """A login that stands before the choice of a provider."""
    with Walker(service) as browser:
        started = begin(service)
        browser.confirm(started)
        yield Attempted(browser, started)


def test_an_honest_provider_is_believed(farm: Farm, attempt: Attempted) -> None:
    attempt.succeeds()


# --- what comes with the answer


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def later(seconds: int, *names: str) -> Hook:
    return lambda claims: {**claims, **{name: SYSTEM.now() + seconds for name in names}}


def foreign_crit(header: Claims, claims: Claims, key: rsa.RSAPrivateKey) -> str:
    return signed_by(key)({**header, "crit": ["b64"], "b64": True}, claims, key)


ID_TOKENS: dict[str, tuple[Hook, str]] = {
    "another issuer": (replacing(iss="https://idp.example.org"), "it names another issuer"),
    "an issuer that begins alike": (lambda c: {**c, "iss": f"{c['iss']}/"}, "it names another issuer"),
    "another audience": (replacing(aud="somebody-else"), "another client (audience)"),
    "several audiences, no party": (replacing(aud=["gatehouse", "x"], azp=None), "several audiences"),
    "another party": (replacing(azp="somebody-else"), "another party (azp)"),
    "another nonce": (replacing(nonce="replayed"), "does not belong to this login (nonce)"),
    "no nonce": (replacing(nonce=None), "does not belong to this login (nonce)"),
    "a nonce that is no text": (replacing(nonce="\ud800"), "does not belong to this login (nonce)"),
    "expired": (replacing(exp=1), "it has expired"),
    "just expired": (later(-61, "exp"), "it has expired"),
    "never expires": (replacing(exp=float("nan")), "exp is not a number"),
    "no expiry": (replacing(exp=None), "the claim exp is missing"),
    "expiry as text": (replacing(exp="tomorrow"), "exp is not a number"),
    "from the future": (later(120, "iat"), "it comes from the future"),
    "not yet valid": (later(120, "nbf"), "it comes from the future"),
    "no subject": (replacing(sub=None), "the claim sub is missing"),
    "an empty subject": (replacing(sub=""), "its subject is empty"),
    "another access token": (replacing(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "(at_hash) is wrong"),
    "too long": (replacing(padding="x" * 20_000), "id_token"),
}

SIGNERS = {
    "alg none": (unsigned, "it is not signed with RS256"),
    "HS256 with the public key": (confused, "it is not signed with RS256"),
    "another key under the same kid": (signed_by(STRANGER), "its signature is wrong"),
    "an unpublished key": (signed_by(STRANGER, "unheard-of"), "a key that the provider does not publish"),
    "critical header": (foreign_crit, "the ID token is not accepted"),
    "no token at all": (lambda header, claims, key: "hello", "it is not a signed token"),
    "nested without end": (lambda header, claims, key: part(b"[" * 5000) + ".e30.e30", "not a signed token"),
}


@pytest.mark.parametrize("name", ID_TOKENS)
def test_oidc_core_3_1_3_7_a_wrong_id_token_is_not_believed(
    farm: Farm, attempt: Attempted, name: str
) -> None:
    farm.tweaks["main"].id_token, reason = ID_TOKENS[name]
    attempt.refused("main", reason, lambda: attempt.browser.log_in("main", "alice"))
    farm.honest()
    attempt.succeeds()


@pytest.mark.parametrize("name", SIGNERS)
def test_rfc8725_3_a_wrong_signature_is_not_believed(farm: Farm, attempt: Attempted, name: str) -> None:
    farm.tweaks["main"].sign, reason = SIGNERS[name]
    attempt.refused("main", reason, lambda: attempt.browser.log_in("main", "alice"))
    farm.honest()
    attempt.succeeds()


def test_a_clock_that_is_a_little_wrong_is_forgiven(farm: Farm, attempt: Attempted) -> None:
    farm.tweaks["main"].id_token = later(50, "iat", "nbf")
    attempt.succeeds()


USERINFO: dict[str, tuple[Hook, str]] = {
    "another person": (replacing(sub="somebody-else"), "userinfo speaks of another person"),
    "no subject": (replacing(sub=None), "userinfo speaks of another person"),
    "too large": (replacing(padding="x" * 300_000), "larger than 256 KiB"),
    "too deep": (replacing(padding=[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]), "reasonable depth"),
    "an id with control characters": (replacing(voperson_id="a\x00b"), "does not say who you are"),
    "an id that is no text": (replacing(voperson_id=["alice"]), "does not say who you are"),
}


@pytest.mark.parametrize("name", USERINFO)
def test_oidc_core_5_3_4_a_wrong_userinfo_is_not_believed(farm: Farm, attempt: Attempted, name: str) -> None:
    farm.tweaks["main"].userinfo, reason = USERINFO[name]
    attempt.refused("main", reason, lambda: attempt.browser.log_in("main", "alice"))
    farm.honest()
    attempt.succeeds()


def test_strange_names_do_no_harm(farm: Farm, attempt: Attempted) -> None:
    farm.tweaks["main"].userinfo = replacing(
        name='<b>"Zoë"</b>\x00\u202e', preferred_username="\x1b[31m", email=7
    )
    attempt.succeeds()


@pytest.mark.parametrize("endpoint", ["token", "userinfo"])
@pytest.mark.parametrize("status", [500, 302, 404])
def test_a_provider_that_fails_is_told_from_one_that_refuses(
    farm: Farm, attempt: Attempted, endpoint: str, status: int
) -> None:
    farm.tweaks["main"].status = failing(status, endpoint)
    attempt.refused("main", f"{endpoint}: status {status}", lambda: attempt.browser.log_in("main", "alice"))
    farm.honest()
    attempt.succeeds()


# --- what comes through the browser


REDIRECTS: dict[str, tuple[Hook, str]] = {
    "RFC 9207: another issuer": (
        replacing(iss="https://idp.example.org"),
        "another issuer than the one asked",
    ),
    "RFC 9207: no issuer": (replacing(iss=None), "does not name its issuer"),
    "no code": (replacing(code=None), "it answered: no code"),
    "refused there": (replacing(code=None, error="access_denied"), "it answered: access_denied"),
    "an invented code": (replacing(code="invented"), "error invalid_grant"),
    "a code like markup": (replacing(code="<script>alert(1)</script>"), "error invalid_grant"),
}


@pytest.mark.parametrize("name", REDIRECTS)
def test_a_wrong_answer_through_the_browser_is_not_believed(
    farm: Farm, attempt: Attempted, name: str
) -> None:
    farm.tweaks["main"].redirect, reason = REDIRECTS[name]
    attempt.refused("main", reason, lambda: attempt.browser.log_in("main", "alice"))
    farm.honest()
    attempt.succeeds()


def test_rfc6749_10_12_an_answer_meant_for_another_browser_is_not_taken(
    farm: Farm, service: Service, attempt: Attempted
) -> None:
    """Login CSRF: the attacker's answer in the victim's browser, and the other way round."""
    theirs = attempt.browser.visit("main", "alice")
    with Walker(service) as other:
        started = begin(service)
        other.confirm(started)
        assert other.http.get(theirs).status_code == 409  # it is not even on its way
        assert events(service)[-1].kind == "callback.refused"
        other.leave("main")
        page = other.http.get(theirs)
        assert page.status_code == 409
        assert "taken already, or in another window" in words(page)
        last = events(service)[-1]
        assert (last.kind, last.actor) == ("callback.refused", "main")
        error(poll(service, started), 400, "authorization_pending")
    with Walker(service) as nobody:
        page = nobody.http.get(theirs)
        assert page.status_code == 400
        assert "No login is going on in this browser" in words(page)
    # the one it was meant for has lost nothing
    assert "Authorization complete" in words(attempt.browser.http.get(theirs))
    assert poll(service, attempt.started).status_code == 200


def test_an_answer_is_taken_once(farm: Farm, service: Service, attempt: Attempted) -> None:
    farm.tweaks["main"].status = failing(500, "token")
    back = attempt.browser.visit("main", "alice")
    attempt.refused("main", "status 500", lambda: attempt.browser.http.get(back))
    farm.honest()
    again = attempt.browser.http.get(back)
    assert again.status_code == 409
    assert events(service)[-1].kind == "callback.refused"
    error(poll(service, attempt.started), 400, "authorization_pending")
    attempt.succeeds()
    assert attempt.browser.http.get(back).status_code == 409


def test_an_answer_from_the_provider_before_the_last_one_is_not_taken(
    farm: Farm, service: Service, attempt: Attempted
) -> None:
    first = attempt.browser.visit("main", "alice")
    attempt.browser.leave("main")
    assert attempt.browser.http.get(first).status_code == 409
    attempt.succeeds()


# --- discovery and keys


def test_discovery_must_be_right_small_and_at_its_place(farm: Farm, attempt: Attempted) -> None:
    farm.tweaks["lying"].discovery = replacing(issuer="https://idp.example.org")
    farm.tweaks["huge"].discovery = replacing(padding="x" * 300_000)
    farm.tweaks["poor"].discovery = replacing(token_endpoint="javascript:alert(1)")
    for provider, reason in (
        ("lying", "the document names another issuer"),
        ("huge", "larger than 256 KiB"),
        ("poor", "token_endpoint is missing or not http"),
        ("moved", "status 302"),
        ("packed", "compressed"),
        ("absent", "ConnectError"),
    ):
        attempt.refused(provider, reason, partial(attempt.browser.leave, provider))
        # at once again: the provider is spared, the answer is the same
        attempt.refused(provider, reason, partial(attempt.browser.leave, provider))
    attempt.succeeds()


def test_a_slow_provider_holds_nobody_for_long(farm: Farm, service: Service, attempt: Attempted) -> None:
    farm.tweaks["late"].delay = slow(30, "token")
    back = attempt.browser.visit("late", "alice")
    began = time.monotonic()
    attempt.refused("late", "no whole answer within 5 s", lambda: attempt.browser.http.get(back))
    assert time.monotonic() - began < 9
    began = time.monotonic()
    attempt.refused("trickle", "no whole answer within 5 s", lambda: attempt.browser.leave("trickle"))
    assert time.monotonic() - began < 12
    attempt.succeeds()


def test_without_keys_no_token_is_believed_and_the_first_good_answer_heals(
    farm: Farm, service: Service, attempt: Attempted
) -> None:
    farm.tweaks["keyless"].status = failing(500, "jwks")
    attempt.refused("keyless", "status 500", lambda: attempt.browser.log_in("keyless", "alice"))
    farm.tweaks["erring"].discovery = replacing(issuer="https://idp.example.org")
    attempt.refused("erring", "names another issuer", lambda: attempt.browser.leave("erring"))
    farm.tweaks["erring"].discovery = replacing()
    farm.tweaks["keyless"].status = failing(404)
    farm.tweaks["keyless"].jwks = lambda _: {"keys": [{"kty": "oct", "k": "AAAA", "kid": "x"}, 7, {}]}
    time.sleep(COOL_DOWN + 0.5)
    attempt.refused("keyless", "no key that can be used", lambda: attempt.browser.log_in("keyless", "alice"))
    attempt.succeeds("erring")
    farm.honest()
    time.sleep(COOL_DOWN + 0.5)
    with Walker(service) as browser:
        started = begin(service)
        browser.confirm(started)
        Attempted(browser, started).succeeds("keyless")


def test_a_key_that_turns_is_fetched_at_once(farm: Farm, service: Service, attempt: Attempted) -> None:
    attempt.succeeds("turning")

    def both(published: Claims) -> Claims:
        made = RSAAlgorithm.to_jwk(NEXT.public_key(), as_dict=True)
        entry = {name: made[name] for name in ("kty", "n", "e")}
        keys = published["keys"]
        assert isinstance(keys, list)
        return {"keys": [*keys, {**entry, "kid": "next", "use": "sig", "alg": "RS256"}]}

    farm.tweaks["turning"].jwks = both
    farm.tweaks["turning"].sign = signed_by(NEXT, "next")
    with Walker(service) as browser:
        started = begin(service)
        browser.confirm(started)
        Attempted(browser, started).succeeds("turning")
