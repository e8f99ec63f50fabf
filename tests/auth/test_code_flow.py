"""The authorization code grant over a socket: consent, code, tokens, and every way it must not go."""

from collections.abc import Iterator

import httpx
import jwt
import pytest

from tests.auth.kit import (
    CLIENTS,
    PORTAL,
    VERIFIER,
    Walker,
    asking,
    at_once,
    code_login,
    error,
    get,
    post,
    query,
    redeem,
    words,
)
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def test_the_whole_road(service: Service) -> None:
    with Walker(service) as browser:
        consent = browser.consent(asking(service))
        said = words(consent)
        assert "Let portal act for you?" in said
        assert "portal.example.org" in said
        assert "Act as a member of the group training_user" in said
        assert "May submit jobs" in said
        assert "form-action 'self' https://portal.example.org;" in consent.headers["content-security-policy"]
        chooser = browser.follow(browser.submit(consent, action="confirm"))
        assert "Who can tell us who you are?" in words(chooser)
        back = browser.log_in("egi-demo", "alice")
        assert back.status_code == 303
        assert back.headers["location"].startswith(PORTAL + "?")
        answer = query(back.headers["location"])
    assert set(answer) == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == ("abc", service.issuer)
    given = redeem(service, answer["code"])
    assert given.status_code == 200, given.text
    tokens = given.json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "openid g:training_user"
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (service.issuer, "portal", "n-0")
    assert claims["sub"] == get(service, "userinfo", tokens["access_token"]).json()["sub"]
    again = post(
        service,
        "token",
        grant_type="refresh_token",
        refresh_token=tokens["refresh_token"],
        client_id="portal",
        client_secret="only for this test",
    )
    assert again.status_code == 200, again.text


def test_a_second_client_needs_no_second_login_but_a_second_consent(service: Service) -> None:
    with Walker(service) as browser:
        browser.allow(asking(service))
        consent = browser.consent(asking(service))
        assert "You are logged in as alice" in words(consent)
        answer = browser.submit(consent, action="confirm")
        assert redeem(service, query(answer.headers["location"])["code"]).status_code == 200


def test_rfc6749_4_1_2_a_code_used_twice_ends_what_it_gave(service: Service) -> None:
    answer = code_login(service)
    first = redeem(service, answer["code"])
    assert first.status_code == 200
    error(redeem(service, answer["code"]), 400, "invalid_grant")
    refreshed = post(
        service,
        "token",
        grant_type="refresh_token",
        refresh_token=first.json()["refresh_token"],
        client_id="portal",
        client_secret="only for this test",
    )
    assert "ended" in error(refreshed, 400, "invalid_grant")


def test_one_of_64_wins_a_code(service: Service) -> None:
    answer = code_login(service)
    done = at_once(
        service,
        "token",
        64,
        grant_type="authorization_code",
        code=answer["code"],
        redirect_uri=PORTAL,
        client_id="portal",
        client_secret="only for this test",
        code_verifier=VERIFIER,
    )
    assert sorted(one.status_code for one in done) == [200] + [400] * 63


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"code_verifier": "x" * 50}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": "https://portal.example.org/other?kept=1"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"client_id": "native", "client_secret": ""}, "invalid_grant"),
        ({"client_secret": "guess"}, "invalid_client"),
        ({"client_secret": ""}, "invalid_client"),
    ],
)
def test_a_code_alone_is_worth_nothing(service: Service, given: dict[str, str], code: str) -> None:
    answer = code_login(service)
    refused = redeem(service, answer["code"], **given)
    assert refused.json()["error"] == code, refused.text
    assert redeem(service, answer["code"]).status_code == 200  # still the client's own


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": "g:nobody"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example.org"}, "invalid_target"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"prompt": "none"}, "login_required"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"authorization_details": '[{"type": "dirac_proxy"}]'}, "invalid_authorization_details"),
    ],
)
def test_rfc6749_4_1_2_1_what_is_wrong_goes_back_to_the_client(
    service: Service, given: dict[str, str], code: str
) -> None:
    back = httpx.get(asking(service, **given), trust_env=False)
    assert back.status_code == 303, back.text
    answer = query(back.headers["location"])
    assert (answer["error"], answer["state"], answer["iss"]) == (code, "abc", service.issuer)
    assert answer["error_description"]


