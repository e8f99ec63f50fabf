"""DPoP, section by section: what a proof must be, and what a token that is bound to a key opens."""

import asyncio
import base64
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import APIRouter, FastAPI
from jwt.algorithms import ECAlgorithm
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatehouse.cli.direct import Direct
from gatehouse.cli.edge import HANDLERS
from gatehouse.registry.database import Database
from gatehouse.registry.settings import LimitSettings
from gatehouse.tokenmanager import once
from gatehouse.tokenmanager.dpop import MAX_PROOF, NONCE_LIFETIME, Proof, Proofs, Unproven, claim
from gatehouse.tokenmanager.gate import Gate, GatedAPIRoute, allow, members, principal_of, route
from gatehouse.tokenmanager.holding import Holders
from gatehouse.tokenmanager.limits import Limits
from gatehouse.tokenmanager.prover import Prover
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock
from tests.proofs import Holder, part, spell
from tests.tokenmanager.kit import BASE, Desk

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
SHOW = f"{BASE}/api/show"


@allow(members(), "call")
async def show(request: Request) -> Response:
    return JSONResponse(principal_of(request).binding)


class House:
    """Routes behind the gate, called over HTTP at a host that is not the public one."""

    def __init__(self, desk: Desk, *, direct: bool) -> None:
        self.desk = desk
        app = FastAPI(exception_handlers=HANDLERS, openapi_url=None, docs_url=None, redoc_url=None)
        api = APIRouter(route_class=GatedAPIRoute)
        api.add_api_route("/api/described", show)
        app.router.routes = [route("/api/show", show, methods=["GET", "POST"]), *api.routes]
        holders = Holders(desk.proofs, desk.database)
        app.state.gate = Gate(desk.verifier, desk.groups, Limits(LimitSettings(), desk.clock), holders)
        app.state.resource_metadata = f"{BASE}/.well-known/oauth-protected-resource/api"
        self.app: Any = Direct(app, app.router.routes) if direct else app
        self.holder = Holder()
        self.holder.nonce = desk.proofs.nonce()
        self.token = desk.token(cnf=self.holder.cnf)

    def proof(self, **given: Any) -> str:
        """A good proof for GET /api/show, with changes."""
        return self.holder.proof("GET", SHOW, self.token, now=self.desk.clock.now(), **given)

    def get(self, *proofs: str, token: str = "", scheme: str = "DPoP", **given: Any) -> httpx.Response:
        """GET /api/show with a token and any number of proofs."""
        headers = [("Authorization", f"{scheme} {token or self.token}"), *(("DPoP", one) for one in proofs)]
        return self.send(headers, **given)

    def send(self, headers: list[tuple[str, str]], path: str = "/api/show") -> httpx.Response:
        """GET with any headers."""

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as http:
                return await http.get(path, headers=headers)

        return asyncio.run(call())


@pytest.fixture
def desk(database: Database, clock: HandClock) -> Desk:
    """A mint, a verifier and a reader of proofs."""
    return Desk(database, clock)


@pytest.fixture(params=[True, False], ids=["direct", "framework"])
def house(request: pytest.FixtureRequest, desk: Desk) -> House:
    """The same routes on the short way and on the long one."""
    return House(desk, direct=request.param)


def refused(answer: httpx.Response, code: str, status: int = 401) -> str:
    """Hold a refusal against its code, in the body and in the challenge; the reason."""
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    challenges = answer.headers.get_list("www-authenticate")
    assert [one.partition(" ")[0] for one in challenges] == ["Bearer", "DPoP"]
    assert all('resource_metadata="https://gate.example.org/' in one for one in challenges)
    assert 'algs="ES256 EdDSA"' in challenges[1]
    assert f'error="{code}"' in "".join(challenges)
    reason: str = answer.json()["error_description"]
    return reason


# -- §4.3: the twelve checks


