"""The guard on the way out: what may be asked, by name and by number, and how long and how much may come back."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gatehouse.auth.providers.egress import Guard, NotAllowed, Resolver, public, resolve
from gatehouse.auth.providers.fetch import Fetcher, FetchError, complaint, context
from gatehouse.registry.errors import ConfigurationError
from tests.auth.upstream import Names, certificate, listening, run, settings

PRODUCTION = Guard()
TRIAL = Guard(development=True)

PRIVATE = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255"),
    *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1"),
    *("198.18.0.1", "198.51.100.7", "203.0.113.9", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
    *(
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "fec0::1",
    ),
    *("::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:0a00:0001::1", "2002:7f00:1::", "2001::1"),
    *("2001:0:a9fe:a9fe::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "4000::1", "not an address", ""),
)
PUBLIC = (
    "1.1.1.1",
    "9.255.255.255",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2a00:1450::1",
)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_everybodys_is_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::1.1.1.1", "2001:4860::8888"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert public(address)


BAD_ADDRESSES = {
    "http://idp.example.org/": "only https",
    "http://127.0.0.1/": "only https",
    "ftp://idp.example.org/": "no address of https",
    "file:///etc/passwd": "no address of https",
    "gopher://idp.example.org/": "no address of https",
    "//idp.example.org/": "no address of https",
    "idp.example.org": "no address of https",
    "": "no address",
    "https://": "no address of https",
    "https:///path": "no address of https",
    "https://user@idp.example.org/": "no address of https",
    "https://user:word@idp.example.org/": "no address of https",
    "https://idp.example.org/#part": "no address of https",
    "https://idp.example.org\\@10.0.0.1/": "no address",
    "https://idp.example.org:8443/": "port 8443",
    "https://idp.example.org:22/": "port 22",
    "https://idp.example.org:99999/": "port 99999",
    "https://idp.example.org:x/": "no address",
    "https://[::1/": "no address",
    "https://idp.example.org/\r\nHost: x": "no address",
    "https://idp.example.org/\x00": "no address",
    "https://idé.example.org/": "no address",
    "https://idp.example.org/" + "x" * 3000: "no address",
}


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_an_address_is_judged_by_its_text_first(url: str) -> None:
    with pytest.raises(NotAllowed, match=BAD_ADDRESSES[url]):
        PRODUCTION.target(url)


def test_a_trial_may_ask_this_machine_without_tls_and_nobody_else() -> None:
    for url in ("http://127.0.0.1:8000/", "http://localhost:1/", "http://[::1]:9/", "https://localhost:7/"):
        TRIAL.target(url)
        with pytest.raises(NotAllowed):
            PRODUCTION.target(url)
    for url in ("http://idp.example.org/", "http://10.0.0.1/", "http://127.0.0.2/"):
        with pytest.raises(NotAllowed):
            TRIAL.target(url)
    TRIAL.check("localhost", 1, ["127.0.0.1", "::1"])
    with pytest.raises(NotAllowed):
        TRIAL.check("localhost", 1, ["10.0.0.1"])


def test_what_the_operator_named_is_allowed_at_that_port_alone() -> None:
    given = settings(mode="production", egress={"allow": ["Keys.Example.org:8443", "[fd00::1]:443"]})
    guard = Guard.of(given, ["https://aai.example.org:9443/realms/x", "https://iam.example.org/"])
    for url in (
        "https://keys.example.org:8443/k",
        "https://[fd00::1]/",
        "https://aai.example.org:9443/other",
    ):
        guard.target(url)
    guard.check("keys.example.org", 8443, ["10.0.0.1"])
    guard.check("aai.example.org", 9443, ["127.0.0.1"])
    guard.check("iam.example.org", 443, ["192.168.0.1"])
    for host, port in (("keys.example.org", 443), ("iam.example.org", 9443), ("aai.example.org", 443)):
        with pytest.raises(NotAllowed):
            guard.check(host, port, ["10.0.0.1"])
    # what a client names gets no favour from what a provider has
    with pytest.raises(NotAllowed):
        Guard.of(given).check("iam.example.org", 443, ["192.168.0.1"])


@pytest.mark.parametrize(
    "entry", ["idp.example.org", "idp.example.org:", "https://x:1", "x:123456", "a b:1", ":1"]
)
def test_an_entry_that_is_no_host_and_port_is_refused(entry: str) -> None:
    with pytest.raises(ValidationError):
        settings(egress={"allow": [entry]})


# --- names and connections

Go = Callable[[Fetcher], Awaitable[Any]]


@dataclass
class Place:
    """A listener that remembers what it was asked."""

    port: int = 0
    seen: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def anything(self, request: Request) -> Response:
        """Whatever the path asks for."""
        self.seen.append((request.method, request.url.path))
        self.headers.append(dict(request.headers))
        kind = request.path_params["kind"]
        if kind == "moved":
            return RedirectResponse("/object", 302)
        if kind == "cookie":
            return JSONResponse({}, headers={"Set-Cookie": "a=b; Path=/"})
        if kind == "large":
            return Response(b'{"a": "' + b"x" * 300_000 + b'"}', media_type="application/json")
        if kind == "endless":
            return StreamingResponse(_drops(), media_type="application/json")
        if kind.isdigit():
            body = {"error": "invalid_\x1b[31mgrant\u202e", "error_description": "so " * 400}
            return JSONResponse(body, int(kind)) if kind != "204" else Response(None, 204)
        return JSONResponse({"kind": kind}, headers={"Cache-Control": "public, max-age=1234"})

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{kind}", self.anything, methods=["GET", "POST"])])


async def _drops() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, ssl.SSLContext]]:
    """An https listener for the name idp.example.org alone."""
    folder = tmp_path_factory.mktemp("tls")
    place, options = Place(), certificate(folder, "idp.example.org")
    with listening(place.app(), **options) as place.port:
        yield place, context(folder / "certificate.pem")


@pytest.fixture
def place(tls: tuple[Place, ssl.SSLContext]) -> Place:
    """The listener, having seen nothing."""
    tls[0].seen.clear()
    tls[0].headers.clear()
    return tls[0]


@pytest.fixture
def trust(tls: tuple[Place, ssl.SSLContext]) -> ssl.SSLContext:
    """Who vouches for it."""
    return tls[1]


def ask(guard: Guard, names: Resolver, trust: ssl.SSLContext | None, go: Go) -> Any:
    """Do something with a Fetcher, and close it."""

    async def work() -> Any:
        fetcher = Fetcher(guard, trust, names)
        try:
            return await go(fetcher)
        finally:
            await fetcher.close()

    return run(work)


def named(*hosts: str, port: int) -> Guard:
    return Guard(frozenset((host, port) for host in hosts))


def test_a_name_is_resolved_once_and_that_address_is_asked_under_the_name(
    place: Place, trust: ssl.SSLContext
) -> None:
    """DNS rebinding: a second answer would lead elsewhere, and nobody asks for it."""
    names = Names({"idp.example.org": [["127.0.0.1"], ["127.0.0.9"]]})
    url = f"https://idp.example.org:{place.port}/object?q=1"
    guard = named("idp.example.org", port=place.port)
    assert ask(guard, names, trust, lambda f: f.get(url)) == {"kind": "object"}
    assert names.asked == ["idp.example.org"]
    (sent,) = place.headers
    assert sent["host"] == f"idp.example.org:{place.port}"


def test_a_certificate_for_another_name_is_not_accepted(place: Place, trust: ssl.SSLContext) -> None:
    names = Names({"other.example.org": [["127.0.0.1"]]})
    url = f"https://other.example.org:{place.port}/object"
    with pytest.raises(FetchError, match="its certificate is not accepted"):
        ask(named("other.example.org", port=place.port), names, trust, lambda f: f.get(url))
    url = f"https://idp.example.org:{place.port}/object"
    names = Names({"idp.example.org": [["127.0.0.1"]]})
    with pytest.raises(FetchError, match="its certificate is not accepted"):  # nobody vouches for it
        ask(named("idp.example.org", port=place.port), names, None, lambda f: f.get(url))
    assert place.seen == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"])
def test_a_public_name_with_a_private_address_is_not_asked(
    place: Place, trust: ssl.SSLContext, address: str
) -> None:
    for answer in ([address], ["1.1.1.1", address]):  # one bad address spoils the name
        names = Names({"evil.example.org": [answer]})
        with pytest.raises(FetchError, match="not a public one") as caught:
            ask(PRODUCTION, names, trust, lambda f: f.get("https://evil.example.org/object"))
        assert address not in str(caught.value)
        assert names.asked == ["evil.example.org"]
    assert place.seen == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "0"]
)
def test_a_number_in_any_dress_is_the_address_that_it_means(host: str) -> None:
    with pytest.raises(FetchError, match=r"not a public one|no address"):
        ask(PRODUCTION, resolve, None, lambda f: f.get(f"https://{host}/"))


def test_the_second_address_of_a_name_is_tried_when_the_first_is_dead(
    place: Place, trust: ssl.SSLContext
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.2", place.port))  # bound, not listening: refused
        names = Names({"idp.example.org": [["127.0.0.2", "127.0.0.1"]]})
        url = f"https://idp.example.org:{place.port}/object"
        guard = named("idp.example.org", port=place.port)
        assert ask(guard, names, trust, lambda f: f.get(url)) == {"kind": "object"}


def test_a_resolver_that_hangs_is_left_waiting(place: Place) -> None:
    end = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        end.wait(30)
        return []

    async def work() -> None:
        fetcher = Fetcher(PRODUCTION, None, hang)
        other = Fetcher(TRIAL)
        try:
            stuck = asyncio.gather(
                *(fetcher.get(f"https://{n}.example.org/") for n in range(40)), return_exceptions=True
            )
            with pytest.raises(
                FetchError, match="ConnectError"
            ):  # nothing listens there, and it is said at once
                await other.get("http://127.0.0.1:1/")
            assert not stuck.done()
            assert {str(one).partition(": ")[2] for one in await stuck} == {"no whole answer within 5 s"}
        finally:
            end.set()
            await fetcher.close()
            await other.close()

    run(work)


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(FetchError, match="ConnectError"):
        ask(PRODUCTION, Names({}), None, lambda f: f.get("https://nowhere.example.org/"))
    with pytest.raises(FetchError, match="ConnectError"):
        ask(PRODUCTION, Names({"void.example.org": [[]]}), None, lambda f: f.get("https://void.example.org/"))
    with pytest.raises(FetchError):  # a label that no name can have
        ask(PRODUCTION, resolve, None, lambda f: f.get(f"https://{'a' * 70}.example.org/"))


# --- answers


@pytest.fixture
def base(place: Place, trust: ssl.SSLContext) -> tuple[str, Callable[[Go], Any]]:
    """The listener's address, and how to ask it."""
    guard = named("idp.example.org", port=place.port)
    return (
        f"https://idp.example.org:{place.port}",
        lambda go: ask(guard, Names({"idp.example.org": [["127.0.0.1"]]}), trust, go),
    )