@pytest.mark.parametrize(
    "given",
    [
        {"client_id": "nobody"},
        {"redirect_uri": "https://portal.example.org/back/"},
        {"redirect_uri": "https://portal.example.org/back?more=1"},
        {"redirect_uri": "https://portal.example.org.evil.example/back"},
        {"redirect_uri": "http://127.0.0.1:80@evil.example/done", "client_id": "native"},
        {"redirect_uri": "http://localhost:8080/done", "client_id": "native"},
        {"redirect_uri": "http://127.0.0.1:8080/other", "client_id": "native"},
        {"redirect_uri": ""},
    ],
)
def test_rfc9700_2_1_nobody_is_sent_to_an_address_that_is_not_registered(
    service: Service, given: dict[str, str]
) -> None:
    page = httpx.get(asking(service, **given), trust_env=False)
    assert page.status_code == 400
    assert "location" not in page.headers


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:41234/done", "http://[::1]:5/done", "org.example.app:/done"]
)
def test_rfc8252_7_native_apps_come_back_to_their_port_or_scheme(service: Service, where: str) -> None:
    with Walker(service) as browser:
        answer = browser.allow(asking(service, client_id="native", redirect_uri=where))
    done = redeem(service, answer["code"], client_id="native", client_secret="", redirect_uri=where)
    assert done.status_code == 200, done.text
    assert "refresh_token" not in done.json()  # it did not register that grant


def test_a_refusal_by_the_person_goes_back(service: Service) -> None:
    with Walker(service) as browser:
        back = browser.submit(browser.consent(asking(service)), action="deny")
        assert query(back.headers["location"])["error"] == "access_denied"


def test_a_group_that_is_not_theirs_is_explained_with_a_way_back(service: Service) -> None:
    with Walker(service) as browser:
        browser.follow(
            browser.submit(browser.consent(asking(service, scope="g:training_pilot")), action="confirm")
        )
        page = browser.log_in("egi-demo", "bob")
        assert page.status_code == 403
        assert "Back to portal" in words(page)
        assert "error=access_denied" in page.text


def test_rfc9126_a_pushed_request_is_opened_once(service: Service) -> None:
    pushed = post(
        service,
        "par",
        client_id="portal",
        client_secret="only for this test",
        response_type="code",
        redirect_uri=PORTAL,
        scope="openid g:training_user",
        code_challenge=query(asking(service))["code_challenge"],
        code_challenge_method="S256",
    )
    assert pushed.status_code == 201, pushed.text
    link = f"{service.issuer}/authorization?client_id=portal&request_uri={pushed.json()['request_uri']}"
    with Walker(service) as browser, Walker(service) as second:
        stolen = second.http.get(link.replace("client_id=portal", "client_id=native"))
        assert stolen.status_code == 400
        answer = browser.allow(link)
        assert redeem(service, answer["code"]).status_code == 200
        assert second.http.get(link).status_code == 400


def test_rfc8707_a_resource_becomes_the_audience(service: Service) -> None:
    answer = code_login(service, resource="https://storage.example.org")
    token = redeem(service, answer["code"]).json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == "https://storage.example.org"
    # it could act as the person here otherwise
    assert get(service, "userinfo", token).status_code == 401
    both = code_login(service, resource=f"{service.base}/api")
    assert get(service, "userinfo", redeem(service, both["code"]).json()["access_token"]).status_code == 200


@pytest.mark.parametrize(
    ("asked", "given", "notice"), [(60, 60, False), (7200, 7200, False), (86400, 21600, True)]
)
def test_a_lifetime_is_honoured_within_limits_and_the_limit_is_said(
    service: Service, asked: int, given: int, notice: bool
) -> None:
    scope = f"openid g:training_user lifetime:{asked}"
    with Walker(service) as browser:
        consent = browser.consent(asking(service, scope=scope))
        assert ("each lives 6 hours at most" in words(consent)) is notice
        answer = browser.allow(asking(service, scope=scope))
    tokens = redeem(service, answer["code"]).json()
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert tokens["expires_in"] == claims["exp"] - claims["iat"] == given
    assert ("lifetime_notice" in tokens) is notice
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": "portal"}
    again = post(service, "token", **form, client_secret="only for this test")
    assert again.json()["expires_in"] == given


def test_an_old_login_is_not_enough_for_a_client_that_wants_a_young_one(service: Service) -> None:
    with Walker(service) as browser:
        browser.allow(asking(service))
        for given in ({"max_age": "0"}, {"prompt": "login"}):
            consent = browser.consent(asking(service, **given))
            assert "You are logged in as" not in words(consent)
            answer = browser.submit(consent, action="confirm")
            assert answer.headers["location"].endswith("login")
        denied = browser.http.get(asking(service, prompt="none"))
        assert query(denied.headers["location"])["error"] == "consent_required"


def test_consent_is_given_as_the_person_whom_the_page_named(service: Service) -> None:
    with Walker(service) as browser:
        browser.allow(asking(service), "alice")
        consent = browser.consent(asking(service))
        assert "You are logged in as alice" in words(consent)
        browser.http.cookies.delete("gatehouse-session")
        with Walker(service) as other:
            other.allow(asking(service), "bob")
            browser.http.cookies.set("gatehouse-session", other.http.cookies["gatehouse-session"])
        answer = browser.submit(consent, action="confirm")
        assert answer.headers["location"].endswith("login")  # not a code for bob
