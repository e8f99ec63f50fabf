"""Tokens minted here, verified by four libraries that others wrote; each finds our keys through discovery."""

import base64
import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import scitokens
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwt as jose
from jose.exceptions import JWTClaimsError
from joserfc import jwt as rfc
from joserfc.jwk import KeySet

from gatehouse.registry.clock import SYSTEM
from gatehouse.tokenmanager.issue import Mint
from gatehouse.wms.elements.credential import vo_issuer
from tests.auth.kit import VERIFIER, Walker, asking, query
from tests.clock import HandClock
from tests.interop.house import BACK, SECRET, STORAGE, VO, House, parts

ALGORITHMS = ["RS256", "ES256"]
COMPUTE = "https://ce.example.org:9619"


@dataclass(frozen=True)
class Token:
    """A token, and what its verifier expects of it."""

    text: str
    issuer: str
    audience: str
    alg: str


Verify = Callable[[House, Token], dict[str, Any]]
"""The claims of a token, or any exception."""


def _discovered(house: House, issuer: str) -> Any:
    """The JWK Set of an issuer, by OpenID Connect Discovery."""
    with httpx.Client(verify=house.trust, trust_env=False) as http:
        found = http.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
        assert found["issuer"] == issuer
        return http.get(found["jwks_uri"]).raise_for_status().json()


def by_pyjwt(house: House, token: Token) -> dict[str, Any]:
    """PyJWT with its own client for JWK Sets."""
    with urllib.request.urlopen(
        f"{token.issuer}/.well-known/openid-configuration", context=house.trust
    ) as sent:
        address = json.load(sent)["jwks_uri"]
    key = jwt.PyJWKClient(address, ssl_context=house.trust).get_signing_key_from_jwt(token.text)
    claims: dict[str, Any] = jwt.decode(
        token.text, key, algorithms=ALGORITHMS, audience=token.audience, issuer=token.issuer
    )
    return claims


def by_jose(house: House, token: Token) -> dict[str, Any]:
    """python-jose. Given the whole set it would stumble over the first key of another kind, so it gets the one."""
    key = _named(_discovered(house, token.issuer), parts(token.text)[0]["kid"])
    options = {"verify_at_hash": False, "require_exp": True, "require_aud": True}
    return jose.decode(
        token.text, key, ALGORITHMS, audience=token.audience, issuer=token.issuer, options=options
    )


def _named(keys: dict[str, Any], kid: str) -> Any:
    found = [key for key in keys["keys"] if key["kid"] == kid]
    if not found:
        raise LookupError(f"no key has the kid {kid}")
    return found[0]


def by_joserfc(house: House, token: Token) -> dict[str, Any]:
    """joserfc, which keeps signature and claims apart."""
    keys = KeySet.import_key_set(_discovered(house, token.issuer))
    claims = rfc.decode(token.text, keys, algorithms=ALGORITHMS).claims
    rfc.JWTClaimsRegistry(
        iss={"essential": True, "value": token.issuer},
        aud={"essential": True, "value": token.audience},
        exp={"essential": True},
    ).validate(claims)
    return claims


def by_scitokens(_house: House, token: Token) -> dict[str, Any]:
    """scitokens, as a storage or compute element of the grid asks it: may this token do what its scope says?"""
    found = scitokens.SciToken.deserialize(token.text)
    enforcer = enforcer_of(token)
    if not enforcer.test(found, *_claimed(str(found["scope"]))):
        raise PermissionError(enforcer.last_failure)
    return dict(found.claims())


def enforcer_of(token: Token) -> Any:
    """What a site sets up to believe one issuer."""
    enforcer = scitokens.Enforcer(token.issuer, audience=token.audience)
    for claim in (
        "client_id",
        "wlcg.ver",
    ):  # of RFC 9068 and of the WLCG profile; strict as it is, it knows neither
        enforcer.add_validator(claim, lambda value: isinstance(value, str))
    return enforcer


def _claimed(scope: str) -> tuple[str, str | None]:
    word, colon, path = scope.rsplit(maxsplit=1)[-1].partition(":")
    return word, path if colon else None


OAUTH: dict[str, Verify] = {"pyjwt": by_pyjwt, "python-jose": by_jose, "joserfc": by_joserfc}
ALL: dict[str, Verify] = {**OAUTH, "scitokens": by_scitokens}


