"""Gatehouse as a relying party, provider by provider: forged tokens, fresh logins, Check-In, IAM, many at once."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gatehouse.auth.providers.relying import Attempt, Documents, Provider, ProviderError, Providers
from gatehouse.cli.demo.idp import create_idp, mounted
from gatehouse.cli.demo.idp_tweaks import (
    Claims,
    Signer,
    Tweaks,
    confused,
    replacing,
    signed_by,
    slow,
    unsigned,
)
from gatehouse.cli.demo.people import PEOPLE, Shape
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import ProviderSettings
from tests.auth.kit import Walker, begin, poll, query, words
from tests.auth.test_providers import REGISTRY, UNLIMITED
from tests.auth.upstream import listening, run, settings
from tests.service import Service, free_port

KEY, STRANGER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
SECRET = "only for this test, with % and + in it"
REDIRECT = "https://gatehouse.example.org/auth/redirect"
CHECKIN = "openid profile email voperson_id entitlements eduperson_entitlement offline_access"
IAM = "openid profile email wlcg.groups offline_access"


@dataclass
class Upstream:
    """A demo provider of each shape."""

    base: str
    tweaks: Tweaks = field(default_factory=Tweaks)
    fetched: list[str] = field(default_factory=list)

    def issuer(self, shape: Shape) -> str:
        return f"{self.base}/checkin" if shape == "checkin" else f"{self.base}/iam/"

    def honest(self) -> None:
        vars(self.tweaks).update(vars(Tweaks()))

    def given(self, shape: Shape = "checkin", **more: Any) -> ProviderSettings:
        """The settings that fit."""
        ours: dict[str, Any] = {
            "name": shape,
            "issuer": self.issuer(shape),
            "kind": "aarc" if shape == "checkin" else "wlcg",
            "client_id": "gatehouse",
            "client_secret": SECRET,
            "scope": CHECKIN if shape == "checkin" else IAM,
            "user_claim": "voperson_id" if shape == "checkin" else "sub",
        }
        return ProviderSettings(**{**ours, **more})


@contextmanager
def upstream_of(redirect: str = REDIRECT) -> Iterator[Upstream]:
    """Both shapes on one port, and a place where a token's header may try to lead."""
    app = Starlette()
    with listening(app) as port:
        upstream = Upstream(f"http://127.0.0.1:{port}")

        async def trap(request: Request) -> JSONResponse:
            upstream.fetched.append(request.url.path)
            return JSONResponse({"keys": [_entry(STRANGER, "stranger")]})

        shapes: tuple[Shape, ...] = ("checkin", "iam")
        app.router.routes += [Route("/trap/{kind}", trap)]
        app.router.routes += [
            mounted(
                upstream.issuer(shape),
                create_idp(
                    upstream.issuer(shape),
                    shape,
                    PEOPLE,
                    "gatehouse",
                    SECRET,
                    [redirect],
                    SYSTEM,
                    allow_login_hint=True,
                    key=KEY,
                    tweaks=upstream.tweaks,
                ),
            )
            for shape in shapes
        ]
        yield upstream


@pytest.fixture(scope="module")
def _world() -> Iterator[Upstream]:
    with upstream_of() as upstream:
        yield upstream


@pytest.fixture
def upstream(_world: Upstream) -> Upstream:
    """The providers, honest at the beginning."""
    _world.honest()
    _world.fetched.clear()
    return _world


def log_in(
    given: ProviderSettings, *, max_age: int | None = None, left: int | None = None, username: str = "alice"
) -> Documents:
    """One login at a provider, as the pages do it. Raises ProviderError."""

    async def work() -> Documents:
        providers = Providers(settings(providers=[given]), REDIRECT, SYSTEM)
        try:
            return await trip(providers.by_name[given.name], max_age=max_age, left=left, username=username)
        finally:
            await providers.close()

    return run(work)


