"""Refresh tokens turn, reuse ends the login, revocation reaches every process, forged tokens open nothing."""

import base64
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database
from gatehouse.tokenmanager import keys, seal
from tests.auth.kit import (
    CLIENTS,
    at_once,
    begin,
    broken,
    change,
    error,
    events,
    get,
    login,
    look,
    poll,
    post,
)
from tests.service import Service

PROMISE = 5.0  # seconds within which a revocation reaches every process


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here; at the end its whole record must still hold together."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS) as running:
        yield running
        assert events(running)
        assert broken(running) == []
        assert "Traceback" not in running.log.read_text()


def refresh(service: Service, token: str, client: str = "DIRAC_CLI", **more: str) -> httpx.Response:
    """Use a refresh token."""
    return post(service, "token", grant_type="refresh_token", refresh_token=token, client_id=client, **more)


def turned(service: Service, token: str) -> dict[str, Any]:
    """Use a refresh token, which must work."""
    answer = refresh(service, token)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def revoke(service: Service, token: str, hint: str = "", client: str = "DIRAC_CLI") -> httpx.Response:
    """Revoke a token, as dirac-logout does."""
    more = {"token_type_hint": hint} if hint else {}
    return post(service, "revoke", token=token, client_id=client, **more)


def works(service: Service, token: str) -> bool:
    """Whether an access token opens userinfo."""
    return get(service, "userinfo", token).status_code == 200


def refused_soon(service: Service, token: str) -> bool:
    """Whether an access token is refused within the promised time; the reason must be that it was revoked."""
    end = time.monotonic() + PROMISE
    while time.monotonic() < end:
        answer = get(service, "userinfo", token)
        if answer.status_code == 401:
            return "revoked" in str(answer.json()["error_description"])
        time.sleep(0.1)
    return False


def family_of(access_token: str) -> str:
    """The login that an access token came from."""
    grant: str = jwt.decode(access_token, options={"verify_signature": False})["grant"]
    return grant


def age(service: Service, access_token: str) -> None:
    """Let the grace of the last turn pass."""
    family = family_of(access_token)
    assert change(service, "UPDATE grant_family SET rotated_at = rotated_at - 61 WHERE id = ?", family) == 1


# --- refresh


def test_rfc6749_6_each_use_turns_the_token(service: Service) -> None:
    first = login(service)
    second = turned(service, first["refresh_token"])
    third = turned(service, second["refresh_token"])
    assert len({one["refresh_token"] for one in (first, second, third)}) == 3
    assert len({one["access_token"] for one in (first, second, third)}) == 3
    assert {one["scope"] for one in (first, second, third)} == {first["scope"]}
    assert works(service, first["access_token"])
    assert works(service, third["access_token"])
    assert events(service)[-1].kind == "grant.refreshed"
    assert events(service)[-1].actor == "alice"


def test_the_database_keeps_no_refresh_token(service: Service) -> None:
    tokens = turned(service, login(service)["refresh_token"])
    kept = (service.folder / "gatehouse.db").read_bytes() + (service.folder / "gatehouse.db-wal").read_bytes()
    for token in (tokens["refresh_token"], tokens["access_token"]):
        assert token.encode() not in kept
        assert token.partition(".")[2].encode() not in kept
    assert family_of(tokens["access_token"]).encode() in kept  # so that the search above can find things


def test_a_lost_answer_can_be_asked_for_again(service: Service) -> None:
    first = login(service)
    second = turned(service, first["refresh_token"])
    again = turned(service, first["refresh_token"])
    assert again["refresh_token"] == second["refresh_token"]
    assert works(service, again["access_token"])
    assert turned(service, again["refresh_token"])["refresh_token"] != again["refresh_token"]


def test_rfc9700_4_14_reuse_after_the_grace_ends_the_login(service: Service) -> None:
    first = login(service)
    second = turned(service, first["refresh_token"])
    age(service, first["access_token"])
    assert "used before" in error(refresh(service, first["refresh_token"]), 400, "invalid_grant")
    assert "ended" in error(refresh(service, second["refresh_token"]), 400, "invalid_grant")
    assert refused_soon(service, first["access_token"])
    assert refused_soon(service, second["access_token"])
    ended = events(service, "grant.ended")[-1]
    assert ended.facts["grant"] == family_of(first["access_token"])
    assert "came back" in ended.facts["why"]


def test_a_token_of_two_turns_ago_ends_the_login_at_once(service: Service) -> None:
    first = login(service)
    second = turned(service, first["refresh_token"])
    third = turned(service, second["refresh_token"])
    error(refresh(service, first["refresh_token"]), 400, "invalid_grant")
    error(refresh(service, third["refresh_token"]), 400, "invalid_grant")
    assert refused_soon(service, third["access_token"])