def test_a_good_proof_opens_the_gate(house: House) -> None:
    assert house.get(house.proof()).json() == f"jkt:{house.holder.thumbprint}"
    described = house.holder.proof("GET", f"{BASE}/api/described", house.token)
    headers = [("Authorization", f"DPoP {house.token}"), ("DPoP", described)]
    assert house.send(headers, "/api/described").status_code == 200


def test_rfc9449_4_3_1_more_than_one_dpop_header_is_refused(house: House) -> None:
    assert "More than one" in refused(house.get(house.proof(), house.proof()), "invalid_dpop_proof")
    assert "No DPoP header" in refused(house.get(), "invalid_dpop_proof")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "noise",
        "a.b",
        "a.b.c",
        "e30.e30.e30",
        "e30.e30.e30.e30",
        "..",
        f"{part([])}.{part({})}.AAAA",
        f"{spell(b'[' * 2000)}.e30.AAAA",
        f"{spell(b'[' * 2000 + b']' * 2000)}.e30.AAAA"[:4000],
    ],
)
def test_rfc9449_4_3_2_what_is_no_jwt_is_refused(house: House, bad: str) -> None:
    refused(house.get(bad), "invalid_dpop_proof")


def test_rfc9449_4_3_2_a_proof_is_bounded_before_it_is_read(house: House) -> None:
    roomy = house.proof(claims={"more": "x" * 2000})
    assert len(roomy) < MAX_PROOF
    assert house.get(roomy).status_code == 200
    assert str(MAX_PROOF) in refused(
        house.get(house.proof(claims={"more": "x" * 4000})), "invalid_dpop_proof"
    )


@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat"])
@pytest.mark.parametrize("value", [None, [], {"a": 1}, True])
def test_rfc9449_4_3_3_every_required_claim_is_there(house: House, claim: str, value: object) -> None:
    refused(house.get(house.proof(claims={claim: value})), "invalid_dpop_proof")


@pytest.mark.parametrize("jti", ["", "x" * 257])
def test_rfc9449_4_3_3_a_jti_is_bounded(house: House, jti: str) -> None:
    refused(house.get(house.proof(claims={"jti": jti})), "invalid_dpop_proof")


@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "DPOP+JWT", 7])
def test_rfc9449_4_3_4_the_type_is_dpop_jwt(house: House, typ: object) -> None:
    refused(house.get(house.proof(header={"typ": typ})), "invalid_dpop_proof")


@pytest.mark.parametrize("alg", [None, "none", "HS256", "RS256", "ES384", "ES256K", "es256", "EdDSA"])
def test_rfc9449_4_3_5_the_algorithm_is_one_of_ours_and_that_of_the_key(house: House, alg: object) -> None:
    refused(house.get(house.proof(header={"alg": alg})), "invalid_dpop_proof")


@pytest.mark.parametrize("alg", ["none", "HS256", "RS256", "ES256", "Ed25519", "eddsa"])
def test_rfc9449_4_3_5_nor_may_a_key_for_eddsa_go_by_another_name(house: House, alg: str) -> None:
    nonce, house.holder = house.holder.nonce, Holder("EdDSA")
    house.holder.nonce = nonce
    house.token = house.desk.token(cnf=house.holder.cnf)
    refused(house.get(house.proof(header={"alg": alg})), "invalid_dpop_proof")


def test_rfc9449_4_3_5_no_critical_header_is_understood(house: House) -> None:
    for crit in (["exp"], [], "x"):
        assert "critical" in refused(house.get(house.proof(header={"crit": crit})), "invalid_dpop_proof")


def test_rfc9449_4_3_5_eddsa_is_as_good(house: House) -> None:
    nonce = house.holder.nonce
    house.holder = Holder("EdDSA")
    house.holder.nonce = nonce
    house.token = house.desk.token(cnf=house.holder.cnf)
    assert house.get(house.proof()).status_code == 200
    assert "signature" in refused(house.get(house.proof()[:-8] + "AAAAAAAA"), "invalid_dpop_proof")


