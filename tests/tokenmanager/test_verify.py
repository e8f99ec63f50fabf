"""The one function that believes a token: everything that must not be believed, and that caching forgets nothing."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from jose import jwt as jose
from joserfc import jwt as joserfc
from joserfc.jwk import KeySet
from jwt.types import Options

from gatehouse.registry.database import Database
from gatehouse.tokenmanager.keys import ALGORITHMS, Algorithm
from gatehouse.tokenmanager.revoke import claim_name, grant_name, token_name
from gatehouse.tokenmanager.verify import MAX_TOKEN
from tests.clock import HandClock
from tests.tokenmanager.kit import API, ISSUER, Desk, facts, key

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
OURS: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}  # the clock is our own
NOT_OURS = "not signed by a key of this service"


@pytest.fixture
def desk(database: Database, clock: HandClock) -> Desk:
    """A mint and a verifier."""
    return Desk(database, clock)


def signed(header: dict[str, Any], payload: bytes | dict[str, Any]) -> str:
    """A token signed with our ES256 key, whatever it says."""
    first = f"{b64(header)}.{b64(payload)}"
    return f"{first}.{b64(jwt.get_algorithm_by_name('ES256').sign(first.encode(), key('ES256').private))}"


def b64(value: bytes | dict[str, Any]) -> str:
    """base64url without padding."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_good_token_tells_who_bears_it(desk: Desk, clock: HandClock, alg: Algorithm) -> None:
    who = desk.good(desk.token(alg, preferred_username="ada", job=7, claim="c1", act={"sub": "pilot:9"}))
    assert (who.subject, who.username, who.group, who.vo) == ("u-1", "ada", "otter_user", "otter")
    assert who.properties == {"NormalUser"}
    assert (who.job, who.claim, who.actor, who.grant) == (7, "c1", "pilot:9", "g1")
    assert who.expires_at == clock.now() + 600
    assert who.label == "pilot:9 for ada"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_other_libraries_agree(desk: Desk, alg: Algorithm) -> None:
    """What relying parties use, given our JWKS alone."""
    token, jwks = desk.token(alg), json.loads(desk.ring.jwks)
    # python-jose tries the keys in their order and gives up at one of another type: RS256 is what it reads
    given = jwks if alg == "RS256" else key(alg).jwk
    for claims in (
        jose.decode(token, given, algorithms=[alg], audience=API, issuer=ISSUER, options=dict(OURS)),
        joserfc.decode(token, KeySet.import_key_set(jwks), algorithms=[alg]).claims,
        jwt.decode(token, key(alg).public, algorithms=[alg], audience=API, issuer=ISSUER, options=OURS),
    ):
        assert claims == desk.payload(jti=claims["jti"])
        assert claims["wlcg.ver"] == "1.0"
        assert claims["exp"] - claims["iat"] == 600


@pytest.mark.parametrize("form", ["pem", "der", "jwk", "jwks", "n"])
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_shared_secret(desk: Desk, alg: str, form: str) -> None:
    """RFC 8725 §2.1: HMAC with what everybody may read of our keys."""
    signer = key("RS256")
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": signer.public.public_bytes(serialization.Encoding.PEM, spki),
        "der": signer.public.public_bytes(serialization.Encoding.DER, spki),
        "jwk": json.dumps(signer.jwk).encode(),
        "jwks": desk.ring.jwks,
        "n": base64.urlsafe_b64decode(signer.jwk["n"] + "=="),
    }[form]
    head = b64({"alg": alg, "kid": signer.kid, "typ": "at+jwt"})
    signed = f"{head}.{b64(desk.payload())}"
    digest = hmac.digest(secret, signed.encode(), getattr(hashlib, f"sha{alg[2:]}"))
    assert NOT_OURS in desk.refusal(f"{signed}.{b64(digest)}")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, ["ES256"], 0])
