"""OpenID Connect Core 1.0, where we are the provider: section, what it demands, and what proves it.

2 | iss, sub, aud, exp and iat are in the ID token, sub has 255 ASCII characters at most
    | test_oidc_core_2_the_id_token_is_complete
2 | nonce is that of the request, unchanged
    | test_oidc_core_2_the_nonce_comes_back_unchanged
2 | the ID token is signed, never `none`
    | test_oidc_core_2_the_id_token_is_signed_with_a_published_key
3.1.2.1 | GET and POST
    | test_rfc6749_3_1_get_and_post_do_the_same
3.1.2.1 | without openid it is not an OpenID request, and gives no ID token
    | test_oidc_core_3_1_2_1_without_openid_there_is_no_id_token
3.1.2.1 | prompt=login asks for a login although there is a session
    | test_oidc_core_3_1_2_1_prompt_login_asks_again
3.1.2.1 | prompt=none shows no page; none stands alone
    | test_oidc_core_3_1_2_1_prompt_none_shows_nothing
3.1.2.1 | max_age asks for a login when the last one is older; auth_time is in the ID token then
    | test_oidc_core_3_1_2_1_an_old_login_is_not_enough
3.1.2.1 | display, ui_locales, claims_locales, acr_values and unknown parameters cause no error
    | test_oidc_core_15_1_parameters_that_may_be_ignored
3.1.2.2 | request objects, registration parameters and hints are refused with their errors
    | test_oidc_core_3_1_2_6_what_is_not_supported_has_its_error
3.1.2.3 | the person is authenticated, and CSRF and clickjacking are prevented
    | test_rfc6749_10_13_no_page_can_be_framed, test_rfc6749_10_12_a_form_of_another_browser_is_not_taken
3.1.2.4 | the person is asked before anything is given
    | test_a_second_client_needs_no_second_login_but_a_second_consent
3.1.2.6 | errors go to the client only at a registered address
    | test_rfc6749_4_1_2_1_what_is_wrong_goes_back_to_the_client,
    | test_rfc9700_2_1_nobody_is_sent_to_an_address_that_is_not_registered
3.1.3.2 | code, client and address are checked together
    | test_a_code_alone_is_worth_nothing
3.1.3.3 | the token response has the ID token, and is not stored
    | test_oidc_core_3_1_3_3_the_token_response, test_rfc6749_5_1_a_token_response_is_complete_and_not_stored
3.1.3.6 | at_hash is the left half of the hash of the access token
    | test_oidc_core_3_1_3_6_at_hash_binds_the_access_token
3.1.3.7 | a strict client believes it (also as a client, of our providers)
    | test_oidc_core_3_1_3_7_a_strict_client_believes_it, test_oidc_core_3_1_3_7_a_wrong_id_token_is_not_believed
3.2 | implicit and hybrid flow (3.3)
    | not applicable: not offered, RFC 9700 section 2.1.2
5.3.1 | GET and POST, with the token in the header
    | test_oidc_core_5_3_1_get_and_post
5.3.2 | sub is there and is that of the ID token
    | test_oidc_core_5_3_2_sub_is_that_of_the_id_token
5.3.3 | errors as in RFC 6750
    | test_rfc6750_3_without_a_token_the_challenge_names_no_error,
    | test_rfc8725_3_a_forged_access_token_is_refused_with_a_reason
5.4 | claims by scope
    | test_oidc_core_5_4_claims_by_scope
5.5 | the claims parameter
    | not applicable: claims_parameter_supported is false, so that it is ignored
6 | request objects
    | test_oidc_core_3_1_2_6_what_is_not_supported_has_its_error
8 | subjects are public, the same for every client, and never used again
    | test_oidc_core_8_one_person_is_one_subject
10.1 | keys have a kid that is never used twice
    | test_rfc7517_the_keys_are_public_and_an_unchanged_set_is_not_sent_twice
11 | offline_access is said to the person, who is asked
    | test_oidc_core_11_offline_access_is_said
12.2 | an ID token of a refresh keeps iss, sub, auth_time and names its client
    | test_oidc_core_12_2_a_refresh_gives_no_other_identity
15.1 | RS256 for those who ask for nothing else
    | test_oidc_core_15_1_rs256_is_there
16 | what else the security considerations ask
    | test_rfc6749_10_14_what_comes_in_stays_text, test_rfc9700_4_5_a_stolen_code_cannot_be_injected
"""

import base64
import hashlib
import time
from typing import Any

import httpx
import jwt
import pytest
from jwt import PyJWK

from tests.auth.kit import Walker, asking, change, code_login, get, login, post, query, redeem, words
from tests.rfc.kit import RAW, SECRET, unverified
from tests.service import Service