def test_rfc9449_4_3_6_the_signature_is_that_of_the_key(house: House) -> None:
    other = Holder()
    other.nonce = house.holder.nonce
    forged = other.proof("GET", SHOW, house.token, header={"jwk": house.holder.jwk})
    assert "signature" in refused(house.get(forged), "invalid_dpop_proof")
    head, body, signature = house.proof().split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    padded = spell(raw[:32] + b"\0" + raw[32:])  # the same two numbers, one with a leading zero
    for bad in ("", "AAAA", signature[:-4], "A" * 86, signature + "AAAA", padded):
        refused(house.get(f"{head}.{body}.{bad}"), "invalid_dpop_proof")


def test_rfc9449_4_3_7_a_private_key_is_refused(house: House) -> None:
    reason = refused(house.get(house.proof(header={"jwk": house.holder.private_jwk})), "invalid_dpop_proof")
    assert "private key" in reason
    assert house.holder.private_jwk["d"] not in reason


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": spell(bytes(32)), "y": spell(bytes(32))},
        {"kty": "EC", "crv": "P-256", "x": spell(bytes(31)), "y": spell(bytes(33))},
        {"kty": "EC", "crv": "P-256", "x": 7, "y": 8},
        {"kty": "EC", "crv": "P-384", "x": spell(bytes(48)), "y": spell(bytes(48))},
        {"kty": "OKP", "crv": "X25519", "x": spell(bytes(32))},
    ],
)
def test_rfc9449_4_3_7_what_is_no_key_for_the_algorithm_is_refused(house: House, jwk: dict[str, Any]) -> None:
    refused(house.get(house.proof(header={"jwk": jwk})), "invalid_dpop_proof")


def test_rfc7638_3_a_key_has_one_spelling_and_so_one_thumbprint(house: House) -> None:
    x, y = (base64.urlsafe_b64decode(house.holder.jwk[name] + "=") for name in ("x", "y"))
    cut_elsewhere = {"x": spell((x + y)[:31]), "y": spell((x + y)[31:])}
    padded = {"x": house.holder.jwk["x"] + "="}
    for other in (cut_elsewhere, padded, {"x": spell(b"\0" + x)}):
        jwk = {**house.holder.jwk, **other}
        assert "not one for" in refused(house.get(house.proof(header={"jwk": jwk})), "invalid_dpop_proof")


@pytest.mark.parametrize("method", ["POST", "get", ""])
def test_rfc9449_4_3_8_the_method_is_that_of_the_request(house: House, method: str) -> None:
    assert "method" in refused(house.get(house.proof(claims={"htm": method})), "invalid_dpop_proof")


@pytest.mark.parametrize(
    "address",
    [
        SHOW,
        f"{SHOW}?a=b",
        f"{SHOW}#here",
        "HTTPS://Gate.Example.ORG/api/show",
        "https://gate.example.org:443/api/show",
        "https://gate.example.org/api/./x/../show",
        "https://gate.example.org/%61pi/sho%77",
    ],
)
def test_rfc9449_4_3_9_the_address_is_compared_after_normalisation(house: House, address: str) -> None:
    answer = house.send(
        [("Authorization", f"DPoP {house.token}"), ("DPoP", house.proof(claims={"htu": address}))],
        "/api/show?limit=3",
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/api/show",
        "http://inside:8000/api/show",  # what the Host header says
        "http://gate.example.org/api/show",
        "https://gate.example.org:444/api/show",
        "https://gate.example.org:x/api/show",
        "https://gate.example.org/api/Show",
        "https://gate.example.org/api/show/",
        "https://gate.example.org/api%2Fshow",
        "https://gate.example.org/api/show%",
        "https://gate.example.org@evil.example/api/show",
        "https://user@gate.example.org/api/show",
        "https://gate.example.org.evil.example/api/show",
        "https://gate.example.org\n/api/show",
        "ftp://gate.example.org/api/show",
        "https://gäte.example.org/api/show",
    ],
)
def test_rfc9449_4_3_9_a_proof_for_another_address_is_refused(house: House, address: str) -> None:
    assert "htu" in refused(house.get(house.proof(claims={"htu": address})), "invalid_dpop_proof")


