"""Defects that libraries and servers of this kind have had, tried at the doors where we read what strangers sign.

The doors here are our gate (access tokens) and client authentication (assertions of private_key_jwt). The answers of
identity providers are the third: the tests named after `relying` are theirs. The fourth, proofs of possession, has the
tests of RFC 9449.

CVE-2026-27962 | authlib: the key of the token's own jwk header is used
    | test_cve_2026_27962_a_key_in_the_header_is_not_used,
    | test_authlib_cve_2026_27962_a_key_in_the_tokens_own_header_is_not_used
CVE-2025-59420 | authlib: crit is ignored
    | test_cve_2025_59420_and_cve_2026_32597_unknown_crit_is_refused,
    | test_authlib_cve_2025_59420_and_pyjwt_cve_2026_32597_unknown_crit_is_refused
CVE-2025-61920 | authlib: segments without bound
    | test_cve_2025_61920_long_tokens_are_refused_unread,
    | test_authlib_cve_2025_61920_oversized_segments_are_refused_before_they_are_decoded
GHSA-fg6f-75jq-6523 | authlib: state kept in a cache that all browsers share (CVE-2025-68158)
    | test_ghsa_fg6f_75jq_6523_and_ghsa_jj8c_mmj3_mmgv_a_state_is_of_one_browser
GHSA-jj8c-mmj3-mmgv | authlib: the same again
    | test_ghsa_fg6f_75jq_6523_and_ghsa_jj8c_mmj3_mmgv_a_state_is_of_one_browser
CVE-2024-37568 | authlib: HMAC with an asymmetric key
    | test_cve_2024_37568_and_cve_2022_29217_a_public_key_is_no_secret
CVE-2025-62706 | authlib: a compressed JWE fills the memory
    | test_cve_2025_62706_and_cve_2024_33664_nothing_encrypted_is_opened, test_an_encrypted_token_is_refused
CVE-2026-32597 | PyJWT: crit is ignored
    | test_cve_2025_59420_and_cve_2026_32597_unknown_crit_is_refused
CVE-2026-48526 | PyJWT: HS256 with a public JWK
    | test_cve_2026_48526_a_public_jwk_is_no_secret,
    | test_pyjwt_cve_2026_48526_hs256_with_the_public_jwk_as_json_is_refused
GHSA-75c5-xw7c-p5pm | PyJWT: a part of the issuer is enough
    | test_ghsa_75c5_xw7c_p5pm_a_part_of_the_issuer_is_refused,
    | test_pyjwt_ghsa_75c5_xw7c_p5pm_a_part_of_the_issuer_is_refused
CVE-2022-29217 | PyJWT: algorithm confusion with keys in OpenSSH form
    | test_cve_2024_37568_and_cve_2022_29217_a_public_key_is_no_secret
CVE-2024-33663 | python-jose: algorithm confusion, also with DER keys; CVE-2024-23342 of ecdsa below it
    | test_cve_2024_33663_another_algorithm_is_refused, test_cve_2024_33663_python_jose_is_not_in_what_runs
CVE-2024-33664 | python-jose: a compressed JWE fills the memory
    | test_cve_2025_62706_and_cve_2024_33664_nothing_encrypted_is_opened
joserfc | `none` if it is allowed; types of claims (1.7.3); an empty list of signatures (1.7.4)
    | test_joserfc_none_is_refused, test_joserfc_1_7_3_claims_of_other_types_are_refused,
    | test_joserfc_1_7_4_only_the_compact_form_is_read, test_joserfc_1_7_4_is_the_oldest_that_runs
GHSA-m2w5-7xhv-w6fh | Keycloak: the check for reuse of a refresh token is not atomic
    | test_ghsa_m2w5_7xhv_w6fh_of_50_uses_one_family_remains
CVE-2026-4874 | Keycloak: an address that a client sends is fetched
    | test_cve_2026_4874_no_address_of_a_request_is_fetched
CVE-2026-7571 | Keycloak: implicit answers although they are off
    | test_cve_2026_7571_no_spelling_opens_the_implicit_flow
"""

import hashlib
import hmac
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatehouse.tokenmanager import keys
from tests.auth.kit import Walker, asking, at_once, begin, error, get, login, look, poll, post, query
from tests.house import ROOT, imports, sources
from tests.rfc.kit import PROVER_JWK, PROVER_KEY, PROVERS, RAW, SECRET, part, unverified, userinfo
from tests.service import Service