async def trip(
    provider: Provider, *, max_age: int | None = None, left: int | None = None, username: str = "alice"
) -> Documents:
    attempt = Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))
    url = await provider.authorization_url(attempt, max_age=max_age, login_hint=username)
    async with httpx.AsyncClient(trust_env=False, verify=False) as browser:
        back = query((await browser.get(url)).headers["location"])
    assert back["state"] == attempt.state
    return await provider.finish(attempt, back.get("code", ""), back.get("iss"), max_age=max_age, left=left)


# --- forged ID tokens: each defect that libraries have had (identity facts, JOSE and framework defects)


def _part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _entry(key: rsa.RSAPrivateKey, kid: str) -> dict[str, object]:
    made = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"kty": "RSA", "n": made["n"], "e": made["e"], "kid": kid, "use": "sig", "alg": "RS256"}


def _with_header(**more: object) -> Signer:
    """Signed by a stranger, with these in the header."""
    return lambda header, claims, key: signed_by(STRANGER)({**header, **more}, claims, key)


def _honest(**more: object) -> Signer:
    """Signed by the provider itself, with these in the header; nothing of the claims is checked before."""

    def signer(header: Claims, claims: Claims, key: rsa.RSAPrivateKey) -> str:
        body = f"{_part({**header, 'alg': 'RS256', **more})}.{_part(claims)}"
        return f"{body}.{_part(RSAAlgorithm(RSAAlgorithm.SHA256).sign(body.encode(), key))}"

    return signer


def _hmac_with(secret: bytes) -> Signer:
    def signer(header: Claims, claims: Claims, key: rsa.RSAPrivateKey) -> str:
        body = f"{_part({**header, 'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        return f"{body}.{_part(hmac.digest(secret, body.encode(), hashlib.sha256))}"

    return signer


