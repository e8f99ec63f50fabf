"""Whatever a provider sends: the parsers of its documents and tokens accept it or say no, in the one way declared."""

import base64
import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gatehouse.auth.providers import idtoken
from gatehouse.auth.providers.discovery import ALGORITHMS, Metadata, read
from gatehouse.auth.providers.egress import Guard, NotAllowed, public
from gatehouse.auth.providers.fetch import MAX_BYTES, FetchError, clean, complaint, parse_object
from gatehouse.auth.providers.idtoken import BadIdToken, Expected
from gatehouse.auth.providers.jwks import read_keys

ISSUER = "https://idp.example.org/"
NOW = 1_790_000_000
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OWN = PyJWK({**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "one"}, algorithm="RS256")
EXPECTED = Expected(ISSUER, "gatehouse", "the nonce", "the access token")
HONEST: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "alice",
    "aud": "gatehouse",
    "exp": NOW + 600,
    "iat": NOW,
    "nonce": "the nonce",
    "auth_time": NOW,
}
ENTRIES: list[dict[str, Any]] = [
    {**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "one", "use": "sig"},
    {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "two", "use": "sig"},
]
NAMES = ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")

# the same examples on every machine; what a longer search finds becomes an `example`
repeatable = settings(derandomize=True, max_examples=400)

texts = st.text(st.characters(), max_size=40)  # lone surrogates too: JSON can write them
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
addresses = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "https:", "//", "javascript:", "file://", "HTTPS://", ""]),
    st.sampled_from(
        ["idp.example.org", "a@b", "[::1]", "[", "127.0.0.1", "xn--fiqs8s", "é", "", "x" * 300, "a..b"]
    ),
    st.sampled_from(["", ":443", ":0", ":-1", ":99999", ":x", ":\u0661"]),
    texts,
)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(header: object, payload: bytes) -> str:
    """A JWS with the provider's own signature, whatever is in it."""
    body = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{body}.{b64(RSAAlgorithm(RSAAlgorithm.SHA256).sign(body.encode(), KEY))}"


def plain(error: Exception) -> None:
    """A reason is for people: one short line of visible characters."""
    assert 0 < len(str(error)) < 400
    assert str(error).isprintable()


def judge(token: str) -> dict[str, Any] | None:
    """The claims if the token is believed; None if it is refused as declared."""
    try:
        idtoken.key_id(token)
        return idtoken.verify(token, OWN, EXPECTED, NOW)
    except BadIdToken as error:
        plain(error)
        return None


# --- documents


@repeatable
@given(st.binary(max_size=400) | values.map(lambda value: json.dumps(value).encode()))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b"\xff\xfe{\x00}\x00")
@example(b'{"a": NaN}')
@example(b'{"a": 1e999}')
@example(b'{"\\ud800": "\\udfff"}')
@example(b'{"a": ' + b"9" * 5000 + b"}")
@example(b"[" * MAX_BYTES)
@example(b'{"a":' * 40_000)
@example(b'{"a":' * 17 + b"1" + b"}" * 17)
@example(b'{"a": [' + b"[]," * 80_000 + b"1]}")
def test_a_body_is_an_object_or_refused(raw: bytes) -> None:
    try:
        assert isinstance(parse_object(raw, "GET somewhere"), dict)
    except FetchError as error:
        plain(error)


@repeatable
@given(st.dictionaries(st.sampled_from(NAMES) | texts, addresses | values, max_size=8))
@example({})
def test_a_discovery_document_is_read_or_refused(document: dict[str, Any]) -> None:
    whole = {name: f"{ISSUER}{name}" for name in NAMES} | {"issuer": ISSUER}
    for tried in (document, {**whole, **document}, {**whole, **document, "issuer": ISSUER}):
        try:
            found = read(tried, ISSUER)
        except FetchError as error:
            plain(error)
            continue
        assert isinstance(found, Metadata)
        for name in NAMES[1:]:
            url = httpx.URL(getattr(found, name))
            assert (url.scheme, url.userinfo, bool(url.host)) == ("https", b"", True)


@repeatable
@given(
    st.lists(
        st.one_of(
            values,
            st.builds(
                lambda entry, change: {**entry, **change},
                st.sampled_from(ENTRIES),
                st.dictionaries(
                    st.sampled_from(["kty", "n", "e", "crv", "x", "y", "kid", "use", "alg", "key_ops", "d"]),
                    values
                    | st.binary(max_size=80).map(b64)
                    | st.sampled_from(["RSA", "EC", "oct", "P-521", "enc"]),
                    max_size=3,
                ),
            ),
        ),
        max_size=5,
    )
    | values
)
@example([{"kty": "RSA", "n": "_" * 200_000, "e": "AQAB"}])
@example([{"kty": "RSA", "n": ENTRIES[0]["n"], "e": "_" * 200_000}])
@example([{"kty": "RSA", "n": ENTRIES[0]["n"], "e": ""}])
@example([{**ENTRIES[1], "x": ENTRIES[1]["y"]}])
@example([{**ENTRIES[1], "x": "AA", "y": "AA"}])
@example([{**ENTRIES[0], "oth": [], "p": "AQAB"}])
@example([{**ENTRIES[0], "kid": ["one"]}])
@example([ENTRIES[0]] * 5000)
def test_a_key_set_gives_usable_public_keys_or_none(keys: Any) -> None:
    found = read_keys({"keys": keys})
    assert len(found) <= 32
    for key in found.values():
        assert key.algorithm_name in ALGORITHMS
        assert not hasattr(key.key, "sign")
        # whatever it is, a token can be held against it
        with pytest.raises(BadIdToken):
            idtoken.verify(compact({"alg": "RS256"}, b"{}"), key, EXPECTED, NOW)