@pytest.fixture(scope="module")
def tokens(service: Service) -> dict[str, Any]:
    """What a login by the code flow gave."""
    found: dict[str, Any] = redeem(
        service, code_login(service, scope="openid profile g:training_user")["code"]
    ).json()
    return found


def test_oidc_core_2_the_id_token_is_complete(service: Service, tokens: dict[str, Any]) -> None:
    claims = unverified(tokens["id_token"])
    assert claims["iss"] == service.issuer
    assert (claims["aud"], claims["azp"]) == ("portal", "portal")
    assert claims["sub"].isascii()
    assert 0 < len(claims["sub"]) <= 255
    assert isinstance(claims["iat"], int)
    assert claims["iat"] - 5 <= claims["auth_time"] <= claims["iat"] <= time.time() < claims["exp"]


@pytest.mark.parametrize("nonce", ["n", "a b+c/%2F\"'<>\u00e9", "x" * 1000])
def test_oidc_core_2_the_nonce_comes_back_unchanged(service: Service, nonce: str) -> None:
    found = redeem(service, code_login(service, nonce=nonce)["code"]).json()
    assert unverified(found["id_token"])["nonce"] == nonce
    without = redeem(service, code_login(service, nonce="")["code"]).json()
    assert "nonce" not in unverified(without["id_token"])


def _key(service: Service, token: str) -> PyJWK:
    kid = jwt.get_unverified_header(token)["kid"]
    [found] = [key for key in get(service, "jwk").json()["keys"] if key["kid"] == kid]
    return PyJWK(found)


def test_oidc_core_2_the_id_token_is_signed_with_a_published_key(
    service: Service, tokens: dict[str, Any]
) -> None:
    header = jwt.get_unverified_header(tokens["id_token"])
    said = get(service, ".well-known/openid-configuration").json()
    assert header["alg"] in said["id_token_signing_alg_values_supported"]
    assert _key(service, tokens["id_token"]).algorithm_name == header["alg"]
    assert header["typ"] == "JWT"


def test_oidc_core_3_1_2_1_without_openid_there_is_no_id_token(service: Service) -> None:
    found = redeem(service, code_login(service, scope="g:training_user")["code"]).json()
    assert "access_token" in found
    assert "id_token" not in found


@pytest.mark.parametrize("prompt", ["login", "select_account", "login consent"])
def test_oidc_core_3_1_2_1_prompt_login_asks_again(service: Service, prompt: str) -> None:
    with Walker(service) as browser:
        first = unverified(redeem(service, browser.allow(asking(service))["code"]).json()["id_token"])
        known = browser.consent(asking(service))
        assert "You are logged in as alice" in words(known)
        time.sleep(1.1)  # so that a second login has another time
        asked = browser.consent(asking(service, prompt=prompt))
        assert "You are logged in as" not in words(asked)
        chooser = browser.follow(browser.submit(asked, action="confirm"))
        assert "Who can tell us who you are?" in words(chooser)
        back = query(browser.log_in("egi-demo", "alice").headers["location"])
    again = unverified(redeem(service, back["code"]).json()["id_token"])
    assert again["auth_time"] > first["auth_time"]


def test_oidc_core_3_1_2_1_prompt_none_shows_nothing(service: Service) -> None:
    with Walker(service) as browser:
        nobody = browser.http.get(asking(service, prompt="none"))
        assert query(nobody.headers["location"])["error"] == "login_required"
        browser.allow(asking(service))
        somebody = browser.http.get(asking(service, prompt="none"))
        assert query(somebody.headers["location"])["error"] == "consent_required"
        mixed = browser.http.get(asking(service, prompt="none login"))
        assert query(mixed.headers["location"])["error"] == "invalid_request"
        unknown = browser.http.get(asking(service, prompt="dance"))
        assert query(unknown.headers["location"])["error"] == "invalid_request"


def test_oidc_core_3_1_2_1_an_old_login_is_not_enough(service: Service) -> None:
    with Walker(service) as browser:
        browser.allow(asking(service))
        fresh = browser.consent(asking(service, max_age="1000"))
        assert "You are logged in as alice" in words(fresh)
        assert change(service, "UPDATE browser_session SET auth_time = auth_time - 500") >= 1
        still = browser.consent(asking(service, max_age="1000"))
        assert "You are logged in as alice" in words(still)
        old = browser.consent(asking(service, max_age="499"))
        assert "You are logged in as" not in words(old)
        browser.submit(old, action="confirm")
        back = query(browser.log_in("egi-demo", "alice").headers["location"])
        claims = unverified(redeem(service, back["code"]).json()["id_token"])
        assert claims["iat"] - claims["auth_time"] < 60


