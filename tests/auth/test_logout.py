"""Logging out: asked by a person or a client (RP-Initiated Logout 1.0), told to clients, and heard from providers
(Back-Channel Logout 1.0)."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from starlette.applications import Starlette

from gatehouse.auth import notices
from tests.auth import kit
from tests.auth.kit import PORTAL, Walker, asking, change, events, login, look, query, redeem, words
from tests.auth.receiver import (
    BYE,
    Receiver,
    claims,
    clients,
    enter,
    forms,
    logged_in,
    receiving,
    still,
    tokens,
    until,
)
from tests.auth.test_providers import KEY, REGISTRY, STRANGER, UNLIMITED, Farm
from tests.auth.upstream import listening
from tests.service import Service, free_port

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class World:
    """A service with two clients that are told of logouts, and a provider that tells of them."""

    service: Service
    portal: Receiver
    second: Receiver
    farm: Farm
    kid: str
    said: dict[str, Any] = field(default_factory=dict)

    def log_in(self, browser: Walker, scope: str = "openid g:training_user", client: str = "portal") -> Any:
        """Alice lets a client in with this browser; its tokens."""
        answer = browser.allow(asking(self.service, client_id=client, scope=scope), provider="main")
        given = redeem(self.service, answer["code"], client_id=client)
        assert given.status_code == 200, given.text
        return given.json()

    def logout_token(self, **changed: Any) -> str:
        """What the provider sends when the person who logged in last logs out there; None takes a claim away."""
        header = {"kid": self.kid, "typ": "logout+jwt", **changed.pop("header", {})}
        now = int(time.time())
        said = {
            "iss": self.farm.issuers["main"],
            "aud": "gatehouse",
            "iat": now,
            "exp": now + 120,
            "jti": f"{time.time_ns()}",
            "sub": self.said["sub"],
            "sid": self.said["sid"],
            "events": {EVENT: {}},
            **changed.pop("claims", {}),
        }
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, changed.get("key", KEY), "RS256", headers=header)

    def tell(self, token: str, provider: str = "main") -> httpx.Response:
        """The provider's call."""
        return kit.post(self.service, f"redirect/{provider}/backchannel", logout_token=token)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All of it, on real sockets."""
    folder, port = tmp_path_factory.mktemp("gatehouse"), free_port()
    app = Starlette()
    with receiving() as portal, receiving() as second, listening(app) as upstream:
        farm = Farm(upstream, f"http://127.0.0.1:{port}/auth/redirect")
        farm.add("main")
        app.router.routes.extend(farm.mounts)
        (folder / "dirac.cfg").write_text(REGISTRY.replace("NAMES", "main"))
        more = clients(portal, second) + f'[registry]\nfile = "{folder / "dirac.cfg"}"\n{UNLIMITED}'
        with Service(folder, demo=False, more=more + farm.configuration(), port=port) as running:
            made = World(running, portal, second, farm, "")
            document = httpx.get(f"{farm.issuers['main']}/.well-known/openid-configuration", trust_env=False)
            kid = httpx.get(document.json()["jwks_uri"], trust_env=False)
            made.kid = kid.json()["keys"][0]["kid"]

            def noted(said: dict[str, object]) -> dict[str, object]:
                made.said = dict(said)
                return said

            farm.tweaks["main"].id_token = noted
            yield made
            assert kit.broken(running) == []
            assert "Traceback" not in running.log.read_text()


@pytest.fixture
def fresh(world: World) -> World:
    """Receivers that have heard nothing yet, and nothing is on its way to them."""
    until(lambda: _waiting(world.service) == [])
    for one in (world.portal, world.second):
        one.tokens.clear()
        one.statuses = [200]
    return world


@pytest.fixture
def service(fresh: World) -> Service:
    """The service."""
    return fresh.service


@pytest.fixture
def browser(service: Service) -> Iterator[Walker]:
    """A browser."""
    with Walker(service) as made:
        yield made


def leave(service: Service, browser: Walker, **said: str) -> httpx.Response:
    """A client sends the browser to log out."""
    return browser.http.get(f"{service.issuer}/logout?{urlencode(said)}")


# --- asked by a client or a person


def test_the_metadata_names_the_endpoint_and_what_it_can(service: Service) -> None:
    said = kit.get(service, ".well-known/openid-configuration").json()
    assert said["end_session_endpoint"] == f"{service.issuer}/logout"
    assert said["backchannel_logout_supported"] is said["backchannel_logout_session_supported"] is True


def test_rp_logout_2_a_client_of_this_session_logs_out_and_the_browser_goes_back(
    fresh: World, browser: Walker
) -> None:
    given = fresh.log_in(browser)
    said = {"id_token_hint": given["id_token"], "post_logout_redirect_uri": BYE, "state": "a b&c"}
    answer = leave(fresh.service, browser, **said)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{BYE}?state=a+b%26c"
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert not logged_in(fresh.service, browser)
    assert not still(fresh.service, given)


def test_rp_logout_2_an_old_id_token_is_a_hint_all_the_same(fresh: World, browser: Walker) -> None:
    given = fresh.log_in(browser)
    key = _own_key(fresh.service)
    old = {**claims(given["id_token"]), "exp": int(time.time()) - 90 * 86400}
    header = jwt.get_unverified_header(given["id_token"])
    # made by our own key, only long ago
    hint = jwt.encode(old, key, header["alg"], headers={"kid": header["kid"], "typ": "JWT"})
    answer = leave(fresh.service, browser, id_token_hint=hint, post_logout_redirect_uri=BYE)
    assert (answer.status_code, answer.headers["location"]) == (303, BYE)


def _own_key(service: Service) -> Any:
    from gatehouse.registry.clock import SYSTEM
    from gatehouse.registry.database import Database
    from gatehouse.tokenmanager import keys, seal

    sealed = seal.from_text((service.folder / "master.key").read_text())
    database = Database(f"sqlite:///{service.folder / 'gatehouse.db'}", SYSTEM, sealed.derive("audit"))
    try:
        return keys.load(database, sealed).active("ES256").private
    finally:
        database.close()


@pytest.mark.parametrize(
    "hint", ["none", "nonsense", "access token", "another session", "logout token", "forged"]
)
def test_rp_logout_2_without_a_hint_of_this_session_the_person_is_asked(
    fresh: World, browser: Walker, hint: str
) -> None:
    given = fresh.log_in(browser)
    with Walker(fresh.service) as elsewhere:
        other = fresh.log_in(elsewhere)
    forged = jwt.encode(claims(given["id_token"]), STRANGER, "RS256", headers={"kid": "x", "typ": "JWT"})
    hints = {
        "none": "",
        "nonsense": "a.b.c",
        "access token": given["access_token"],
        "another session": other["id_token"],
        "logout token": jwt.encode(
            {**claims(given["id_token"])},
            _own_key(fresh.service),
            "ES256",
            headers={"kid": jwt.get_unverified_header(given["id_token"])["kid"], "typ": "logout+jwt"},
        ),
        "forged": forged,
    }
    said = {
        "id_token_hint": hints[hint],
        "client_id": "portal",
        "post_logout_redirect_uri": BYE,
        "state": "s",
    }
    page = leave(fresh.service, browser, **said)
    assert page.status_code == 200
    assert "Log out?" in words(page)
    assert "The portal asks to log you out" in words(page)
    assert logged_in(fresh.service, browser)
    assert still(fresh.service, given)
    ((where, fields),) = forms(page)
    assert where == f"{fresh.service.issuer}/logout/confirm"
    assert "form-action 'self' https://portal.example.org;" in page.headers["content-security-policy"]
    # another site cannot answer for the person
    wrong = browser.http.post(where, data={**fields, "csrf": "0" * 32})
    assert wrong.status_code == 403
    assert logged_in(fresh.service, browser)
    stay = browser.http.post(where, data={**fields, "action": "stay"})
    assert stay.headers["location"] == f"{fresh.service.issuer}/account"
    assert logged_in(fresh.service, browser)
    gone = browser.http.post(where, data={**fields, "action": "confirm"})
    assert (gone.status_code, gone.headers["location"]) == (303, f"{BYE}?state=s")
    assert not logged_in(fresh.service, browser)
    # the other browser has nothing to do with it
    assert still(fresh.service, other)


@pytest.mark.parametrize(
    "where",
    [
        "https://evil.example/",
        f"{BYE}/",
        f"{BYE}?kept=2",
        f"{BYE}#x",
        "https://portal.example.org:443/bye",
        "https://portal.example.org@evil.example/bye",
        "//evil.example",
        PORTAL,  # registered, but for something else
    ],
)
def test_rp_logout_3_the_browser_goes_to_registered_addresses_only(
    fresh: World, browser: Walker, where: str
) -> None:
    given = fresh.log_in(browser)
    page = leave(fresh.service, browser, id_token_hint=given["id_token"], post_logout_redirect_uri=where)
    assert page.status_code == 400
    assert "an address that the program has not registered" in words(page)
    assert "evil" not in page.headers.get("location", "") + page.text
    assert logged_in(fresh.service, browser)


def test_rp_logout_3_an_address_without_a_client_leads_nowhere(fresh: World, browser: Walker) -> None:
    fresh.log_in(browser)
    assert leave(fresh.service, browser, post_logout_redirect_uri=BYE).status_code == 400
    unknown = leave(fresh.service, browser, client_id="nobody", post_logout_redirect_uri=BYE)
    assert "not known" in words(unknown)


def test_rp_logout_2_the_hint_must_be_of_the_client_that_asks(fresh: World, browser: Walker) -> None:
    given = fresh.log_in(browser)
    page = leave(fresh.service, browser, id_token_hint=given["id_token"], client_id="portal1")
    assert page.status_code == 400
    assert "issued to another program" in words(page)
    assert logged_in(fresh.service, browser)


def test_rp_logout_2_a_post_works_like_a_get_and_shows_no_id_token(fresh: World, browser: Walker) -> None:
    given = fresh.log_in(browser)
    said = {"id_token_hint": given["id_token"], "post_logout_redirect_uri": BYE, "state": "s"}
    with Walker(fresh.service) as foreign:  # a form of another site brings no cookie
        answer = foreign.http.post(f"{fresh.service.issuer}/logout", data=said)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{fresh.service.issuer}/logout?")
    assert given["id_token"] not in answer.headers["location"]
    assert claims(given["id_token"])["sid"] not in answer.headers["location"]
    with Walker(fresh.service) as stranger:
        fresh.log_in(stranger)
        assert "Log out?" in words(stranger.http.get(answer.headers["location"]))  # the proof is not theirs
    back = browser.http.get(answer.headers["location"])
    assert (back.status_code, back.headers["location"]) == (303, f"{BYE}?state=s")
    assert not logged_in(fresh.service, browser)


def test_who_is_logged_out_already_is_told_so_and_goes_back_only_with_a_hint(
    fresh: World, browser: Walker
) -> None:
    with Walker(fresh.service) as other:
        given = fresh.log_in(other)
    page = leave(fresh.service, browser, client_id="portal", post_logout_redirect_uri=BYE)
    assert "You are logged out" in words(page)
    assert "Back to The portal" in words(page)
    back = leave(fresh.service, browser, id_token_hint=given["id_token"], post_logout_redirect_uri=BYE)
    assert back.headers["location"] == BYE


def test_what_a_logout_ends_and_what_stays(fresh: World, browser: Walker) -> None:
    bound = fresh.log_in(browser)
    offline = fresh.log_in(browser, "openid offline_access g:training_user")
    started = kit.begin(fresh.service)
    browser.submit(browser.open(started), action="confirm")
    browser.log_in("main", "alice")  # a device's login borrows the browser, and is the same session
    device = kit.poll(fresh.service, started).json()
    with Walker(fresh.service) as elsewhere:
        other = fresh.log_in(elsewhere)
    assert "You are logged out" not in words(leave(fresh.service, browser))
    ((where, fields),) = forms(leave(fresh.service, browser))
    assert "You are logged out" in words(browser.http.post(where, data={**fields, "action": "confirm"}))
    assert not still(fresh.service, bound)
    assert still(fresh.service, offline)
    assert still(fresh.service, device, "DIRAC_CLI")
    assert still(fresh.service, other)
    (ended,) = events(fresh.service, "session.ended")[-1:]
    assert (ended.actor, ended.facts["grants"], ended.facts["told"]) == ("alice", 1, ["portal"])
    # the access token of what ended is refused within five seconds
    until(lambda: kit.get(fresh.service, "userinfo", bound["access_token"]).status_code == 401, 5)
    assert kit.get(fresh.service, "userinfo", offline["access_token"]).status_code == 200


def test_a_code_that_was_not_redeemed_before_the_logout_gives_nothing(fresh: World, browser: Walker) -> None:
    given = fresh.log_in(browser)
    code = query(browser.submit(browser.consent(asking(fresh.service)), action="confirm").headers["location"])
    assert leave(fresh.service, browser, id_token_hint=given["id_token"]).status_code == 200
    why = kit.error(redeem(fresh.service, code["code"]), 400, "invalid_grant")
    assert "logged out" in why


def test_a_second_login_in_the_same_browser_stays_in_the_session_that_clients_know(
    fresh: World, browser: Walker
) -> None:
    first = fresh.log_in(browser)
    again = browser.submit(browser.consent(asking(fresh.service, prompt="login")), action="confirm")
    browser.follow(again)
    code = query(browser.log_in("main", "alice").headers["location"])["code"]
    second = redeem(fresh.service, code).json()
    assert claims(first["id_token"])["sid"] == claims(second["id_token"])["sid"]
    leave(fresh.service, browser, id_token_hint=first["id_token"])
    assert not still(fresh.service, first)
    assert not still(fresh.service, second)


def test_somebody_else_in_the_same_browser_logs_the_person_before_out(fresh: World, browser: Walker) -> None:
    given = fresh.log_in(browser)
    away = browser.submit(browser.consent(asking(fresh.service, prompt="login")), action="confirm")
    browser.follow(away)
    code = query(browser.log_in("main", "bob").headers["location"])["code"]
    assert not still(fresh.service, given)
    other = redeem(fresh.service, code).json()
    assert claims(other["id_token"])["sid"] != claims(given["id_token"])["sid"]


# --- telling clients


def test_backchannel_2_4_a_client_gets_a_logout_token_that_is_no_other_token(
    fresh: World, browser: Walker
) -> None:
    given = fresh.log_in(browser)
    leave(fresh.service, browser, id_token_hint=given["id_token"])
    (token,) = fresh.portal.wait(1)
    assert fresh.portal.types[-1] == "application/x-www-form-urlencoded"
    keys = jwt.PyJWKClient(f"{fresh.service.issuer}/jwk")
    said = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        ["ES256"],
        audience="portal",
        issuer=fresh.service.issuer,
        options={"require": ["iss", "aud", "iat", "exp", "jti", "events", "sid", "sub"]},
    )
    before = claims(given["id_token"])
    assert (said["sid"], said["sub"]) == (before["sid"], before["sub"])
    assert said["events"] == {EVENT: {}}
    assert "nonce" not in said
    assert said["exp"] - said["iat"] <= 120
    assert jwt.get_unverified_header(token)["typ"] == "logout+jwt"
    assert kit.get(fresh.service, "userinfo", token).status_code == 401
    until(lambda: events(fresh.service, "logout.told")[-1:] != [])
    assert look(fresh.service, "SELECT count(*) FROM logout_notice") == [(0,)]


def test_backchannel_2_5_only_clients_of_that_session_are_told(fresh: World, browser: Walker) -> None:
    with Walker(fresh.service) as elsewhere:
        fresh.log_in(elsewhere, client="portal1")
    given = fresh.log_in(browser)
    leave(fresh.service, browser, id_token_hint=given["id_token"])
    fresh.portal.wait(1)
    fresh.second.quiet(0)


def test_32_logouts_at_once_tell_each_client_once(fresh: World, browser: Walker) -> None:
    given = fresh.log_in(browser)
    fresh.log_in(browser, client="portal1")
    cookie = browser.http.cookies["gatehouse-session"]
    where = f"{fresh.service.issuer}/logout?{urlencode({'id_token_hint': given['id_token']})}"

    async def run() -> list[httpx.Response]:
        jar = {"gatehouse-session": cookie}
        async with httpx.AsyncClient(timeout=30, trust_env=False, cookies=jar) as http:
            return await asyncio.gather(*(http.get(where) for _ in range(32)))

    assert {one.status_code for one in asyncio.run(run())} == {200}
    assert len(fresh.portal.wait(1)) == len(fresh.second.wait(1)) == 1
    fresh.portal.quiet(1)
    fresh.second.quiet(1)
    assert (
        len(
            [
                one
                for one in events(fresh.service, "session.ended")
                if one.facts["told"] == ["portal", "portal1"]
            ]
        )
        == 1
    )


def test_a_client_that_is_away_is_told_later_and_given_up_in_the_end(fresh: World, browser: Walker) -> None:
    fresh.portal.statuses = [500, 302, 200]
    given = fresh.log_in(browser)
    leave(fresh.service, browser, id_token_hint=given["id_token"])
    for tries in (1, 2):
        fresh.portal.wait(tries)
        until(lambda n=tries: _waiting(fresh.service) == [(n,)])
        change(fresh.service, "UPDATE logout_notice SET due_at = 0")
    fresh.portal.wait(3)
    until(lambda: _waiting(fresh.service) == [])
    assert events(fresh.service, "logout.told")[-1].facts["tries"] == 3
    # the same for ever: a bounded number of tries, and then it is on record
    fresh.portal.statuses = [503]
    given = fresh.log_in(browser)
    leave(fresh.service, browser, id_token_hint=given["id_token"])
    fresh.portal.wait(4)
    until(lambda: _waiting(fresh.service) == [(1,)])
    change(fresh.service, "UPDATE logout_notice SET due_at = 0, tries = ?", notices.MOST - 1)
    until(lambda: _waiting(fresh.service) == [])
    (untold,) = events(fresh.service, "logout.untold")
    assert (untold.facts["client"], untold.facts["tries"]) == ("portal", notices.MOST)
    assert "503" in untold.facts["why"]


def _waiting(service: Service) -> list[tuple[Any, ...]]:
    return look(service, "SELECT tries FROM logout_notice")


def test_a_notice_survives_a_crash_and_two_services_send_it_once(tmp_path: Path) -> None:
    with receiving() as portal:
        portal.statuses = [500]
        first = Service(tmp_path, more=clients(portal))
        with first, Walker(first) as browser:
            given = tokens(first, browser)
            leave(first, browser, id_token_hint=given["id_token"])
            portal.wait(1)
            first.kill()
        assert len(_waiting(first)) == 1
        portal.statuses = [200]
        change(first, "UPDATE logout_notice SET due_at = 0")
        folder = tmp_path / "second"
        folder.mkdir()
        shutil.copy(tmp_path / "master.key", folder / "master.key")
        shared = f"sqlite:///{tmp_path / 'gatehouse.db'}"
        with first, Service(folder, database_url=shared, more=clients(portal)):
            portal.wait(2, 60)  # the lease of the one that died has to run out
            portal.quiet(2)
            until(lambda: _waiting(first) == [])


# --- hearing from a provider


def test_backchannel_2_6_a_provider_ends_the_sessions_that_came_from_it(
    fresh: World, browser: Walker
) -> None:
    given = fresh.log_in(browser)
    offline = fresh.log_in(browser, "openid offline_access g:training_user")
    token = fresh.logout_token()
    with Walker(fresh.service) as elsewhere:  # another session at the provider
        other = fresh.log_in(elsewhere)
        answer = fresh.tell(token)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["cache-control"] == "no-store"
        assert not logged_in(fresh.service, browser)
        assert not still(fresh.service, given)
        assert still(fresh.service, offline)
        assert logged_in(fresh.service, elsewhere)
        assert still(fresh.service, other)
    assert events(fresh.service, "session.ended")[-1].actor == "main"
    fresh.portal.wait(1)  # and so on, down the road


def test_backchannel_2_6_without_a_session_all_of_the_person_end(fresh: World, browser: Walker) -> None:
    fresh.log_in(browser)
    with Walker(fresh.service) as elsewhere, Walker(fresh.service) as bob:
        enter(fresh.service, bob, "bob", "main")
        fresh.log_in(elsewhere)
        assert fresh.tell(fresh.logout_token(claims={"sid": None})).status_code == 200
        assert not logged_in(fresh.service, browser)
        assert not logged_in(fresh.service, elsewhere)
        assert logged_in(fresh.service, bob)


def test_backchannel_2_6_a_session_of_somebody_else_is_not_ended(fresh: World, browser: Walker) -> None:
    fresh.log_in(browser)
    assert fresh.tell(fresh.logout_token(claims={"sub": "somebody else"})).status_code == 200
    assert logged_in(fresh.service, browser)
    assert fresh.tell(fresh.logout_token(claims={"sub": None})).status_code == 200
    assert not logged_in(fresh.service, browser)


def test_backchannel_2_7_a_logout_token_is_used_once(fresh: World, browser: Walker) -> None:
    fresh.log_in(browser)
    token = fresh.logout_token()
    assert fresh.tell(token).status_code == 200
    assert "used before" in kit.error(fresh.tell(token), 400, "invalid_request")


NOW = int(time.time())
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nonce": ({"claims": {"nonce": "n"}}, "it has a nonce"),
    "no events": ({"claims": {"events": None}}, "events is missing"),
    "other events": ({"claims": {"events": {"http://example.org/other": {}}}}, "tells of no logout"),
    "events are text": ({"claims": {"events": EVENT}}, "tells of no logout"),
    "nobody": ({"claims": {"sub": None, "sid": None}}, "names neither"),
    "sid is no text": ({"claims": {"sid": 7}}, "its sid"),
    "empty sub": ({"claims": {"sub": ""}}, "its sub"),
    "no jti": ({"claims": {"jti": None}}, "jti is missing"),
    "no exp": ({"claims": {"exp": None}}, "exp is missing"),
    "no iat": ({"claims": {"iat": None}}, "iat is missing"),
    "expired": ({"claims": {"exp": NOW - 3600}}, "expired"),
    "old": ({"claims": {"iat": NOW - 3600}}, "too long ago"),
    "future": ({"claims": {"iat": NOW + 3600}}, "future"),
    "audience": ({"claims": {"aud": "somebody else"}}, "another client"),
    "issuer": ({"claims": {"iss": "https://other.example"}}, "another issuer"),
    "type": ({"header": {"typ": "at+jwt"}}, "another kind of token"),
    "critical": ({"header": {"crit": ["x"], "x": 1}}, "not a signed token"),
    "signature": ({"key": STRANGER}, "signature"),
    "key": ({"header": {"kid": "unknown"}}, "does not publish"),
}


@pytest.mark.parametrize("name", WRONG)
def test_backchannel_2_6_a_wrong_logout_token_ends_nothing(fresh: World, browser: Walker, name: str) -> None:
    changed, reason = WRONG[name]
    fresh.log_in(browser)
    answer = fresh.tell(fresh.logout_token(**changed))
    assert reason in kit.error(answer, 400, "invalid_request")
    assert logged_in(fresh.service, browser)


def test_backchannel_2_6_an_id_token_is_no_logout_token(fresh: World, browser: Walker) -> None:
    fresh.log_in(browser)
    said = jwt.encode({**fresh.said, "jti": "x"}, KEY, "RS256", headers={"kid": fresh.kid})
    assert "events" in kit.error(fresh.tell(said), 400, "invalid_request")
    assert logged_in(fresh.service, browser)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.e30", "." * 40_000])
def test_nonsense_is_refused(fresh: World, token: str) -> None:
    assert fresh.tell(token).status_code in (400, 413)
    assert fresh.tell("x", "nobody").status_code == 404


def test_a_device_login_survives_the_logout_of_its_browser(tmp_path: Path) -> None:
    with Service(tmp_path, more=kit.CLIENTS) as running, Walker(running) as browser:
        enter(running, browser)
        device = login(running)
        browser.http.get(f"{running.issuer}/logout")
        ((where, fields),) = forms(browser.http.get(f"{running.issuer}/logout"))
        assert "You are logged out" in words(browser.http.post(where, data={**fields, "action": "confirm"}))
        assert still(running, device, "DIRAC_CLI")