def _public_pem(kind: str) -> bytes:
    encoding = serialization.Encoding.DER if kind == "DER" else serialization.Encoding.PEM
    form = (
        serialization.PublicFormat.PKCS1
        if kind == "PKCS1"
        else serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KEY.public_key().public_bytes(encoding, form)


def _relabelled(alg: str) -> Signer:
    """The provider's own signature under the name of another algorithm."""

    def signer(header: Claims, claims: Claims, key: rsa.RSAPrivateKey) -> str:
        _, payload, signature = signed_by(key)(header, claims, key).split(".")
        return f"{_part({**header, 'alg': alg})}.{payload}.{signature}"

    return signer


def _refused(upstream: Upstream, signer: Signer, reason: str) -> None:
    upstream.tweaks.sign = signer
    with pytest.raises(ProviderError, match=reason):
        log_in(upstream.given())
    upstream.honest()
    assert log_in(upstream.given()).userinfo["preferred_username"] == "alice"


def test_authlib_cve_2026_27962_a_key_in_the_tokens_own_header_is_not_used(upstream: Upstream) -> None:
    own = _entry(STRANGER, "stranger")
    _refused(upstream, _with_header(jwk=own), "its signature is wrong")
    _refused(upstream, _with_header(jwk=own, kid="stranger"), "does not publish")
    _refused(upstream, _with_header(jwk=own, x5c=["AAAA"]), "its signature is wrong")


@pytest.mark.parametrize("name", ["jku", "x5u"])
def test_rfc8725_3_10_an_address_in_the_tokens_header_is_not_visited(upstream: Upstream, name: str) -> None:
    more = {name: f"{upstream.base}/trap/{name}"}
    _refused(upstream, _with_header(**more), "its signature is wrong")
    _refused(upstream, _with_header(**more, kid="stranger"), "does not publish")
    assert upstream.fetched == []


@pytest.mark.parametrize(
    "crit", [["b64"], ["exp"], [], "exp", None, [{"a": 1}], ["http://x.example/unknown"]]
)
def test_authlib_cve_2025_59420_and_pyjwt_cve_2026_32597_unknown_crit_is_refused(
    upstream: Upstream, crit: object
) -> None:
    _refused(upstream, _honest(crit=crit, b64=True), "the ID token is not accepted")


@pytest.mark.parametrize("which", ["header", "payload", "signature", "parts"])
def test_authlib_cve_2025_61920_oversized_segments_are_refused_before_they_are_decoded(
    upstream: Upstream, which: str
) -> None:
    def signer(header: Claims, claims: Claims, key: rsa.RSAPrivateKey) -> str:
        if which == "parts":
            return signed_by(key)(header, claims, key) + "." * 5000
        if which == "signature":
            return signed_by(key)(header, claims, key) + "A" * 17_000
        long = "x" * (9000 if which == "header" else 15_000)
        return signed_by(key)(
            {**header, "x": long} if which == "header" else header,
            {**claims, "x": long} if which == "payload" else claims,
            key,
        )

    _refused(upstream, signer, "its header is longer|no usable id_token|malformed|not a signed token")


def test_joserfc_and_iam_2_1_none_is_refused_though_the_provider_lists_it(upstream: Upstream) -> None:
    _refused(upstream, unsigned, "it is not signed with RS256")
    for alg in ("None", "NONE", "nOnE", "", "none "):
        _refused(upstream, _relabelled(alg), "the ID token is not accepted")
    upstream.tweaks.sign = unsigned
    with pytest.raises(ProviderError, match="it is not signed with RS256"):
        log_in(upstream.given("iam"))
    upstream.honest()
    assert log_in(upstream.given("iam")).userinfo["wlcg.groups"]


@pytest.mark.parametrize("kind", ["PEM", "PKCS1", "DER"])
def test_pyjwt_cve_2026_48526_and_cve_2022_29217_hs256_with_the_public_key_is_refused(
    upstream: Upstream, kind: str
) -> None:
    _refused(upstream, _hmac_with(_public_pem(kind)), "it is not signed with RS256")
    _refused(upstream, confused, "it is not signed with RS256")


def test_pyjwt_cve_2026_48526_hs256_with_the_public_jwk_as_json_is_refused(upstream: Upstream) -> None:
    published = httpx.get(f"{upstream.base}/checkin/protocol/openid-connect/certs", trust_env=False)
    entry = published.json()["keys"][0]
    for secret in (
        json.dumps(entry),
        json.dumps(entry, separators=(",", ":")),
        published.text,
        entry["n"],
        "",
    ):
        _refused(upstream, _hmac_with(secret.encode()), "it is not signed with RS256")


def test_python_jose_cve_2024_33663_another_algorithm_of_the_same_key_is_refused(upstream: Upstream) -> None:
    for alg in ("RS384", "RS512", "PS256", "ES256", "EdDSA", "HS256", "A128KW"):
        _refused(upstream, _relabelled(alg), "it is not signed with RS256")


@pytest.mark.parametrize("cut", ["start", "end", "longer", "slash", "list", "object", "case"])
def test_pyjwt_ghsa_75c5_xw7c_p5pm_a_part_of_the_issuer_is_refused(upstream: Upstream, cut: str) -> None:
    issuer = upstream.issuer("checkin")
    forged: dict[str, object] = {
        "start": issuer[:-1],
        "end": issuer[1:],
        "longer": issuer + "x",
        "slash": issuer + "/",
        "list": [issuer],
        "object": {issuer: 1},
        "case": issuer.upper(),
    }
    upstream.tweaks.sign = _honest()
    assert log_in(upstream.given()).id_token["iss"] == issuer
    upstream.tweaks.id_token = replacing(iss=forged[cut])
    with pytest.raises(ProviderError, match="the ID token is not accepted"):
        log_in(upstream.given())


@pytest.mark.parametrize("typ", ["at+jwt", "logout+jwt", "JOSE", "dpop+jwt", 7])
def test_rfc8725_3_11_another_kind_of_token_is_refused(upstream: Upstream, typ: object) -> None:
    _refused(upstream, _honest(typ=typ), "another kind of token|not a signed token")


def test_an_encrypted_token_is_refused(upstream: Upstream) -> None:
    """JWE with a compressed body (CVE-2024-33664, CVE-2025-62706): nobody here opens such a thing."""
    header = _part({"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF"})
    _refused(
        upstream,
        lambda *_: f"{header}.{_part(b'k' * 256)}.{_part(b'i' * 12)}.{_part(b'c' * 99)}.{_part(b't' * 16)}",
        "not accepted",
    )


# --- a login of just now (OpenID Connect Core §3.1.2.1, §3.1.3.7)


def test_oidc_core_3_1_2_1_max_age_is_asked_for_and_auth_time_is_told(upstream: Upstream) -> None:
    said = log_in(upstream.given(), max_age=0)
    assert said.auth_time is not None
    assert abs(said.auth_time - SYSTEM.now()) < 60
    assert said.sid == said.id_token["sid"] != ""
    assert said.acr == ""
    assert said.subject == said.id_token["sub"]

    async def url(given: ProviderSettings, **asked: Any) -> dict[str, str]:
        providers = Providers(settings(providers=[given]), REDIRECT, SYSTEM)
        try:
            return query(
                await providers.by_name[given.name].authorization_url(Attempt("s", "n", "v"), **asked)
            )
        finally:
            await providers.close()

    assert run(lambda: url(upstream.given(), max_age=300))["max_age"] == "300"
    assert "prompt" not in run(lambda: url(upstream.given(), max_age=0))
    assert "max_age" not in run(lambda: url(upstream.given()))
    assert "max_age" not in run(lambda: url(upstream.given(fresh_login=False), max_age=0))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "does not say when you logged in"),
        ("yesterday", "does not say when you logged in"),
        (True, "does not say when you logged in"),
        (float("inf"), "does not say when you logged in"),
        (-400, "is too old"),
        (120, "in the future"),
    ],
)
def test_oidc_core_3_1_3_7_an_old_login_there_is_not_taken(
    upstream: Upstream, value: Any, reason: str
) -> None:
    moved = value if value is None or isinstance(value, str | bool | float) else SYSTEM.now() + value
    upstream.tweaks.id_token = replacing(auth_time=moved)
    with pytest.raises(ProviderError, match=reason):
        log_in(upstream.given(), max_age=300)
    # where nobody asked for it, nobody minds; nor where the operator says that the provider cannot
    assert log_in(upstream.given()).userinfo["sub"]
    assert log_in(upstream.given(fresh_login=False), max_age=300).userinfo["sub"]


