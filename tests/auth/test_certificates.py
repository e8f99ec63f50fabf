"""Logging in with a certificate that the Registry knows: in the browser, by command, and who is refused why."""

import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from cryptography import x509

from tests import grid
from tests.auth import kit
from tests.certificates import key_pem
from tests.cli.gate import command, environment
from tests.grid import Authority, Holder
from tests.service import START_SECONDS, Service, free_port

CA = Authority()
ADA = CA.person()
GRACE = CA.person("Grace Hopper")
NOBODY = CA.person("Nobody")
BANNED = CA.person("Mallory")
LISTS = """
Registry
{
  VO
  {
    training.egi.eu
    {
      IdProvider = other
    }
  }
  Users
  {
    ada
    {
      DN = /DC=org/DC=grid/CN=Ada Lovelace
    }
    grace
    {
      DN = /DC=org/DC=grid/CN=Grace Hopper
    }
    mallory
    {
      DN = /DC=org/DC=grid/CN=Mallory
      Suspended = training.egi.eu
    }
    hostess
    {
      DN = /DC=org/DC=grid/CN=host/ce.example.org
    }
  }
  Groups
  {
    training_user
    {
      VO = training.egi.eu
      Users = ada, grace, mallory, hostess
      Properties = NormalUser
    }
    training_pilot
    {
      VO = training.egi.eu
      Users = ada
      Properties = GenericPilot, LimitedDelegation
    }
  }
}
"""
CONFIG = """
mode = "development"
database_url = "sqlite:///gatehouse.db"
[server]
base_url = "https://localhost:{port}"
port = {port}
tls_certificate = "server.pem"
tls_key = "server.key"
certificate_port = {asking}
client_ca = "trust"
[secrets]
master_key_file = "master.key"
[registry]
file = "registry.cfg"
[[clients]]
client_id = "machine"
auth = "tls_client_auth"
tls_subject = "CN=host/ce.example.org,DC=grid,DC=org"
grant_types = ["urn:gatehouse:params:oauth:grant-type:x509"]
[[clients]]
client_id = "host:ce.example.org"
auth = "tls_client_auth"
tls_subject = "/DC=org/DC=grid/CN=host/ce.example.org"
grant_types = ["client_credentials"]
scopes = ["host.auth"]
certificate_bound = true
[[clients]]
client_id = "bound"
auth = "tls_client_auth"
tls_subject = "/DC=org/DC=grid/CN=host/ce.example.org"
grant_types = ["authorization_code", "client_credentials"]
redirect_uris = ["https://ce.example.org/back"]
scopes = ["compute.read"]
certificate_bound = true
dpop_only = true
[[clients]]
client_id = "plain"
grant_types = ["refresh_token"]
"""
GRANT = "urn:gatehouse:params:oauth:grant-type:x509"


class Secure(Service):
    """The whole service with TLS of its own and a port for certificates."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, demo=False, more="")
        self.asking = free_port()
        self.base = f"https://localhost:{self.port}"
        self.issuer = f"{self.base}/auth"
        self.config.write_text(CONFIG.format(port=self.port, asking=self.asking))
        host = CA.host()
        (folder / "server.pem").write_text(host.pem)
        (folder / "server.key").write_bytes(key_pem(host.key))
        (folder / "registry.cfg").write_text(LISTS)
        (folder / "ca.pem").write_text(CA.top.pem)
        CA.install(folder / "trust", CA.revocations())

    def start(self) -> "Secure":
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gatehouse.cli", "serve", "--config", str(self.config)],
                stdout=output,
                stderr=output,
                env=self._environ,
            )
        end = time.monotonic() + START_SECONDS
        with self.client() as http:
            while time.monotonic() < end and self._process.poll() is None:
                try:
                    if http.get(f"{self.base}/readyz").status_code == 200:
                        return self
                except httpx.HTTPError:
                    time.sleep(0.05)
        raise RuntimeError("the service did not start:\n" + self.log.read_text()[-3000:])

    def client(self, holder: Holder | None = None) -> httpx.Client:
        """A client that shows a certificate where it is asked for one."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if holder is not None:
            context.load_cert_chain(holder.save(self.folder / "x509up"))
        return httpx.Client(verify=context, trust_env=False, timeout=30)

    def token(self, holder: Holder | None, scope: str = "g:training_user", **more: str) -> httpx.Response:
        """The token endpoint at the port for certificates."""
        form = {"grant_type": GRANT, "client_id": "DIRAC_CLI", "scope": scope, **more}
        with self.client(holder) as http:
            return http.post(f"https://localhost:{self.asking}/auth/token", data=form)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    with Secure(tmp_path_factory.mktemp("secure")) as running:
        assert isinstance(running, Secure)
        yield running