# --- tokens


@repeatable
@given(st.text(st.characters(), max_size=200) | st.binary(max_size=200).map(b64))
@example("")
@example("..")
@example("....")
@example("." * 16_000)
@example("\ud800.\ud800.\ud800")
@example(b64(b"[" * 6000) + ".e30.e30")
@example(b64(b'{"alg":' * 800) + ".e30.e30")
@example(b64(b"9" * 6000) + ".e30.e30")
@example(b64(b'{"alg": "RS256", "kid": "\\ud800"}') + ".e30.AA")
@example(b64(b"\xff\xfe\x00") + ".e30.e30")
@example(b64(b"null") + ".e30.e30")
def test_text_that_is_no_token_is_refused(token: str) -> None:
    assert judge(token) is None


@repeatable
@given(
    st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "zip"]) | texts, values, max_size=5
    )
)
@example({"alg": ["RS256"]})
@example({"alg": {"RS256": 1}})
@example({"alg": "RS256", "b64": False})
@example({"alg": "RS256", "kid": 7})
@example({"alg": "RS256", "typ": None})
def test_a_header_is_understood_or_refused(header: dict[str, Any]) -> None:
    payload = json.dumps(HONEST).encode()
    for tried in (header, {**header, "alg": "RS256"}):
        claims = judge(compact(tried, payload))
        if claims is not None:
            assert tried["alg"] == "RS256"
            assert "crit" not in tried
            assert str(tried.get("typ", "JWT")).lower() in ("jwt", "application/jwt")


@repeatable
@given(
    st.dictionaries(
        st.sampled_from([*HONEST, "azp", "at_hash", "nbf", "acr", "sid"]) | texts, values, max_size=5
    )
)
@example({"exp": float("inf")})
@example({"iat": float("nan")})
@example({"nbf": 10**4000})
@example({"exp": "1e9"})
@example({"aud": []})
@example({"aud": ["gatehouse", None]})
@example({"aud": ["gatehouse", "other"], "azp": ["gatehouse"]})
@example({"aud": {"gatehouse": 1}})
@example({"sub": "\ud800"})
@example({"iss": [ISSUER]})
@example({"at_hash": "\ud800"})
@example({"auth_time": float("inf")})
@example({"auth_time": 10**4000})
def test_claims_are_what_was_expected_or_refused(change: dict[str, Any]) -> None:
    claims = judge(compact({"alg": "RS256"}, json.dumps({**HONEST, **change}).encode()))
    if claims is None:
        return
    assert (claims["iss"], claims["nonce"]) == (ISSUER, "the nonce")
    assert "gatehouse" in ([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"])
    assert claims["exp"] > NOW - 60
    assert claims["iat"] <= NOW + 60
    at = idtoken.auth_time(claims)
    assert at is None or abs(at) < 1 << 53
    try:
        idtoken.fresh(claims, NOW - 300, NOW)
    except BadIdToken:
        return
    assert at is not None
    assert NOW - 360 <= at <= NOW + 60


@repeatable
@given(st.binary(max_size=300))
@example(b"[]")
@example(b"null")
@example(b"[" * 9000)
@example(b'{"exp":' + b"9" * 5000 + b"}")
def test_a_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    assert judge(compact({"alg": "RS256"}, payload)) is None


@repeatable
@given(st.data())
def test_one_changed_character_spoils_a_token(data: st.DataObject) -> None:
    token = compact({"alg": "RS256"}, json.dumps(HONEST).encode())
    assert judge(token) == HONEST
    at = data.draw(st.integers(0, len(token) - 2))  # the last character may hold bits that mean nothing
    other = data.draw(st.characters().filter(lambda c: c != token[at]))
    before = token[at + 1 : at + 2]
    if before != "." or other == ".":
        assert judge(token[:at] + other + token[at + 1 :]) is None


# --- addresses and words


@repeatable
@given(addresses | texts)
@example("https://idp.example.org:443:443/")
@example("https://idp.example.org%2f@127.0.0.1/")
@example("https://idp.example.org\t/")
@example("https://[fe80::1%25eth0]/")
@example("https://[::ffff:127.0.0.1]/")
def test_an_address_is_allowed_or_refused(url: str) -> None:
    try:
        found = Guard().target(url)
    except NotAllowed as error:
        plain(error)
        return
    assert (found.scheme, found.port or 443, found.userinfo) == ("https", 443, b"")
    assert found.raw_host
    assert found.netloc.isascii()


@repeatable
@given(texts | st.ip_addresses().map(str))
def test_a_number_is_public_or_not(text: str) -> None:
    assert public(text) in (True, False)


@repeatable
@given(values, values)
@example("a" * 100_000, "b\n" * 100_000)
def test_words_of_others_are_one_short_line(error: Any, description: Any) -> None:
    said = complaint(error, description)
    assert len(said) <= 64 + 200 + 3
    assert said.isprintable()
    said.encode()
    assert clean(said, 300) == said
