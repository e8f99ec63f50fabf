"""`dirac-login` and `dirac-logout` as processes, and the device flow with a clock of our own."""

import json
import re
import socket
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from gatehouse.cli.device import DeviceCode
from gatehouse.cli.errors import ApiError, CommandError, Unreachable
from gatehouse.cli.signin import Summary, login
from tests.cli.gate import CODE, Gate, command, environment


class Watch:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.pauses: list[float] = []

    def now(self) -> int:
        return 1_700_000_000 + int(self.at)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at += seconds


def sign_in(
    gate: Gate, home: Path, watch: Watch, show: Callable[[DeviceCode], None] = lambda device: None
) -> None:
    env = {"BEARER_TOKEN_FILE": str(home / "bt")}
    login(gate.issuer, group="training_user", show=show, env=env, clock=watch, sleep=watch.sleep)


def test_the_whole_output_is_as_documented(gate: Gate, tmp_path: Path) -> None:
    gate.polls = ["authorization_pending"]
    done = command("dirac-login", "training_user", "-I", gate.issuer, env=environment(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    link, out, left = f"{gate.issuer}/device?user_code={CODE}", done.stdout, ""
    if match := re.search(r"^timeleft     : (01:59:5\d|02:00:00)$", out, re.MULTILINE):
        left = match[1]
    assert out == (
        f"Use the following link to continue\n{link}\nand compare the code there: {CODE}\n"
        "Authorization pending.. (use CNTL + C to stop)\n"
        f"New token is saved to {tmp_path / 'bt'}.\n"
        "subject      : b0b\n"
        f"issuer       : {gate.issuer}\n"
        f"timeleft     : {left}\n"
        "username     : bob\n"
        "DIRAC group  : training_user\n"
        "properties   : NormalUser, JobSharing\n"
    )


def test_the_requests_are_those_of_dirac(gate: Gate, tmp_path: Path) -> None:
    arguments = [
        "training_user",
        "compute.read",
        "storage.read:/x",
        "-T",
        "6",
        "--token",
        "--issuer",
        gate.issuer + "/",
    ]
    done = command("dirac-login", *arguments, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    (start,) = gate.of("/auth/device")
    assert start.form == {
        "client_id": "DIRAC_CLI",
        "scope": "compute.read+storage.read:/x+g:training_user+lifetime:21600",
    }
    assert b"%2B" in start.body
    (poll,) = gate.of("/auth/token")
    assert poll.form == {
        "client_id": "DIRAC_CLI",
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "device-secret",
    }


def test_no_group_sends_an_empty_scope(gate: Gate, tmp_path: Path) -> None:
    command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    assert gate.of("/auth/device")[0].form == {"client_id": "DIRAC_CLI", "scope": ""}


def test_the_file_is_private_json(gate: Gate, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    done = command("dirac-login", "-I", gate.issuer, "-O", str(out), env=environment(tmp_path))
    assert f"New token is saved to {out}.\n" in done.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    stored = json.loads(out.read_text())
    assert stored["access_token"] in gate.live
    assert stored["refresh_token"] in gate.refreshable
    assert {"token_type", "expires_in", "expires_at", "scope"} < stored.keys()
    assert not (tmp_path / "bt").exists()


def test_the_old_tokens_of_the_file_are_revoked_after_the_new_came(gate: Gate, tmp_path: Path) -> None:
    old = gate.store(tmp_path / "bt")
    done = command(
        "dirac-login", "training_user", env=environment(tmp_path)
    )  # the issuer is that of the token
    assert done.returncode == 0, done.stderr
    path = tmp_path / "bt"
    assert (
        f"access_token is revoked from {path}\nrefresh_token is revoked from {path}\nNew token" in done.stdout
    )
    assert gate.revoked == ["access_token", "refresh_token"]
    assert old["access_token"] not in gate.live
    assert old["refresh_token"] not in gate.refreshable
    assert [seen.form["client_id"] for seen in gate.of("/auth/revoke")] == ["DIRAC_CLI"] * 2
    paths = [seen.path for seen in gate.seen]
    assert paths.index("/auth/token") < paths.index("/auth/revoke")


def test_json_goes_alone_to_stdout(gate: Gate, tmp_path: Path) -> None:
    done = command("dirac-login", "--json", "-I", gate.issuer, env=environment(tmp_path))
    result = json.loads(done.stdout)
    assert (result["username"], result["group"], result["file"]) == (
        "bob",
        "training_user",
        str(tmp_path / "bt"),
    )
    assert f"user_code={CODE}" in done.stderr


def test_the_qr_code_comes_when_asked_for(gate: Gate, tmp_path: Path) -> None:
    plain = command("dirac-login", "-I", gate.issuer, env=environment(tmp_path)).stdout
    shown = command("dirac-login", "-I", gate.issuer, "--qr", env=environment(tmp_path)).stdout
    assert "\u2584" in shown
    assert "\u2584" not in plain


def test_status_shows_the_present_token(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    done = command("dirac-login", "--status", env=environment(tmp_path))
    assert done.stdout.startswith(f"subject      : b0b\nissuer       : {gate.issuer}\ntimeleft     : 0")
    missing = command("dirac-login", "--status", env=environment(tmp_path / "none"))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "error: you are not logged in\n" in missing.stderr
    assert "run: dirac-login <group> --issuer URL\n" in missing.stderr


def test_slow_down_adds_five_seconds(gate: Gate, tmp_path: Path) -> None:
    gate.polls = ["authorization_pending", "slow_down", "authorization_pending"]
    watch = Watch()
    sign_in(gate, tmp_path, watch)
    assert watch.pauses == [1, 6, 6]
    assert (tmp_path / "bt").exists()


def test_without_an_interval_it_is_five_seconds(gate: Gate, tmp_path: Path) -> None:
    gate.device, gate.polls = {"interval": None}, ["authorization_pending"]
    watch = Watch()
    sign_in(gate, tmp_path, watch)
    assert watch.pauses == [5]


def test_a_real_wait_is_never_shorter_than_the_interval(gate: Gate, tmp_path: Path) -> None:
    gate.polls = ["authorization_pending", "authorization_pending"]
    command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    times = [seen.at for seen in gate.of("/auth/token")]
    assert len(times) == 3
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))


def test_confirming_inside_the_callback_needs_no_waiting(gate: Gate, tmp_path: Path) -> None:
    gate.polls = ["authorization_pending"]
    watch, shown = Watch(), []

    def confirm(device: DeviceCode) -> None:
        shown.append((device.user_code, device.link))
        gate.polls.clear()

    sign_in(gate, tmp_path, watch, confirm)
    assert shown == [(CODE, f"{gate.issuer}/device?user_code={CODE}")]
    assert watch.pauses == []


def test_nobody_confirms(gate: Gate, tmp_path: Path) -> None:
    gate.polls = ["authorization_pending"] * 400
    watch = Watch()
    with pytest.raises(CommandError, match="not confirmed in time"):
        sign_in(gate, tmp_path, watch)
    assert 290 <= sum(watch.pauses) <= 300
    assert not (tmp_path / "bt").exists()


def test_a_busy_server_is_asked_again(gate: Gate, tmp_path: Path) -> None:
    watch = Watch()
    sign_in(gate, tmp_path, watch, lambda device: gate.broken.extend([503, 429]))
    assert watch.pauses == [6, 11]


@pytest.mark.parametrize(
    ("code", "what"),
    [("access_denied", "the login was refused"), ("expired_token", "the login was not confirmed in time")],
)
def test_denied_and_expired(gate: Gate, tmp_path: Path, code: str, what: str) -> None:
    gate.polls = [code]
    done = command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    assert done.returncode == 1
    assert f"error: {what}\nwhy: {code}: says the gate\nnext: " in done.stderr
    assert not (tmp_path / "bt").exists()


def test_a_proxy_is_refused_in_the_words_of_the_server(gate: Gate, tmp_path: Path) -> None:
    gate.device_error = {
        "error": "invalid_scope",
        "error_description": "no proxies here",
        "hint": "use --token",
    }
    done = command("dirac-login", "training_user", "--proxy", "-I", gate.issuer, env=environment(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "error: no proxies here\nwhy: invalid_scope (HTTP 400)\nnext: use --token\n"
    assert gate.of("/auth/device")[0].form["scope"] == "g:training_user+proxy"


def test_an_unreachable_server(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        issuer = f"http://127.0.0.1:{closed.getsockname()[1]}/auth"
    done = command("dirac-login", "-I", issuer, env=environment(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot reach {issuer.removesuffix('/auth')}\nwhy: ")
    assert "Traceback" not in done.stderr


def test_the_server_goes_away_while_waiting(gate: Gate, tmp_path: Path) -> None:
    watch = Watch()
    endpoint = "http://127.0.0.1:9/token"  # the discard port: nobody listens
    gate.metadata = {"issuer": gate.issuer, "token_endpoint": endpoint}
    with pytest.raises(Unreachable):
        sign_in(gate, tmp_path, watch)
    assert [pause for pause in watch.pauses if pause > 5] == [6, 11, 16, 21]


@pytest.mark.parametrize(
    "issuer",
    ["http://gatehouse.example.org/auth", "http://127.0.0.1.example.org/auth", "http://10.0.0.1/auth"],
)
def test_plain_http_elsewhere_is_refused(tmp_path: Path, issuer: str) -> None:
    done = command("dirac-login", "-I", issuer, env=environment(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: refusing plain http to ")


@pytest.mark.parametrize(
    "issuer", ["gatehouse.example.org", "ftp://x/auth", "https://", "https://me:pw@host/auth"]
)
def test_an_unusable_issuer_is_refused(tmp_path: Path, issuer: str) -> None:
    done = command("dirac-login", "-I", issuer, env=environment(tmp_path))
    assert done.returncode == 1
    assert "error: not a usable URL" in done.stderr


def test_where_the_issuer_comes_from(gate: Gate, tmp_path: Path) -> None:
    nowhere = command("dirac-login", env=environment(tmp_path))
    assert nowhere.returncode == 2
    assert nowhere.stderr.endswith("run: dirac-login <group> --issuer https://HOST/auth\n")
    settings = tmp_path / ".config" / "gatehouse" / "client.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('issuer = "http://elsewhere.example.org/auth"\n')
    assert "elsewhere.example.org" in command("dirac-login", env=environment(tmp_path)).stderr
    named = command("dirac-login", env=environment(tmp_path, GATEHOUSE_ISSUER=gate.issuer))
    assert named.returncode == 0, named.stderr
    settings.write_text("issuer = \n")
    assert "cannot read" in command("dirac-login", env=environment(tmp_path)).stderr


def test_metadata_moves_the_endpoints(gate: Gate, tmp_path: Path) -> None:
    gate.metadata = {"issuer": gate.issuer, "device_authorization_endpoint": f"{gate.issuer}/v2/device"}
    command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    assert len(gate.of("/auth/v2/device")) == 1
    gate.metadata = {"issuer": gate.issuer, "token_endpoint": "http://evil.example.org/token"}
    done = command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    assert "refusing plain http to evil.example.org" in done.stderr


def test_metadata_of_another_issuer_is_refused(gate: Gate, tmp_path: Path) -> None:
    gate.metadata = {"issuer": "https://other.example.org/auth"}
    done = command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    assert done.returncode == 1
    assert "is not the issuer it says it is" in done.stderr
    assert gate.of("/auth/device") == []


def test_a_scope_with_a_plus_sign_is_a_usage_error(gate: Gate, tmp_path: Path) -> None:
    done = command("dirac-login", "a+b", "-I", gate.issuer, env=environment(tmp_path))
    assert done.returncode == 2
    assert gate.seen == []


def test_logout_revokes_and_removes(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    done = command("dirac-logout", env=environment(tmp_path))
    path = tmp_path / "bt"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"access_token is revoked from {path}\nrefresh_token is revoked from {path}\n{path} is removed.\n"
    )
    assert (gate.live, gate.refreshable) == (set(), set())
    assert not path.exists()
    assert command("dirac-logout", env=environment(tmp_path)).returncode == 1


def test_logout_removes_the_file_even_if_nobody_revokes(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    gate.broken = [500] * 5
    done = command("dirac-logout", env=environment(tmp_path))
    assert done.returncode == 1
    assert "could not be revoked" in done.stderr
    assert not (tmp_path / "bt").exists()


def test_words_of_the_server_cannot_steer_the_terminal(gate: Gate, tmp_path: Path) -> None:
    text = f"\x1b[2Jbad {gate.pair()['access_token']}\x07"
    gate.device_error = {"error": "invalid_scope", "error_description": text}
    done = command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    assert done.stderr.startswith("error: [2Jbad <token>\n")


def test_time_left_beyond_twelve_hours() -> None:
    summary = Summary("s", "i", 27 * 3600 + 62, "u", "g", ())
    assert "timeleft     : 27:01:02" in summary.lines()


def test_an_echoed_secret_is_masked(gate: Gate, tmp_path: Path) -> None:
    gate.polls = ["bad device-secret"]
    with pytest.raises(ApiError) as refused:
        sign_in(gate, tmp_path, Watch())
    assert refused.value.code == "bad <token>"
