"""RFC 9700, current security practice: section, what it demands of the server, and what proves it.

2.1 | redirect addresses are compared character by character, but for the port of loopback addresses
    | test_rfc9700_2_1_nobody_is_sent_to_an_address_that_is_not_registered,
    | test_rfc9700_4_1_3_look_alike_addresses_are_others,
    | test_rfc8252_7_native_apps_come_back_to_their_port_or_scheme
2.1 | no open redirector
    | test_rfc9700_4_11_nothing_redirects_to_where_a_parameter_says
2.1 | CSRF is prevented: PKCE for every client
    | test_rfc7636_4_4_1_what_is_missing_or_unknown_is_told
2.1 | as a client of several servers: no mix-up
    | test_rfc9700_4_4_a_code_of_one_provider_never_reaches_another
2.1 | no answer to an http address, other than loopback
    | test_rfc6749_3_1_2_what_cannot_be_registered
2.1.1 | PKCE is enforced, bound to the code, and cannot be dropped
    | test_rfc9700_4_8_pkce_cannot_be_taken_out_of_a_request
2.1.1 | what it supports is published
    | test_rfc7636_6_2_the_methods_are_published
2.1.2 | no implicit grant
    | test_rfc9700_2_1_2_no_token_comes_from_the_authorization_endpoint
2.2.1 | tokens may be bound to their sender
    | test_rfc9449_7_2_a_bound_token_is_no_bearer_token
2.2.2 | refresh tokens of public clients are turned or bound
    | test_rfc6749_6_each_use_turns_the_token
2.3 | tokens are for what they are needed for
    | test_rfc8707_a_resource_becomes_the_audience, test_rfc6749_6_a_refresh_never_gives_more
2.4 | no password grant
    | test_rfc6749_3_2_missing_and_doubled_parameters_are_refused
2.5 | clients authenticate, asymmetrically if they can
    | test_rfc8414_2_no_endpoint_takes_unsigned_assertions
2.6 | metadata, and TLS from end to end
    | test_rfc8414_3_the_metadata_is_the_same_at_all_three_addresses,
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
4.1.3 | exact comparison, and no redirect otherwise
    | test_rfc9700_4_1_3_look_alike_addresses_are_others
4.2.4 | no referrer leaks from our pages, and they load nothing from elsewhere
    | test_rfc9700_4_2_4_our_pages_send_no_referrer, test_nothing_runs_and_nothing_comes_from_elsewhere
4.2.4 | a code is worth nothing a second time, and state is used once
    | test_rfc6749_4_1_2_a_code_used_twice_ends_what_it_gave, test_an_answer_is_taken_once
4.3.1 | codes in histories are short-lived and used once
    | test_rfc6749_4_1_2_a_code_expires
4.3.2 | no access token in an address
    | test_rfc9700_4_3_2_a_token_in_the_address_opens_nothing
4.4.2 | the issuer is named in every answer
    | test_rfc9207_2_every_answer_names_the_issuer
4.4.2 | as a client: the issuer is checked, each provider has its own address
    | test_rfc9700_4_4_a_code_of_one_provider_never_reaches_another
4.5.3 | an injected code does not fit the verifier of another session
    | test_rfc9700_4_5_a_stolen_code_cannot_be_injected
4.5.3.2 | the nonce of the request is that of the ID token
    | test_rfc9700_4_5_a_stolen_code_cannot_be_injected
4.6 | access tokens are not taken from the front channel
    | test_rfc9700_2_1_2_no_token_comes_from_the_authorization_endpoint
4.7 | CSRF on our own steps
    | test_rfc6749_10_12_a_form_of_another_browser_is_not_taken,
    | test_rfc6749_10_12_an_answer_meant_for_another_browser_is_not_taken
4.8.2 | no downgrade of PKCE; a verifier without a challenge is refused
    | test_rfc9700_4_8_pkce_cannot_be_taken_out_of_a_request
4.9 | access tokens are for an audience, and may be bound
    | test_rfc9068_4_we_are_in_the_audience, test_rfc9449_7_2_a_bound_token_is_no_bearer_token
4.10 | misuse of stolen access tokens
    | test_rfc9449_7_2_a_bound_token_is_no_bearer_token
4.11.2 | errors redirect nobody without a registered address and a person who sees it
    | test_rfc9700_4_11_nothing_redirects_to_where_a_parameter_says
4.12 | 303, never 307, after a form
    | test_rfc9700_4_12_forms_are_not_sent_on
4.13 | what proxies forward is believed of trusted ones only
    | test_rfc9700_4_13_forwarded_headers_of_strangers_mean_nothing
4.14.2 | a refresh token is bound to what it was given for
    | test_rfc6749_6_a_refresh_never_gives_more, test_rfc6749_10_4_a_refresh_token_is_bound_to_its_client
4.14.2 | reuse of a turned refresh token ends the grant
    | test_rfc9700_4_14_reuse_after_the_grace_ends_the_login,
    | test_a_token_of_two_turns_ago_ends_the_login_at_once
4.14.2 | refresh tokens expire, and end with logout or a lost membership
    | test_a_login_that_is_over_gives_no_more_tokens, test_a_membership_that_ended_ends_the_refreshing
4.15 | clients cannot choose an identifier that looks like a person
    | test_rfc9068_5_subjects_are_opaque
4.16 | no clickjacking
    | test_rfc6749_10_13_no_page_can_be_framed
4.17 | messages between windows
    | not applicable: our pages have no script
4.18.1 | the authorization endpoint is never open to cross-origin requests
    | test_rfc9700_4_18_no_other_origin_may_read_the_authorization_endpoint
"""