def test_rfc9449_4_3_9_the_address_for_certificates_is_ours_too(desk: Desk, clock: HandClock) -> None:
    holder, other = Holder(), "https://gate.example.org:8444"
    holder.nonce = desk.proofs.nonce()
    two = Proofs(Seal(bytes(32)), BASE, clock, also=other)
    for base in (BASE, other):
        assert isinstance(two.read(holder.proof("GET", f"{base}/api/show"), "GET", "/api/show"), Proof)
    assert isinstance(
        desk.proofs.read(holder.proof("GET", f"{other}/api/show"), "GET", "/api/show"), Unproven
    )


def test_rfc9449_4_3_10_the_nonce_is_one_of_ours(house: House) -> None:
    stranger = Proofs(Seal(bytes(31) + b"x"), BASE, house.desk.clock).nonce()
    mine = house.holder.nonce
    for nonce in (stranger, "x" * 32, mine[:-1] + ("A" if mine[-1] != "A" else "B"), mine + "A", "AAAA", ""):
        refused(house.get(house.proof(claims={"nonce": nonce})), "use_dpop_nonce")


def test_rfc9449_4_3_11_a_nonce_ends_and_the_clock_of_the_caller_does_not_count(
    house: House, clock: HandClock
) -> None:
    for iat in (0, clock.now() - 86400, clock.now() + 86400, clock.now() + 0.5, 10**30):
        assert house.get(house.proof(claims={"iat": iat})).status_code == 200
    late = house.proof()
    clock.pass_by(NONCE_LIFETIME)
    assert house.get(house.proof()).status_code == 200
    clock.pass_by(1)
    refused(house.get(house.proof()), "use_dpop_nonce")
    refused(house.get(late), "use_dpop_nonce")


def test_rfc9449_4_3_11_without_a_nonce_the_proof_is_of_this_minute(desk: Desk, clock: HandClock) -> None:
    holder = Holder()
    offered = Proofs(Seal(bytes(32)), BASE, clock, nonce_required=False)
    for apart, good in ((0, True), (-60, True), (60, True), (-61, False), (61, False)):
        read = offered.read(holder.proof("GET", SHOW, now=clock.now() + apart), "GET", "/api/show")
        assert isinstance(read, Proof) is good
        if isinstance(read, Proof):
            assert read.wants_nonce
            assert read.expires_at > clock.now() + apart + 60  # remembered for longer than it would be taken
        else:
            assert read.code == "use_dpop_nonce"


def test_rfc9449_4_3_12_the_token_is_the_one_that_the_proof_is_for(house: House) -> None:
    for ath in (None, "", spell(b"x" * 32), house.token, 7):
        refused(house.get(house.proof(claims={"ath": ath})), "invalid_dpop_proof")


def test_rfc9449_4_3_12_the_key_is_the_one_that_the_token_is_bound_to(house: House) -> None:
    thief = Holder()
    thief.nonce = house.holder.nonce
    assert "not the one" in refused(house.get(thief.proof("GET", SHOW, house.token)), "invalid_token")


# -- §6, §7: tokens at the resource


def test_rfc9449_6_1_a_token_bound_to_what_we_do_not_know_is_refused(house: House) -> None:
    for cnf in (
        {},
        {"jwk": house.holder.jwk},
        {"jkt": 7},
        {"jkt": ""},
        "x",
        [1],
        {"jkt": "a", "x5t#S256": "b"},
    ):
        house.token = house.desk.token(cnf=cnf)
        for scheme in ("DPoP", "Bearer"):
            assert "bound to something" in refused(house.get(house.proof(), scheme=scheme), "invalid_token")