def test_a_certificate_gives_the_tokens_of_any_login(service: Secure) -> None:
    answer = service.token(ADA)
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert (given["token_type"], given["scope"]) == ("Bearer", "g:training_user")
    assert answer.headers["cache-control"] == "no-store"
    with service.client() as http:
        who = http.get(
            f"{service.issuer}/userinfo", headers={"Authorization": f"Bearer {given['access_token']}"}
        )
        assert (who.json()["username"], who.json()["group"]) == ("ada", "training_user")
        form = {
            "grant_type": "refresh_token",
            "client_id": "DIRAC_CLI",
            "refresh_token": given["refresh_token"],
        }
        assert http.post(f"{service.issuer}/token", data=form).status_code == 200
    event = kit.events(service, "login.completed")[-1]
    assert (event.actor, event.facts["certificate"]) == ("ada", "/DC=org/DC=grid/CN=Ada Lovelace")


def test_nothing_lives_longer_than_the_proxy_it_came_from(service: Secure) -> None:
    proxy = ADA.proxy(hours=0.25)
    given = service.token(proxy).json()
    left = proxy.certificate.not_valid_after_utc.timestamp() - time.time()
    assert 0 < given["expires_in"] <= left + 5
    families = kit.look(service, "SELECT expires_at FROM grant_family ORDER BY expires_at")
    assert families[0][0] <= proxy.certificate.not_valid_after_utc.timestamp() + 1


def test_the_only_group_need_not_be_said_and_a_proxy_may_name_it(service: Secure) -> None:
    assert service.token(GRACE, "").json()["scope"] == "g:training_user"
    said = kit.error(service.token(ADA, ""), 400, "invalid_scope")
    assert "Groups of ada: training_pilot, training_user" in said
    named = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.42.42"), b"\x16\x0etraining_pilot")
    assert service.token(ADA.proxy(extensions=[(named, False)]), "").json()["scope"] == "g:training_pilot"


@pytest.mark.parametrize(
    ("holder", "scope", "code", "words"),
    [
        (None, "g:training_user", "invalid_grant", "No certificate came"),
        (
            NOBODY,
            "g:training_user",
            "invalid_grant",
            "Nobody in the Registry has the name /DC=org/DC=grid/CN=Nobody",
        ),
        (ADA.proxy(grid.LIMITED), "g:training_user", "invalid_grant", "limited proxy"),
        (ADA.proxy(grid.LIMITED).proxy(), "g:training_user", "invalid_grant", "used to make a full one"),
        (CA.host(), "g:training_user", "invalid_grant", "certificate of a host"),
        (ADA.proxy(hours=0.01), "g:training_user", "invalid_grant", "expired"),
        (BANNED, "g:training_user", "invalid_scope", "in no group, or every community suspended"),
        (GRACE, "g:training_pilot", "invalid_scope", "does not list grace in training_pilot"),
        (ADA, "g:nothing", "invalid_scope", "does not list ada in nothing"),
        (ADA, "g:training_user proxy", "invalid_scope", ""),
        (ADA, "what", "invalid_scope", "unknown"),
    ],
)
def test_who_gets_no_token_and_why(
    service: Secure, holder: Holder | None, scope: str, code: str, words: str
) -> None:
    assert words in kit.error(service.token(holder, scope), 400, code)
    event = kit.events(service, "token.refused")[-1]
    assert event.facts["error"] == code


def test_a_client_without_the_grant_is_refused(service: Secure) -> None:
    assert "may not use" in kit.error(service.token(ADA, client_id="plain"), 400, "unauthorized_client")


def test_rfc8705_2_1_a_client_is_known_by_its_own_certificate_only(service: Secure) -> None:
    kit.error(service.token(ADA, client_id="machine"), 401, "invalid_client")
    kit.error(service.token(None, client_id="machine"), 401, "invalid_client")
    said = kit.error(service.token(CA.host(), client_id="machine"), 400, "invalid_grant")
    assert "host" in said  # the client is known; it is nobody who logs in


def test_at_the_main_port_a_certificate_is_not_even_seen(service: Secure) -> None:
    form = {"grant_type": GRANT, "client_id": "DIRAC_CLI", "scope": "g:training_user"}
    with service.client(ADA) as http:
        answer = http.post(f"{service.issuer}/token", data=form)
    assert "No certificate came" in kit.error(answer, 400, "invalid_grant")