def test_oidc_core_3_1_2_6_what_is_not_supported_has_its_error(service: Service) -> None:
    for given, code in (
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"id_token_hint": "eyJ"}, "invalid_request"),
    ):
        back = query(httpx.get(asking(service, **given), **RAW).headers["location"])
        assert (back["error"], back["state"]) == (code, "abc")
    said = get(service, ".well-known/openid-configuration").json()
    assert said["request_parameter_supported"] is False
    assert said["request_uri_parameter_supported"] is False


def test_oidc_core_3_1_3_3_the_token_response(tokens: dict[str, Any]) -> None:
    assert tokens["token_type"] == "Bearer"
    assert tokens["id_token"].count(".") == 2
    assert tokens["expires_in"] > 0


def test_oidc_core_3_1_3_6_at_hash_binds_the_access_token(tokens: dict[str, Any]) -> None:
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    expected = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert unverified(tokens["id_token"])["at_hash"] == expected


def test_oidc_core_3_1_3_7_a_strict_client_believes_it(service: Service, tokens: dict[str, Any]) -> None:
    key = _key(service, tokens["id_token"])
    claims = jwt.decode(
        tokens["id_token"],
        key,
        [str(key.algorithm_name)],
        audience="portal",
        issuer=service.issuer,
        options={"require": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"], "strict_aud": True},
    )
    assert claims["nonce"] == "n-0"


def test_oidc_core_5_3_1_get_and_post(service: Service, tokens: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    answers = [
        httpx.request(how, f"{service.issuer}/userinfo", headers=headers, **RAW) for how in ("GET", "POST")
    ]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["content-type"].startswith("application/json")


def test_oidc_core_5_3_2_sub_is_that_of_the_id_token(service: Service, tokens: dict[str, Any]) -> None:
    said = get(service, "userinfo", tokens["access_token"]).json()
    assert said["sub"] == unverified(tokens["id_token"])["sub"]
    assert None not in said.values()


def test_oidc_core_5_4_claims_by_scope(service: Service) -> None:
    seen = {}
    for scope in ("openid", "openid profile", "openid email", "openid profile email"):
        found = redeem(service, code_login(service, scope=f"{scope} g:training_user")["code"]).json()
        said = get(service, "userinfo", found["access_token"]).json()
        seen[scope] = ("name" in said, "email" in said)
        identity = unverified(found["id_token"])
        assert ("email" in identity) <= ("email" in scope)
    assert seen == {
        "openid": (False, False),
        "openid profile": (True, False),
        "openid email": (False, True),
        "openid profile email": (True, True),
    }


def test_oidc_core_8_one_person_is_one_subject(service: Service, tokens: dict[str, Any]) -> None:
    device = login(service, scope="openid g:training_user")
    bob = login(service, "bob", "openid g:training_user")
    mine = unverified(tokens["id_token"])["sub"]
    assert unverified(device["id_token"])["sub"] == mine
    assert unverified(bob["id_token"])["sub"] != mine
    said = get(service, ".well-known/openid-configuration").json()
    assert said["subject_types_supported"] == ["public"]


def test_oidc_core_11_offline_access_is_said(service: Service) -> None:
    with Walker(service) as browser:
        plain = words(browser.consent(asking(service)))
        offline = words(browser.consent(asking(service, scope="openid offline_access g:training_user")))
    assert "Stay logged in" in offline
    assert "Stay logged in" not in plain


def test_oidc_core_12_2_a_refresh_gives_no_other_identity(service: Service) -> None:
    found = redeem(service, code_login(service)["code"]).json()
    first = unverified(found["id_token"])
    again = post(
        service,
        "token",
        grant_type="refresh_token",
        refresh_token=found["refresh_token"],
        client_id="portal",
        client_secret=SECRET,
    ).json()
    second = unverified(again.get("id_token", found["id_token"]))
    for name in ("iss", "sub", "aud", "azp", "auth_time"):
        assert second[name] == first[name]
    assert unverified(again["access_token"])["sub"] == first["sub"]


def test_oidc_core_15_1_parameters_that_may_be_ignored(service: Service) -> None:
    given = {
        "display": "popup",
        "ui_locales": "fr-CA fr en",
        "claims_locales": "de",
        "acr_values": "urn:mace:incommon:iap:silver",
        "login_hint": "alice",
        "claims": '{"userinfo":{"email":null}}',
        "unheard": "of",
    }
    found = redeem(service, code_login(service, **given)["code"]).json()
    assert "email" not in get(service, "userinfo", found["access_token"]).json()


def test_oidc_core_15_1_rs256_is_there(service: Service) -> None:
    said = get(service, ".well-known/openid-configuration").json()
    assert "RS256" in said["id_token_signing_alg_values_supported"]
    token = login(service, scope="openid g:training_user")["id_token"]
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
