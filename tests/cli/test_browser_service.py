"""`dirac-login --browser` at a real service: through its pages, as far as the logout."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatehouse.cli import oauth, session, tokenfile
from gatehouse.cli.bearer import claims
from gatehouse.cli.wire import Wire
from tests.auth.kit import change, events, post
from tests.cli import visitor
from tests.cli.gate import command, environment
from tests.rfc.kit import wait_until
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more="") as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def dirac_login(service: Service, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = environment(home, BROWSER=visitor.script(home, "alice"))
    return command("dirac-login", *arguments, "-I", service.issuer, env=env)


def test_login_renewal_and_logout(service: Service, tmp_path: Path) -> None:
    done = dirac_login(service, tmp_path, "training_user", "openid", "--browser", "-T", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "username     : alice" in done.stdout
    assert "DIRAC group  : training_user" in done.stdout
    assert "You may close this window" in (tmp_path / "seen").read_text()
    found = session.find(tmp_path / "bt")
    told = found.tokens.claims
    assert (told["client_id"], told["scope"]) == ("gatehouse-cli", "openid g:training_user")
    assert told["exp"] - told["iat"] == 3600
    with Wire(service.issuer) as wire:
        current = session.Session(wire, found)
        current.renew()
        renewed = tokenfile.read(tmp_path / "bt")
    assert renewed is not None
    assert renewed.refresh_token not in ("", found.tokens.refresh_token)
    out = command("dirac-logout", env=environment(tmp_path))
    assert out.returncode == 0, out.stderr
    assert "access_token is revoked" in out.stdout
    assert "refresh_token is revoked" in out.stdout
    asked = {"grant_type": "refresh_token", "refresh_token": renewed.refresh_token}
    assert post(service, "token", **asked, client_id="gatehouse-cli").json()["error"] == "invalid_grant"


def test_a_login_by_device_in_the_place_of_one_by_browser(service: Service, tmp_path: Path) -> None:
    """The old tokens end at the client that got them, which the server insists on (RFC 7009 §2.1)."""
    dirac_login(service, tmp_path, "training_user", "--browser")
    old = tokenfile.read(tmp_path / "bt")
    assert old is not None
    with Wire(service.issuer) as wire:
        endpoints = oauth.discover(wire, service.issuer)
        assert not oauth.revoke(wire, endpoints, old.refresh_token, "refresh_token", "DIRAC_CLI")
    done = dirac_login(service, tmp_path, "training_pilot", "--browser")
    assert (done.returncode, done.stderr) == (0, "")
    assert "refresh_token is revoked from" in done.stdout


def test_more_time_than_there_is(service: Service, tmp_path: Path) -> None:
    done = dirac_login(service, tmp_path, "training_user", "--browser", "--json", "-T", "100")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lifetime_notice"] == (
        "You asked for 360000 s; an access token lives 21600 s at most."
    )
    assert "note: You asked for 360000 s;" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nobodys_group"], "No group is called nobodys_group here."),
        (["training_user", "--proxy"], "does not issue X.509 proxies yet"),
        (["training_user", "storage.read:/"], "The scope storage.read:/ is unknown."),
    ],
)
def test_refusals_of_the_service_arrive(
    service: Service, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    env = environment(tmp_path, BROWSER=visitor.script(tmp_path))  # which follows redirects
    done = command("dirac-login", *arguments, "--browser", "-I", service.issuer, env=env)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the login was refused\nwhy: invalid_scope: ")
    assert reason in done.stderr


def test_rfc8628_5_4_a_group_that_administers_is_had_by_the_browser(tmp_path: Path) -> None:
    """The device flow refuses it, by name or not, and names the ways that are open."""
    with Service(tmp_path, more="") as service:
        more = ('["GenericPilot", "Operator"]', "training_pilot")
        assert change(service, "UPDATE community_group SET properties = ? WHERE name = ?", *more) == 1
        asked = {"client_id": "DIRAC_CLI", "scope": "g:training_pilot"}
        wait_until(lambda: post(service, "device", **asked).status_code == 400)
        refused = dirac_login(service, tmp_path, "training_pilot")
        assert refused.returncode == 1
        assert "training_pilot may administer" in refused.stderr
        assert refused.stderr.endswith(
            "run: dirac-login training_pilot --browser, "
            "or with a certificate: dirac-login training_pilot -C CERT -K KEY\n"
        )
        done = dirac_login(service, tmp_path, "training_pilot", "--browser")
        assert (done.returncode, done.stderr) == (0, "")
        assert "DIRAC group  : training_pilot" in done.stdout
        assert "Operator" in done.stdout
        stored = json.loads((tmp_path / "bt").read_text())
        assert claims(stored["access_token"])["group"] == "training_pilot"
        assert events(service, "login.completed")[-1].facts["client"] == "gatehouse-cli"