def test_64_uses_at_once_have_one_successor(service: Service) -> None:
    first = login(service)
    answers = at_once(
        service,
        "token",
        64,
        grant_type="refresh_token",
        refresh_token=first["refresh_token"],
        client_id="DIRAC_CLI",
    )
    assert {answer.status_code for answer in answers} == {200}
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    family = family_of(first["access_token"])
    assert look(service, "SELECT generation, ended_at FROM grant_family WHERE id = ?", family) == [(1, None)]
    assert turned(service, successors.pop())["access_token"]


def test_rfc6749_10_4_a_refresh_token_is_bound_to_its_client(service: Service) -> None:
    tokens = login(service)
    error(refresh(service, tokens["refresh_token"], "other"), 400, "invalid_grant")
    assert events(service, "token.refused")[-1].actor == "other"
    assert turned(service, tokens["refresh_token"])  # and its owner keeps it


def test_a_refresh_token_is_bound_to_the_clients_secret(service: Service) -> None:
    started = post(
        service, "device", client_id="portal", client_secret="only for this test", scope="g:training_user"
    )
    assert started.status_code == 200
    error(refresh(service, "gh1.x", "portal"), 401, "invalid_client")


@pytest.mark.parametrize("at", [5, 30, 50, 80, -1])
def test_a_tampered_refresh_token_is_not_one(service: Service, at: int) -> None:
    token = login(service)["refresh_token"]
    other = "A" if token[at] != "A" else "Q"
    forged = token[:at] + other + (token[at + 1 :] if at != -1 else "")
    answer = refresh(service, forged)
    if at == -1 and answer.status_code == 200:
        pytest.fail("two spellings of one token")
    error(answer, 400, "invalid_grant")
    assert turned(service, token)  # nothing was ended


@pytest.mark.parametrize("token", ["x", "gh1.", "gh1.é", "gh1." + "A" * 91, "gh1." + "A" * 5000, "a.b.c"])
def test_what_is_no_refresh_token_is_refused(service: Service, token: str) -> None:
    error(refresh(service, token), 400, "invalid_grant")


def test_a_refresh_token_must_be_named(service: Service) -> None:
    error(refresh(service, ""), 400, "invalid_request")


def test_rfc6749_6_a_refresh_never_gives_more(service: Service) -> None:
    token = login(service)["refresh_token"]
    error(refresh(service, token, scope="g:training_pilot"), 400, "invalid_scope")
    assert turned(service, token)["scope"] == "g:training_user"


def test_an_access_token_is_no_refresh_token(service: Service) -> None:
    tokens = login(service)
    error(refresh(service, tokens["access_token"]), 400, "invalid_grant")
    assert get(service, "userinfo", tokens["refresh_token"]).status_code == 401


def test_a_login_that_is_over_gives_no_more_tokens(service: Service) -> None:
    tokens = login(service)
    change(service, "UPDATE grant_family SET expires_at = 1 WHERE id = ?", family_of(tokens["access_token"]))
    assert "expired" in error(refresh(service, tokens["refresh_token"]), 400, "invalid_grant")


def test_an_access_token_never_outlives_its_login(service: Service) -> None:
    tokens = login(service)
    soon = int(time.time()) + 100
    change(
        service,
        "UPDATE grant_family SET expires_at = ? WHERE id = ?",
        soon,
        family_of(tokens["access_token"]),
    )
    last = turned(service, tokens["refresh_token"])
    assert last["expires_in"] <= 100
    assert jwt.decode(last["access_token"], options={"verify_signature": False})["exp"] <= soon


def test_a_suspended_person_is_refused_with_the_reason(service: Service) -> None:
    token = login(service, "bob")["refresh_token"]
    change(service, "UPDATE person SET status = 'suspended' WHERE username = 'bob'")
    try:
        assert "bob is suspended" in error(refresh(service, token), 400, "invalid_grant")
        assert "suspended" in events(service, "token.refused")[-1].facts["why"]
    finally:
        change(service, "UPDATE person SET status = 'active' WHERE username = 'bob'")
    assert turned(service, token)


def test_a_membership_that_ended_ends_the_refreshing(service: Service) -> None:
    token = login(service, "bob")["refresh_token"]
    change(service, "DELETE FROM membership WHERE user_id = (SELECT id FROM person WHERE username = 'bob')")
    reason = error(refresh(service, token), 400, "invalid_grant")
    assert "bob is no longer a member of training_user" in reason


# --- revocation


def test_rfc7009_2_2_an_unknown_token_is_fine(service: Service) -> None:
    for token in ("x", "gh1." + "A" * 91, "a.b.c", "y" * 9000):
        for hint in ("", "access_token", "refresh_token", "proxy"):
            assert revoke(service, token, hint).status_code == 200