def test_no_algorithm_is_none(desk: Desk, alg: object) -> None:
    signature = desk.token().rpartition(".")[2]
    for tail in ("", signature):
        head = b64({"alg": alg, "kid": key("ES256").kid, "typ": "at+jwt"})
        assert desk.refusal(f"{head}.{b64(desk.payload())}.{tail}")


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "nobody"},
        {"kid": None},
        {"kid": 7},
        {"kid": key("RS256").kid},
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "AT+JWT "},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
    ],
)
def test_a_header_that_is_not_ours(desk: Desk, header: dict[str, Any]) -> None:
    head = {"alg": "ES256", "kid": key("ES256").kid, "typ": "at+jwt", **header}
    signed = f"{b64({n: v for n, v in head.items() if v is not None})}.{b64(desk.payload())}"
    signature = jwt.get_algorithm_by_name("ES256").sign(signed.encode(), key("ES256").private)
    assert desk.refusal(f"{signed}.{b64(signature)}")


def test_a_key_in_the_header_is_not_looked_at(desk: Desk) -> None:
    foreign = key("ES256", 1)
    for header in (
        {"jwk": foreign.jwk},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example"},
    ):
        for kid in (foreign.kid, key("ES256").kid):
            token = desk.signed(desk.payload(), number=1, header={**header, "kid": kid})
            assert desk.refusal(token)


def test_a_foreign_key_under_our_kid(desk: Desk) -> None:
    for alg in ALGORITHMS:
        assert desk.refusal(desk.signed(desk.payload(), alg=alg, number=1)) == "The token is not valid here."


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example/auth"},
        {"iss": f"{ISSUER}/"},
        {"iss": f"{ISSUER}/vo/otter"},
        {"iss": [ISSUER]},
        {"aud": []},
        {"aud": [API, 7]},
        {"sub": 7},
        {"exp": "soon"},
        {"exp": 2.5e9},
        {"nbf": "now"},
        {"kind": "admin"},
        {"kind": ["person"]},
        {"kind": None},
        *({name: None} for name in ("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope")),
    ],
)
def test_claims_that_are_not_for_us(desk: Desk, changed: dict[str, object]) -> None:
    header = {"alg": "ES256", "kid": key("ES256").kid, "typ": "at+jwt"}
    desk.good(signed(header, desk.payload()))
    assert desk.refusal(signed(header, desk.payload(**changed))) == "The token is not valid here."


@pytest.mark.parametrize("audience", ["https://other.example.org", f"{API}/", ["https://other.example.org"]])
def test_rfc9068_4_a_token_for_somebody_else_is_refused(desk: Desk, audience: object) -> None:
    header = {"alg": "ES256", "kid": key("ES256").kid, "typ": "at+jwt"}
    why = desk.refusal(signed(header, desk.payload(aud=audience)))
    assert why == "The token is not meant for this service."


def test_the_audience_may_be_one_of_several_and_may_be_asked_for(desk: Desk) -> None:
    token = desk.signed(desk.payload(aud=["https://other.example.org", API]))
    desk.good(token)
    desk.good(token, "https://other.example.org")
    assert desk.refusal(token, "https://third.example.org")
    assert desk.refusal(
        desk.token(), "https://other.example.org"
    )  # and what is cached is cached per audience
    desk.good(desk.token())


def test_times(desk: Desk, clock: HandClock) -> None:
    now = clock.now()
    assert desk.refusal(desk.signed(desk.payload(exp=now))) == "The token has expired."
    assert desk.refusal(desk.signed(desk.payload(exp=now - 1))) == "The token has expired."
    assert desk.refusal(desk.signed(desk.payload(exp=True))) == "The token has expired."
    desk.good(desk.signed(desk.payload(exp=now + 1)))
    assert desk.refusal(desk.signed(desk.payload(nbf=now + 61))) == "The token is not valid yet."
    desk.good(desk.signed(desk.payload(nbf=now + 60)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "ä.ö.ü",
        "\udc80" * 4,
        "Bearer x",
        "[[[[",
        b64(b"[" * 3000) + ".e30.AA",
    ],
)
def test_noise_is_refused(desk: Desk, text: str) -> None:
    assert desk.refusal(text) == "This is not a token of this service."


