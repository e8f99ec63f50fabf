"""Clients that authenticate by assertions (private_key_jwt), section by section; their keys given, or published."""

import asyncio
import hashlib
import hmac
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatehouse.auth.clientkeys import MOST, ClientKeys, Fetched
from gatehouse.auth.clients import Client
from gatehouse.auth.providers.egress import Guard, NotAllowed
from gatehouse.auth.providers.fetch import Fetcher
from gatehouse.auth.providers.jwks import COOL_DOWN, UNKNOWN
from tests.auth.kit import error
from tests.auth.registrar import ASSERTION, Signer, credentials, invite, refused, register, registered
from tests.clock import HandClock
from tests.proofs import part, spell
from tests.service import Service, free_port

ASK = "client_credentials"
PUBLISHED = free_port()
UNNAMED = free_port()
SETTINGS = f"""
[limits]
login_burst = 10000

[egress]
allow = ["127.0.0.1:{PUBLISHED}"]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=SETTINGS) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def replica(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A second process on the same database, under the same name."""
    folder = tmp_path_factory.mktemp("replica")
    shutil.copy(service.folder / "master.key", folder / "master.key")
    same = {"GATEHOUSE_SERVER__BASE_URL": service.base}
    url = f"sqlite:///{service.folder / 'gatehouse.db'}"
    with Service(folder, database_url=url, more=SETTINGS, environ=same) as running:
        yield running


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    """An initial access token for services."""
    return invite(service, grants=(ASK,), scopes=("compute.read",))


def enrol(service: Service, token: str, alg: str = "ES256", **metadata: Any) -> Signer:
    """A registered client with a key."""
    signer = Signer(service.issuer, alg)
    keys: dict[str, Any] = {} if "jwks_uri" in metadata else {"jwks": signer.jwks}
    said = registered(
        service,
        token,
        redirect_uris=[],
        grant_types=[ASK],
        scope="compute.read",
        token_endpoint_auth_method="private_key_jwt",
        **keys,
        **metadata,
    )
    assert "client_secret" not in said
    signer.client_id = said["client_id"]
    return signer


@pytest.fixture(scope="module")
def signer(service: Service, token: str) -> Signer:
    """A client that signs by ES256."""
    return enrol(service, token)


# --- §2.2, §3: what is accepted


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_rfc7523_2_2_a_client_authenticates_by_an_assertion(service: Service, token: str, alg: str) -> None:
    signer = enrol(service, token, alg)
    given = credentials(service, signer.assertion())
    assert given.status_code == 200, given.text
    claims = jwt.decode(given.json()["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["client_id"], claims["scope"]) == (
        signer.client_id,
        signer.client_id,
        "compute.read",
    )


def test_rfc7521_4_2_a_client_id_beside_it_must_be_the_same(service: Service, signer: Signer) -> None:
    assert credentials(service, signer.assertion(), client_id=signer.client_id).status_code == 200
    error(credentials(service, signer.assertion(), client_id="DIRAC_CLI"), 401, "invalid_client")


# --- §3: what is not


@pytest.mark.parametrize(
    "given",
    [
        {"iss": None},
        {"sub": None},
        {"aud": None},
        {"exp": None},
        {"jti": None},
        {"iss": "DIRAC_CLI"},
        {"iss": "somebody else"},
        {"sub": "DIRAC_CLI"},
        {"iss": ["{client}"]},
        {"aud": "https://elsewhere.example.org/auth"},
        {"aud": "{issuer}/"},
        {"aud": "{issuer}/token"},
        {"aud": "{base}"},
        {"aud": ["{issuer}"]},
        {"aud": ["{issuer}", "https://elsewhere.example.org"]},
        {"aud": ["{issuer}/token", "{issuer}"]},
        {"aud": {"{issuer}": 1}},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 256},
        {"jti": ["a"]},
    ],
)
def test_rfc7523_3_who_says_it_to_whom(service: Service, signer: Signer, given: dict[str, Any]) -> None:
    """Issuer and subject are the client, the audience is our issuer alone (CVE-2025-27370, CVE-2025-27371)."""
    text = json.dumps(given).replace("{issuer}", service.issuer).replace("{base}", service.base)
    said = json.loads(text.replace("{client}", signer.client_id))
    claims = signer.claims(**said)
    assertion = jwt.api_jws.encode(
        json.dumps(claims).encode(), signer.private, "ES256", headers={"kid": "one"}
    )
    error(credentials(service, assertion), 401, "invalid_client")