def test_rfc8705_5_the_metadata_names_the_port(service: Secure) -> None:
    with service.client() as http:
        document = http.get(f"{service.issuer}/.well-known/openid-configuration").json()
    asking = f"https://localhost:{service.asking}/auth"
    assert document["mtls_endpoint_aliases"]["token_endpoint"] == f"{asking}/token"
    assert GRANT in document["grant_types_supported"]
    assert document["issuer"] == service.issuer


class Browser:
    """A browser that may hold a certificate, and keeps cookies for the host, whatever the port."""

    def __init__(self, service: Secure, holder: Holder | None) -> None:
        self.service = service
        self.http = service.client(holder)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def choose(self, scope: str = "g:training_user") -> tuple[dict[str, Any], httpx.Response]:
        """Start a device flow, open its link, say yes: the page with the choices."""
        form = {"client_id": "DIRAC_CLI", "scope": scope}
        started = self.http.post(f"{self.service.issuer}/device", data=form).json()
        page = self.http.get(started["verification_uri_complete"])
        answer = self.submit(page, action="confirm")
        return started, self.http.get(urljoin(str(answer.url), answer.headers["location"]))

    def submit(self, page: httpx.Response, **values: str) -> httpx.Response:
        """Post the form of a page, its hidden fields and these values."""
        return kit.Walker.submit(self, page, **values)  # type: ignore[arg-type]  # it has the same `http`

    def show(self) -> httpx.Response:
        """Choose the certificate."""
        return self.http.get(f"{self.service.issuer}/to-certificate", follow_redirects=True)

    def poll(self, started: dict[str, Any]) -> httpx.Response:
        form = {
            "grant_type": kit.DEVICE_GRANT,
            "device_code": started["device_code"],
            "client_id": "DIRAC_CLI",
        }
        return self.http.post(f"{self.service.issuer}/token", data=form)


def test_the_browser_shows_a_certificate_at_the_other_port(service: Secure) -> None:
    with Browser(service, ADA) as browser:
        started, page = browser.choose()
        assert 'href="to-certificate"' in page.text
        assert "X.509 certificate" in kit.words(page)
        done = browser.show()
        assert done.status_code == 200, kit.words(done)
        assert "ada" in kit.words(done)
        assert browser.poll(started).json()["scope"] == "g:training_user"
        assert kit.events(service, "login.approved")[-1].facts["provider"] == "X.509 certificate"
        assert browser.show().status_code in (409, 410)  # the walk is over


def test_the_browser_may_choose_among_the_groups_of_the_registry(service: Secure) -> None:
    with Browser(service, ADA) as browser:
        started, _ = browser.choose("")
        page = browser.show()
        done = page
        if "complete" not in page.text and "<form" in page.text:
            done = browser.submit(page, group="training_user")
        assert done.status_code == 200, kit.words(done)
        assert browser.poll(started).json()["scope"] == "g:training_user"


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        (None, "No certificate came with this connection."),
        (NOBODY, "Nobody in the Registry has the name /DC=org/DC=grid/CN=Nobody. Ask the manager"),
        (CA.host(), "certificate of a host"),
        (ADA.proxy(), "Browsers show the certificate itself"),
        (CA.person(hours=0.01), "The certificate expired at"),
    ],
)
def test_a_browser_is_told_why_not_and_may_try_again(
    service: Secure, holder: Holder | None, words: str
) -> None:
    with Browser(service, holder) as browser:
        started, _ = browser.choose()
        page = browser.show()
        assert page.status_code == 403
        assert words in kit.words(page)
        assert 'href="login"' in page.text
        assert browser.poll(started).json()["error"] == "authorization_pending"


def test_somebody_suspended_is_refused_for_good(service: Secure) -> None:
    with Browser(service, BANNED) as browser:
        started, _ = browser.choose()
        assert browser.show().status_code == 403
        assert browser.poll(started).json()["error"] == "access_denied"


def test_without_the_walk_a_certificate_opens_nothing(service: Secure) -> None:
    with Browser(service, ADA) as browser:
        assert browser.show().status_code == 400
    with Browser(service, ADA) as browser:  # nor before the person has said yes
        form = {"client_id": "DIRAC_CLI", "scope": "g:training_user"}
        started = browser.http.post(f"{service.issuer}/device", data=form).json()
        browser.http.get(started["verification_uri_complete"])
        assert browser.show().status_code == 409
        assert browser.poll(started).json()["error"] == "authorization_pending"


def test_both_ports_end_together(tmp_path: Path) -> None:
    with Secure(tmp_path) as running:
        assert isinstance(running, Secure)
        assert running.token(ADA).status_code == 200
        process = running._process
        running.stop()
        assert process is not None
        assert process.returncode in (0, -15)


