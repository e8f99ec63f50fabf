"""RFC 9068, JWT access tokens: section, what it demands of the server, and what proves it.

2.1 | signed, never `none`, asymmetric; RS256 among the algorithms
    | test_rfc9068_2_1_type_and_algorithm
2.1 | the type is at+jwt
    | test_rfc9068_2_1_type_and_algorithm
2.2 | iss, exp, aud, sub, client_id, iat and jti are there
    | test_rfc9068_2_2_the_required_claims_are_there, test_rfc9068_2_2_no_two_tokens_share_an_id
2.2.1 | auth_time says when the person logged in, also after a refresh
    | test_rfc9068_2_2_1_auth_time_stays_that_of_the_login
2.2.2 | attributes of the person
    | not applicable: optional, userinfo has them
2.2.3 | scope is there and says what was given
    | test_rfc9068_2_2_3_the_scope_is_that_of_the_answer
2.2.3.1 | groups, roles and entitlements
    | not applicable: optional; the claims of DIRAC and WLCG say it
3 | a resource becomes the audience, without one it is our own API
    | test_rfc8707_a_resource_becomes_the_audience, test_rfc9068_3_without_a_resource_it_is_for_us
3 | a resource that is unknown is refused
    | test_rfc8707_2_what_is_no_target_of_the_client_is_refused
4 | the published keys verify it, and the algorithm is that of the metadata
    | test_rfc9068_4_anybody_can_verify_it_with_what_is_published
4 | at our gate: any other type is refused
    | test_rfc9068_4_a_token_of_another_type_is_refused, test_rfc9068_4_the_forger_can_do_it_right
4 | at our gate: ID tokens and logout tokens are no access tokens
    | test_rfc9068_4_an_id_token_is_no_access_token, test_rfc9068_4_a_logout_token_is_no_access_token
4 | at our gate: the issuer matches exactly
    | test_rfc9068_4_the_issuer_matches_exactly
4 | at our gate: we are in the audience
    | test_rfc9068_4_we_are_in_the_audience
4 | at our gate: the signature is verified, none is refused
    | test_rfc8725_3_a_forged_access_token_is_refused_with_a_reason
4 | at our gate: what has expired is refused
    | test_rfc9068_4_the_last_second_is_over
4 | encrypted tokens
    | test_rfc9068_4_an_encrypted_token_is_refused
4 | each required claim is required
    | test_rfc9068_4_each_required_claim_is_required
4 | the refusal is invalid_token
    | test_rfc8725_3_a_forged_access_token_is_refused_with_a_reason
5 | ID tokens and access tokens cannot be mixed up by their audience or type
    | test_rfc9068_4_an_id_token_is_no_access_token, test_rfc9068_5_an_access_token_is_no_id_token
5 | one subject is not another one: clients that act for themselves do not look like people
    | test_rfc9068_5_subjects_are_opaque
6 | nothing in it that its holder should not see; the subject tells nothing of the person
    | test_rfc9068_5_subjects_are_opaque, test_rfc9068_6_nothing_private_is_in_it
"""

import time
from typing import Any

import jwt
import pytest
from jwt import PyJWK

from gatehouse.registry.clock import SYSTEM
from gatehouse.tokenmanager import keys
from gatehouse.tokenmanager.issue import Mint
from tests.auth.kit import error, get, login, post
from tests.rfc.kit import resigned, unverified, userinfo
from tests.service import Service

REQUIRED = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")


@pytest.mark.parametrize(("client", "alg"), [("DIRAC_CLI", "RS256"), ("other", "ES256")])
def test_rfc9068_2_1_type_and_algorithm(service: Service, client: str, alg: str) -> None:
    header = jwt.get_unverified_header(login(service, client=client)["access_token"])
    assert (header["typ"], header["alg"]) == ("at+jwt", alg)
    assert set(header) == {"typ", "alg", "kid"}


def test_rfc9068_2_2_the_required_claims_are_there(service: Service, genuine: str) -> None:
    claims = unverified(genuine)
    assert set(REQUIRED) <= set(claims)
    assert claims["iss"] == service.issuer
    assert claims["client_id"] == "DIRAC_CLI"
    assert claims["iat"] <= time.time() < claims["exp"]


