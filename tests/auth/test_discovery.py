"""Metadata and keys of others: how often they are asked, for how long they are believed, and who sets the pace."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gatehouse.auth.providers.discovery import Discovery, read, well_known
from gatehouse.auth.providers.egress import Guard
from gatehouse.auth.providers.fetch import Fetcher, FetchError
from gatehouse.auth.providers.jwks import read_keys
from tests.auth.upstream import listening, run
from tests.clock import HandClock

HOUR, DAY = 3600, 86400
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(kid: str = "one", **more: object) -> dict[str, Any]:
    """An honest entry of a JWK Set."""
    made = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    return {"kty": "RSA", "n": made["n"], "e": made["e"], "kid": kid, "use": "sig", "alg": "RS256", **more}


@dataclass
class Upstream:
    """A provider's two documents, counted."""

    issuer: str = ""
    keys: list[Any] = field(default_factory=lambda: [jwk()])
    status: int = 200
    cache: str = ""
    delay: float = 0.0
    asked: dict[str, int] = field(default_factory=lambda: {"discovery": 0, "jwks": 0})

    def reset(self) -> None:
        """As at the beginning."""
        fresh = Upstream(self.issuer)
        vars(self).update(vars(fresh))

    async def discovery(self, request: Request) -> Response:
        names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
        document = {name: f"{self.issuer}/{name}" for name in names}
        return await self._answer(
            "discovery", {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", **document}
        )

    async def jwks(self, request: Request) -> Response:
        return await self._answer("jwks", {"keys": self.keys})

    async def _answer(self, name: str, document: dict[str, Any]) -> Response:
        self.asked[name] += 1
        await asyncio.sleep(self.delay)
        headers = {"Cache-Control": self.cache} if self.cache else {}
        return JSONResponse(document, self.status, headers)


@pytest.fixture(scope="module")
def _listener() -> Iterator[Upstream]:
    upstream = Upstream()
    routes = [Route("/.well-known/openid-configuration", upstream.discovery), Route("/jwks", upstream.jwks)]
    with listening(Starlette(routes=routes)) as port:
        upstream.issuer = f"http://127.0.0.1:{port}"
        yield upstream


@pytest.fixture
def upstream(_listener: Upstream) -> Upstream:
    """An honest provider that nobody has asked anything."""
    _listener.reset()
    return _listener


def asking(upstream: Upstream, clock: HandClock, work: Callable[[Discovery], Awaitable[None]]) -> None:
    """Do something with a fresh Discovery."""

    async def go() -> None:
        fetcher = Fetcher(Guard(development=True))
        try:
            await work(Discovery(upstream.issuer, fetcher, clock))
        finally:
            await fetcher.close()

    run(go)


def test_a_hundred_logins_at_once_ask_once(upstream: Upstream, clock: HandClock) -> None:
    upstream.delay = 0.2

    async def work(known: Discovery) -> None:
        found = await asyncio.gather(*(known.metadata() for _ in range(100)))
        assert {one.issuer for one in found} == {upstream.issuer}
        keys = await asyncio.gather(*(known.key("one") for _ in range(100)))
        assert all(keys)
        assert upstream.asked == {"discovery": 1, "jwks": 1}
        # and when the answer is old, nobody waits for the one who asks again
        clock.pass_by(2 * HOUR)
        upstream.delay = 2.0
        slow = asyncio.create_task(known.key("one"))
        await asyncio.sleep(0.1)
        assert all(await asyncio.gather(*(known.key("one") for _ in range(99))))
        assert not slow.done()
        assert await slow
        assert upstream.asked["jwks"] == 2

    asking(upstream, clock, work)


def test_a_hundred_failures_at_once_ask_once_and_again_after_the_cool_down(
    upstream: Upstream, clock: HandClock
) -> None:
    upstream.status = 503

    async def work(known: Discovery) -> None:
        async def fails(ask: Callable[[], Awaitable[object]]) -> None:
            answers = await asyncio.gather(*(ask() for _ in range(100)), return_exceptions=True)
            assert all(isinstance(one, FetchError) and "status 503" in str(one) for one in answers)

        await fails(known.metadata)
        clock.pass_by(9)
        await fails(known.metadata)
        with pytest.raises(FetchError, match=r"status 503 \(asked 9 s ago\)$"):
            await known.metadata()
        assert upstream.asked["discovery"] == 1
        clock.pass_by(2)
        upstream.status = 200
        await known.metadata()
        assert upstream.asked["discovery"] == 2
        upstream.status = 503
        await fails(lambda: known.key("one"))
        await fails(lambda: known.key("one"))
        assert upstream.asked["jwks"] == 1
        clock.pass_by(11)
        upstream.status = 200
        assert await known.key("one")

    asking(upstream, clock, work)


@pytest.mark.parametrize(
    ("cache", "fresh"),
    [
        ("", HOUR),
        ("max-age=1800", 1800),
        ("public, max-age=21600, must-revalidate", 6 * HOUR),
        ("max-age=1", 300),
        ("no-store", 300),
        ("no-cache, max-age=9999", 300),
        ("max-age=999999999", 6 * HOUR),
        ("max-age=abc", HOUR),
        ("s-maxage=60", HOUR),
    ],
)
def test_wlcg_4_3_1_documents_are_refreshed_as_their_sender_says_within_bounds(
    upstream: Upstream, clock: HandClock, cache: str, fresh: int
) -> None:
    upstream.cache = cache

    async def work(known: Discovery) -> None:
        await known.key("one")
        clock.pass_by(fresh - 1)
        await known.metadata()
        await known.key("one")
        assert upstream.asked == {"discovery": 1, "jwks": 1}
        clock.pass_by(1)
        await known.metadata()
        await known.key("one")
        assert upstream.asked == {"discovery": 2, "jwks": 2}

    asking(upstream, clock, work)


def test_a_provider_that_is_away_is_believed_for_four_days(upstream: Upstream, clock: HandClock) -> None:
    async def work(known: Discovery) -> None:
        await known.key("one")
        upstream.status = 500
        for _ in range(3):
            clock.pass_by(DAY)
            await known.metadata()
            assert await known.key("one")
        clock.pass_by(DAY - 1)
        assert await known.key("one")
        clock.pass_by(1)
        with pytest.raises(FetchError, match=r"older than 4 days: .*status 500"):
            await known.metadata()
        with pytest.raises(FetchError, match="older than 4 days"):
            await known.key("one")
        upstream.status = 200
        clock.pass_by(11)
        assert await known.key("one")

    asking(upstream, clock, work)


@pytest.mark.parametrize("bad", [[], [7, {}, None], [{"kty": "oct", "k": "AAAA", "kid": "one"}], "keys"])
def test_the_old_keys_stay_when_the_new_ones_are_empty_or_broken(
    upstream: Upstream, clock: HandClock, bad: Any
) -> None:
    async def work(known: Discovery) -> None:
        first = await known.key("one")
        upstream.keys = bad
        clock.pass_by(2 * HOUR)
        assert await known.key("one") is first
        assert upstream.asked["jwks"] == 2

    asking(upstream, clock, work)


def test_a_new_key_is_fetched_at_its_first_use(upstream: Upstream, clock: HandClock) -> None:
    async def work(known: Discovery) -> None:
        await known.key("one")
        upstream.keys = [jwk("one"), jwk("two")]
        assert await known.key("two")
        assert upstream.asked["jwks"] == 2
        # the next turn is noticed as quickly as the pace allows
        upstream.keys = [jwk("three")]
        assert await known.key("three") is None
        clock.pass_by(300)
        assert await known.key("three")
        assert await known.key("one") is None  # and what is not published any more is gone
        assert upstream.asked["jwks"] == 3

    asking(upstream, clock, work)


def test_unknown_key_ids_lead_to_one_fetch_in_five_minutes(upstream: Upstream, clock: HandClock) -> None:
    async def work(known: Discovery) -> None:
        await known.key("one")
        for minute in range(10):
            found = await asyncio.gather(*(known.key(f"{minute}.{n}") for n in range(500)))
            assert not any(found)
            assert await known.key("one")
            clock.pass_by(60)
        assert upstream.asked["jwks"] == 1 + 2

    asking(upstream, clock, work)


def test_a_fetch_that_was_given_up_does_not_block_the_next(upstream: Upstream, clock: HandClock) -> None:
    upstream.delay = 1.0

    async def work(known: Discovery) -> None:
        asked = asyncio.create_task(known.metadata())
        await asyncio.sleep(0.2)
        asked.cancel()
        upstream.delay = 0.0
        await known.metadata()

    asking(upstream, clock, work)


def test_without_a_key_id_the_only_key_is_meant(upstream: Upstream, clock: HandClock) -> None:
    async def work(known: Discovery) -> None:
        assert await known.key(None)
        upstream.keys = [jwk("one"), jwk("two")]
        clock.pass_by(2 * HOUR)
        assert await known.key(None) is None

    asking(upstream, clock, work)


# --- what is a key, and what a document


def test_rfc7517_keys_that_are_not_for_us_are_left_out() -> None:
    ec_made = ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True)
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    small_made = RSAAlgorithm.to_jwk(small.public_key(), as_dict=True)
    private = RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True)
    del private["key_ops"]  # which says by itself that it is to sign with
    entries = [
        jwk("good"),
        {**ec_made, "kid": "curve"},
        jwk("for encryption", use="enc"),
        jwk("another algorithm", alg="RS512"),
        jwk("pss", alg="PS256"),
        jwk("operations", key_ops=["encrypt"]),
        jwk("operations as text", key_ops="verify"),
        jwk("no modulus", n=""),
        jwk("exponent", e="AA"),
        jwk("huge", n="_" * 8000),
        jwk("not base64", n="é"),
        {**small_made, "kid": "small", "kty": "RSA"},
        {**private, "kid": "private"},
        {**ec_made, "kid": "other curve", "crv": "P-384"},
        {**ec_made, "kid": "not on the curve", "x": ec_made["y"]},
        {"kty": "oct", "k": "AAAA", "kid": "secret", "alg": "HS256"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "edwards"},
        7,
        None,
        [],
    ]
    assert list(read_keys({"keys": entries})) == ["good", "curve"]
    assert [key.algorithm_name for key in read_keys({"keys": entries}).values()] == ["RS256", "ES256"]
    nameless = [{name: value for name, value in jwk().items() if name != "kid"}]
    assert len(read_keys({"keys": nameless * 3})) == 3
    assert len(read_keys({"keys": [jwk(str(n)) for n in range(100)]})) == 32