@pytest.fixture(autouse=True)
def own_trust(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that take no settings trust whom the environment names, and keep nothing between tests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(house.ca))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("scitokens.utils.keycache.KEYCACHE_INSTANCE", None)


def _answer(house: House, path: str, client: str, **form: str) -> Any:
    with httpx.Client(verify=house.trust, trust_env=False, timeout=30) as http:
        said = {"client_id": client, **form}
        if client.startswith("portal"):
            said["client_secret"] = SECRET
        return http.post(f"{house.issuer}/{path}", data=said).raise_for_status().json()


def by_device(house: House, client: str, scope: str, **form: str) -> dict[str, Any]:
    """The tokens of a device flow."""
    started = _answer(house, "device", client, scope=scope, **form)
    house.confirm(started)
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    tokens: dict[str, Any] = _answer(
        house, "token", client, grant_type=grant, device_code=started["device_code"]
    )
    return tokens


def by_code(house: House, client: str, scope: str, **form: str) -> dict[str, Any]:
    """The tokens of a code flow."""
    with Walker(house) as browser:
        answer = browser.allow(asking(house, client_id=client, scope=scope, **form))
    tokens: dict[str, Any] = _answer(
        house,
        "token",
        client,
        grant_type="authorization_code",
        code=answer["code"],
        redirect_uri=BACK,
        code_verifier=VERIFIER,
    )
    return tokens


@pytest.fixture(scope="module")
def logins(house: House) -> dict[str, Token]:
    """What two logins give: access and ID tokens of both flows and both algorithms, and one for a storage element."""
    device = by_device(house, "DIRAC_CLI", "openid g:training_user")
    code = by_code(house, "portal", "openid g:training_user")
    stored = by_code(house, "portal-rs256", "g:training_user", resource=STORAGE)
    api = f"{house.base}/api"
    return {
        "device access": Token(device["access_token"], house.issuer, api, "RS256"),
        "device id": Token(device["id_token"], house.issuer, "DIRAC_CLI", "RS256"),
        "code access": Token(code["access_token"], house.issuer, api, "ES256"),
        "code id": Token(code["id_token"], house.issuer, "portal", "ES256"),
        "storage access": Token(stored["access_token"], house.issuer, STORAGE, "RS256"),
    }


def compute(house: House, mint: Mint, **changed: Any) -> Token:
    """A token of a VO's issuer for a compute element, as the pilot factory has it minted."""
    issuer = vo_issuer(house.base, VO)
    given: dict[str, Any] = {
        "alg": "RS256",
        "lifetime": 3600,
        "subject": "gatehouse-factory",
        "client_id": "gatehouse-factory",
        "scope": "compute.create",
        "audience": COMPUTE,
        "issuer": issuer,
        "claims": {},
        **changed,
    }
    return Token(mint.access_token(**given).token, issuer, COMPUTE, given["alg"])


KINDS = ["device access", "device id", "code access", "code id", "storage access"]


@pytest.mark.parametrize("library", OAUTH)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_login_gives_is_verified(
    house: House, logins: dict[str, Token], kind: str, library: str
) -> None:
    token = logins[kind]
    header, said = parts(token.text)
    assert (header["alg"], header["typ"]) == (token.alg, "JWT" if kind.endswith("id") else "at+jwt")
    claims = OAUTH[library](house, token)
    assert claims["sub"] == said["sub"]
    assert claims == said


def test_the_at_hash_of_an_id_token_belongs_to_its_access_token(house: House) -> None:
    tokens = by_device(house, "DIRAC_CLI", "openid g:training_user")
    key = _named(_discovered(house, house.issuer), parts(tokens["id_token"])[0]["kid"])
    right, wrong = tokens["access_token"], tokens["access_token"][:-2]

    def judged(access: str) -> dict[str, Any]:
        text = tokens["id_token"]
        return jose.decode(
            text, key, ALGORITHMS, audience="DIRAC_CLI", issuer=house.issuer, access_token=access
        )

    assert judged(right)
    with pytest.raises(JWTClaimsError, match="at_hash"):
        judged(wrong)


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("library", ALL)
def test_a_token_of_a_vo_opens_a_compute_element(house: House, alg: str, library: str) -> None:
    claims = ALL[library](house, compute(house, house.mint(SYSTEM), alg=alg))
    assert (claims["iss"], claims["scope"]) == (f"{house.issuer}/vo/{VO}", "compute.create")


