"""The demo identity provider, walked by plain httpx and judged by python-jose, which it does not use itself."""

import hashlib
import json
import re
import shutil
import socket
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwt
from jose.exceptions import JOSEError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gatehouse.cli.demo.idp import create_idp, mounted
from gatehouse.cli.demo.idp_state import Shelf
from gatehouse.cli.demo.idp_tweaks import Tweaks, confused, failing, replacing, signed_by, slow, unsigned
from gatehouse.cli.demo.people import PEOPLE, Membership, Person, Shape

CLIENT, SECRET = "gatehouse", "s3cret: with % and +"
BACK = "https://gatehouse.example.org/auth/redirect"
ISSUERS: dict[Shape, str] = {
    "checkin": "http://127.0.0.1:{port}/auth/realms/egi",
    "iam": "http://127.0.0.1:{port}/iam/",
}
CHECKIN_SCOPE = "openid profile email voperson_id entitlements eduperson_entitlement offline_access"
IAM_SCOPE = "openid profile wlcg wlcg.groups offline_access"
SCOPES: dict[Shape, str] = {"checkin": CHECKIN_SCOPE, "iam": IAM_SCOPE}
VERIFIER = "v" * 43
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Hands:
    """A clock that is moved by hand."""

    at: int

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return float(self.at)