def test_rfc9449_7_1_a_challenge_names_the_algorithms_and_the_error_of_the_scheme(house: House) -> None:
    expired = house.desk.token(lifetime=60, cnf=house.holder.cnf)
    house.desk.clock.pass_by(60)
    by_dpop = house.get(token=expired).headers.get_list("www-authenticate")
    by_bearer = house.get(token=expired, scheme="Bearer").headers.get_list("www-authenticate")
    assert ["error" in one for one in by_dpop] == [False, True]
    assert ["error" in one for one in by_bearer] == [True, False]
    nothing = house.send([]).headers.get_list("www-authenticate")
    assert ["error" in one for one in nothing] == [False, False]
    assert nothing[1].startswith('DPoP realm="gatehouse", algs="ES256 EdDSA"')


def test_rfc9449_7_2_a_bound_token_is_no_bearer_token(house: House) -> None:
    assert "bound to a key" in refused(house.get(scheme="Bearer"), "invalid_token")
    assert "bound to a key" in refused(house.get(house.proof(), scheme="Bearer"), "invalid_token")


def test_rfc9449_7_1_a_bearer_token_is_no_bound_token(house: House) -> None:
    house.token = house.desk.token()
    assert "not bound" in refused(house.get(house.proof()), "invalid_token")
    assert house.get(scheme="Bearer").status_code == 200
    assert house.get(scheme="bearer").status_code == 200


def test_rfc6750_2_two_authorization_headers_are_refused(house: House) -> None:
    good = ("Authorization", f"DPoP {house.token}")
    for other in (good, ("Authorization", "Bearer x"), ("Authorization", "")):
        for headers in ([good, other], [other, good]):
            answer = house.send([*headers, ("DPoP", house.proof())])
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_rfc8705_3_a_token_bound_to_a_certificate_needs_it(desk: Desk) -> None:
    house = House(desk, direct=True)
    inner = house.app
    house.token = desk.token(cnf={"x5t#S256": "abc"})
    held: list[str] = []

    async def with_certificate(scope: Any, receive: Any, send: Any) -> None:
        if held:
            scope["gatehouse.certificate"] = type("Certificate", (), {"fingerprint": held[0]})()
        await inner(scope, receive, send)

    house.app = with_certificate
    assert "certificate" in refused(house.get(scheme="Bearer"), "invalid_token")
    held[:] = ["abd"]
    assert "certificate" in refused(house.get(scheme="Bearer"), "invalid_token")
    held[:] = ["abc"]
    assert house.get(scheme="Bearer").json() == "x5t:abc"
    refused(house.get(house.proof(), scheme="DPoP"), "invalid_token")


# -- §8.2, §9: nonces at the resource


def test_rfc9449_9_a_challenge_brings_a_nonce_that_works(house: House) -> None:
    house.holder.nonce = ""
    answer = house.get(house.proof())
    refused(answer, "use_dpop_nonce")
    assert 'DPoP realm="gatehouse", error="use_dpop_nonce"' in answer.headers.get_list("www-authenticate")[1]
    house.holder.nonce = answer.headers["dpop-nonce"]
    assert house.get(house.proof()).status_code == 200


