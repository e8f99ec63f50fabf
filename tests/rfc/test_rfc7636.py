"""RFC 7636, PKCE: section, what it demands of the server, and what proves it.

4.1 | a verifier has 43 to 128 unreserved characters
    | test_rfc7636_4_1_a_verifier_of_the_wrong_shape_is_refused,
    | test_rfc7636_4_1_every_verifier_of_the_right_shape_is_taken
4.2 | the challenge is base64url of SHA-256, without padding
    | test_rfc7636_4_2_the_example_of_appendix_b, test_rfc7636_4_2_a_challenge_of_another_shape_is_refused
4.3 | without a method, plain is meant, which is not taken
    | test_rfc7636_4_3_the_method_has_to_be_said
4.4 | the code is bound to the challenge, and the challenge is not in the code
    | test_rfc7636_4_4_each_code_has_its_own_challenge
4.4.1 | a missing challenge or an unknown method is invalid_request, told to the client
    | test_rfc7636_4_4_1_what_is_missing_or_unknown_is_told
4.5 | the verifier comes with the code
    | test_rfc7636_4_5_without_the_verifier_nothing_is_given
4.6 | a verifier that does not fit is invalid_grant
    | test_rfc7636_4_6_another_verifier_is_invalid_grant
4.6 | a wrong verifier does not use up the code of the rightful client
    | test_a_code_alone_is_worth_nothing
5 | clients without PKCE may be let in
    | not applicable: RFC 9700 section 2.1.1, all our clients use it
6.2 | the methods are in the metadata
    | test_rfc7636_6_2_the_methods_are_published
7.1 | the verifier has entropy
    | not applicable: a demand on clients; ours to the providers is tested there
7.2 | plain is not used, S256 is there
    | test_rfc7636_4_4_1_what_is_missing_or_unknown_is_told
7.3 | a salt
    | not applicable: the RFC needs none
7.5 | TLS
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
"""

import httpx
import pytest

from tests.auth.kit import VERIFIER, Walker, asking, code_login, error, get, query, redeem
from tests.rfc.kit import RAW, s256
from tests.service import Service

EVERYTHING = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


@pytest.mark.parametrize(
    "verifier",
    [VERIFIER[:42], "a" * 129, VERIFIER[:-1] + "!", VERIFIER[:-1] + " ", VERIFIER + "\u00e9", VERIFIER + "="],
)
def test_rfc7636_4_1_a_verifier_of_the_wrong_shape_is_refused(service: Service, verifier: str) -> None:
    """Although its hash is the challenge."""
    answer = code_login(service, code_challenge=s256(verifier))
    assert "code" in answer
    refused = redeem(service, answer["code"], code_verifier=verifier)
    assert refused.json()["error"] in ("invalid_request", "invalid_grant"), refused.text


@pytest.mark.parametrize("verifier", ["a" * 43, "-" * 128, EVERYTHING])
def test_rfc7636_4_1_every_verifier_of_the_right_shape_is_taken(service: Service, verifier: str) -> None:
    answer = code_login(service, code_challenge=s256(verifier))
    assert redeem(service, answer["code"], code_verifier=verifier).status_code == 200


def test_rfc7636_4_2_the_example_of_appendix_b(service: Service) -> None:
    answer = code_login(service, code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert redeem(service, answer["code"], code_verifier=verifier).status_code == 200


@pytest.mark.parametrize(
    "challenge", [s256(VERIFIER) + "=", s256(VERIFIER)[:-1], s256(VERIFIER)[:-1] + "+", "x" * 44, VERIFIER]
)
def test_rfc7636_4_2_a_challenge_of_another_shape_is_refused(service: Service, challenge: str) -> None:
    back = query(httpx.get(asking(service, code_challenge=challenge), **RAW).headers["location"])
    assert back["error"] == "invalid_request"


def test_rfc7636_4_3_the_method_has_to_be_said(service: Service) -> None:
    back = query(httpx.get(asking(service, code_challenge_method=""), **RAW).headers["location"])
    assert back["error"] == "invalid_request"
    assert "S256" in back["error_description"]


def test_rfc7636_4_4_each_code_has_its_own_challenge(service: Service) -> None:
    other = "another-verifier-of-more-than-forty-three-characters"
    with Walker(service) as browser:
        one = browser.allow(asking(service))["code"]
        two = browser.allow(asking(service, code_challenge=s256(other)))["code"]
    error(redeem(service, one, code_verifier=other), 400, "invalid_grant")
    error(redeem(service, two), 400, "invalid_grant")
    assert redeem(service, one).status_code == 200
    assert redeem(service, two, code_verifier=other).status_code == 200
    assert s256(VERIFIER) not in one


@pytest.mark.parametrize(
    "given",
    [
        {"code_challenge": "", "code_challenge_method": ""},
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge_method": "S512"},
        {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
    ],
)
def test_rfc7636_4_4_1_what_is_missing_or_unknown_is_told(service: Service, given: dict[str, str]) -> None:
    back = query(httpx.get(asking(service, **given), **RAW).headers["location"])
    assert (back["error"], back["state"]) == ("invalid_request", "abc")
    assert "code_challenge" in back["error_description"]
    # public clients are no exception
    native = asking(service, client_id="native", redirect_uri="http://127.0.0.1:5/done", **given)
    assert query(httpx.get(native, **RAW).headers["location"])["error"] == "invalid_request"


def test_rfc7636_4_5_without_the_verifier_nothing_is_given(service: Service) -> None:
    answer = code_login(service)
    error(redeem(service, answer["code"], code_verifier=""), 400, "invalid_request")
    assert redeem(service, answer["code"]).status_code == 200


@pytest.mark.parametrize("verifier", [VERIFIER + "x", VERIFIER.upper(), s256(VERIFIER)])
def test_rfc7636_4_6_another_verifier_is_invalid_grant(service: Service, verifier: str) -> None:
    answer = code_login(service)
    error(redeem(service, answer["code"], code_verifier=verifier), 400, "invalid_grant")


def test_rfc7636_6_2_the_methods_are_published(service: Service) -> None:
    said = get(service, ".well-known/oauth-authorization-server").json()
    assert said["code_challenge_methods_supported"] == ["S256"]