ISSUER = "https://iam.example.org/"
DOCUMENT = {
    "issuer": ISSUER,
    **{
        f"{name}_endpoint": f"https://iam.example.org/{name}"
        for name in ("authorization", "token", "userinfo")
    },
    "jwks_uri": "https://iam.example.org/jwk",
    "id_token_signing_alg_values_supported": ["HS256", "RS256", "none"],
}


def test_iam_the_issuer_ends_in_a_slash_and_the_document_is_found_all_the_same() -> None:
    assert well_known(ISSUER) == "https://iam.example.org/.well-known/openid-configuration"
    assert read(DOCUMENT, ISSUER).issuer == ISSUER
    for other in (ISSUER[:-1], ISSUER + "/", "https://IAM.example.org/", None, [ISSUER]):
        with pytest.raises(FetchError, match="names another issuer"):
            read({**DOCUMENT, "issuer": other}, ISSUER)


@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"]
)
@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "",
            7,
            ["https://x/"],
            "http://iam.example.org/x",
            "javascript:alert(1)",
            "//iam.example.org/",
        ),
        *("https://", "https:///x", "https://a@iam.example.org/", "https://iam.example.org/#x", "https://é/"),
        *("https://iam.example.org/\ud800", "https://iam.example.org/\r\nX: y", "https://iam.example.org:x/"),
        *("HTTPS\t://iam.example.org/", " https://iam.example.org/", "https://x/" + "y" * 2000),
    ],
)
def test_oidc_discovery_3_an_endpoint_is_an_address_of_https(name: str, value: object) -> None:
    with pytest.raises(FetchError, match=f"{name} is missing or not https"):
        read({**DOCUMENT, name: value}, ISSUER)