def test_a_port_in_use_stops_the_service_with_a_reason(service: Secure, tmp_path: Path) -> None:
    other = Secure(tmp_path)
    other.config.write_text(CONFIG.format(port=free_port(), asking=service.asking))
    with pytest.raises(RuntimeError, match=r"server\.certificate_port: 127\.0\.0\.1 port"):
        other.start()
    assert other._process is not None
    assert other._process.returncode == 2


def dirac_login(
    service: Secure, home: Path, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """The command, trusting the service's authority, with a home of its own."""
    env = environment(home) | {"SSL_CERT_FILE": str(service.folder / "ca.pem"), "HOME": str(home)} | more
    return command("dirac-login", *arguments, "-I", service.issuer, env=env)


def test_dirac_login_shows_a_certificate_or_a_proxy(service: Secure, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text(ADA.pem)
    (tmp_path / "key.pem").write_bytes(key_pem(ADA.key))
    proxy = str(ADA.proxy().save(tmp_path / "x509up"))
    named = ["-C", str(tmp_path / "cert.pem"), "-K", str(tmp_path / "key.pem")]
    for arguments, more in (
        (named, {}),
        (["-C", proxy], {}),
        (["--use-certificate"], {"X509_USER_PROXY": proxy}),
    ):
        done = dirac_login(service, tmp_path, "training_user", *arguments, **more)
        assert done.returncode == 0, done.stderr
        assert "username     : ada" in done.stdout
        assert "DIRAC group  : training_user" in done.stdout
        assert "link" not in done.stdout


def test_dirac_login_says_why_a_certificate_does_not_do(service: Secure, tmp_path: Path) -> None:
    limited = str(ADA.proxy(grid.LIMITED).save(tmp_path / "limited"))
    done = dirac_login(service, tmp_path, "training_user", "-C", limited)
    assert done.returncode == 1
    assert "limited proxy" in done.stderr
    (tmp_path / "other.pem").write_bytes(key_pem(GRACE.key))
    done = dirac_login(service, tmp_path, "-C", limited, "-K", str(tmp_path / "other.pem"))
    assert "the key is another one's" in done.stderr
    none = str(tmp_path / "none")
    done = dirac_login(service, tmp_path, "-C", none)
    assert f"cannot use the certificate in {none}" in done.stderr


def test_rfc8705_3_a_token_of_a_host_is_for_the_holder_of_its_certificate(service: Secure) -> None:
    """WLCG profile 1.3 §3.5: client credentials, `host.auth`, subject `host:<fqdn>`."""
    host = CA.person("host/ce.example.org")
    form = {"grant_type": "client_credentials", "client_id": "host:ce.example.org"}
    asking = f"https://localhost:{service.asking}/auth"
    with service.client(host) as holder, service.client() as bare, service.client(GRACE) as other:
        answer = holder.post(f"{asking}/token", data=form)
        assert answer.status_code == 200, answer.text
        given = answer.json()
        said = kit.claims_of(given["access_token"])
        assert (said["sub"], said["scope"]) == ("host:ce.example.org", "host.auth")
        assert set(said["cnf"]) == {"x5t#S256"}
        bearer = {"Authorization": f"Bearer {given['access_token']}"}
        assert holder.get(f"{asking}/userinfo", headers=bearer).status_code == 200
        assert bare.get(f"{service.issuer}/userinfo", headers=bearer).status_code == 401
        assert other.get(f"{asking}/userinfo", headers=bearer).status_code == 401
        for client in (bare, other):
            refused = client.post(f"{asking}/token", data=form)
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


def test_a_client_of_bound_tokens_pushes_its_requests_too(service: Secure) -> None:
    """What its tokens are bound to is shown at the token endpoint: here it is no key of a proof (RFC 9449 §10.1)."""
    form = {
        "client_id": "bound",
        "response_type": "code",
        "redirect_uri": "https://ce.example.org/back",
        "code_challenge": "a" * 43,
        "code_challenge_method": "S256",
    }
    with service.client(CA.person("host/ce.example.org")) as holder:
        pushed = holder.post(f"https://localhost:{service.asking}/auth/par", data=form)
    assert pushed.status_code == 201, pushed.text


def test_rfc9449_5_2_a_certificate_is_no_proof_of_a_key(service: Secure) -> None:
    form = {"grant_type": "client_credentials", "client_id": "bound"}
    with service.client(CA.person("host/ce.example.org")) as holder:
        refused = holder.post(f"https://localhost:{service.asking}/auth/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")