@pytest.mark.parametrize(
    "given",
    [
        {"exp": -1},
        {"exp": 0},
        {"exp": 3600},
        {"exp": 10**12},
        {"iat": 600},
        {"nbf": 600},
        {"exp": "soon"},
        {"exp": True},
        {"exp": None, "iat": 0},
        {"exp": 60.5, "nbf": "now"},
    ],
)
def test_rfc7523_3_an_assertion_is_for_now(service: Service, signer: Signer, given: dict[str, Any]) -> None:
    now = int(time.time())
    said = {
        name: now + value if isinstance(value, int | float) and not isinstance(value, bool) else value
        for name, value in given.items()
    }
    claims = signer.claims(**said)
    assertion = jwt.api_jws.encode(
        json.dumps(claims).encode(), signer.private, "ES256", headers={"kid": "one"}
    )
    error(credentials(service, assertion), 401, "invalid_client")


@pytest.mark.parametrize("kid", [None, "two", "", "One", 7, ["one"], {"kid": "one"}])
def test_rfc7523_3_the_key_is_named_and_the_clients(service: Service, signer: Signer, kid: object) -> None:
    header = {"alg": "ES256", "typ": "JWT", "kid": kid}
    if kid is None:
        del header["kid"]
    error(credentials(service, _signed(signer, header)), 401, "invalid_client")


def _signed(signer: Signer, header: dict[str, Any], **given: Any) -> str:
    """With whatever header, signed with the client's key all the same."""
    body = f"{part(header)}.{part(signer.claims(**given))}"
    algorithm = jwt.get_algorithm_by_name(signer.alg)
    return f"{body}.{spell(algorithm.sign(body.encode(), signer.private))}"


def test_the_way_of_signing_in_these_tests_is_right(service: Service, signer: Signer) -> None:
    good = _signed(signer, {"alg": "ES256", "typ": "JWT", "kid": "one"})
    assert credentials(service, good).status_code == 200


def test_rfc7515_4_1_11_crit_is_not_understood(service: Service, signer: Signer) -> None:
    for crit in (["exp"], ["b64"], [], "exp"):
        header = {"alg": "ES256", "kid": "one", "crit": crit, "exp": 1, "b64": True}
        error(credentials(service, _signed(signer, header)), 401, "invalid_client")


def test_rfc7515_4_1_3_a_key_in_the_header_is_not_looked_at(service: Service, signer: Signer) -> None:
    """authlib CVE-2026-27962."""
    thief = Signer(service.issuer)
    thief.client_id = signer.client_id
    for header in (
        {"jwk": thief.jwk},
        {"jwk": thief.jwk, "kid": None},
        {"jku": "https://thief.example.org/jwks"},
        {"x5u": "https://thief.example.org/x"},
        {"x5c": ["MIIB"]},
    ):
        error(credentials(service, thief.assertion(header)), 401, "invalid_client")


def test_rfc8725_3_1_none_is_no_algorithm(service: Service, signer: Signer) -> None:
    for alg in ("none", "None", "NONE", ""):
        body = f"{part({'alg': alg, 'kid': 'one'})}.{part(signer.claims())}"
        for signature in ("", "AAAA"):
            error(credentials(service, f"{body}.{signature}"), 401, "invalid_client")


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_rfc8725_3_1_a_public_key_is_no_shared_secret(service: Service, token: str, alg: str) -> None:
    """HS256 with the public key as its secret, however it is written (PyJWT CVE-2026-48526)."""
    signer = enrol(service, token, alg)
    public = signer.private.public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(signer.jwk).encode(),
        json.dumps(signer.jwk, separators=(",", ":")).encode(),
    ]
    for secret in secrets:
        body = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(signer.claims())}"
        signature = spell(hmac.digest(secret, body.encode(), hashlib.sha256))
        error(credentials(service, f"{body}.{signature}"), 401, "invalid_client")