def test_rfc9068_2_2_no_two_tokens_share_an_id(service: Service) -> None:
    tokens = login(service)
    found = {unverified(tokens["access_token"])["jti"]}
    for _ in range(4):
        tokens = refreshed(service, tokens["refresh_token"])
        found.add(unverified(tokens["access_token"])["jti"])
    assert len(found) == 5
    assert min(len(one) for one in found) >= 22


def refreshed(service: Service, token: str) -> dict[str, Any]:
    """The answer to a refresh."""
    answer = post(service, "token", grant_type="refresh_token", refresh_token=token, client_id="DIRAC_CLI")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_rfc9068_2_2_1_auth_time_stays_that_of_the_login(service: Service) -> None:
    before = int(time.time())
    tokens = login(service)
    first = unverified(tokens["access_token"])
    assert before <= first["auth_time"] <= time.time()
    time.sleep(1.1)  # so that a refresh has another time to give
    second = unverified(refreshed(service, tokens["refresh_token"])["access_token"])
    assert second["iat"] > first["iat"]
    assert second["auth_time"] == first["auth_time"]


def test_rfc9068_2_2_3_the_scope_is_that_of_the_answer(service: Service) -> None:
    tokens = login(service, scope="openid g:training_user lifetime:600")
    assert unverified(tokens["access_token"])["scope"] == tokens["scope"] == "openid g:training_user"


def test_rfc9068_3_without_a_resource_it_is_for_us(service: Service, genuine: str) -> None:
    assert unverified(genuine)["aud"] == f"{service.base}/api"


@pytest.mark.parametrize("client", ["DIRAC_CLI", "other"])
def test_rfc9068_4_anybody_can_verify_it_with_what_is_published(service: Service, client: str) -> None:
    token = login(service, client=client)["access_token"]
    kid = jwt.get_unverified_header(token)["kid"]
    [found] = [key for key in get(service, "jwk").json()["keys"] if key["kid"] == kid]
    claims = jwt.decode(
        token, PyJWK(found), [found["alg"]], audience=f"{service.base}/api", issuer=service.issuer
    )
    assert claims["client_id"] == client
    said = get(service, ".well-known/openid-configuration").json()
    assert found["alg"] in said["id_token_signing_alg_values_supported"]


def test_rfc9068_4_the_forger_can_do_it_right(service: Service, ring: keys.KeyRing, genuine: str) -> None:
    """Otherwise the refusals below would prove nothing."""
    assert userinfo(service, resigned(ring, unverified(genuine))).status_code == 200


@pytest.mark.parametrize(
    "typ",
    [
        None,
        "JWT",
        "jwt",
        "at+JWT ",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "",
        1,
    ],
)
def test_rfc9068_4_a_token_of_another_type_is_refused(
    service: Service, ring: keys.KeyRing, genuine: str, typ: object
) -> None:
    key = ring.active("RS256")
    header: Any = {"kid": key.kid, "typ": typ}
    try:
        made = jwt.encode(unverified(genuine), key.private, "RS256", headers=header)
    except TypeError:  # PyJWT writes no such header
        made = jwt.api_jws.encode(b"{}", key.private, "RS256", headers={"kid": key.kid, "typ": str(typ)})
    error(userinfo(service, made), 401, "invalid_token")


def test_rfc9068_4_an_id_token_is_no_access_token(service: Service, ring: keys.KeyRing) -> None:
    tokens = login(service, scope="openid g:training_user")
    assert jwt.get_unverified_header(tokens["id_token"])["typ"] == "JWT"
    error(userinfo(service, tokens["id_token"]), 401, "invalid_token")
    # nor one that was made for us as its client, or that claims all that an access token does
    claims = {
        **unverified(tokens["access_token"]),
        **unverified(tokens["id_token"]),
        "aud": f"{service.base}/api",
    }
    error(userinfo(service, resigned(ring, claims, typ="JWT")), 401, "invalid_token")


def test_rfc9068_4_a_logout_token_is_no_access_token(
    service: Service, ring: keys.KeyRing, genuine: str
) -> None:
    mint = Mint(ring, service.issuer, f"{service.base}/api", SYSTEM)
    subject = unverified(genuine)["sub"]
    token = mint.logout_token("RS256", subject=subject, client_id=f"{service.base}/api", session="s")
    error(userinfo(service, token), 401, "invalid_token")
    # the same with the right type still lacks what an access token has
    error(userinfo(service, resigned(ring, unverified(token))), 401, "invalid_token")