Base = tuple[str, Callable[[Go], Any]]


def test_a_redirect_is_not_followed(base: Base, place: Place) -> None:
    url, go = base
    with pytest.raises(FetchError, match="status 302"):
        go(lambda f: f.get(f"{url}/moved"))
    assert place.seen == [("GET", "/moved")]


def test_an_answer_is_bounded_in_size_and_in_time(base: Base) -> None:
    url, go = base
    with pytest.raises(FetchError, match="larger than 256 KiB"):
        go(lambda f: f.get(f"{url}/large"))
    with pytest.raises(FetchError, match="no whole answer within 5 s"):
        go(lambda f: f.get(f"{url}/endless"))


def test_cookies_and_the_proxies_of_the_environment_do_not_exist(
    base: Base, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, go = base
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def twice(fetcher: Fetcher) -> None:
        await fetcher.get(f"{url}/cookie")
        await fetcher.get(f"{url}/object")

    go(twice)
    assert [("cookie" in sent) for sent in place.headers] == [False, False]


def test_freshness_is_what_the_sender_says(base: Base) -> None:
    url, go = base
    assert go(lambda f: f.look(f"{url}/object")).max_age == 1234
    assert go(lambda f: f.look(f"{url}/cookie")).max_age is None


def test_rfc6749_2_3_1_name_and_secret_are_encoded_before_they_are_joined(base: Base, place: Place) -> None:
    url, go = base
    go(lambda f: f.post(f"{url}/object", {"a": "b c&d"}, ("na:me", "se%cret +")))
    assert place.headers[0]["authorization"] == "Basic bmElM0FtZTpzZSUyNWNyZXQrJTJC"
    assert place.headers[0]["content-type"] == "application/x-www-form-urlencoded"


def test_telling_somebody_needs_no_body_and_any_2xx(base: Base, place: Place) -> None:
    url, go = base
    for kind in ("204", "200", "large", "endless"):
        go(lambda f, kind=kind: f.tell(f"{url}/{kind}", {"logout_token": "x"}))  # type: ignore[misc]
    for status in (302, 400, 500):
        with pytest.raises(FetchError, match=f"status {status}"):
            go(lambda f, status=status: f.tell(f"{url}/{status}", {}))  # type: ignore[misc]
    with pytest.raises(FetchError, match="only https"):
        go(lambda f: f.tell("http://idp.example.org/", {}))


def test_what_a_provider_says_of_an_error_is_shown_bounded_and_clean(base: Base) -> None:
    url, go = base
    with pytest.raises(FetchError) as caught:
        go(lambda f: f.post(f"{url}/400", {}))
    said = str(caught.value).partition("status 400")[2]
    assert said.startswith(", error invalid_ [31mgrant (so so so")
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize(
    ("error", "description", "said"),
    [
        ("access_denied", "You said no.", "access_denied (You said no.)"),
        ("x" * 999, None, "x" * 64),
        ("a\r\nSet-Cookie: b", "\x00\u202e\ud800", "a Set-Cookie: b"),
        (None, "only words", "only words"),
        (7, ["a"], ""),
        ("e", " " * 9999 + "late", "e"),
    ],
)
def test_a_complaint_is_one_line_of_visible_characters(error: object, description: object, said: str) -> None:
    assert complaint(error, description) == said


def test_an_authority_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "nothing.pem").write_text("no certificate")
    for name in ("absent.pem", "nothing.pem"):
        with pytest.raises(ConfigurationError, match=name):
            context(tmp_path / name)