def test_the_time_that_somebody_takes_at_the_provider_is_theirs(upstream: Upstream) -> None:
    """Who logged in on arrival there, and then read the consent page for ten minutes, has logged in freshly."""
    upstream.tweaks.id_token = replacing(auth_time=SYSTEM.now() - 600)
    with pytest.raises(ProviderError, match="is too old"):
        log_in(upstream.given(), max_age=0)
    assert log_in(upstream.given(), max_age=0, left=SYSTEM.now() - 610).auth_time
    with pytest.raises(ProviderError, match="is too old"):
        log_in(upstream.given(), max_age=0, left=SYSTEM.now() - 500)


def test_what_the_token_says_of_the_session_is_handed_on_as_text(upstream: Upstream) -> None:
    upstream.tweaks.id_token = replacing(
        acr="https://refeds.org/profile/mfa", sid="s\x00\n\u202e1", auth_time=True
    )
    said = log_in(upstream.given())
    assert (said.acr, said.sid, said.auth_time) == ("https://refeds.org/profile/mfa", "s 1", None)
    upstream.tweaks.id_token = replacing(acr=["mfa"], sid=7, auth_time=1e300)
    said = log_in(upstream.given())
    assert (said.acr, said.sid, said.auth_time) == ("", "", None)


# --- Check-In and IAM