import httpx
import pytest

from tests.auth.kit import (
    PORTAL,
    VERIFIER,
    Walker,
    asking,
    begin,
    code_login,
    error,
    get,
    login,
    post,
    query,
    redeem,
    words,
)
from tests.rfc.kit import RAW, SECRET, s256, unverified
from tests.service import Service


@pytest.mark.parametrize(
    "uri",
    [
        "https://PORTAL.example.org/back",
        "HTTPS://portal.example.org/back",
        "https://portal.example.org:443/back",
        "https://portal.example.org/%62ack",
        "https://portal.example.org/x/../back",
        "https://portal.example.org//back",
        "https://portal.example.org/back;x",
        "https://portal.example.org/back#x",
        "https://portal.example.org/bac",
        "https://portal.example.org",
        "https://evil.example.org/?https://portal.example.org/back",
        "https://portal.example.org@evil.example.org/back",
        "https://portal.example.org\\@evil.example.org/back",
        "https://sub.portal.example.org/back",
        "//portal.example.org/back",
        "http://portal.example.org/back",
    ],
)
def test_rfc9700_4_1_3_look_alike_addresses_are_others(service: Service, uri: str) -> None:
    page = httpx.get(asking(service, redirect_uri=uri), **RAW)
    assert page.status_code == 400
    assert "location" not in page.headers
    said = {**query(asking(service)), "client_secret": SECRET, "redirect_uri": uri}
    error(post(service, "par", **said), 400, "invalid_request")


@pytest.mark.parametrize(
    "wanted", ["token", "id_token", "code token", "code id_token", "id_token token", "none"]
)
def test_rfc9700_2_1_2_no_token_comes_from_the_authorization_endpoint(service: Service, wanted: str) -> None:
    for mode in ("", "fragment", "form_post"):
        back = httpx.get(asking(service, response_type=wanted, response_mode=mode), **RAW)
        assert query(back.headers["location"])["error"] == "unsupported_response_type"
        assert "access_token" not in back.headers["location"]
        assert "id_token=" not in back.headers["location"]


def test_rfc9700_4_2_4_our_pages_send_no_referrer(service: Service) -> None:
    with Walker(service) as browser:
        consent = browser.consent(asking(service))
        chooser = browser.follow(browser.submit(consent, action="confirm"))
        away = browser.leave("egi-demo")
        device = browser.open(begin(service))
        wrong = browser.http.get(asking(service, client_id="nobody"))
    for page in (consent, chooser, away, device, wrong):
        assert page.headers["referrer-policy"] == "no-referrer", page.url
        assert page.headers["cache-control"] == "no-store", page.url


def test_rfc9700_4_3_2_a_token_in_the_address_opens_nothing(service: Service) -> None:
    token = login(service)["access_token"]
    assert get(service, "userinfo", token).status_code == 200
    for name in ("access_token", "token", "bearer"):
        answer = httpx.get(f"{service.issuer}/userinfo", params={name: token}, **RAW)
        assert answer.status_code == 401
        posted = httpx.post(f"{service.issuer}/userinfo", params={name: token}, **RAW)
        assert posted.status_code == 401


def test_rfc9700_4_5_a_stolen_code_cannot_be_injected(service: Service) -> None:
    """An attacker puts the code of alice into their own session at the client: its verifier does not fit."""
    own = "the-verifier-of-the-session-of-the-attacker-at-the-client"
    with Walker(service) as alice, Walker(service) as attacker:
        stolen = alice.allow(asking(service, nonce="alice"))["code"]
        attacker.allow(asking(service, nonce="attacker", code_challenge=s256(own)), "bob")
    error(redeem(service, stolen, code_verifier=own), 400, "invalid_grant")
    tokens = redeem(service, stolen).json()
    assert unverified(tokens["id_token"])["nonce"] == "alice"