def test_rfc8725_3_1_each_key_has_one_algorithm(service: Service, token: str) -> None:
    signer = enrol(service, token, "RS256")
    for alg in ("RS384", "RS512", "PS256"):
        assertion = jwt.encode(signer.claims(), signer.private, alg, headers={"kid": "one"})
        error(credentials(service, assertion), 401, "invalid_client")
    for alg in ("ES256", "EdDSA"):  # signed by RS256, called otherwise
        error(credentials(service, _signed(signer, {"alg": alg, "kid": "one"})), 401, "invalid_client")


def test_rfc7523_3_nobody_signs_for_another(service: Service, token: str, signer: Signer) -> None:
    other = enrol(service, token)
    for iss, sub in ((other.client_id, signer.client_id), (signer.client_id, other.client_id)):
        error(credentials(service, other.assertion(iss=iss, sub=sub)), 401, "invalid_client")
    error(
        credentials(service, other.assertion(iss=signer.client_id, sub=signer.client_id)),
        401,
        "invalid_client",
    )


@pytest.mark.parametrize(
    "assertion", ["", "x", "a.b.c", "..", "e30.e30.", "é" * 100, "x" * 9000, "a" * 8000 + ".b.c"]
)
def test_rfc7521_4_2_1_noise_is_no_assertion(service: Service, assertion: str) -> None:
    answer = credentials(service, assertion)
    assert answer.json()["error"] == "invalid_client"