def test_rfc9449_8_2_a_new_nonce_comes_before_the_old_one_ends(house: House, clock: HandClock) -> None:
    assert "dpop-nonce" not in house.get(house.proof()).headers
    clock.pass_by(NONCE_LIFETIME // 2 + 1)
    [fresh] = house.get(house.proof()).headers.get_list("dpop-nonce")
    assert fresh != house.holder.nonce
    clock.pass_by(NONCE_LIFETIME // 2)
    refused(house.get(house.proof()), "use_dpop_nonce")
    house.holder.nonce = fresh
    assert house.get(house.proof()).status_code == 200


def test_rfc9449_8_2_the_nonce_also_comes_with_an_error(house: House, clock: HandClock) -> None:
    clock.pass_by(NONCE_LIFETIME // 2 + 1)
    used = house.proof()
    assert house.get(used).status_code == 200
    answer = house.get(used)
    refused(answer, "invalid_dpop_proof")
    assert len(answer.headers.get_list("dpop-nonce")) == 1


# -- §11.1: a proof is used once


def test_rfc9449_11_1_a_proof_works_once(house: House) -> None:
    proof = house.proof()
    assert house.get(proof).status_code == 200
    assert "used before" in refused(house.get(proof), "invalid_dpop_proof")
    again = house.proof(claims={"jti": jwt.decode(proof, options={"verify_signature": False})["jti"]})
    assert "used before" in refused(house.get(again), "invalid_dpop_proof")


def test_rfc9449_11_1_the_same_jti_of_another_key_is_another_proof(house: House) -> None:
    assert house.get(house.proof(claims={"jti": "same"})).status_code == 200
    nonce, house.holder = house.holder.nonce, Holder()
    house.holder.nonce = nonce
    house.token = house.desk.token(cnf=house.holder.cnf)
    assert house.get(house.proof(claims={"jti": "same"})).status_code == 200


def test_rfc9449_11_1_a_refused_proof_is_not_used_up(house: House) -> None:
    proof = house.proof()
    refused(house.get(proof, token=house.desk.token(cnf=Holder().cnf)), "invalid_dpop_proof")
    assert house.get(proof).status_code == 200


def test_rfc9449_11_1_32_uses_at_once_and_one_is_accepted(house: House) -> None:
    proof = house.proof()

    async def calls() -> list[int]:
        transport = httpx.ASGITransport(app=house.app)
        headers = {"Authorization": f"DPoP {house.token}", "DPoP": proof}
        async with httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as http:
            answers = await asyncio.gather(*(http.get("/api/show", headers=headers) for _ in range(32)))
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(calls()) == [200] + [401] * 31


def test_what_is_too_old_anyway_is_forgotten(desk: Desk, clock: HandClock) -> None:
    holder = Holder()
    holder.nonce = desk.proofs.nonce()
    proof = desk.proofs.read(holder.proof("GET", SHOW), "GET", "/api/show")
    assert isinstance(proof, Proof)
    assert desk.database.write_now(lambda tx: claim(tx, proof))
    for seconds, gone in ((NONCE_LIFETIME, 0), (120, 0), (1, 1)):
        clock.pass_by(seconds)
        assert desk.database.write_now(once.sweep) == gone
    assert desk.database.write_now(lambda tx: claim(tx, proof))


# -- the other side


def test_rfc9449_4_2_our_own_proofs_are_good(desk: Desk) -> None:
    prover = Prover(desk.clock)
    token = "a.b.c"
    first = desk.proofs.read(prover.proof("POST", f"{BASE}/auth/token"), "POST", "/auth/token")
    assert isinstance(first, Unproven)
    assert first.code == "use_dpop_nonce"
    prover.hear(desk.proofs.nonce())
    prover.hear("")  # an answer without the header changes nothing
    text = prover.proof("POST", f"{BASE}/api/x?a=b#c", token)
    read = desk.proofs.read(text, "POST", "/api/x", token)
    assert isinstance(read, Proof)
    assert read.binding == f"jkt:{prover.thumbprint}"
    header = jwt.get_unverified_header(text)
    assert set(header["jwk"]) == {"kty", "crv", "x", "y"}
    key = ECAlgorithm.from_jwk(header["jwk"])
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert jwt.decode(text, key, algorithms=["ES256"], options={"verify_iat": False})["htm"] == "POST"
    assert prover.proof("GET", BASE) != prover.proof("GET", BASE)


def test_rfc7638_3_1_the_thumbprint_of_the_example(desk: Desk) -> None:
    """RFC 9449 §4.1 and §6.1 show a key and its thumbprint."""
    holder = Holder()
    holder.jwk = {
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    }
    assert holder.thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    from gatehouse.tokenmanager.holderkey import key

    assert key("ES256", holder.jwk["x"], holder.jwk["y"]).thumbprint == holder.thumbprint