def test_checkin_3_2_entitlements_come_from_userinfo_and_tokens_have_no_audience(upstream: Upstream) -> None:
    seen: list[dict[str, Any]] = []

    def look(answer: Claims) -> Claims:
        seen.append(jwt.decode(str(answer["access_token"]), options={"verify_signature": False}))
        return answer

    upstream.tweaks.token = look
    said = log_in(upstream.given())
    assert "aud" not in seen[0]
    assert "entitlements" not in said.id_token
    for name in ("entitlements", "eduperson_entitlement"):
        assert "urn:mace:egi.eu:group:training.egi.eu#aai.egi.eu" in said.userinfo[name]
    assert said.userinfo["voperson_id"].endswith("@egi.eu")
    # `sub` may become something else: who somebody is stays, and the pair (iss, sub) is at hand beside it
    upstream.tweaks.id_token = upstream.tweaks.userinfo = replacing(sub="f1c2")
    moved = log_in(upstream.given())
    assert moved.userinfo["voperson_id"] == said.userinfo["voperson_id"]
    assert (moved.id_token["iss"], moved.subject) == (upstream.issuer("checkin"), "f1c2")


@pytest.mark.parametrize(
    "scope",
    [
        "openid aarc entitlements",
        "openid voperson_id eduperson_entitlement?value=urn:mace:egi.eu:group:training.egi.eu#aai.egi.eu",
        "openid eduperson_entitlement_jwt:urn:mace:egi.eu:group:x offline_access",
    ],
)
def test_checkin_3_2_scopes_arrive_as_they_are_written(upstream: Upstream, scope: str) -> None:
    async def work() -> str:
        providers = Providers(settings(providers=[upstream.given(scope=scope)]), REDIRECT, SYSTEM)
        url = await providers.by_name["checkin"].authorization_url(Attempt("s", "n", "v"))
        await providers.close()
        return query(url)["scope"]

    assert run(work) == scope


def test_iam_the_groups_come_as_the_profile_writes_them(upstream: Upstream) -> None:
    said = log_in(upstream.given("iam"))
    assert said.id_token["iss"] == upstream.issuer("iam")
    assert said.id_token["iss"].endswith("/")
    assert said.userinfo["wlcg.groups"] == ["/training.egi.eu", "/training.egi.eu/pilot"]
    upstream.tweaks.userinfo = replacing(**{"wlcg.groups": None, "groups": ["training.egi.eu/pilot"]})
    assert log_in(upstream.given("iam", kind="slashless")).userinfo["groups"] == ["training.egi.eu/pilot"]


@pytest.mark.parametrize("shape", ["checkin", "iam"])
def test_upstream_refresh_tokens_are_neither_kept_nor_logged(tmp_path: Path, shape: Shape) -> None:
    """Check-In rotates them, IAM's are unsigned JWTs; both are dropped where they arrive."""
    port = free_port()
    with upstream_of(f"http://127.0.0.1:{port}/auth/redirect") as upstream:
        sent: list[str] = []

        def look(answer: Claims) -> Claims:
            sent.append(str(answer["refresh_token"]))
            return answer

        def keep(answer: Claims) -> Claims:
            codes.append(str(answer["code"]))
            return answer

        codes: list[str] = []
        upstream.tweaks.token, upstream.tweaks.redirect = look, keep
        (tmp_path / "dirac.cfg").write_text(REGISTRY.replace("NAMES", shape))
        given = upstream.given(shape)
        more = f'[registry]\nfile = "{tmp_path / "dirac.cfg"}"\n{UNLIMITED}\n[[providers]]\n'
        more += "".join(
            f"{name} = {json.dumps(value)}\n"
            for name, value in given.model_dump(mode="json", exclude_defaults=True).items()
            if name != "client_secret"
        )
        more += f'client_secret = "{SECRET}"\nvos = ["training.egi.eu"]\nnamespaces = ["urn:mace:egi.eu"]\n'
        more += 'authorities = ["aai.egi.eu"]\n'
        with Service(tmp_path, demo=False, more=more, port=port) as service, Walker(service) as browser:
            for _ in range(2):
                started = begin(service)
                browser.confirm(started)
                page = browser.log_in(shape, "alice")
                assert "Authorization complete" in words(page)
                assert poll(service, started).status_code == 200
        assert len(sent) == len(codes) == 2
        assert sent[0].startswith("ey") == (shape == "iam")
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for secret in (*sent, *codes, SECRET):
            found = (
                kept.replace(SECRET.encode(), b"", 1) if secret == SECRET else kept
            )  # it stands in the settings
            assert secret.encode() not in found