@pytest.mark.parametrize("kind", ["", "jwt", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"])
def test_rfc7521_4_2_the_kind_of_assertion_is_said(service: Service, signer: Signer, kind: str) -> None:
    error(credentials(service, signer.assertion(), client_assertion_type=kind), 401, "invalid_client")


def test_rfc6749_2_3_one_way_of_authenticating_at_a_time(service: Service, signer: Signer) -> None:
    both = credentials(service, signer.assertion(), client_secret="x")
    error(both, 400, "invalid_request")
    basic = httpx.post(
        f"{service.issuer}/token",
        data={"grant_type": ASK, "client_assertion_type": ASSERTION, "client_assertion": signer.assertion()},
        auth=(signer.client_id, "x"),
        trust_env=False,
    )
    error(basic, 400, "invalid_request")


def test_a_client_with_keys_has_no_other_way_in(service: Service, signer: Signer) -> None:
    for form in ({"client_secret": ""}, {"client_secret": "x"}, {}):
        answer = httpx.post(
            f"{service.issuer}/token",
            data={"grant_type": ASK, "client_id": signer.client_id, **form},
            trust_env=False,
        )
        error(answer, 401, "invalid_client")


def test_a_client_with_a_secret_does_not_sign(service: Service, token: str) -> None:
    signer = Signer(service.issuer)
    said = registered(
        service, token, redirect_uris=[], grant_types=[ASK], scope="compute.read", jwks=signer.jwks
    )
    signer.client_id = said["client_id"]
    error(credentials(service, signer.assertion()), 401, "invalid_client")


# --- §3 item 7: once


def test_rfc7523_3_an_assertion_is_used_once(service: Service, replica: Service, signer: Signer) -> None:
    """Hydra CVE-2020-5300; another process knows of it too."""
    assertion = signer.assertion()
    assert credentials(service, assertion).status_code == 200
    error(credentials(service, assertion), 401, "invalid_client")
    error(credentials(replica, assertion), 401, "invalid_client")
    same = signer.claims(jti="the same")
    for number, where in enumerate((replica, service)):
        again = signer.assertion(**{**same, "exp": same["exp"] + number})
        assert credentials(where, again).status_code == (401 if number else 200)


def test_rfc7523_3_one_of_32_uses_at_once_in_two_processes_wins(
    service: Service, replica: Service, signer: Signer
) -> None:
    assertion = signer.assertion()
    form = {"grant_type": ASK, "client_assertion_type": ASSERTION, "client_assertion": assertion}

    async def run() -> list[int]:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http_:
            calls = (http_.post(f"{(service, replica)[n % 2].issuer}/token", data=form) for n in range(32))
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    done = asyncio.run(run())
    assert sorted(done) == [200] + [401] * 31


def test_an_identifier_of_one_client_is_not_used_up_by_another(
    service: Service, token: str, signer: Signer
) -> None:
    other = enrol(service, token)
    assert credentials(service, signer.assertion(jti="shared")).status_code == 200
    assert credentials(service, other.assertion(jti="shared")).status_code == 200


def test_a_refused_assertion_uses_nothing_up(service: Service, signer: Signer) -> None:
    thief = Signer(service.issuer)
    thief.client_id = signer.client_id
    error(credentials(service, thief.assertion(jti="planned")), 401, "invalid_client")
    assert credentials(service, signer.assertion(jti="planned")).status_code == 200


# --- keys at a jwks_uri


@dataclass
class Board:
    """Where clients publish keys: documents by path, and who came."""

    documents: dict[str, Any] = field(default_factory=dict)
    came: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    """A listener that the settings name."""
    made = Board()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.came.append(self.path)
            found = made.documents.get(self.path)
            self.send_response(200 if found is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", PUBLISHED), Listener) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        listener.shutdown()
        thread.join()


def test_keys_are_asked_for_where_the_client_publishes_them(
    service: Service, token: str, board: Board
) -> None:
    signer = enrol(service, token, jwks_uri=f"http://127.0.0.1:{PUBLISHED}/good")
    board.documents["/good"] = signer.jwks
    assert credentials(service, signer.assertion()).status_code == 200
    assert credentials(service, signer.assertion()).status_code == 200
    assert board.came.count("/good") == 1  # and kept
    thief = Signer(service.issuer, kid="one")
    thief.client_id = signer.client_id
    error(credentials(service, thief.assertion()), 401, "invalid_client")
    error(credentials(service, signer.assertion({"kid": None})), 401, "invalid_client")
    assert board.came.count("/good") == 1


def test_key_ids_that_nobody_knows_make_no_flood(service: Service, token: str, board: Board) -> None:
    signer = enrol(service, token, jwks_uri=f"http://127.0.0.1:{PUBLISHED}/flooded")
    board.documents["/flooded"] = signer.jwks
    for number in range(20):
        error(credentials(service, signer.assertion({"kid": f"k{number}"})), 401, "invalid_client")
    assert board.came.count("/flooded") <= 2
    assert credentials(service, signer.assertion()).status_code == 200


def test_an_address_that_gives_no_keys_is_left_in_peace(service: Service, token: str, board: Board) -> None:
    signer = enrol(service, token, jwks_uri=f"http://127.0.0.1:{PUBLISHED}/nothing")
    for _ in range(10):
        error(credentials(service, signer.assertion()), 401, "invalid_client")
    assert board.came.count("/nothing") == 1
    assert "keys of a client not fetched" in service.log.read_text()


def test_nothing_is_fetched_for_clients_that_do_not_sign(service: Service, token: str, board: Board) -> None:
    said = registered(
        service,
        token,
        redirect_uris=[],
        grant_types=[ASK],
        scope="compute.read",
        jwks_uri=f"http://127.0.0.1:{PUBLISHED}/unasked",
    )
    signer = Signer(service.issuer)
    signer.client_id = said["client_id"]
    board.documents["/unasked"] = signer.jwks
    error(credentials(service, signer.assertion()), 401, "invalid_client")
    signer.client_id = "nobody"
    error(credentials(service, signer.assertion()), 401, "invalid_client")
    assert "/unasked" not in board.came


def test_loopback_is_reached_only_where_the_operator_names_it(service: Service, token: str) -> None:
    answer = register(
        service,
        token,
        grant_types=[ASK],
        token_endpoint_auth_method="private_key_jwt",
        jwks_uri=f"http://127.0.0.1:{UNNAMED}/jwks",
    )
    assert "jwks_uri" in refused(answer, "invalid_client_metadata")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/jwks", "http://localhost:{port}/jwks", "http://[::1]:{port}/jwks"],
)
def test_an_address_of_a_client_gets_no_favour_in_development(board: Board, url: str) -> None:
    """Not at registration only: the guard stands at each connection."""
    board.documents["/jwks"] = Signer("x").jwks
    client = Client(
        "one",
        "One",
        frozenset(),
        "ES256",
        frozenset({"private_key_jwt"}),
        jwks_uri=url.format(port=PUBLISHED),
    )
    found = asyncio.run(_fetched(Guard(development=True, strict=True), client))
    assert found is None
    if "127.0.0.1" in url:
        named = Guard(frozenset({("127.0.0.1", PUBLISHED)}), development=True, strict=True)
        assert asyncio.run(_fetched(named, client)) is not None


def test_a_public_name_of_a_client_does_not_lead_to_loopback() -> None:
    guard = Guard(frozenset({("127.0.0.1", PUBLISHED)}), development=True, strict=True)
    for address in ("127.0.0.1", "::1"):
        with pytest.raises(NotAllowed):
            guard.check("keys.example.org", 443, [address])
    with pytest.raises(NotAllowed):
        guard.target(f"http://127.0.0.1:{UNNAMED}/jwks")
    guard.check("keys.example.org", 443, ["8.8.8.8"])


async def _fetched(guard: Guard, client: Client) -> Fetched | None:
    signer = Signer("x")
    signer.client_id = client.client_id
    keys = ClientKeys(Fetcher(guard), HandClock())
    try:
        return await keys.find(client, signer.assertion())
    finally:
        await keys.close()


def test_keys_turn_at_a_pace_that_nobody_else_sets(board: Board) -> None:
    old, new = Signer("x", kid="old"), Signer("x", kid="new")
    uri = f"http://127.0.0.1:{PUBLISHED}/turning"
    client = Client("one", "One", frozenset(), "ES256", frozenset({"private_key_jwt"}), jwks_uri=uri)
    clock = HandClock()

    async def run() -> list[bool]:
        keys = ClientKeys(Fetcher(Guard(frozenset({("127.0.0.1", PUBLISHED)}), True, True)), clock)
        seen = [await keys.find(client, old.assertion()) is not None]  # 404
        board.documents["/turning"] = old.jwks
        clock.pass_by(int(COOL_DOWN))
        seen.append(await keys.find(client, old.assertion()) is not None)
        seen.append(await keys.find(client, new.assertion()) is not None)
        board.documents["/turning"] = new.jwks
        seen.append(await keys.find(client, new.assertion()) is not None)
        clock.pass_by(int(UNKNOWN))
        seen.append(await keys.find(client, new.assertion()) is not None)
        seen.append(await keys.find(client, old.assertion()) is not None)
        await keys.close()
        return seen

    assert asyncio.run(run()) == [False, True, False, False, True, False]


def test_key_sets_are_bounded() -> None:
    async def run() -> int:
        keys = ClientKeys(Fetcher(Guard()), HandClock())
        for number in range(MOST + 20):
            uri = f"http://127.0.0.1:1/{number}"  # refused before anything is sent
            client = Client("c", "C", frozenset(), "ES256", frozenset({"private_key_jwt"}), jwks_uri=uri)
            assert await keys.find(client, assertion) is None
        await keys.close()
        return len(keys)

    assertion = Signer("x").assertion()
    assert asyncio.run(run()) == MOST
