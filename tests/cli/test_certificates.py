"""Certificates over real connections: asked for at one port, forwarded by proxies, spoofed by everybody else."""

import base64
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gatehouse.cli import certificateport, serving
from gatehouse.cli.forwarded import chain_of
from gatehouse.cli.server import Service
from gatehouse.registry import safety
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import ServerSettings, Settings
from gatehouse.tokenmanager.badcertificate import BadCertificate
from gatehouse.tokenmanager.certificates import certificate_of
from tests import grid
from tests.certificates import key_pem
from tests.grid import Authority, Holder
from tests.service import free_port

ADA = "/DC=org/DC=grid/CN=Ada Lovelace"
CA = Authority()
PERSON = CA.person()
REVOKED = CA.person("Mallory")


async def mirror(request: Request) -> JSONResponse:
    """Who we think that you are, and which headers we saw."""
    found = certificate_of(request)
    who = found.reason if isinstance(found, BadCertificate) else found and found.identity
    return JSONResponse({"who": who, "headers": sorted(request.headers), "client": request.client})


class Running:
    """The product's web server around the mirror."""

    def __init__(self, folder: Path, **more: Any) -> None:
        host = CA.host()
        (folder / "server.pem").write_text(host.pem)
        (folder / "server.key").write_bytes(key_pem(host.key))
        CA.install(folder / "trust", CA.revocations(REVOKED))
        self.settings = Settings(
            mode="development",
            server=ServerSettings(
                port=free_port(),
                certificate_port=free_port(),
                tls_certificate=folder / "server.pem",
                tls_key=folder / "server.key",
                client_ca=folder / "trust",
                **more,
            ),
        )
        app = Starlette(routes=[Route("/", mirror)])
        app.state.certificates = certificateport.judge(self.settings.server, SYSTEM)
        opened = threading.Event()
        service = Service(app, self.settings, None)  # type: ignore[arg-type]  # nothing asks for it
        self.server, sockets = serving.ports(service, opened.set)
        self.thread = threading.Thread(target=self.server.run, args=(sockets,))
        self.thread.start()
        assert opened.wait(10)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    @property
    def main(self) -> int:
        return self.settings.server.port

    @property
    def asking(self) -> int:
        return self.settings.server.certificate_port


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("plain"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Behind a proxy at 127.0.0.2 that forwards certificates as RFC 9440 says."""
    made = Running(
        tmp_path_factory.mktemp("rfc9440"),
        trusted_proxies=("127.0.0.2",),
        client_certificate_header="Client-Cert",
    )
    yield made
    made.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Behind a proxy at 127.0.0.2 that forwards certificates as nginx does."""
    made = Running(
        tmp_path_factory.mktemp("nginx"),
        trusted_proxies=("127.0.0.2",),
        client_certificate_header="X-SSL-Client-Cert",
    )
    yield made
    made.stop()


def client(holder: Holder | None, folder: Path) -> ssl.SSLContext:
    """A client that holds a certificate, or none."""
    (folder / "ca.pem").write_text(CA.top.pem)
    made = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if holder is not None:
        made.load_cert_chain(holder.save(folder / "x509up"))
    return made


def ask(
    port: int, context: ssl.SSLContext, *headers: tuple[str, str], source: str = "127.0.0.1"
) -> dict[str, Any]:
    connection = http.client.HTTPSConnection(
        "localhost", port, context=context, timeout=10, source_address=(source, 0)
    )
    connection.putrequest("GET", "/")
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("holder", "who"),
    [
        (PERSON, ADA),
        (PERSON.proxy(), ADA),
        (PERSON.proxy().proxy(), ADA),
        (PERSON.proxy(grid.LIMITED), ADA),
        (PERSON.proxy(grid.LIMITED).proxy(), "full_from_limited"),
        (PERSON.proxy(hours=0.01), "expired"),
        (CA.person(hours=0.01), "expired"),
        (REVOKED, "revoked"),
        (REVOKED.proxy(), "revoked"),
        (None, None),
    ],
)
def test_who_it_is_at_the_port_for_certificates(
    running: Running, tmp_path: Path, version: ssl.TLSVersion, holder: Holder | None, who: str | None
) -> None:
    context = client(holder, tmp_path)
    context.maximum_version = version
    assert ask(running.asking, context)["who"] == who


@pytest.mark.parametrize(
    "holder",
    [
        Authority("Unknown CA").person(),
        grid.self_signed(grid.person("Ada Lovelace")),
        PERSON.proxy(grid.INHERIT, 0).proxy(),
        PERSON.proxy(subject=grid.person("Grace Hopper")),
        Holder(PERSON.proxy().certificate, CA.person().key, (PERSON.certificate,)),
    ],
    ids=["unknown authority", "self-signed", "path length", "name", "without its key"],
)
def test_some_do_not_get_through_the_handshake(running: Running, tmp_path: Path, holder: Holder) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(running.asking, client(holder, tmp_path))