def test_an_answer_without_usable_tokens_is_refused_and_says_what_the_provider_said(
    upstream: Upstream,
) -> None:
    for name in ("access_token", "id_token"):
        for value in (None, "", 7, "a b", "é", "x" * 17_000):
            upstream.tweaks.token = replacing(**{name: value})
            with pytest.raises(ProviderError, match=f"no usable {name}"):
                log_in(upstream.given())
    upstream.honest()
    with pytest.raises(
        ProviderError, match=r"error invalid_client \(The client is unknown or its secret is wrong"
    ):
        log_in(upstream.given(client_secret="wrong"))


# --- many, and one that is broken


def test_sixty_providers_start_at_once_and_one_that_hangs_holds_up_nobody(upstream: Upstream) -> None:
    async def work() -> None:
        given = [
            upstream.given(
                name=f"p{n}", issuer=upstream.issuer("checkin") if n == 7 else f"https://i{n}.invalid/"
            )
            for n in range(59)
        ]
        given.append(upstream.given("iam"))
        providers = Providers(settings(providers=given), REDIRECT, SYSTEM)
        assert len(providers.by_name) == 60
        upstream.tweaks.delay = lambda endpoint: 0.0
        hung = providers.by_name["p7"]
        try:
            await hung.authorization_url(Attempt("s", "n", "v"))
            upstream.tweaks.delay = slow(30, "token")
            attempt = Attempt("s", "n", "v" * 43)
            stuck = [
                asyncio.create_task(hung.finish(attempt, "code", hung.settings.issuer)) for _ in range(200)
            ]
            await asyncio.sleep(0.2)
            upstream.tweaks.delay = slow(0)
            assert (await trip(providers.by_name["iam"])).userinfo["sub"]
            assert not any(task.done() for task in stuck)
            ended = await asyncio.gather(*stuck, return_exceptions=True)
            assert {type(one) for one in ended} == {ProviderError}
            assert {str(one).partition(": ")[2] for one in ended} == {"no whole answer within 5 s"}
            # and when it is well again, so are its logins
            assert (await trip(hung)).userinfo["sub"]
        finally:
            await providers.close()

    run(work)


def test_a_file_of_authorities_that_cannot_be_read_is_told_at_the_start(
    tmp_path: Path, upstream: Upstream
) -> None:
    given = upstream.given(ca_file=tmp_path / "absent.pem")
    with pytest.raises(ConfigurationError, match="ca_file"):
        Providers(settings(providers=[given]), REDIRECT, SYSTEM)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", "aai.example.org"),
        ("issuer", "https://aai.example.org/?a=b"),
        ("issuer", "https://aai.example.org/#a"),
        ("issuer", "https://a@aai.example.org/"),
        ("issuer", "https://aai.example.org/ x"),
        ("issuer", "https://"),
        ("scope", "profile email"),
    ],
)
def test_a_provider_that_cannot_work_is_refused_in_the_settings(
    upstream: Upstream, name: str, value: str
) -> None:
    with pytest.raises(ValueError, match=name):
        upstream.given("checkin", **{name: value})


def test_sixty_providers_stand_on_the_page(tmp_path: Path) -> None:
    names = [f"p{n}" for n in range(60)]
    (tmp_path / "dirac.cfg").write_text(REGISTRY.replace("NAMES", ", ".join(names)))
    more = f'[registry]\nfile = "{tmp_path / "dirac.cfg"}"\n{UNLIMITED}'
    for name in names:
        more += (
            f'\n[[providers]]\nname = "{name}"\ntitle = "University {name}"\nkind = "aarc"\nclient_id = "g"\n'
        )
        more += f'issuer = "https://{name}.invalid/"\n'
    with Service(tmp_path, demo=False, more=more) as service, Walker(service) as browser:
        page = browser.confirm(begin(service))
        assert page.status_code == 200
        offered = set(re.findall(r'href="[^"]*/(p\d+)"', page.text))
        assert offered == set(names)
        assert browser.leave("p59").status_code == 502