def test_scitokens_lets_a_storage_token_go_below_its_path_only(house: House) -> None:
    mint = house.mint(SYSTEM)
    token = compute(house, mint, scope="read:/store")
    found, enforcer = scitokens.SciToken.deserialize(token.text), enforcer_of(token)
    assert enforcer.test(found, "read", "/store/file")
    assert not enforcer.test(found, "read", "/elsewhere")
    assert not enforcer.test(found, "write", "/store/file")


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def tampered(_house: House, token: Token) -> Token:
    """Another subject under the same signature."""
    header, _, signature = token.text.split(".")
    claims = _spelled(json.dumps({**parts(token.text)[1], "sub": "mallory"}).encode())
    return Token(f"{header}.{claims}.{signature}", token.issuer, token.audience, token.alg)


def foreign(_house: House, token: Token) -> Token:
    """The same claims signed by somebody else who uses our `kid`."""
    header, claims = parts(token.text)
    key: Any = rsa.generate_private_key(65537, 2048) if token.alg == "RS256" else None
    key = key or ec.generate_private_key(ec.SECP256R1())
    text = jwt.encode(claims, key, token.alg, headers={"kid": header["kid"], "typ": header["typ"]})
    return Token(text, token.issuer, token.audience, token.alg)


def unknown(_house: House, token: Token) -> Token:
    """Signed with a key that we never published."""
    text = jwt.encode(parts(token.text)[1], rsa.generate_private_key(65537, 2048), "RS256", {"kid": "nobody"})
    return Token(text, token.issuer, token.audience, token.alg)


def unsigned(_house: House, token: Token) -> Token:
    """With alg none (RFC 8725 §2.1)."""
    header, claims = parts(token.text)
    text = jwt.encode(claims, None, "none", {"kid": header["kid"]})  # type: ignore[arg-type]
    return Token(text, token.issuer, token.audience, token.alg)


def expired(house: House, token: Token) -> Token:
    """Minted with our own key, two hours ago, for one."""
    clock = HandClock(SYSTEM.now() - 7200)
    return compute(house, house.mint(clock), alg=token.alg)


def elsewhere(_house: House, token: Token) -> Token:
    """Meant for somebody else."""
    return Token(token.text, token.issuer, "https://other.example.org", token.alg)


def other_issuer(house: House, token: Token) -> Token:
    """Of an issuer that has the same keys, but is not the one that the verifier trusts."""
    _, claims = parts(token.text)
    minted = compute(house, house.mint(SYSTEM), alg=token.alg, issuer=house.issuer)
    assert parts(minted.text)[1]["iss"] != claims["iss"]
    return minted


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("library", ALL)
@pytest.mark.parametrize(
    "spoil",
    [tampered, foreign, unknown, unsigned, expired, elsewhere, other_issuer],
    ids=lambda f: f.__name__,
)
def test_what_is_not_right_is_refused(
    house: House, spoil: Callable[[House, Token], Token], library: str, alg: str
) -> None:
    good = compute(house, house.mint(SYSTEM), alg=alg)
    assert ALL[library](house, good)
    reasons = "|".join(REFUSALS[spoil.__name__])
    with pytest.raises(Exception, match=rf"(?i){reasons}"):
        ALL[library](house, spoil(house, good))


REFUSALS = {
    "tampered": ("signature",),
    "foreign": ("signature",),
    "unknown": ("key", "kid"),
    "unsigned": ("alg",),
    "expired": ("expired",),
    "elsewhere": ("aud",),
    "other_issuer": ("iss",),
}


@pytest.mark.parametrize("library", OAUTH)
@pytest.mark.parametrize("kind", ["device id", "code id"])
def test_an_id_token_is_for_its_client_only(
    house: House, logins: dict[str, Token], kind: str, library: str
) -> None:
    token = logins[kind]
    with pytest.raises(Exception, match=r"(?i)aud"):
        OAUTH[library](house, Token(token.text, token.issuer, "another-client", token.alg))
    with pytest.raises(Exception, match=r"(?i)signature"):
        OAUTH[library](house, tampered(house, token))


def test_the_link_between_login_and_answer_survives(house: House) -> None:
    address = asking(house, client_id="portal", state="s t/a+t%e")
    back = query(house.walk(address))
    assert (back["state"], back["iss"]) == ("s t/a+t%e", house.issuer)