def test_noise_in_a_good_token_is_refused(desk: Desk) -> None:
    token = desk.token()
    for position in range(0, len(token), 7):
        letter = "A" if token[position] != "A" else "B"
        assert desk.refusal(token[:position] + letter + token[position + 1 :])
    assert desk.refusal(token + ".")
    assert desk.refusal(token.rpartition(".")[0] + ".")


def test_a_long_token_is_not_even_parsed(desk: Desk) -> None:
    token = desk.token(more="x" * MAX_TOKEN)
    assert desk.refusal(token) == "The token is longer than 8 kB."
    room = MAX_TOKEN - len(desk.token(more=""))
    desk.good(desk.token(more="x" * (room * 3 // 4 - 3)))


def test_a_payload_that_is_no_object(desk: Desk) -> None:
    for payload in (b"[]", b'"x"', b"7", b"[" * 3000, b"{", b'{"exp": NaN}'):
        head = b64({"alg": "ES256", "kid": key("ES256").kid, "typ": "at+jwt"})
        signed = f"{head}.{b64(payload)}"
        signature = jwt.get_algorithm_by_name("ES256").sign(signed.encode(), key("ES256").private)
        assert desk.refusal(f"{signed}.{b64(signature)}") == "The token is not valid here."


def test_a_remembered_token_still_expires(desk: Desk, clock: HandClock) -> None:
    token = desk.token(lifetime=30)
    desk.good(token)
    clock.pass_by(29)
    desk.good(token)
    clock.pass_by(1)
    assert desk.refusal(token) == "The token has expired."


def test_a_remembered_token_is_still_revoked(desk: Desk, clock: HandClock) -> None:
    until = clock.now() + 600
    for name in ("token", "grant", "claim"):
        token = desk.token(grant=f"g-{name}", claim=f"c-{name}")
        who = desk.good(token)
        names = {
            "token": token_name(who.token_id),
            "grant": grant_name(who.grant),
            "claim": claim_name(who.claim),
        }
        desk.revoked.note(names[name], until)
        assert desk.refusal(token) == "The token has been revoked."
        desk.good(desk.token(grant="another", claim="another"))


def test_a_token_that_is_verified_twice_is_examined_once(desk: Desk, clock: HandClock) -> None:
    token = desk.token()
    assert desk.good(token) is desk.good(token)
    first = desk.good(token)
    clock.pass_by(61)
    assert desk.good(token) is not first  # for a minute only
    assert desk.good(token) == first


def test_refusals_are_not_remembered(desk: Desk, clock: HandClock) -> None:
    token = desk.signed(desk.payload(nbf=clock.now() + 100, exp=clock.now() + 600))
    assert desk.refusal(token)
    clock.pass_by(100)
    desk.good(token)


def test_a_change_of_the_group_is_noticed_at_once(desk: Desk) -> None:
    token = desk.token()
    assert desk.good(token).properties == {"NormalUser"}
    desk.groups.by_name = {"otter_user": facts("otter_user", "Operator", vo="seal")}
    desk.groups.version += 1
    assert desk.good(token).properties == {"Operator"}
    assert desk.good(token).vo == "seal"
    desk.groups.by_name = {}
    desk.groups.version += 1
    assert desk.refusal(token) == "The group otter_user of this token no longer exists."


def test_a_token_without_a_group_has_no_properties(desk: Desk) -> None:
    who = desk.good(desk.token(group="", kind="pilot"))
    assert (who.properties, who.vo) == (frozenset(), "")


def test_claims_never_replace_the_registered_ones(desk: Desk, clock: HandClock) -> None:
    token = desk.token(iss="https://evil.example", sub="root", aud="x", exp=2**40, client_id="x", scope="x")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["aud"], claims["exp"]) == (
        ISSUER,
        "u-1",
        API,
        clock.now() + 600,
    )
    assert (claims["client_id"], claims["scope"]) == ("cli", "openid")


def test_what_is_minted_does_not_print(desk: Desk) -> None:
    minted = desk.mint.access_token("ES256", 60, subject="u", client_id="c", scope="", claims={})
    assert minted.token not in repr(minted)
    assert minted.token_id in repr(minted)