@pytest.mark.parametrize(
    "given", [{"code_challenge": "", "code_challenge_method": ""}, {"code_challenge": ""}]
)
def test_rfc9700_4_8_pkce_cannot_be_taken_out_of_a_request(service: Service, given: dict[str, str]) -> None:
    """Whoever strips the challenge on the way gets no code, so that no verifier ever comes without one."""
    for client, where in (("portal", PORTAL), ("native", "http://127.0.0.1:5/done")):
        back = httpx.get(asking(service, client_id=client, redirect_uri=where, **given), **RAW)
        assert query(back.headers["location"])["error"] == "invalid_request"
    said = {**query(asking(service, **given)), "client_secret": SECRET}
    error(post(service, "par", **said), 400, "invalid_request")
    code = code_login(service)["code"]
    error(redeem(service, code, code_verifier=""), 400, "invalid_request")
    error(redeem(service, code, code_verifier=VERIFIER[::-1]), 400, "invalid_grant")


@pytest.mark.parametrize("name", ["redirect_uri", "next", "url", "target_link_uri", "return_to", "back"])
def test_rfc9700_4_11_nothing_redirects_to_where_a_parameter_says(service: Service, name: str) -> None:
    evil = "https://evil.example.org/"
    with Walker(service) as browser:
        for path in ("device", "login", "redirect", "redirect/egi-demo", "login/egi-demo", "authorization"):
            answer = browser.http.get(f"{service.issuer}/{path}", params={name: evil})
            assert "evil" not in answer.headers.get("location", "")
        consent = browser.consent(asking(service) + f"&{name}={evil}" * (name != "redirect_uri"))
        answer = browser.submit(consent, action="confirm", **{name: evil})
        assert "evil" not in answer.headers["location"]
    # even a registered client's errors: to an address of its own, or to nobody
    wrong = httpx.get(asking(service, redirect_uri=evil, scope="no"), **RAW)
    assert (wrong.status_code, "location" in wrong.headers) == (400, False)


def test_rfc9700_4_12_forms_are_not_sent_on(service: Service) -> None:
    """Each answer to a form, and each way back to a client, is a 303: a browser turns it into a GET."""
    with Walker(service) as browser:
        confirmed = browser.submit(browser.consent(asking(service)), action="confirm")
        browser.follow(confirmed)
        back = browser.log_in("egi-demo", "alice")
        again = browser.submit(browser.consent(asking(service)), action="confirm")
        denied = browser.submit(browser.consent(asking(service)), action="deny")
        typed = browser.http.post(f"{service.issuer}/device/code", data={"user_code": "BCDFGHJK"})
        chosen = browser.submit(browser.consent(asking(service, scope="openid")), action="confirm")
        assert "Which group" in words(chosen) or chosen.status_code == 200
        given = browser.submit(chosen, group="training_user")
        refused = browser.http.post(
            f"{service.issuer}/authorization", data={**query(asking(service)), "scope": "no"}
        )
    answers = (confirmed, back, again, denied, typed, given, refused)
    assert [one.status_code for one in answers] == [303] * 7


def test_rfc9700_4_13_forwarded_headers_of_strangers_mean_nothing(service: Service) -> None:
    headers = {
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;host=evil.example.org;proto=https",
        "X-Forwarded-Host": "evil.example.org",
        "X-Forwarded-Proto": "https",
        "X-SSL-Client-Cert": "-----BEGIN CERTIFICATE-----",
        "X-Forwarded-Client-Cert": "Subject=alice",
    }
    started = httpx.post(f"{service.issuer}/device", data={"client_id": "DIRAC_CLI"}, headers=headers, **RAW)
    assert started.json()["verification_uri"] == f"{service.issuer}/device"
    with Walker(service) as browser:
        said = words(browser.open(started.json()))
    assert "127.0.0.1" in said
    assert "203.0.113.9" not in said


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_rfc9700_4_18_no_other_origin_may_read_the_authorization_endpoint(
    service: Service, method: str
) -> None:
    headers = {"Origin": "https://evil.example.org", "Access-Control-Request-Method": "GET"}
    for path in ("authorization", "login", "token"):
        answer = httpx.request(method, f"{service.issuer}/{path}", headers=headers, **RAW)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