def test_rfc7009_2_1_a_token_must_be_named(service: Service) -> None:
    error(post(service, "revoke", client_id="DIRAC_CLI"), 400, "invalid_request")
    error(post(service, "revoke", client_id="nobody", token="x"), 401, "invalid_client")
    error(revoke(service, ""), 400, "invalid_request")


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", ""])
def test_a_revoked_access_token_ends_alone(service: Service, hint: str) -> None:
    tokens = login(service)
    assert works(service, tokens["access_token"])
    assert revoke(service, tokens["access_token"], hint).status_code == 200
    assert refused_soon(service, tokens["access_token"])
    assert works(service, turned(service, tokens["refresh_token"])["access_token"])
    assert events(service, "token.revoked")[-1].actor == "alice"


@pytest.mark.parametrize("hint", ["refresh_token", "access_token"])
def test_a_revoked_refresh_token_ends_the_login(service: Service, hint: str) -> None:
    first = login(service)
    second = turned(service, first["refresh_token"])
    assert revoke(service, second["refresh_token"], hint).status_code == 200
    error(refresh(service, second["refresh_token"]), 400, "invalid_grant")
    assert refused_soon(service, first["access_token"])
    assert refused_soon(service, second["access_token"])
    assert revoke(service, second["refresh_token"], hint).status_code == 200  # again: as fine as unknown
    assert events(service, "grant.ended")[-1].facts["why"] == "revoked by its holder"


def test_rfc7009_2_1_only_its_client_may_revoke_a_token(service: Service) -> None:
    tokens = login(service)
    for token in (tokens["access_token"], tokens["refresh_token"]):
        error(revoke(service, token, client="other"), 400, "invalid_grant")
    time.sleep(1.5)
    assert works(service, tokens["access_token"])
    assert turned(service, tokens["refresh_token"])


def test_one_persons_revocation_is_nobody_elses(service: Service) -> None:
    kept, gone = login(service), login(service)
    revoke(service, gone["refresh_token"])
    assert refused_soon(service, gone["access_token"])
    assert works(service, kept["access_token"])