@pytest.mark.parametrize(
    "change",
    [lambda i: i + "/", lambda i: i[:-1], lambda i: i.upper(), lambda i: [i], lambda i: None, lambda i: ""],
)
def test_rfc9068_4_the_issuer_matches_exactly(
    service: Service, ring: keys.KeyRing, genuine: str, change: Any
) -> None:
    made = _signed(ring, {**unverified(genuine), "iss": change(service.issuer)})
    error(userinfo(service, made), 401, "invalid_token")


def _signed(ring: keys.KeyRing, claims: dict[str, Any]) -> str:
    """Signed whatever the claims are, also those that PyJWT would not write."""
    import json

    key = ring.active("RS256")
    header = {"kid": key.kid, "typ": "at+jwt"}
    return jwt.api_jws.encode(json.dumps(claims).encode(), key.private, "RS256", headers=header)


@pytest.mark.parametrize(
    "audience",
    [
        "https://elsewhere.example.org",
        "DIRAC_CLI",
        [],
        ["https://elsewhere.example.org"],
        {"own": True},
        "",
        None,
        "{own}/",
        "{own} {own}",
        ["{own}", 1],
        "https://wlcg.cern.ch/jwt/v1/any",
    ],
)
def test_rfc9068_4_we_are_in_the_audience(
    service: Service, ring: keys.KeyRing, genuine: str, audience: object
) -> None:
    own = f"{service.base}/api"

    def filled(value: object) -> object:
        return value.replace("{own}", own) if isinstance(value, str) else value

    found = [filled(one) for one in audience] if isinstance(audience, list) else filled(audience)
    made = _signed(ring, {**unverified(genuine), "aud": found})
    error(userinfo(service, made), 401, "invalid_token")
    both = _signed(ring, {**unverified(genuine), "aud": ["https://elsewhere.example.org", own]})
    assert userinfo(service, both).status_code == 200


def test_rfc9068_4_the_last_second_is_over(service: Service, ring: keys.KeyRing, genuine: str) -> None:
    now = int(time.time())
    claims = {**unverified(genuine), "iat": now - 100}
    assert userinfo(service, resigned(ring, {**claims, "exp": now + 30})).status_code == 200
    for exp in (now, now - 1, 0, -1):
        answer = userinfo(service, resigned(ring, {**claims, "exp": exp}))
        assert "expired" in error(answer, 401, "invalid_token")


def test_rfc9068_4_an_encrypted_token_is_refused(service: Service) -> None:
    made = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00iLCJ0eXAiOiJhdCtqd3QifQ.AAAA.AAAA.AAAA.AAAA"
    error(userinfo(service, made), 401, "invalid_token")


@pytest.mark.parametrize("name", REQUIRED)
def test_rfc9068_4_each_required_claim_is_required(
    service: Service, ring: keys.KeyRing, genuine: str, name: str
) -> None:
    claims = unverified(genuine)
    del claims[name]
    error(userinfo(service, resigned(ring, claims)), 401, "invalid_token")


def test_rfc9068_5_an_access_token_is_no_id_token(service: Service) -> None:
    """Whoever checks an ID token asks for their client's identifier, which no access token has as audience."""
    tokens = login(service, scope="openid g:training_user")
    access, identity = unverified(tokens["access_token"]), unverified(tokens["id_token"])
    assert identity["aud"] == "DIRAC_CLI"
    assert "DIRAC_CLI" not in access["aud"]
    assert "nonce" not in access
    assert "at_hash" not in access
    assert "scope" not in identity


def test_rfc9068_5_subjects_are_opaque(service: Service) -> None:
    people = {name: unverified(login(service, name)["access_token"])["sub"] for name in ("alice", "bob")}
    clients = {"DIRAC_CLI", "other", "portal", "second", "gatehouse-pilot"}
    assert len(set(people.values())) == 2
    for name, subject in people.items():
        assert name not in subject
        assert subject not in clients


def test_rfc9068_6_nothing_private_is_in_it(service: Service) -> None:
    token = login(service, scope="openid profile email g:training_user")["access_token"]
    assert "@" not in str(unverified(token))
    assert not {"email", "name", "address"} & set(unverified(token))