def test_a_session_is_not_resumed(running: Running, tmp_path: Path) -> None:
    """A resumed one has the first certificate only, and a proxy is nobody without the others."""
    context = client(PERSON.proxy(), tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("localhost", running.asking), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: tls.recv(4096), b""))
            session = tls.session
        assert ADA.encode() in answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_browser_at_the_main_port_is_never_asked(
    running: Running, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    def asked(port: int) -> bool:
        seen: list[int] = []
        context = client(PERSON, tmp_path)
        context.maximum_version = version
        context._msg_callback = lambda *said: seen.append(int(said[4]))  # type: ignore[attr-defined]
        ask(port, context)
        return 13 in seen  # certificate_request (RFC 8446 §4)

    assert asked(running.asking)
    assert not asked(running.main)
    assert ask(running.main, client(PERSON, tmp_path))["who"] is None


def item(*ders: bytes) -> str:
    """RFC 9440 §2.1."""
    return ", ".join(f":{base64.b64encode(der).decode()}:" for der in ders)


OWN, *ABOVE = PERSON.proxy().chain
PROXY = "127.0.0.2"


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ([("Client-Cert", item(*PERSON.chain))], ADA),
        ([("Client-Cert", item(OWN)), ("Client-Cert-Chain", item(*ABOVE))], ADA),
        ([("Client-Cert", item(OWN)), ("Client-Cert-Chain", item(OWN + b"".join(ABOVE)))], ADA),
        ([("Client-Cert", item(OWN))], "cut"),
        ([("Client-Cert", item(*Authority().person().chain))], "untrusted"),
        ([("Client-Cert", item(*REVOKED.chain))], "revoked"),
        ([("Client-Cert", item(*PERSON.chain))] * 2, "size"),
        ([("Client-Cert", "")], None),
        ([("Client-Cert-Chain", item(*PERSON.chain))], None),
        ([], None),
        ([("Client-Cert", "garbage")], "size"),
        ([("Client-Cert", ":====:")], "size"),
        ([("Client-Cert", item(b"0\x82"))], "size"),
        ([("Client-Cert", item(OWN)), ("Client-Cert-Chain", "garbage")], "size"),
    ],
)
def test_rfc9440_what_a_trusted_proxy_forwards(
    behind: Running, tmp_path: Path, headers: list[tuple[str, str]], who: str | None
) -> None:
    found = ask(behind.main, client(None, tmp_path), *headers, source=PROXY)
    assert found["who"] == who
    assert not {"client-cert", "client-cert-chain"} & set(found["headers"])


def test_rfc9440_4_nobody_else_is_believed(behind: Running, running: Running, tmp_path: Path) -> None:
    header = ("Client-Cert", item(*PERSON.chain))
    claimed = ("X-Forwarded-For", PROXY)  # what the client says of its own address
    for port in (behind.main, behind.asking, running.main, running.asking):
        found = ask(port, client(None, tmp_path), header, claimed)
        assert found["who"] is None
        assert "client-cert" not in found["headers"]
    assert ask(running.main, client(None, tmp_path), header, source=PROXY)["who"] is None


def test_the_address_that_a_proxy_forwards_does_not_take_its_word_away(
    behind: Running, tmp_path: Path
) -> None:
    headers = (("Client-Cert", item(*PERSON.chain)), ("X-Forwarded-For", "192.0.2.7"))
    found = ask(behind.main, client(None, tmp_path), *headers, source=PROXY)
    assert (found["who"], found["client"][0]) == (ADA, "192.0.2.7")


def test_the_certificate_of_the_proxy_is_not_its_clients(behind: Running, tmp_path: Path) -> None:
    proxy = client(CA.host(), tmp_path)
    assert ask(behind.asking, proxy, source=PROXY)["who"] is None
    assert ask(behind.asking, proxy, ("Client-Cert", item(*PERSON.chain)), source=PROXY)["who"] == ADA
    assert ask(behind.asking, client(PERSON, tmp_path))["who"] == ADA


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({"X-SSL-Client-Cert": quote(PERSON.pem)}, ADA),
        ({"X-SSL-Client-Cert": quote(PERSON.proxy().pem)}, ADA),
        ({"X-SSL-Client-Cert": PERSON.pem.replace("\n", " ")}, ADA),
        ({"X-SSL-Client-Cert": quote(PERSON.pem)[:-30]}, "size"),
        ({"X-SSL-Client-Cert": "%zz"}, "size"),
        ({"Client-Cert": item(*PERSON.chain)}, None),
        ({"X-SSL-Client-Cert": quote(PERSON.pem), "Client-Cert-Chain": item(OWN)}, "size"),
    ],
)
def test_what_nginx_forwards(
    nginx: Running, tmp_path: Path, headers: Mapping[str, str], who: str | None
) -> None:
    assert ask(nginx.main, client(None, tmp_path), *headers.items(), source=PROXY)["who"] == who
    assert ask(nginx.main, client(None, tmp_path), *headers.items())["who"] is None


@given(
    st.binary(max_size=200) | st.text(":%-BEGIN CERTIFICATE=Ab0,", max_size=80).map(str.encode), st.binary()
)
def test_any_header_is_read_without_stumbling(value: bytes, above: bytes) -> None:
    assert all(isinstance(one, bytes) for one in chain_of(value, above))


def test_a_port_in_use_is_said_before_anything_starts(running: Running) -> None:
    with pytest.raises(
        ConfigurationError, match=r"server\.port: 127\.0\.0\.1 port \d+ cannot be used: Address already"
    ):
        serving.listen("server.port", "127.0.0.1", running.asking)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"certificate_port": 8443}, "certificate_port needs"),
        ({"certificate_port": 8000, "client_ca": "x", "tls_certificate": "x", "tls_key": "x"}, "of its own"),
        ({"client_certificate_header": "Client-Cert", "client_ca": "x"}, "needs server.trusted_proxies"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        safety.check(Settings(mode="development", server=ServerSettings(**settings)))


def test_the_address_of_the_port() -> None:
    base = "https://gate.example.org"
    assert ServerSettings(base_url=base).certificate_base == ""
    assert ServerSettings(base_url=base, certificate_port=8443).certificate_base == f"{base}:8443"
    assert ServerSettings(base_url=base, client_certificate_header="X-C").certificate_base == base
    assert (
        ServerSettings(base_url="https://[::1]:1", certificate_port=2).certificate_base == "https://[::1]:2"
    )