def test_a_revocation_reaches_the_other_process_in_time(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("replica")
    shutil.copy(service.folder / "master.key", folder / "master.key")
    same = {"GATEHOUSE_SERVER__BASE_URL": service.base}
    url = f"sqlite:///{service.folder / 'gatehouse.db'}"
    with Service(folder, database_url=url, more=CLIENTS, environ=same) as replica:
        one, two = login(service), login(service)
        assert works(replica, one["access_token"])
        assert works(replica, two["access_token"])
        revoke(service, one["access_token"])
        assert refused_soon(replica, one["access_token"])
        revoke(replica, two["refresh_token"])
        assert refused_soon(service, two["access_token"])
        error(refresh(service, two["refresh_token"]), 400, "invalid_grant")
        # a device flow may also begin here and end there
        assert poll(replica, begin(service)).json()["error"] == "authorization_pending"


# --- forged access tokens


Forge = Callable[[keys.KeyRing, dict[str, Any], str], str]


def part(content: object) -> str:
    """One part of a compact token."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def resigned(ring: keys.KeyRing, claims: dict[str, Any], **header: object) -> str:
    """Signed by the service's own key, as only the service could."""
    key = ring.active("RS256")
    return jwt.encode(claims, key.private, "RS256", headers={"kid": key.kid, "typ": "at+jwt", **header})


OWN_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OWN_EC = ec.generate_private_key(ec.SECP256R1())


def by_stranger(ring: keys.KeyRing, claims: dict[str, Any], kid: str, **header: object) -> str:
    return jwt.encode(claims, OWN_RSA, "RS256", headers={"kid": kid, "typ": "at+jwt", **header})


def with_claims(**other: Any) -> Forge:
    return lambda ring, claims, token: resigned(
        ring, {name: value for name, value in {**claims, **other}.items() if value is not None}
    )


def tampered(ring: keys.KeyRing, claims: dict[str, Any], token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part({**claims, 'group': 'training_pilot'})}.{signature}"


def cut(ring: keys.KeyRing, claims: dict[str, Any], token: str) -> str:
    return token[:-4]


def unsigned(ring: keys.KeyRing, claims: dict[str, Any], token: str) -> str:
    head = {"alg": "none", "typ": "at+jwt", "kid": ring.active("RS256").kid}
    return f"{part(head)}.{part(claims)}."


def secret_is_public_key(ring: keys.KeyRing, claims: dict[str, Any], token: str) -> str:
    import hashlib
    import hmac

    key = ring.active("RS256")
    body = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{part(claims)}"
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{body}.{part(hmac.digest(pem, body.encode(), hashlib.sha256))}"


FORGERIES: dict[str, tuple[Forge, str]] = {
    "payload changed": (tampered, "not valid"),
    "signature cut": (cut, "not "),
    "no signature": (unsigned, "not signed by a key"),
    "HS256 with our public key": (secret_is_public_key, "not signed by a key"),
    "another algorithm than the key's": (
        lambda ring, claims, token: jwt.encode(
            claims, OWN_EC, "ES256", headers={"kid": ring.active("RS256").kid, "typ": "at+jwt"}
        ),
        "not signed by a key",
    ),
    "a stranger's key under our kid": (
        lambda ring, claims, token: by_stranger(ring, claims, ring.active("RS256").kid),
        "not valid",
    ),
    "a stranger's key in the header": (
        lambda ring, claims, token: by_stranger(
            ring,
            claims,
            ring.active("RS256").kid,
            jwk=jwt.algorithms.RSAAlgorithm.to_jwk(OWN_RSA.public_key(), as_dict=True),
        ),
        "not valid",
    ),
    "a stranger's key by address": (
        lambda ring, claims, token: by_stranger(ring, claims, "x", jku="http://127.0.0.1:1/jwk"),
        "not signed by a key",
    ),
    "unknown kid": (lambda ring, claims, token: by_stranger(ring, claims, "x"), "not signed by a key"),
    "critical header": (
        lambda ring, claims, token: resigned(ring, claims, crit=["exp"]),
        "not",
    ),
    "an ID token": (lambda ring, claims, token: resigned(ring, claims, typ="JWT"), "not signed by a key"),
    "expired": (with_claims(iat=1, nbf=1, exp=7200), "expired"),
    "not yet": (with_claims(nbf=int(time.time()) + 4000), "not valid yet"),
    "for somebody else": (with_claims(aud="https://elsewhere.example.org"), "not meant for this service"),
    "by somebody else": (with_claims(iss="https://elsewhere.example.org/auth"), "not valid"),
    "by the issuer of a VO": (
        lambda ring, claims, token: resigned(ring, {**claims, "iss": claims["iss"] + "/vo/training.egi.eu"}),
        "not valid",
    ),
    "no expiry": (with_claims(exp=None), "not valid"),
    "no id": (with_claims(jti=None), "not valid"),
    "expiry as text": (with_claims(exp="never"), "not valid"),
    "of no kind": (with_claims(kind="god"), "not valid"),
    "no group any more": (with_claims(group="gone"), "no longer exists"),
    "9 kB": (with_claims(padding="x" * 9000), "longer than 8 kB"),
    "nested header": (lambda ring, claims, token: f"{part(b'[' * 4000)}.e30.e30", "not a token"),
    "header is a list": (lambda ring, claims, token: f"{part([])}.e30.e30", "not a token"),
    "no token": (lambda ring, claims, token: "abc", "not a token"),
    "bytes": (lambda ring, claims, token: "\u00ff\u00fe", "not a token"),
}


@pytest.fixture(scope="module")
def ring(service: Service) -> Iterator[keys.KeyRing]:
    """The service's own signing keys, for forgeries that only a thief of the master key could make."""
    master: Path = service.folder / "master.key"
    sealed = seal.from_text(master.read_text())
    database = Database(f"sqlite:///{service.folder / 'gatehouse.db'}", SYSTEM, sealed.derive("audit"))
    try:
        yield keys.load(database, sealed)
    finally:
        database.close()


@pytest.fixture(scope="module")
def genuine(service: Service) -> str:
    """An access token that works."""
    token: str = login(service)["access_token"]
    return token


def test_the_forger_can_do_it_right(service: Service, ring: keys.KeyRing, genuine: str) -> None:
    """Otherwise the tests below would prove nothing."""
    claims = jwt.decode(genuine, options={"verify_signature": False})
    assert works(service, genuine)
    assert works(service, resigned(ring, claims))


@pytest.mark.parametrize("name", FORGERIES)
def test_rfc8725_3_a_forged_access_token_is_refused_with_a_reason(
    service: Service, ring: keys.KeyRing, genuine: str, name: str
) -> None:
    forge, reason = FORGERIES[name]
    forged = forge(ring, jwt.decode(genuine, options={"verify_signature": False}), genuine)
    answer = httpx.get(
        f"{service.issuer}/userinfo",
        headers={b"Authorization": b"Bearer " + forged.encode("latin-1")},
        trust_env=False,
    )
    assert reason in error(answer, 401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "Log in again" in answer.json()["hint"]
    assert forged not in answer.text
    assert works(service, genuine)


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "Token abc"])
def test_rfc6750_3_without_a_token_the_challenge_names_no_error(service: Service, header: str) -> None:
    answer = httpx.get(f"{service.issuer}/userinfo", headers={"Authorization": header}, trust_env=False)
    error(answer, 401, "unauthorized")
    challenges = answer.headers["www-authenticate"]
    assert challenges.startswith('Bearer realm="gatehouse"')
    assert "error=" not in challenges