Claims = dict[str, Any]
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Door(NamedTuple):
    """Where a signed token is believed: the honest parts of one, and what happens when it is shown."""

    header: Claims
    claims: Claims
    key: rsa.RSAPrivateKey
    published: Claims
    show: Callable[[str], httpx.Response]
    error: str

    def signed(self, header: Claims | None = None, claims: Claims | None = None, key: Any = None) -> str:
        """A token with these parts replaced (None leaves one out), signed by RS256 whatever its header says."""
        head = _without_none({**self.header, **(header or {})})
        body = _without_none({**self.claims, "jti": str(time.monotonic_ns()), **(claims or {})})
        start = f"{part(head)}.{part(body)}"
        signature = (key or self.key).sign(start.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{start}.{part(signature)}"

    def hmac(self, secret: bytes, alg: str = "HS256") -> str:
        """A token whose secret is this."""
        start = (
            f"{part({**self.header, 'alg': alg})}.{part({**self.claims, 'jti': str(time.monotonic_ns())})}"
        )
        return f"{start}.{part(hmac.digest(secret, start.encode(), hashlib.sha256))}"

    def opens(self, token: str) -> bool:
        """Whether it is believed; a refusal has to be the right one, without the token in it."""
        answer = self.show(token)
        if answer.status_code == 200:
            return True
        error(answer, 401, self.error)
        assert not token or token not in answer.text
        return False


def _without_none(parts: Claims) -> Claims:
    return {name: value for name, value in parts.items() if value is not None}


_unused = iter(PROVERS)


@pytest.fixture(params=["gate", "assertion"])
def door(
    request: pytest.FixtureRequest, service: Service, ring: keys.KeyRing, genuine: str
) -> Iterator[Door]:
    """Each door; what is honest opens it before and after."""
    made = _gate(service, ring, genuine) if request.param == "gate" else _assertion(service, next(_unused))
    assert made.opens(made.signed())
    yield made
    assert made.opens(made.signed())


def _gate(service: Service, ring: keys.KeyRing, genuine: str) -> Door:
    key = ring.active("RS256")
    published = next(one for one in get(service, "jwk").json()["keys"] if one["kid"] == key.kid)
    header = {"alg": "RS256", "kid": key.kid, "typ": "at+jwt"}
    private: Any = key.private
    return Door(
        header,
        unverified(genuine),
        private,
        published,
        lambda token: userinfo(service, token),
        "invalid_token",
    )


def _assertion(service: Service, client: str) -> Door:
    claims = {"iss": client, "sub": client, "aud": service.issuer, "exp": int(time.time()) + 300}
    return Door(
        {"alg": "RS256", "kid": "p1", "typ": "JWT"},
        claims,
        PROVER_KEY,
        {**PROVER_JWK, "alg": "RS256", "use": "sig"},
        lambda token: post(
            service, "device", client_assertion=token, client_assertion_type=ASSERTION, client_id=client
        ),
        "invalid_client",
    )


def _public(key: rsa.RSAPrivateKey, kid: str) -> Claims:
    numbers = key.public_key().public_numbers()
    raw = numbers.n.to_bytes(256, "big")
    return {"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "e": "AQAB", "n": part(raw)}


def test_cve_2026_27962_a_key_in_the_header_is_not_used(door: Door) -> None:
    own = _public(STRANGER, str(door.header["kid"]))
    assert not door.opens(door.signed({"jwk": own}, key=STRANGER))
    assert not door.opens(door.signed({"jwk": own, "kid": None}, key=STRANGER))
    assert not door.opens(door.signed({"jwk": own, "kid": "own"}, key=STRANGER))
    assert not door.opens(door.signed({"jku": "http://127.0.0.1:1/", "x5c": ["AAAA"]}, key=STRANGER))


@pytest.mark.parametrize("crit", [["b64"], ["exp"], [], "exp", ["http://x.example/unknown"]])
def test_cve_2025_59420_and_cve_2026_32597_unknown_crit_is_refused(
    service: Service, ring: keys.KeyRing, genuine: str, crit: object
) -> None:
    for door in (_gate(service, ring, genuine), _assertion(service, PROVERS[0])):
        assert not door.opens(door.signed({"crit": crit, "b64": True, "exp": 1}))


@pytest.mark.parametrize("where", ["header", "claims"])
def test_cve_2025_61920_long_tokens_are_refused_unread(door: Door, where: str) -> None:
    """Signed as they should be: it is the length alone that they are refused for."""
    assert door.opens(door.signed(**{where: {"x": "y" * 3000}}))
    assert not door.opens(door.signed(**{where: {"x": "y" * 9000}}))
    assert not door.opens(door.signed() + "A" * 9000)
    assert not door.opens("." * 9000)
    beyond = door.show(door.signed(**{where: {"x": "y" * 300_000}}))
    assert beyond.status_code in (400, 401, 413, 431)


def test_ghsa_fg6f_75jq_6523_and_ghsa_jj8c_mmj3_mmgv_a_state_is_of_one_browser(service: Service) -> None:
    with Walker(service) as attacker, Walker(service) as victim, Walker(service) as nobody:
        started, own = begin(service), begin(service)
        attacker.confirm(own)
        answer = attacker.visit("egi-demo", "bob")
        victim.confirm(started)
        victim.leave("egi-demo")
        assert victim.http.get(answer).status_code == 409
        assert nobody.http.get(answer).status_code == 400
        error(poll(service, started), 400, "authorization_pending")


@pytest.mark.parametrize("form", ["PEM", "PKCS1", "DER", "OpenSSH"])
def test_cve_2024_37568_and_cve_2022_29217_a_public_key_is_no_secret(
    service: Service, ring: keys.KeyRing, genuine: str, form: str
) -> None:
    for door in (_gate(service, ring, genuine), _assertion(service, PROVERS[1])):
        encoding, kind = {
            "PEM": (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "PKCS1": (Encoding.PEM, PublicFormat.PKCS1),
            "DER": (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "OpenSSH": (Encoding.OpenSSH, PublicFormat.OpenSSH),
        }[form]
        secret = door.key.public_key().public_bytes(encoding, kind)
        assert not door.opens(door.hmac(secret))
        assert not door.opens(door.hmac(secret.strip()))


def test_cve_2025_62706_and_cve_2024_33664_nothing_encrypted_is_opened(door: Door) -> None:
    for head in (
        {"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF"},
        {"alg": "dir", "enc": "A128CBC-HS256", "zip": "DEF"},
        {**door.header, "enc": "A256GCM", "zip": "DEF"},
    ):
        assert not door.opens(
            f"{part(head)}.{part(b'k' * 256)}.{part(b'i' * 12)}.{part(b'c' * 99)}.{part(b't' * 16)}"
        )


def test_cve_2026_48526_a_public_jwk_is_no_secret(door: Door) -> None:
    entry = door.published
    for secret in (
        json.dumps(entry),
        json.dumps(entry, separators=(",", ":")),
        entry["n"],
        json.dumps({"keys": [entry]}),
    ):
        assert not door.opens(door.hmac(secret.encode()))


def test_ghsa_75c5_xw7c_p5pm_a_part_of_the_issuer_is_refused(door: Door) -> None:
    issuer = door.claims["iss"]
    for forged in (issuer[:-1], issuer[1:], issuer[:1], issuer + "/", [issuer], {issuer: 1}, issuer.upper()):
        assert not door.opens(door.signed(claims={"iss": forged}))


def test_cve_2024_33663_another_algorithm_is_refused(door: Door) -> None:
    """Signed by the right key with RS256, and said to be something else; then what no list may hold."""
    for alg in ("RS384", "PS256", "ES256", "EdDSA", "HS256", None, ["RS256"]):
        assert not door.opens(door.signed({"alg": alg}))


def test_cve_2024_33663_python_jose_is_not_in_what_runs() -> None:
    locked = (ROOT / "requirements" / "server.txt").read_text()
    assert re.search(r"^pyjwt==", locked, re.M)
    assert not re.search(r"^(python-jose|ecdsa)==", locked, re.M)
    found = {full for source in sources() for _, _, _, full in imports(source)}
    assert "jwt" in found
    assert not {name for name in found if name.partition(".")[0] in ("jose", "ecdsa")}


def test_joserfc_none_is_refused(door: Door) -> None:
    for alg in ("none", "None", "NONE", ""):
        signed = door.signed({"alg": alg})
        assert not door.opens(signed)
        assert not door.opens(signed.rpartition(".")[0] + ".")


def test_joserfc_1_7_3_claims_of_other_types_are_refused(door: Door) -> None:
    for claims in (
        {"aud": {"a": 1}},
        {"aud": 1},
        {"iss": 1},
        {"exp": "never"},
        {"exp": True},
        {"exp": 1e400},
    ):
        assert not door.opens(door.signed(claims=claims)), claims


def test_joserfc_1_7_4_only_the_compact_form_is_read(door: Door) -> None:
    head, body, signature = door.signed().split(".")
    flat = {"payload": body, "protected": head, "signature": signature}
    several = {"payload": body, "signatures": [{"protected": head, "signature": signature}]}
    for form in (flat, several, {"payload": body, "signatures": []}, {"payload": body}):
        assert not door.opens(json.dumps(form))
        assert not door.opens(part(form))
    assert not door.opens(f"{head}.{body}")


def test_joserfc_1_7_4_is_the_oldest_that_runs() -> None:
    locked = (ROOT / "requirements" / "server.txt").read_text()
    for name, oldest in (("joserfc", (1, 7, 4)), ("pyjwt", (2, 13, 0)), ("authlib", (1, 7, 1))):
        found = re.search(rf"^{name}==(\d+)\.(\d+)\.(\d+)", locked, re.M)
        assert found is not None, name
        assert tuple(int(number) for number in found.groups()) >= oldest


def test_ghsa_m2w5_7xhv_w6fh_of_50_uses_one_family_remains(service: Service) -> None:
    tokens = login(service)
    before = look(service, "SELECT count(*) FROM grant_family")
    form = {"grant_type": "refresh_token", "client_id": "DIRAC_CLI"}
    answers = at_once(service, "token", 50, **form, refresh_token=tokens["refresh_token"])
    successors = {one.json().get("refresh_token") for one in answers if one.status_code == 200}
    assert len(successors) == 1
    assert look(service, "SELECT count(*) FROM grant_family") == before
    [successor] = successors
    again = post(service, "token", **form, refresh_token=successor)
    assert again.status_code == 200
    # two turns later it is reuse, and ends all of them
    error(post(service, "token", **form, refresh_token=tokens["refresh_token"]), 400, "invalid_grant")
    error(post(service, "token", **form, refresh_token=again.json()["refresh_token"]), 400, "invalid_grant")


def test_cve_2026_4874_no_address_of_a_request_is_fetched(service: Service) -> None:
    """Every parameter that names an address in some standard or server, at every endpoint."""
    names = (
        *("jwks_uri", "logo_uri", "client_session_host", "request_uri", "sector_identifier_uri", "client_id"),
        *("client_metadata", "resource", "audience", "issuer", "iss", "jku", "x5u", "backchannel_logout_uri"),
        *(
            "redirect_uri",
            "post_logout_redirect_uri",
            "subject_token",
            "token",
            "policy_uri",
            "target_link_uri",
        ),
    )
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.settimeout(0.3)
        address = f"http://127.0.0.1:{trap.getsockname()[1]}/"
        for path in ("token", "device", "par", "revoke", "authorization"):
            for name in names:
                said = {**query(asking(service)), "client_secret": SECRET, "grant_type": "refresh_token"}
                answer = post(service, path, **{**said, name: address})
                assert answer.status_code < 500
        door = _assertion(service, PROVERS[2])
        assert not door.opens(door.signed({"jku": address, "x5u": address, "kid": "x"}, key=STRANGER))
        assert userinfo(service, door.signed({"jku": address, "typ": "at+jwt"})).status_code == 401
        with pytest.raises(TimeoutError):
            trap.accept()


def test_cve_2026_7571_no_spelling_opens_the_implicit_flow(service: Service) -> None:
    for wanted in (
        "token",
        "id_token",
        "Token",
        "code token",
        "token code",
        "code  token",
        "code\ttoken",
        "CODE",
    ):
        for client in ("portal", "second", "native"):
            where = {"second": "https://second.example.org/back", "native": "http://127.0.0.1:5/done"}
            given = {"redirect_uri": where[client]} if client in where else {}
            back = httpx.get(asking(service, response_type=wanted, client_id=client, **given), **RAW)
            assert "token=" not in back.headers.get("location", "")
            assert back.status_code == 400 or "error=" in back.headers["location"]