@dataclass
class World:
    """A listener with both shapes, the clock and the hooks of both."""

    http: httpx.Client
    clock: Hands
    tweaks: Tweaks
    port: int

    def issuer(self, shape: Shape) -> str:
        return ISSUERS[shape].format(port=self.port)

    def metadata(self, shape: Shape) -> dict[str, Any]:
        answer = self.http.get(self.issuer(shape).rstrip("/") + "/.well-known/openid-configuration")
        document: dict[str, Any] = answer.raise_for_status().json()
        return document

    def authorize(self, shape: Shape, **changes: str | None) -> httpx.Response:
        parameters = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": BACK,
            "scope": SCOPES[shape],
            "state": "the state",
            "nonce": "the nonce",
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        asked = {name: value for name, value in parameters.items() if value is not None}
        return self.http.get(self.metadata(shape)["authorization_endpoint"], params=asked)

    def code(self, shape: Shape, username: str = "alice", **changes: str | None) -> str:
        return answer_of(self.authorize(shape, login_hint=username, **changes))["code"]

    def token(
        self, shape: Shape, form: dict[str, str], auth: tuple[str, str] | None = (CLIENT, SECRET)
    ) -> httpx.Response:
        headers = {"Authorization": basic(*auth)} if auth else {}
        return self.http.post(self.metadata(shape)["token_endpoint"], data=form, headers=headers)

    def redeem(self, shape: Shape, code: str, **changes: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
        return self.token(shape, form | {"code_verifier": VERIFIER} | changes)

    def tokens(self, shape: Shape, username: str = "alice", **changes: str | None) -> dict[str, Any]:
        answer: dict[str, Any] = self.redeem(shape, self.code(shape, username, **changes)).json()
        return answer

    def refresh(self, shape: Shape, refresh_token: str, **form: str) -> httpx.Response:
        return self.token(shape, {"grant_type": "refresh_token", "refresh_token": refresh_token, **form})

    def userinfo(self, shape: Shape, access: str) -> httpx.Response:
        return self.http.get(
            self.metadata(shape)["userinfo_endpoint"], headers={"Authorization": f"Bearer {access}"}
        )

    def verified(self, shape: Shape, token: str, access: str | None = None) -> dict[str, Any]:
        """What python-jose reads, with the keys of the provider; times are judged by the machine's clock."""
        metadata = self.metadata(shape)
        keys = self.http.get(metadata["jwks_uri"]).json()
        claims: dict[str, Any] = jwt.decode(
            token, keys, ["RS256"], audience=CLIENT if access else None, issuer=metadata["issuer"],
            access_token=access, options={"verify_aud": access is not None},
        )  # fmt: skip
        return claims


def s256(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def basic(name: str, secret: str) -> str:
    """RFC 6749 §2.3.1: both are form-encoded inside."""
    pair = f"{quote(name, safe='')}:{quote(secret, safe='')}"
    return "Basic " + b64encode(pair.encode()).decode()


def answer_of(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 303, response.text
    location = response.headers["location"]
    assert location.startswith(BACK + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def providers(port: int, clock: Hands, tweaks: Tweaks, *, hint: bool = True) -> Starlette:
    both = []
    for shape, template in ISSUERS.items():
        issuer = template.format(port=port)
        app = create_idp(
            issuer, shape, PEOPLE, CLIENT, SECRET, [BACK], clock,
            allow_login_hint=hint, key=KEY, tweaks=tweaks,
        )  # fmt: skip
        both.append(mounted(issuer, app))
    return Starlette(routes=both)


@contextmanager
def world(*, hint: bool = True) -> Iterator[World]:
    """Both shapes on a real socket."""
    with served(lambda port, clock, tweaks: providers(port, clock, tweaks, hint=hint)) as it:
        yield it


@contextmanager
def served(build: Callable[[int, Hands, Tweaks], Starlette]) -> Iterator[World]:
    clock, tweaks = Hands(int(time.time())), Tweaks()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(build(port, clock, tweaks), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with httpx.Client(trust_env=False, timeout=10) as http:
                yield World(http, clock, tweaks, port)
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


class Form(HTMLParser):
    """The first form of a page: where it goes, its hidden fields, its buttons."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found["action"]
        elif tag == "input":
            self.hidden[found["name"]] = found["value"]
        elif tag == "button":
            self.buttons.append((found["name"], found["value"]))


@pytest.mark.parametrize("shape", ["checkin", "iam"])
def test_a_person_signs_in_over_a_socket(shape: Shape) -> None:
    with world() as it:
        metadata = it.metadata(shape)
        assert metadata["issuer"] == it.issuer(shape)
        assert metadata["gatehouse_demo"] is True
        page = it.authorize(shape)
        form = Form(page.text)
        assert ("username", "dora") in form.buttons
        assert form.action == metadata["authorization_endpoint"]
        chosen = it.http.post(form.action, data={**form.hidden, "username": "dora"})
        answer = answer_of(chosen)
        assert (answer["state"], answer["iss"]) == ("the state", it.issuer(shape))
        tokens = it.redeem(shape, answer["code"]).json()
        claims = it.verified(shape, tokens["id_token"], tokens["access_token"])
        info = it.userinfo(shape, tokens["access_token"]).json()
        assert info["sub"] == claims["sub"]
        assert claims["nonce"] == "the nonce"
        assert claims["auth_time"] == it.clock.at
        assert info["name"] == "Dóra Kőszegi"
        assert jwt.get_unverified_header(tokens["id_token"])["alg"] == "RS256"


def test_check_in_tells_entitlements_at_userinfo_and_introspection_only() -> None:
    with world() as it:
        tokens = it.tokens("checkin")
        entitlements = [
            "urn:mace:egi.eu:group:training.egi.eu#aai.egi.eu",
            "urn:mace:egi.eu:group:training.egi.eu:role=member#aai.egi.eu",
            "urn:mace:egi.eu:group:training.egi.eu:role=pilot#aai.egi.eu",
        ]
        inside = it.verified("checkin", tokens["id_token"], tokens["access_token"])
        access = it.verified("checkin", tokens["access_token"])
        assert not {"entitlements", "eduperson_entitlement"} & (set(inside) | set(access))
        assert "aud" not in access
        assert re.fullmatch(r"[0-9a-f]{64}@egi\.eu", access["sub"])
        assert inside["voperson_id"] == access["sub"]
        introspection = it.http.post(
            it.metadata("checkin")["introspection_endpoint"],
            data={"token": tokens["access_token"], "client_id": CLIENT, "client_secret": SECRET},
        ).json()
        assert introspection["active"] is True
        for document in (it.userinfo("checkin", tokens["access_token"]).json(), introspection):
            assert document["entitlements"] == document["eduperson_entitlement"] == entitlements
            assert document["voperson_id"] == access["sub"]


def test_iam_tells_sorted_groups_in_tokens_and_userinfo_when_asked() -> None:
    with world() as it:
        tokens = it.tokens("iam")
        groups = ["/training.egi.eu", "/training.egi.eu/pilot"]
        inside = it.verified("iam", tokens["id_token"], tokens["access_token"])
        access = it.verified("iam", tokens["access_token"])
        assert inside["wlcg.groups"] == access["wlcg.groups"] == groups
        assert it.userinfo("iam", tokens["access_token"]).json()["wlcg.groups"] == groups
        assert inside["wlcg.ver"] == access["wlcg.ver"] == "1.0"
        assert access["aud"] == "https://wlcg.cern.ch/jwt/v1/any"
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", access["sub"])
        unasked = it.tokens("iam", scope="openid wlcg")
        assert "wlcg.groups" not in it.verified("iam", unasked["id_token"], unasked["access_token"])
        assert "refresh_token" not in unasked


def test_the_people_are_as_the_story_says() -> None:
    told = {person.username: person.wlcg_groups() for person in PEOPLE}
    assert told == {
        "alice": ["/training.egi.eu", "/training.egi.eu/pilot"],
        "bob": ["/training.egi.eu"],
        "carol": [],
        "dora": ["/fusion.example.org"],
    }
    awkward = Person("eve", "E", "V", (Membership("a:b#c", ("röle",)),))
    assert awkward.entitlements()[-1] == "urn:mace:egi.eu:group:a%3Ab%23c:role=r%C3%B6le#aai.egi.eu"


def test_check_in_rotates_refresh_tokens_and_a_second_use_ends_the_grant() -> None:
    with world() as it:
        first = it.tokens("checkin")
        second = it.refresh("checkin", first["refresh_token"]).json()
        assert second["refresh_token"] != first["refresh_token"]
        claims = it.verified("checkin", second["id_token"], second["access_token"])
        assert "nonce" not in claims
        assert it.refresh("checkin", first["refresh_token"]).json()["error"] == "invalid_grant"
        assert it.refresh("checkin", second["refresh_token"]).json()["error"] == "invalid_grant"


def test_iam_does_not_rotate_refresh_tokens() -> None:
    with world() as it:
        first = it.tokens("iam")
        for _ in range(2):
            again = it.refresh("iam", first["refresh_token"]).json()
            assert again["refresh_token"] == first["refresh_token"]
        assert (
            it.refresh("iam", first["refresh_token"], scope="openid email").json()["error"] == "invalid_scope"
        )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": VERIFIER[:42]}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"request": "x"}, "request_not_supported"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_a_wrong_request_is_sent_back_with_an_error(changes: dict[str, str | None], error: str) -> None:
    with world() as it:
        answer = answer_of(it.authorize("checkin", **changes))
        assert (answer["error"], answer["state"]) == (error, "the state")
        assert answer["iss"] == it.issuer("checkin")
        assert "code" not in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": None},
        {"client_id": "stranger"},
        {"state": "x" * 2049},
    ],
)
def test_what_cannot_be_trusted_is_never_redirected(changes: dict[str, str | None]) -> None:
    with world() as it:
        page = it.authorize("iam", login_hint="alice", **changes)
        assert page.status_code == 400
        assert "location" not in page.headers
        assert "Demo identity provider" in page.text


def test_a_parameter_given_twice_is_refused() -> None:
    with world() as it:
        url = it.metadata("iam")["authorization_endpoint"]
        assert "given twice" in it.http.get(f"{url}?client_id={CLIENT}&client_id={CLIENT}").text


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": ""},
        {"redirect_uri": BACK + "/"},
        {"code": "guessed"},
    ],
)
def test_a_wrong_redemption_is_refused_and_costs_the_code(changes: dict[str, str]) -> None:
    with world() as it:
        code = it.code("checkin")
        refused = it.redeem("checkin", **{"code": code, **changes})
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert it.redeem("checkin", code).status_code == (200 if "code" in changes else 400)


def test_a_code_works_once_and_a_second_use_ends_its_refresh_token() -> None:
    with world() as it:
        code = it.code("iam")
        tokens = it.redeem("iam", code).json()
        assert it.redeem("iam", code).json()["error"] == "invalid_grant"
        assert it.refresh("iam", tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_code_lives_60_seconds() -> None:
    with world() as it:
        early, late = it.code("iam"), it.code("iam")
        it.clock.at += 59
        assert it.redeem("iam", early).status_code == 200
        it.clock.at += 1
        assert it.redeem("iam", late).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("auth", [(CLIENT, "wrong"), ("stranger", SECRET), None])
def test_a_client_without_the_right_secret_gets_nothing(auth: tuple[str, str] | None) -> None:
    with world() as it:
        form = {"grant_type": "authorization_code", "code": it.code("iam"), "redirect_uri": BACK}
        refused = it.token("iam", form | {"code_verifier": VERIFIER}, auth)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        assert refused.headers["www-authenticate"].startswith("Basic ")
        # the code was not looked at, so the right client can still use it
        assert it.redeem("iam", form["code"]).status_code == 200


def test_the_secret_may_come_in_the_form_but_not_twice() -> None:
    with world() as it:
        shown = {"client_id": CLIENT, "client_secret": SECRET}
        form = {"grant_type": "authorization_code", "redirect_uri": BACK, "code_verifier": VERIFIER, **shown}
        assert it.token("iam", form | {"code": it.code("iam")}, None).status_code == 200
        assert it.token("iam", form | {"code": it.code("iam")}).json()["error"] == "invalid_request"


def test_userinfo_takes_only_live_access_tokens_of_its_own() -> None:
    with world() as it:
        tokens = it.tokens("checkin")
        other = it.tokens("iam")["access_token"]
        for wrong in (tokens["id_token"], other, "x", tokens["access_token"] + "x"):
            assert it.userinfo("checkin", wrong).status_code == 401
        assert it.userinfo("checkin", tokens["access_token"]).status_code == 200
        it.clock.at += 3600
        refused = it.userinfo("checkin", tokens["access_token"])
        assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_introspection_is_for_the_client_and_calls_a_stranger_inactive() -> None:
    with world() as it:
        url = it.metadata("iam")["introspection_endpoint"]
        assert it.http.post(url, data={"token": it.tokens("iam")["access_token"]}).status_code == 401
        answer = it.http.post(url, data={"token": "x"}, headers={"Authorization": basic(CLIENT, SECRET)})
        assert answer.json() == {"active": False}


def test_login_hint_signs_in_only_where_the_demo_allows_it() -> None:
    with world(hint=False) as it:
        page = it.authorize("checkin", login_hint="alice")
        assert page.status_code == 200
        assert len(Form(page.text).buttons) == len(PEOPLE)
        answer = answer_of(it.authorize("checkin", login_hint="alice", prompt="none"))
        assert answer["error"] == "login_required"
    with world() as it:
        assert it.authorize("checkin", login_hint="nobody").status_code == 200
        assert it.code("checkin", prompt="none")


def test_a_sign_in_page_works_once_and_only_for_people_of_the_list() -> None:
    with world() as it:
        form = Form(it.authorize("iam").text)
        assert "nobody of that name" in it.http.post(form.action, data=form.hidden | {"username": "x"}).text
        again = it.http.post(form.action, data=form.hidden | {"username": "bob"})
        assert (again.status_code, "used before" in again.text) == (400, True)
        late = Form(it.authorize("iam").text)
        it.clock.at += 600
        assert it.http.post(late.action, data=late.hidden | {"username": "bob"}).status_code == 400


def test_the_sign_in_page_escapes_and_runs_nothing() -> None:
    hostile = Person("mallory", "<script>alert(1)</script>", '"><b>', (Membership("<i>"),))

    def build(port: int, clock: Hands, tweaks: Tweaks) -> Starlette:
        issuer = f"http://127.0.0.1:{port}/auth/realms/egi"
        app = create_idp(issuer, "checkin", [hostile], CLIENT, SECRET, [BACK], clock, key=KEY, tweaks=tweaks)
        return Starlette(routes=[mounted(issuer, app)])

    with served(build) as it:
        page = it.authorize("checkin")
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "<b>" not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self' https://gatehouse.example.org" in policy
        style = re.search(r'href="([^"]+)"', page.text)
        assert style is not None
        assert it.http.get(style[1]).headers["content-type"].startswith("text/css")


def test_a_body_too_large_is_refused() -> None:
    with world() as it:
        answer = it.http.post(it.metadata("iam")["token_endpoint"], data={"code": "x" * 70000})
        assert answer.status_code == 413


def test_an_issuer_that_does_not_fit_the_shape_is_refused() -> None:
    for issuer, shape in (("http://127.0.0.1/iam", "iam"), ("http://127.0.0.1/x/", "checkin")):
        with pytest.raises(ValueError, match="ends in a slash"):
            create_idp(issuer, shape, PEOPLE, CLIENT, SECRET, [BACK], Hands(1), key=KEY)  # type: ignore[arg-type]  # a tuple loses the Literal


def test_shelves_are_bounded() -> None:
    handles = iter("abc")
    shelf: Shelf[int] = Shelf(Hands(1), lambda: next(handles), places=2)
    for thing in range(3):
        shelf.put(thing, 10)
    assert [shelf.look(handle) for handle in "abc"] == [None, 1, 2]


def test_tweaks_make_tokens_that_an_honest_verifier_refuses() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with world() as it:
        for bent in (unsigned, confused, signed_by(other), signed_by(other, "unknown")):
            it.tweaks.sign = bent
            tokens = it.tokens("checkin")
            with pytest.raises(JOSEError):
                it.verified("checkin", tokens["id_token"], tokens["access_token"])
        assert jwt.get_unverified_header(tokens["id_token"])["kid"] == "unknown"


@pytest.mark.parametrize(
    "values", [{"iss": "https://else.example"}, {"aud": "else"}, {"exp": 1}, {"at_hash": "AAAA"}]
)
def test_tweaks_change_claims(values: dict[str, object]) -> None:
    with world() as it:
        it.tweaks.id_token = replacing(**values, nonce=None)
        tokens = it.tokens("iam")
        with pytest.raises(JOSEError):
            it.verified("iam", tokens["id_token"], tokens["access_token"])
        assert "nonce" not in jwt.get_unverified_claims(tokens["id_token"])


def test_tweaks_bend_documents_statuses_and_redirects() -> None:
    with world() as it:
        tokens = it.tokens("iam")
        it.tweaks.userinfo = replacing(sub="somebody else")
        assert it.userinfo("iam", tokens["access_token"]).json()["sub"] == "somebody else"
        it.tweaks.redirect = replacing(iss="https://mixed-up.example")
        assert answer_of(it.authorize("iam", login_hint="bob"))["iss"] == "https://mixed-up.example"
        it.tweaks.jwks = lambda document: {"keys": []}
        assert it.http.get(it.metadata("iam")["jwks_uri"]).json() == {"keys": []}
        it.tweaks.status = failing(503, "token", "userinfo")
        assert it.userinfo("iam", tokens["access_token"]).status_code == 503
        assert it.refresh("iam", tokens["refresh_token"]).status_code == 503
        it.tweaks.discovery = replacing(issuer="https://else.example")
        assert it.metadata("iam")["issuer"] == "https://else.example"


def test_tweaks_make_the_provider_slow() -> None:
    with world() as it:
        url = it.metadata("iam")["jwks_uri"]
        it.tweaks.delay = slow(2, "jwks")
        with pytest.raises(httpx.ReadTimeout):
            it.http.get(url, timeout=0.2)


def test_no_secret_is_printed() -> None:
    with world() as it:
        answers = [it.token("iam", {"grant_type": "x"}), it.token("iam", {}, (CLIENT, "nope"))]
        assert [answer.status_code for answer in answers] == [400, 401]
        assert SECRET not in json.dumps([answer.json() for answer in answers])


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_a_browser_presses_a_button_and_arrives_at_the_other_origin() -> None:
    """Chromium holds `form-action` against the redirect after the form, so only a browser can tell."""
    playwright = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]

    def build(port: int, clock: Hands, tweaks: Tweaks) -> Starlette:
        # another host name is another origin
        back = f"http://localhost:{port}/back"
        app = create_idp(
            f"http://127.0.0.1:{port}/iam/", "iam", PEOPLE, CLIENT, SECRET, [back], clock, key=KEY
        )

        async def arrived(request: Request) -> PlainTextResponse:
            return PlainTextResponse(f"arrived with {sorted(request.query_params)}")

        return Starlette(routes=[Route("/back", arrived), mounted(f"http://127.0.0.1:{port}/iam/", app)])

    with served(build) as it, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        asked = {"response_type": "code", "client_id": CLIENT, "scope": "openid", "state": "s"}
        asked |= {"code_challenge": s256(VERIFIER), "code_challenge_method": "S256"}
        asked["redirect_uri"] = f"http://localhost:{it.port}/back"
        page.goto(str(httpx.URL(it.metadata("iam")["authorization_endpoint"], params=asked)))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Dóra Kőszegi").click()
        page.wait_for_url("http://localhost:*/back*")
        assert page.inner_text("body") == "arrived with ['code', 'iss', 'state']"
        browser.close()
