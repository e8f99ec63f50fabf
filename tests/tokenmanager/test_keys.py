"""The ring of keys: made once by whoever comes first, sealed at rest, named by thumbprint."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import JWKRegistry
from sqlalchemy import text

from gatehouse.registry import audit
from gatehouse.registry.database import Database
from gatehouse.registry.errors import ConfigurationError
from gatehouse.tokenmanager import keys
from gatehouse.tokenmanager.keys import ALGORITHMS
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock

SEAL = Seal(bytes(range(32)))


def test_a_ring_is_made_and_found_again(database: Database) -> None:
    made = keys.load(database, SEAL)
    found = keys.load(database, SEAL)
    assert made.jwks == found.jwks
    assert made.etag == found.etag
    for alg in ALGORITHMS:
        assert made.active(alg).kid == found.active(alg).kid
        assert found.find(made.active(alg).kid) is found.active(alg)
    strangers: list[object] = ["", "nobody", None, 7, ["x"], {}]
    for nobody in strangers:
        assert made.find(nobody) is None
    kinds = [event.kind for event in database.read_now(audit.recent)]
    assert kinds == ["key.made"] * 2


def test_the_jwks_is_public_and_complete(database: Database) -> None:
    ring = keys.load(database, SEAL)
    published = json.loads(ring.jwks)["keys"]
    assert {jwk["alg"] for jwk in published} == set(ALGORITHMS)
    for jwk in published:
        assert jwk["use"] == "sig"
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk)
        # RFC 7638, as somebody else computes it
        assert JWKRegistry.import_key({n: v for n, v in jwk.items() if n != "kid"}).thumbprint() == jwk["kid"]
    assert ring.active("RS256").private.key_size >= 2048


def test_replicas_that_start_at_once_agree(database: Database, clock: HandClock) -> None:
    url = database.url.render_as_string(hide_password=False)
    replicas = [database, *(Database(url, clock, bytes(32)) for _ in range(3))]
    try:
        with ThreadPoolExecutor(4) as pool:
            rings = list(pool.map(lambda one: keys.load(one, SEAL), replicas))
    finally:
        for one in replicas[1:]:
            one.close()
    assert len({ring.jwks for ring in rings}) == 1
    assert len(json.loads(rings[0].jwks)["keys"]) == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_private_byte_is_in_the_file(database: Database, tmp_path: Path) -> None:
    ring = keys.load(database, SEAL)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    for alg in ALGORITHMS:
        private = ring.active(alg).private
        assert ring.active(alg).kid.encode() in files  # we do look where the keys are
        for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
            for encoding in (serialization.Encoding.DER, serialization.Encoding.PEM):
                raw = private.private_bytes(encoding, form, serialization.NoEncryption())
                assert raw not in files
        numbers: Any = private.private_numbers()
        value = numbers.d if alg == "RS256" else numbers.private_value
        assert value.to_bytes((value.bit_length() + 7) // 8, "big") not in files
    assert b"PRIVATE KEY" not in files
    assert bytes(range(32)) not in files
    with sqlite3.connect(tmp_path / "gatehouse.db") as file:
        sealed = [row[0] for row in file.execute("SELECT sealed_private FROM signing_key")]
    file.close()
    assert all(one[:1] == b"\x01" for one in sealed)


def test_another_master_key_is_a_sentence(database: Database) -> None:
    keys.load(database, SEAL)
    with pytest.raises(ConfigurationError, match="sealed with another master key") as caught:
        keys.load(database, Seal(bytes(32)))
    assert "secrets.master_key_file" in str(caught.value)


def test_a_sealed_key_cannot_be_moved_to_another_row(database: Database) -> None:
    keys.load(database, SEAL)
    with database.engine.begin() as connection:
        sealed = connection.execute(text("SELECT sealed_private FROM signing_key ORDER BY kid")).scalar()
        connection.execute(text("UPDATE signing_key SET sealed_private = :sealed"), {"sealed": sealed})
    with pytest.raises(ConfigurationError, match="another master key"):
        keys.load(database, SEAL)


def test_a_planted_public_key_is_not_published(database: Database) -> None:
    """Who can write to the database could otherwise have our verifiers trust a key of theirs."""
    ring = keys.load(database, SEAL)
    planted = {
        **keys.public_jwk("ES256", keys.generate("ES256").public_key()),
        "kid": ring.active("ES256").kid,
    }
    with database.engine.begin() as connection:
        connection.execute(
            text("UPDATE signing_key SET public_jwk = :jwk WHERE alg = 'ES256'"), {"jwk": json.dumps(planted)}
        )
    assert keys.load(database, SEAL).jwks == ring.jwks


def test_a_revoked_key_is_not_in_the_ring(database: Database) -> None:
    old = keys.load(database, SEAL).active("ES256").kid
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE signing_key SET state = 'revoked', slot = NULL WHERE alg = 'ES256'"))
    ring = keys.load(database, SEAL)
    assert ring.find(old) is None
    assert old.encode() not in ring.jwks
    assert ring.active("ES256").kid != old


def test_a_key_does_not_print(database: Database) -> None:
    key = keys.load(database, SEAL).active("RS256")
    assert key.jwk["n"] not in repr(key)
    assert "private" not in repr(key)
